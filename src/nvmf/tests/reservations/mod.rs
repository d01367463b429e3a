//! Reservations as admin queues show them.

mod announced;
mod notices;
mod persistence;

use super::{DISK0, DISK1, HOSTID, Rig, Wish, command};
use crate::nvmf::controller::ControllerId;
use crate::nvmf::host::HostId;
use crate::spec::nqn::Nqn;
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

const ALL: u32 = 0xffff_ffff;
const MASK: u32 = 0x82;
const PERSISTENCE: u32 = 0x83;

/// The host that the other tests have, and one more.
const FIRST: HostId = HostId(HOSTID);
const SECOND: HostId = HostId([9; 16]);

/// A rig whose first subsystem has reservations.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.target.enable_reservations(&Nqn::parse(DISK0).unwrap());
    rig
}

/// An enabled controller of a host.
fn ready(rig: &mut Rig, subsystem: &str, host: HostId) -> ControllerId {
    let mut wish = Wish::admin(subsystem);
    wish.data.hostid = host.0;
    let controller = rig.admin_queue(&wish);
    rig.enable(controller);
    controller
}

fn get(rig: &mut Rig, controller: ControllerId, nsid: u32, cdw10: u32) -> (Status, u32) {
    let (status, dw0, _) = rig.done(controller, &command(AdminOpcode::GET_FEATURES, nsid, cdw10, 0));
    (status, dw0)
}

fn ok(dw0: u32) -> (Status, u32) {
    (Status::SUCCESS, dw0)
}

fn failed(status: Status) -> (Status, u32) {
    (status.with_dnr(), 0)
}

/// What both features refuse, in both directions where nothing else is said.
#[test]
fn features_of_reservations_belong_to_one_attached_namespace() {
    let invalid = failed(Status::INVALID_FIELD);
    let rows = [
        ("no namespace", 0, invalid, invalid),
        ("inactive", 2, invalid, invalid),
        ("above NN", 257, invalid, invalid),
        ("reading all", ALL, invalid, ok(0)),
    ];
    for fid in [MASK, PERSISTENCE] {
        for (name, nsid, read, written) in rows {
            let mut rig = rig();
            let controller = ready(&mut rig, DISK0, FIRST);
            assert_eq!(get(&mut rig, controller, nsid, fid), read, "{fid:x} {name}");
            assert_eq!(get(&mut rig, controller, nsid, fid | 1 << 8), read, "{fid:x} default, {name}");
            if fid == MASK || written != ok(0) {
                let set = command(AdminOpcode::SET_FEATURES, nsid, fid, 1);
                assert_eq!(rig.done(controller, &set).0, written.0, "{fid:x} {name}");
            }
            let saved = command(AdminOpcode::SET_FEATURES, 1, fid | 1 << 31, 1);
            assert_eq!(rig.done(controller, &saved).0, Status::FEATURE_NOT_SAVEABLE.with_dnr(), "{fid:x}");
            assert_eq!(get(&mut rig, controller, 1, fid | 3 << 8), ok(0b110), "{fid:x} capabilities");
            assert_eq!(rig.actions(), [], "{fid:x} {name}");
            let plain = ready(&mut rig, DISK1, FIRST);
            assert_eq!(get(&mut rig, plain, 1, fid), invalid, "{fid:x} without reservations");
        }
    }
}
