//! Feature 83h: asked for by hosts, made so by somebody else.

use super::{ALL, FIRST, PERSISTENCE, SECOND, failed, get, ok, ready, rig};
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::target::Action;
use crate::nvmf::tests::{DISK0, ENABLE, Rig, command};
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

fn set(rig: &mut Rig, controller: ControllerId, cid: u16, nsid: u32, dword: u32) -> Reply {
    let mut sqe = command(AdminOpcode::SET_FEATURES, nsid, PERSISTENCE, dword);
    sqe.cid.set(cid);
    rig.send(controller, &sqe)
}

fn done(status: Status) -> Reply {
    Reply::Done { status, dw0: 0, dw1: 0, data: Vec::new() }
}

#[test]
fn a_set_waits_until_it_is_durable() {
    let rows = [
        ("one", 3, 1, vec![3], true),
        ("reserved bits", 1, 0xffff_ffff, vec![1], true),
        ("off", 1, 0xffff_fffe, vec![1], false),
        ("all", ALL, 1, vec![1, 3], true),
    ];
    for (name, nsid, dword, nsids, ptpl) in rows {
        for status in [Status::SUCCESS, Status::INTERNAL_ERROR] {
            let mut rig = rig();
            let controller = ready(&mut rig, DISK0, FIRST);
            assert_eq!(set(&mut rig, controller, 5, nsid, dword), Reply::Deferred, "{name}");
            let asked = Action::SetPersistence { controller, cid: 5, nsids: nsids.clone(), ptpl };
            assert_eq!(rig.actions(), [asked], "{name}");
            for nsid in [1, 3] {
                assert_eq!(get(&mut rig, controller, nsid, PERSISTENCE), ok(0), "{name}: not yet so");
            }
            rig.target.complete_deferred(controller, 5, status, 0);
            assert_eq!(rig.actions(), [Action::Complete { controller, cid: 5, status, dw0: 0 }], "{name}");
        }
    }
}

#[test]
fn what_is_known_is_reported_to_every_controller_and_survives_a_reset() {
    let mut rig = rig();
    let controllers = [ready(&mut rig, DISK0, FIRST), ready(&mut rig, DISK0, SECOND)];
    rig.target.set_persistence_known(0, 3, true);
    for controller in controllers {
        for cc in [0, ENABLE] {
            assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS);
        }
        assert_eq!(get(&mut rig, controller, 3, PERSISTENCE), ok(1));
        assert_eq!(get(&mut rig, controller, 1, PERSISTENCE), ok(0));
        for select in [1, 2] {
            assert_eq!(get(&mut rig, controller, 3, PERSISTENCE | select << 8), ok(0), "the default");
        }
    }
    rig.target.set_persistence_known(0, 3, false);
    assert_eq!(get(&mut rig, controllers[0], 3, PERSISTENCE), ok(0));
}

#[test]
fn forbidden_persistence_cannot_be_set() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    rig.target.forbid_persistence(0, 3);
    rig.target.set_persistence_known(0, 3, false);
    let (status, _) = failed(Status::INVALID_FIELD);
    assert_eq!(set(&mut rig, controller, 5, 3, 1), done(status));
    assert_eq!(set(&mut rig, controller, 5, 3, 0), done(Status::SUCCESS), "it is so already");
    assert_eq!(get(&mut rig, controller, 3, PERSISTENCE), ok(0));
    assert_eq!(rig.actions(), []);
    assert_eq!(set(&mut rig, controller, 6, ALL, 1), Reply::Deferred);
    assert_eq!(rig.actions(), [Action::SetPersistence { controller, cid: 6, nsids: vec![1], ptpl: true }]);
    rig.target.forbid_persistence(0, 1);
    assert_eq!(set(&mut rig, controller, 7, ALL, 1), done(Status::SUCCESS), "there is nothing to set");
}

#[test]
fn each_of_two_commands_with_one_cid_is_answered_once() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    for nsid in [1, 3] {
        assert_eq!(set(&mut rig, controller, 5, nsid, 1), Reply::Deferred);
    }
    assert_eq!(rig.actions().len(), 2);
    for _ in 0..2 {
        rig.target.complete_deferred(controller, 5, Status::SUCCESS, 0);
        assert_eq!(rig.actions().len(), 1);
    }
}

#[test]
#[should_panic(expected = "command 5 waits for an answer")]
fn an_answer_that_nothing_waits_for_is_our_mistake() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    rig.target.complete_deferred(controller, 5, Status::SUCCESS, 0);
}

#[test]
fn a_reset_does_not_end_a_set_and_a_closed_admin_queue_does() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    assert_eq!(set(&mut rig, controller, 5, 1, 1), Reply::Deferred);
    rig.actions();
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    assert_eq!(rig.actions(), []);
    rig.target.complete_deferred(controller, 5, Status::SUCCESS, 0);
    let answered = Action::Complete { controller, cid: 5, status: Status::SUCCESS, dw0: 0 };
    assert_eq!(rig.actions(), [answered]);
    rig.enable(controller);
    for queue in [false, true] {
        let controller = ready(&mut rig, DISK0, FIRST);
        if queue {
            rig.io_queue(controller, 1).unwrap();
        }
        assert_eq!(set(&mut rig, controller, 5, 1, 1), Reply::Deferred);
        rig.target.admin_closed(rig.now, controller);
        assert_eq!(rig.target.association(controller).is_some(), queue);
        rig.actions();
        rig.target.complete_deferred(controller, 5, Status::SUCCESS, 0);
        assert_eq!(rig.actions(), [], "I/O queue left: {queue}");
    }
}

#[test]
fn an_abort_leaves_a_set_alone() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    assert_eq!(set(&mut rig, controller, 5, 1, 1), Reply::Deferred);
    rig.actions();
    let abort = command(AdminOpcode::ABORT, 0, 5 << 16, 0);
    assert_eq!(rig.done(controller, &abort), (Status::SUCCESS, 1, Vec::new()), "not aborted");
    assert_eq!(rig.actions(), []);
}
