//! Disable, shutdown, keep alive, loss of queues, Abort and Asynchronous Event Request.

use std::time::Duration;

use corelane_reactors::clock::Time;

use super::{DISK0, ENABLE, HOST, Rig, SHUT_DOWN, SHUT_DOWN_ABRUPTLY, Wish, command, shape, subsystem};
use crate::bdev::Features;
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::host::Hosts;
use crate::nvmf::options::Options;
use crate::nvmf::target::{Action, Connected, Refusal};
use crate::spec::nqn::DISCOVERY_NQN;
use crate::spec::opcode::AdminOpcode;
use crate::spec::register::ShutdownStatus;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

const DISCOVERY_CHANGED: u32 = 0x0070_f002;
const AEC_DISCOVERY: u32 = 1 << 31;

fn close(controller: ControllerId, qid: u16) -> Action {
    Action::CloseQueue { controller, qid }
}

fn aborted(controller: ControllerId, cid: u16) -> Action {
    Action::Complete { controller, cid, status: Status::ABORT_REQUESTED, dw0: 0 }
}

fn event_request(cid: u16) -> Sqe {
    Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, cid, 0)
}

fn keep_alive() -> Sqe {
    command(AdminOpcode::KEEP_ALIVE, 0, 0, 0)
}

#[test]
fn a_controller_is_disabled_only_when_its_queues_are_closed() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.io_queue(controller, 1).unwrap();
    rig.io_queue(controller, 2).unwrap();
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    assert_eq!(rig.actions(), [close(controller, 1), close(controller, 2)]);
    assert!(rig.csts(controller).rdy());
    rig.io_queue(controller, 3).unwrap_err();
    assert_eq!(rig.set_cc(controller, ENABLE), Status::COMMAND_SEQUENCE_ERROR.with_dnr());
    rig.target.queue_closed(rig.now, controller, 1);
    assert!(rig.csts(controller).rdy());
    rig.target.queue_closed(rig.now, controller, 2);
    assert!(!rig.csts(controller).rdy());
    assert_eq!(rig.actions(), []);
    rig.enable(controller);
    rig.io_queue(controller, 1).unwrap();
}

#[test]
fn a_shutdown_is_complete_only_when_the_queues_are_closed() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.io_queue(controller, 1).unwrap();
    assert_eq!(rig.set_cc(controller, SHUT_DOWN), Status::SUCCESS);
    assert_eq!(rig.actions(), [close(controller, 1)]);
    assert_eq!(rig.csts(controller).shst(), ShutdownStatus::OCCURRING);
    assert_eq!(rig.status(controller, &keep_alive()), Status::COMMAND_SEQUENCE_ERROR.with_dnr());
    rig.target.queue_closed(rig.now, controller, 1);
    assert_eq!(rig.csts(controller).shst(), ShutdownStatus::COMPLETE);
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    assert_eq!(rig.csts(controller).into_bits(), 0);
    rig.enable(controller);
}

/// A controller whose namespace 1 has a volatile cache, as it shuts down after its queue has closed.
fn flushing(cc: u32) -> (Rig, ControllerId) {
    let mut rig = Rig::with(Options::default(), shape(512, true, Features::ALL));
    let controller = rig.ready();
    rig.io_queue(controller, 1).unwrap();
    assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS);
    assert_eq!(rig.actions(), [close(controller, 1)], "what the queue has may still write");
    rig.target.queue_closed(rig.now, controller, 1);
    assert_eq!(rig.actions(), [Action::Flush { controller, number: 1, nsids: vec![1] }]);
    assert_eq!(rig.csts(controller).shst(), ShutdownStatus::OCCURRING);
    (rig, controller)
}

#[test]
fn a_shutdown_is_complete_only_when_caches_are_durable() {
    for cc in [SHUT_DOWN, SHUT_DOWN_ABRUPTLY] {
        let (mut rig, controller) = flushing(cc);
        rig.target.flushed(rig.now, controller, 1, 1, true);
        assert_eq!(rig.csts(controller).shst(), ShutdownStatus::COMPLETE);
        rig.pass(15_000);
        assert!(!rig.csts(controller).cfs());
        // With no queue it begins at once.
        assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
        rig.enable(controller);
        assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS);
        assert_eq!(rig.actions(), [Action::Flush { controller, number: 2, nsids: vec![1] }]);
        rig.target.flushed(rig.now, controller, 1, 1, true);
        assert_eq!(rig.csts(controller).shst(), ShutdownStatus::OCCURRING, "that was another one");
        // A reset ends it, and what is told of it later is nothing.
        assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
        rig.enable(controller);
        rig.target.flushed(rig.now, controller, 2, 1, false);
        assert!(rig.csts(controller).rdy() && !rig.csts(controller).cfs());
    }
}

