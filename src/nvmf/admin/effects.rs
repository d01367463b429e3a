//! Which commands and features there are, and what they act on: log pages 05h and 12h (NVMe base 2.1, sections 5.1.12.1.6
//! and 5.1.12.1.18).

use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::nvmf::admin::{Context, features};
use crate::nvmf::controller::Controller;
use crate::spec::feature::FeatureId;
use crate::spec::identify::controller::Oncs;
use crate::spec::log_page::{CommandEffect, CommandEffects, FeatureEffect, Scope};
use crate::spec::opcode::{AdminOpcode, NvmOpcode};

/// Admin commands of all controllers, and what they act on.
const ADMIN_COMMANDS: [(AdminOpcode, u16); 7] = [
    (AdminOpcode::GET_LOG_PAGE, Scope::CONTROLLER | Scope::SUBSYSTEM),
    (AdminOpcode::IDENTIFY, Scope::NAMESPACE | Scope::CONTROLLER | Scope::SUBSYSTEM),
    (AdminOpcode::ABORT, Scope::CONTROLLER),
    (AdminOpcode::SET_FEATURES, Scope::NAMESPACE | Scope::CONTROLLER),
    (AdminOpcode::GET_FEATURES, Scope::NAMESPACE | Scope::CONTROLLER),
    (AdminOpcode::ASYNC_EVENT_REQUEST, Scope::CONTROLLER),
    (AdminOpcode::KEEP_ALIVE, Scope::CONTROLLER),
];

/// Log page 05h; `optional` are the I/O commands beside those that are always there, none where there are no I/O queues.
pub(super) fn commands(optional: Option<Oncs>) -> CommandEffects {
    let mut page = CommandEffects::new_zeroed();
    let effect = CommandEffect::new().with_csupp(true);
    for (opcode, scope) in ADMIN_COMMANDS {
        page.admin[usize::from(opcode.0)].set(effect.with_csp(scope).into());
    }
    let Some(optional) = optional else { return page };
    let reservations = optional.reservations();
    // Whether the command is there, its opcode, and whether it changes blocks.
    let io = [
        (true, NvmOpcode::FLUSH, false),
        (true, NvmOpcode::WRITE, true),
        (true, NvmOpcode::READ, false),
        (optional.compare(), NvmOpcode::COMPARE, false),
        (optional.write_zeroes(), NvmOpcode::WRITE_ZEROES, true),
        (optional.dataset_management(), NvmOpcode::DATASET_MANAGEMENT, true),
        (optional.verify(), NvmOpcode::VERIFY, false),
        (optional.write_uncorrectable(), NvmOpcode::WRITE_UNCORRECTABLE, true),
        (optional.copy(), NvmOpcode::COPY, true),
        (reservations, NvmOpcode::RESERVATION_REGISTER, false),
        (reservations, NvmOpcode::RESERVATION_REPORT, false),
        (reservations, NvmOpcode::RESERVATION_ACQUIRE, false),
        (reservations, NvmOpcode::RESERVATION_RELEASE, false),
    ];
    for (_, opcode, changes) in io.iter().filter(|(supported, ..)| *supported) {
        // No scope is reported: Linux calls every effect of an I/O command unusual but for these two.
        page.io[usize::from(opcode.0)].set(effect.with_lbcc(*changes).into());
    }
    page
}

/// Log page 12h.
pub(super) fn features(controller: &Controller, context: &Context<'_>) -> Vec<u8> {
    let effect = |fid| {
        let Ok(capabilities) = features::capabilities(FeatureId(fid), controller, context) else {
            return U32::new(0);
        };
        let scope = if capabilities.namespace_specific() { Scope::NAMESPACE } else { Scope::CONTROLLER };
        let changes_namespace = FeatureId(fid) == FeatureId::WRITE_PROTECTION;
        U32::new(FeatureEffect::new().with_fsupp(true).with_ncc(changes_namespace).with_fsp(scope).into())
    };
    (0..=u8::MAX).flat_map(|fid| effect(fid).as_bytes().to_vec()).collect()
}
