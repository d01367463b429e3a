//! Feature 84h: asked for by hosts, made so by the fences, and told to every host.

use std::sync::Arc;

use corelane_reactors::sim::Simulation;
use uuid::Uuid;
use zerocopy::FromBytes;

use super::{DISK0, DISK1, HOST, Rig, STRANGER, Wish, command};
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::keeper::Protection;
use crate::nvmf::fence::recover::Recovered;
use crate::nvmf::fence::{Fences, NamespaceKey, Snapshot};
use crate::nvmf::host::Hosts;
use crate::nvmf::target::Action;
use crate::reservation::{Identity, Options, State};
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::namespace::{IdentifyNamespace, IndependentNamespace};
use crate::spec::nqn::Nqn;
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

const PROTECTION: u32 = 0x84;
const ALL: u32 = u32::MAX;
const NAMESPACES_CHANGED: u32 = 0x0004_0002;
const BY_HOSTS: Option<Protection> = Some(Protection { hosts: true, operator: false });
const BY_OPERATOR: Option<Protection> = Some(Protection { hosts: false, operator: true });
const BY_NOBODY: Option<Protection> = Some(Protection { hosts: false, operator: false });

/// A rig whose first subsystem has write protection.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.target.enable_write_protection(&Nqn::parse(DISK0).unwrap());
    rig
}

/// A controller of [`DISK0`] that wants to hear of changed namespaces, and waits for an event.
fn listening(rig: &mut Rig, host: &str) -> ControllerId {
    let mut wish = Wish::admin(DISK0).from(host);
    wish.data.hostid = [host.len().to_le_bytes()[0]; 16];
    let controller = rig.admin_queue(&wish);
    rig.enable(controller);
    let configure = command(AdminOpcode::SET_FEATURES, 0, 0x0b, 1 << 8);
    assert_eq!(rig.status(controller, &configure), Status::SUCCESS);
    let request = Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, 70, 0);
    assert_eq!(rig.send(controller, &request), Reply::Deferred);
    controller
}

fn get(rig: &mut Rig, controller: ControllerId, nsid: u32, cdw10: u32) -> (Status, u32) {
    let (status, dw0, _) = rig.done(controller, &command(AdminOpcode::GET_FEATURES, nsid, cdw10, 0));
    (status, dw0)
}

fn set(rig: &mut Rig, controller: ControllerId, nsid: u32, dword: u32) -> Reply {
    rig.send(controller, &command(AdminOpcode::SET_FEATURES, nsid, PROTECTION, dword))
}

fn known(rig: &mut Rig, nsid: u32, protection: Option<Protection>) {
    rig.target.set_protection_known(NamespaceKey { subsystem: 0, nsid }, protection);
}

fn refused(status: Status) -> Reply {
    Reply::Done { status: status.with_dnr(), dw0: 0, dw1: 0, data: Vec::new() }
}

/// NSATTR of both structures.
fn attributes(rig: &mut Rig, controller: ControllerId, nsid: u32) -> [u8; 2] {
    let mut page = |cns| rig.done(controller, &command(AdminOpcode::IDENTIFY, nsid, cns, 0)).2;
    let (own, independent) = (page(0), page(8));
    [
        IdentifyNamespace::read_from_bytes(&own).unwrap().nsattr,
        IndependentNamespace::read_from_bytes(&independent).unwrap().nsattr,
    ]
}

#[test]
fn a_set_waits_until_it_is_so() {
    let rows = [
        ("one", 3, 1, vec![3], true),
        ("reserved bits", 1, 0xffff_fff9, vec![1], true),
        ("off", 1, 0, vec![1], false),
        ("all", ALL, 1, vec![1, 3], true),
    ];
    for (name, nsid, dword, nsids, protected) in rows {
        for status in [Status::SUCCESS, Status::INTERNAL_ERROR] {
            let mut rig = rig();
            let controller = rig.ready();
            assert_eq!(set(&mut rig, controller, nsid, dword), Reply::Deferred, "{name}");
            let asked = Action::SetProtection { controller, cid: 9, nsids: nsids.clone(), protected };
            assert_eq!(rig.actions(), [asked], "{name}");
            for nsid in [1, 3] {
                let now = get(&mut rig, controller, nsid, PROTECTION);
                assert_eq!(now, (Status::SUCCESS, 0), "{name}: not yet so");
            }
            rig.target.complete_deferred(controller, 9, status, 0);
            assert_eq!(rig.actions(), [Action::Complete { controller, cid: 9, status, dw0: 0 }], "{name}");
        }
    }
}

#[test]
fn states_that_are_not_announced_and_namespaces_that_are_not_there_are_refused() {
    let invalid = refused(Status::INVALID_FIELD);
    let mut rig = rig();
    let controller = rig.ready();
    for state in 2..8 {
        assert_eq!(set(&mut rig, controller, 1, state), invalid, "state {state}");
    }
    let (inactive, none) = (Status::INVALID_FIELD, Status::INVALID_NAMESPACE);
    for (name, nsid, status) in
        [("none", 0, none), ("inactive", 2, inactive), ("above NN", 257, none), ("all", ALL, none)]
    {
        if nsid != ALL {
            assert_eq!(set(&mut rig, controller, nsid, 1), refused(status), "{name}");
        }
        for select in 0..3 {
            let read = get(&mut rig, controller, nsid, PROTECTION | select << 8);
            assert_eq!(read, (status.with_dnr(), 0), "{name}");
        }
    }
    let save = command(AdminOpcode::SET_FEATURES, 1, PROTECTION | 1 << 31, 1);
    assert_eq!(rig.status(controller, &save), Status::FEATURE_NOT_SAVEABLE.with_dnr());
    assert_eq!(get(&mut rig, controller, 1, PROTECTION | 3 << 8), (Status::SUCCESS, 0b110), "capabilities");
    let plain = rig.admin_queue(&Wish::admin(DISK1));
    rig.enable(plain);
    assert_eq!(set(&mut rig, plain, 1, 1), invalid, "without write protection");
    assert_eq!(rig.actions(), []);
}