#[test]
fn a_shutdown_with_a_cache_that_is_not_durable_in_time_or_at_all_is_a_fatal_error() {
    for in_time in [true, false] {
        let (mut rig, controller) = flushing(SHUT_DOWN);
        rig.pass(14_999);
        assert!(!rig.csts(controller).cfs());
        if in_time {
            rig.target.flushed(rig.now, controller, 1, 1, false);
        } else {
            rig.pass(1);
        }
        let failed = |rig: &mut Rig| {
            let csts = rig.csts(controller);
            assert_eq!((csts.cfs(), csts.shst()), (true, ShutdownStatus::NORMAL));
        };
        failed(&mut rig);
        rig.target.flushed(rig.now, controller, 1, 1, true);
        failed(&mut rig);
        rig.target.admin_closed(rig.now, controller);
        rig.target.flushed(rig.now, controller, 1, 1, true);
        assert!(rig.target.association(controller).is_none());
    }
}

#[test]
fn queues_that_do_not_close_in_time_are_a_fatal_error() {
    for cc in [0, SHUT_DOWN] {
        let mut rig = Rig::new();
        let controller = rig.ready();
        rig.io_queue(controller, 1).unwrap();
        assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS);
        rig.pass(14_999);
        assert!(!rig.csts(controller).cfs());
        rig.pass(1);
        assert!(rig.csts(controller).cfs());
        rig.target.queue_closed(rig.now, controller, 1);
        assert!(rig.csts(controller).cfs());
        // What is left is the time in which the host may enable it again.
        assert_eq!(rig.target.next_deadline(), Some(Time::ORIGIN + Duration::from_secs(120)));
    }
}

#[test]
fn a_reset_brings_the_defaults_back_and_ends_event_requests() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let set = command(AdminOpcode::SET_FEATURES, 0, 0x01, 0x0102_0303);
    let get = command(AdminOpcode::GET_FEATURES, 0, 0x01, 0);
    assert_eq!(rig.status(controller, &set), Status::SUCCESS);
    assert_eq!(rig.done(controller, &get).1, 0x0102_0303);
    assert_eq!(rig.send(controller, &event_request(5)), Reply::Deferred);
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    assert_eq!(rig.actions(), [aborted(controller, 5)]);
    rig.enable(controller);
    assert_eq!(rig.done(controller, &get).1, 0);
}

#[test]
fn a_keep_alive_timer_is_rounded_up_and_restarted_by_keep_alive_alone() {
    let mut rig = Rig::new();
    let mut wish = Wish::admin(DISK0);
    wish.connect.kato.set(4_001);
    let controller = rig.admin_queue(&wish);
    rig.enable(controller);
    rig.io_queue(controller, 1).unwrap();
    assert_eq!(rig.done(controller, &command(AdminOpcode::GET_FEATURES, 0, 0x0f, 0)).1, 5_000);
    rig.pass(4_999);
    assert_eq!(rig.status(controller, &keep_alive()), Status::SUCCESS);
    rig.pass(4_999);
    assert_eq!(rig.done(controller, &command(AdminOpcode::GET_FEATURES, 0, 0x0f, 0)).1, 5_000);
    assert_eq!(rig.actions(), []);
    rig.pass(1);
    assert_eq!(rig.actions(), [close(controller, 1), Action::CloseAdmin { controller }]);
    assert!(rig.csts(controller).cfs());
    rig.io_queue(controller, 2).unwrap_err();
    rig.pass(60_000);
    assert_eq!(rig.actions(), []);
    rig.target.admin_closed(rig.now, controller);
    rig.target.queue_closed(rig.now, controller, 1);
    assert_eq!(rig.target.controllers().count(), 0);
}

/// A controller with this keep alive timer, in milliseconds, and one I/O queue.
fn kept_alive(rig: &mut Rig, kato: u32) -> ControllerId {
    let mut wish = Wish::admin(DISK0);
    wish.connect.kato.set(kato);
    let controller = rig.admin_queue(&wish);
    rig.enable(controller);
    rig.io_queue(controller, 1).unwrap();
    controller
}

