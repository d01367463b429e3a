//! The Asymmetric Namespace Access log page (NVMe base 2.1, section 5.1.12.1.13).

use zerocopy::{FromZeros, IntoBytes};

use crate::nvmf::controller::paths::Paths;
use crate::nvmf::policy::ANA_GROUP_MAX;
use crate::spec::ana::{AnaGroup, AnaHeader};

/// The page: every group with namespaces that the controller has; their NSIDs unless `groups_only`. Zeros follow, up to the
/// length that hosts work out of NANAGRPID and MNAN, which is `nsid_max`: they read as much, in parts.
pub(super) fn page(paths: &Paths, groups_only: bool, nsid_max: u32) -> Vec<u8> {
    let mut header = AnaHeader::new_zeroed();
    header.chgcnt.set(paths.changes);
    header.nagd.set(u16::try_from(paths.groups.len()).unwrap_or(u16::MAX));
    let mut page = header.as_bytes().to_vec();
    for (agid, group) in &paths.groups {
        let nsids: &[u32] = if groups_only { &[] } else { &group.nsids };
        let mut descriptor = AnaGroup::new_zeroed();
        descriptor.agid.set(*agid);
        descriptor.nnv.set(u32::try_from(nsids.len()).unwrap_or(u32::MAX));
        descriptor.chgcnt.set(group.changed_at);
        descriptor.state = group.state.0;
        page.extend_from_slice(descriptor.as_bytes());
        page.extend(nsids.iter().flat_map(|nsid| nsid.to_le_bytes()));
    }
    let groups = ANA_GROUP_MAX as usize * size_of::<AnaGroup>();
    let most = size_of::<AnaHeader>() + groups + nsid_max as usize * size_of::<u32>();
    assert!(page.len() <= most);
    page.resize(most, 0);
    page
}