#[test]
fn what_is_so_is_read_on_every_controller_and_told_to_every_host_that_has_the_namespace() {
    let mut rig = rig();
    let mut policy = rig.target.policy(0).clone();
    policy.masks = [(3, Hosts::Listed([Nqn::parse(HOST).unwrap()].into()))].into();
    rig.target.set_policy(rig.now, 0, policy);
    let [host, stranger] = [HOST, STRANGER].map(|host| listening(&mut rig, host));
    rig.actions();
    let page = rig.done(host, &command(AdminOpcode::IDENTIFY, 0, 1, 0)).2;
    assert_eq!(IdentifyController::read_from_bytes(&page).unwrap().nwpc, 1);
    let event = |controller| Action::Complete {
        controller,
        cid: 70,
        status: Status::SUCCESS,
        dw0: NAMESPACES_CHANGED,
    };
    known(&mut rig, 3, BY_HOSTS);
    assert_eq!(rig.actions(), [event(host)], "nobody hears of a namespace that it does not have");
    known(&mut rig, 1, BY_HOSTS);
    assert_eq!(rig.actions(), [event(stranger)], "the host has not yet read what it was told");
    for (controller, nsid) in [(host, 1), (host, 3), (stranger, 1)] {
        assert_eq!(get(&mut rig, controller, nsid, PROTECTION), (Status::SUCCESS, 1));
        for select in [1, 2] {
            let default = get(&mut rig, controller, nsid, PROTECTION | select << 8);
            assert_eq!(default, (Status::SUCCESS, 0), "the default");
        }
        assert_eq!(attributes(&mut rig, controller, nsid), [1, 1]);
    }
    let changed = rig.done(host, &command(AdminOpcode::GET_LOG_PAGE, 0, 4 | 1023 << 16, 0)).2;
    assert_eq!(changed[..12], [1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    // What is known already is no news, and neither is another reason for the same.
    known(&mut rig, 1, BY_HOSTS);
    known(&mut rig, 1, Some(Protection { hosts: true, operator: true }));
    assert_eq!(rig.actions(), []);
    known(&mut rig, 1, BY_NOBODY);
    assert_eq!((get(&mut rig, host, 1, PROTECTION).1, attributes(&mut rig, host, 1)), (0, [0, 0]));
    known(&mut rig, 1, None);
    assert_eq!(get(&mut rig, host, 1, PROTECTION).0, Status::INTERNAL_ERROR.with_dnr(), "out of service");
}

#[test]
fn hosts_cannot_lift_what_an_operator_protects_and_can_add_to_it() {
    let mut rig = rig();
    let controller = rig.ready();
    known(&mut rig, 3, BY_OPERATOR);
    rig.actions();
    for nsid in [3, ALL] {
        assert_eq!(set(&mut rig, controller, nsid, 0), refused(Status::FEATURE_NOT_CHANGEABLE), "{nsid}");
    }
    assert_eq!(rig.actions(), [], "not even the other namespaces");
    assert_eq!(set(&mut rig, controller, 3, 1), Reply::Deferred);
    assert_eq!(set(&mut rig, controller, 1, 0), Reply::Deferred);
    assert_eq!(get(&mut rig, controller, 3, PROTECTION), (Status::SUCCESS, 1));
}

#[test]
fn what_is_so_at_the_start_is_known_before_the_first_host() {
    let simulation = Simulation::new(1, 1).unwrap();
    let mut rig = rig();
    let mut policy = rig.target.policy(0).clone();
    policy.protected = [3].into();
    rig.target.set_policy(rig.now, 0, policy);
    let mut fences = Fences::default();
    let nqn = Nqn::parse(DISK0).unwrap();
    let identity = |nsid: u32| Identity { subsystem: nqn.clone(), nsid, uuid: Uuid::from_u128(nsid.into()) };
    let state = State::new();
    let namespaces = [
        (
            identity(1),
            Recovered::Sound { state, write_protected: true, sequence: 4 },
            Options { ptpl: false },
        ),
        (identity(3), Recovered::nothing(), Options { ptpl: false }),
    ];
    fences.add(0, simulation.group().published(Arc::new(Snapshot::default())), namespaces);
    rig.target.enable_reservations(&nqn);
    for nsid in [1, 3] {
        rig.target.forbid_persistence(0, nsid);
    }
    rig.target.set_fences(fences);
    let controller = rig.ready();
    for nsid in [1, 3] {
        assert_eq!(attributes(&mut rig, controller, nsid), [1, 1]);
    }
    assert_eq!(set(&mut rig, controller, 3, 0), refused(Status::FEATURE_NOT_CHANGEABLE));
    // Nothing can be kept here, and so nothing changes.
    assert_eq!(set(&mut rig, controller, 1, 0), Reply::Deferred);
    let [Action::SetProtection { cid, nsids, protected, .. }] = &rig.actions()[..] else { panic!() };
    rig.target.protect(controller, *cid, nsids, *protected);
    assert!(rig.target.next_fence_work().is_none());
    let status = Status::INTERNAL_ERROR;
    assert_eq!(rig.actions(), [Action::Complete { controller, cid: 9, status, dw0: 0 }]);
    assert_eq!(attributes(&mut rig, controller, 1), [1, 1]);
}