#[test]
fn a_keep_alive_timer_counts_only_while_a_controller_is_ready() {
    for cc in [0, SHUT_DOWN] {
        let mut rig = Rig::new();
        let controller = kept_alive(&mut rig, 5_000);
        rig.pass(4_999);
        assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS);
        assert_eq!(rig.actions(), [close(controller, 1)]);
        rig.pass(6_000);
        assert_eq!(rig.actions(), [], "{cc:x}: its queue is being closed");
        rig.target.queue_closed(rig.now, controller, 1);
        rig.pass(6_000);
        assert_eq!(rig.actions(), [], "{cc:x}: at rest");
        if cc != 0 {
            assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
        }
        rig.enable(controller);
        rig.pass(4_999);
        assert_eq!(rig.actions(), [], "{cc:x}: its time begins when it is ready");
        rig.pass(1);
        assert_eq!(rig.actions(), [Action::CloseAdmin { controller }], "{cc:x}");
    }
    // So it is before a controller is enabled for the first time.
    let mut rig = Rig::new();
    let mut wish = Wish::admin(DISK0);
    wish.connect.kato.set(5_000);
    let controller = rig.admin_queue(&wish);
    rig.pass(60_000);
    rig.enable(controller);
    rig.pass(4_999);
    assert_eq!(rig.actions(), []);
    rig.pass(1);
    assert_eq!(rig.actions(), [Action::CloseAdmin { controller }]);
}

#[test]
fn a_host_that_vanishes_is_given_up_in_every_state() {
    let unsupported = ENABLE | 1 << 7;
    //  what it wrote, whether its I/O queue is closed
    let rows: [(&[u32], bool); 8] = [
        (&[], false),
        (&[0], false),
        (&[0], true),
        (&[SHUT_DOWN], false),
        (&[SHUT_DOWN], true),
        (&[0, unsupported], true),
        (&[SHUT_DOWN, 0], false),
        (&[0, SHUT_DOWN], false),
    ];
    for (values, closes) in rows {
        let mut rig = Rig::new();
        let controller = kept_alive(&mut rig, 5_000);
        for (index, cc) in values.iter().enumerate() {
            assert_eq!(rig.set_cc(controller, *cc), Status::SUCCESS, "{values:x?}");
            if closes && index == 0 {
                rig.target.queue_closed(rig.now, controller, 1);
            }
        }
        let (mut actions, start) = (Vec::new(), rig.now);
        while let Some(deadline) = rig.target.next_deadline() {
            rig.now = deadline;
            rig.target.tick(deadline);
            actions.extend(rig.actions());
        }
        assert!(actions.contains(&Action::CloseAdmin { controller }), "{values:x?}: {actions:?}");
        assert!(rig.now.since(start) <= Duration::from_secs(120), "{values:x?}");
        rig.target.admin_closed(rig.now, controller);
        rig.target.queue_closed(rig.now, controller, 1);
        assert_eq!(rig.target.controllers().count(), 0, "{values:x?}");
    }
}

#[test]
fn a_keep_alive_timer_can_be_changed_and_switched_off() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    assert_eq!(rig.target.next_deadline(), None);
    let rows = [(1, 1_000), (1_000, 1_000), (3_600_000, 3_600_000), (0, 0)];
    for (set, kept) in rows {
        assert_eq!(
            rig.status(controller, &command(AdminOpcode::SET_FEATURES, 0, 0x0f, set)),
            Status::SUCCESS
        );
        assert_eq!(rig.done(controller, &command(AdminOpcode::GET_FEATURES, 0, 0x0f, 0)).1, kept);
        assert_eq!(rig.target.next_deadline().is_some(), kept != 0);
    }
}

