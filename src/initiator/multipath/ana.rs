//! Reading the ANA log (NVMe base 2.1, section 5.1.12.1.13). What is malformed or cut short is passed over.

use zerocopy::FromBytes;

use crate::initiator::multipath::Access;
use crate::spec::ana::{AnaGroup, AnaHeader, AnaState};

/// Groups that are looked at.
const GROUPS_MAX: usize = 127;
/// As much of the log as that takes.
pub(super) const LOG_BYTES: usize = size_of::<AnaHeader>() + GROUPS_MAX * size_of::<AnaGroup>();

/// The state of `group`, if the log has it. Also where the log names namespaces, which it was asked to leave out.
pub(super) fn state_of(group: u32, log: &[u8]) -> Option<AnaState> {
    let (header, mut rest) = AnaHeader::ref_from_prefix(log).ok()?;
    for _ in 0..header.nagd.get() {
        let (entry, tail) = AnaGroup::ref_from_prefix(rest).ok()?;
        if entry.agid.get() == group {
            return Some(entry.state());
        }
        let namespaces = usize::try_from(entry.nnv.get()).ok()?.checked_mul(size_of::<u32>())?;
        rest = tail.get(namespaces..)?;
    }
    None
}

/// What a path in this state is good for. A group without a state, or with one that is not known, is not touched.
pub(super) fn access_of(state: Option<AnaState>) -> Access {
    match state {
        Some(AnaState::OPTIMIZED) => Access::Optimized,
        Some(AnaState::NON_OPTIMIZED) => Access::NonOptimized,
        Some(AnaState::PERSISTENT_LOSS) => Access::Lost,
        _ => Access::Blocked,
    }
}