#[test]
fn a_keep_alive_timer_is_within_its_bounds() {
    let options = Options { keep_alive_ms: (10_000, 60_500), ..Options::default() };
    let mut rig = Rig::with(options, shape(512, false, Features::ALL));
    let refusal = Refusal { status: Status::KEEP_ALIVE_INVALID.with_dnr(), dw0: 0 };
    for nqn in [DISK0, DISCOVERY_NQN] {
        //  asked for, granted; the granularity is a second
        let rows = [
            (0, Some(0)),
            (1, Some(10_000)),
            (9_999, Some(10_000)),
            (10_001, Some(11_000)),
            (60_000, Some(60_000)),
            (60_500, Some(61_000)),
            (60_501, None),
            (u32::MAX, None),
        ];
        let set = |kato| command(AdminOpcode::SET_FEATURES, 0, 0x0f, kato);
        let get = command(AdminOpcode::GET_FEATURES, 0, 0x0f, 0);
        for (asked, granted) in rows {
            let mut wish = Wish::admin(nqn);
            wish.connect.kato.set(asked);
            let connected = rig.connect(&wish);
            let Some(kato) = granted else {
                assert_eq!(connected.unwrap_err(), refusal, "{asked}");
                continue;
            };
            let Ok(Connected::Admin { controller, .. }) = connected else { panic!("{connected:?}") };
            rig.enable(controller);
            assert_eq!(rig.done(controller, &get).1, kato, "{asked}");
            for (asked, granted) in rows {
                let before = rig.done(controller, &get).1;
                let status = rig.status(controller, &set(asked));
                let expected = if granted.is_some() { Status::SUCCESS } else { refusal.status };
                assert_eq!(status, expected, "{asked}");
                assert_eq!(rig.done(controller, &get).1, granted.unwrap_or(before), "{asked}");
            }
            rig.target.admin_closed(rig.now, controller);
        }
    }
}

#[test]
fn a_discovery_controller_without_a_timer_is_closed_when_it_is_idle() {
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISCOVERY_NQN));
    rig.pass(119_000);
    rig.enable(controller);
    rig.pass(119_999);
    assert_eq!(rig.actions(), []);
    rig.pass(1);
    assert_eq!(rig.actions(), [Action::CloseAdmin { controller }]);
}

#[test]
fn an_association_outlives_a_disabled_controller_for_two_minutes() {
    let cases: [(&str, &[u32]); 4] = [
        ("never enabled", &[]),
        ("disabled", &[ENABLE, 0]),
        ("shut down", &[ENABLE, SHUT_DOWN]),
        ("failed", &[ENABLE | 1 << 7]),
    ];
    for (name, values) in cases {
        let mut rig = Rig::new();
        let controller = rig.admin_queue(&Wish::admin(DISK0));
        for value in values {
            assert_eq!(rig.set_cc(controller, *value), Status::SUCCESS, "{name}");
        }
        rig.pass(119_999);
        assert_eq!(rig.actions(), [], "{name}");
        rig.pass(1);
        assert_eq!(rig.actions(), [Action::CloseAdmin { controller }], "{name}");
        assert_eq!(rig.target.next_deadline(), None, "{name}");
    }
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISK0));
    rig.pass(119_999);
    rig.enable(controller);
    rig.pass(10_000_000);
    assert_eq!(rig.actions(), []);
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    rig.pass(119_999);
    rig.enable(controller);
    rig.pass(10_000_000);
    assert_eq!(rig.actions(), []);
}

#[test]
fn the_end_of_the_admin_queue_closes_the_others_without_completions() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.io_queue(controller, 7).unwrap();
    assert_eq!(rig.send(controller, &event_request(1)), Reply::Deferred);
    rig.target.admin_closed(rig.now, controller);
    assert_eq!(rig.actions(), [close(controller, 7)]);
    assert!(rig.target.association(controller).is_some());
    rig.target.queue_closed(rig.now, controller, 7);
    assert!(rig.target.association(controller).is_none());
    // Late reports of what is gone are nothing.
    rig.target.queue_closed(rig.now, controller, 7);
    rig.target.admin_closed(rig.now, controller);
}

#[test]
fn a_queue_is_asked_to_close_once() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.io_queue(controller, 1).unwrap();
    assert_eq!(rig.set_cc(controller, SHUT_DOWN), Status::SUCCESS);
    assert_eq!(rig.actions(), [close(controller, 1)]);
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    rig.target.admin_closed(rig.now, controller);
    assert_eq!(rig.actions(), []);
}

#[test]
fn a_queue_that_ends_by_itself_leaves_the_controller_ready() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.io_queue(controller, 1).unwrap();
    rig.target.queue_closed(rig.now, controller, 1);
    assert!(rig.csts(controller).rdy());
    assert_eq!(rig.actions(), []);
    rig.io_queue(controller, 1).unwrap();
}

#[test]
fn a_fifth_event_request_is_too_many() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    for cid in 0..4 {
        assert_eq!(rig.send(controller, &event_request(cid)), Reply::Deferred);
    }
    let limit = Status::ASYNC_EVENT_LIMIT_EXCEEDED;
    assert_eq!(rig.status(controller, &event_request(4)), limit);
}

#[test]
fn abort_ends_an_event_request() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    assert_eq!(rig.send(controller, &event_request(3)), Reply::Deferred);
    let rows = [(3 << 16 | 1, 1, false), (4 << 16, 1, false), (3 << 16, 0, true), (3 << 16, 1, false)];
    for (cdw10, dw0, ends) in rows {
        let abort = command(AdminOpcode::ABORT, 0, cdw10, 0);
        assert_eq!(rig.done(controller, &abort), (Status::SUCCESS, dw0, Vec::new()), "{cdw10:x}");
        let expected = if ends { vec![aborted(controller, 3)] } else { Vec::new() };
        assert_eq!(rig.actions(), expected, "{cdw10:x}");
    }
}

#[test]
fn abort_of_an_io_command_is_answered_when_its_queue_has_answered() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.io_queue(controller, 2).unwrap();
    let abort = |cid: u16, victim: u32| {
        let mut sqe = command(AdminOpcode::ABORT, 0, victim << 16 | 2, 0);
        sqe.cid.set(cid);
        sqe
    };
    for cid in 20..24u16 {
        assert_eq!(rig.send(controller, &abort(cid, 0x4000 + u32::from(cid))), Reply::Deferred);
        let expected = Action::Abort { controller, cid, qid: 2, victim: 0x4000 + cid };
        assert_eq!(rig.actions(), [expected]);
    }
    let limit = Status::ABORT_LIMIT_EXCEEDED;
    assert_eq!(rig.status(controller, &abort(24, 1)), limit);
    for (cid, dw0) in [(21, 0), (20, 1)] {
        rig.target.complete_deferred(controller, cid, Status::SUCCESS, dw0);
        assert_eq!(rig.actions(), [Action::Complete { controller, cid, status: Status::SUCCESS, dw0 }]);
    }
    assert_eq!(rig.send(controller, &abort(24, 1)), Reply::Deferred);
}

#[test]
fn a_change_of_the_discovery_log_is_told_once_until_it_is_read() {
    let mut rig = Rig::new();
    let watching = rig.discovery(HOST);
    let deaf = rig.discovery(HOST);
    let configure = command(AdminOpcode::SET_FEATURES, 0, 0x0b, AEC_DISCOVERY);
    assert_eq!(rig.status(watching, &configure), Status::SUCCESS);
    assert_eq!(rig.send(watching, &event_request(1)), Reply::Deferred);
    assert_eq!(rig.send(deaf, &event_request(1)), Reply::Deferred);
    let mut added = 0;
    let mut add = |rig: &mut Rig| {
        added += 1;
        let nqn = format!("nqn.2026-11.io.corelane:added{added}");
        rig.target.add_subsystem(subsystem(&nqn, Hosts::Any, Vec::new())).unwrap();
        rig.actions()
    };
    let told =
        Action::Complete { controller: watching, cid: 1, status: Status::SUCCESS, dw0: DISCOVERY_CHANGED };
    assert_eq!(add(&mut rig), [told]);
    assert_eq!(rig.send(watching, &event_request(2)), Reply::Deferred);
    assert_eq!(add(&mut rig), []);
    let (retain, clear) = (1u32 << 15, 0u32);
    let read = |flags: u32| command(AdminOpcode::GET_LOG_PAGE, 0, 0x70 | flags | 3 << 16, 0);
    assert_eq!(rig.status(watching, &read(retain)), Status::SUCCESS);
    assert_eq!(add(&mut rig), []);
    assert_eq!(rig.status(watching, &read(clear)), Status::SUCCESS);
    assert_eq!(rig.done(watching, &command(AdminOpcode::ABORT, 0, 2 << 16, 0)).1, 0);
    assert_eq!(
        rig.actions(),
        [Action::Complete { controller: watching, cid: 2, status: Status::ABORT_REQUESTED, dw0: 0 }]
    );
    // Nobody waits: the next request is answered at once.
    assert_eq!(add(&mut rig), []);
    assert_eq!(rig.done(watching, &event_request(6)), (Status::SUCCESS, DISCOVERY_CHANGED, Vec::new()));
}
