//! What an operator changes while hosts are connected: how namespaces are reached, and who has them.

use std::sync::Arc;

use corelane::bdev::Memory;
use corelane::initiator::command;
use corelane::nvmf::fence::recover::Recovered;
use corelane::nvmf::host::Hosts;
use corelane::nvmf::namespace::Namespace;
use corelane::nvmf::policy::Policy;
use corelane::nvmf::target::Target;
use corelane::reservation;
use corelane::spec::ana::AnaState;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane_reactors::clock::Time;
use uuid::Uuid;

use crate::host::Wish;
use crate::manual::Manual;
use crate::rig::{Rig, memory, settings};

const ADMIN: usize = 0;
const IO: usize = 1;
const NAMESPACES_CHANGED: u32 = 0x0004_0002;
const ANA_CHANGED: u32 = 0x000c_0302;

fn change(rig: &mut Rig, change: impl FnOnce(&mut Policy) + Send + 'static) {
    rig.change(move |target: &mut Target| {
        let mut policy = target.policy(0).clone();
        change(&mut policy);
        target.set_policy(Time::ORIGIN, 0, policy);
    });
    rig.quiet();
}

fn set_state(rig: &mut Rig, state: AnaState) {
    change(rig, move |policy| {
        policy.ana.as_mut().expect("it has ANA").states.insert((0, 1), state);
    });
}

/// What a read of the I/O queue answers.
fn read(rig: &mut Rig) -> Status {
    rig.hosts[IO].read(20, command::read(1, 0, 1), 512);
    let (cid, status) = rig.completion(IO);
    assert_eq!(cid, 20);
    status
}

/// A host that wants to hear of everything.
fn connected() -> Rig {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    let mut sqe = Sqe::of(AdminOpcode::SET_FEATURES.0, 3, 0);
    sqe.cdw10.set(0x0b);
    sqe.cdw11.set(1 << 8 | 1 << 11);
    rig.hosts[ADMIN].plain(3, sqe);
    assert_eq!(rig.completion(ADMIN), (3, Status::SUCCESS));
    rig
}

fn ask_for_event(rig: &mut Rig, cid: u16) {
    rig.hosts[ADMIN].plain(cid, Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, cid, 0));
    rig.quiet();
}

#[test]
fn commands_are_answered_by_the_state_of_their_path() {
    let mut rig = connected();
    let rows = [
        (AnaState::INACCESSIBLE, Status::ANA_INACCESSIBLE),
        (AnaState::PERSISTENT_LOSS, Status::ANA_PERSISTENT_LOSS),
        (AnaState::CHANGE, Status::ANA_TRANSITION),
        (AnaState::NON_OPTIMIZED, Status::SUCCESS),
        (AnaState::OPTIMIZED, Status::SUCCESS),
    ];
    for (state, status) in rows {
        set_state(&mut rig, state);
        assert_eq!(read(&mut rig), status, "{state:?}");
    }
}

#[test]
fn a_write_whose_data_is_under_way_is_judged_when_it_is_there() {
    let mut rig = connected();
    rig.hosts[IO].on_request(5, command::write(1, 0, 32, false), &[3; 16 << 10]);
    rig.hosts[IO].pump();
    rig.hosts[IO].talkative = false;
    rig.quiet();
    set_state(&mut rig, AnaState::INACCESSIBLE);
    rig.hosts[IO].talkative = true;
    assert_eq!(rig.completion(IO), (5, Status::ANA_INACCESSIBLE));
    set_state(&mut rig, AnaState::OPTIMIZED);
    assert_eq!(read(&mut rig), Status::SUCCESS);
    assert_eq!(rig.hosts[IO].reads[&20], [0; 512]);
}

#[test]
fn an_event_comes_when_the_queues_judge_by_what_it_tells() {
    let mut rig = connected();
    ask_for_event(&mut rig, 7);
    set_state(&mut rig, AnaState::INACCESSIBLE);
    let cqe = rig.cqe(ADMIN);
    assert_eq!((cqe.cid.get(), cqe.dw0.get()), (7, ANA_CHANGED));
    assert_eq!(read(&mut rig), Status::ANA_INACCESSIBLE);
}

#[test]
fn a_namespace_that_is_taken_from_a_host_is_not_there_and_comes_back() {
    let mut rig = connected();
    ask_for_event(&mut rig, 7);
    change(&mut rig, |policy| {
        policy.masks.insert(1, Hosts::Listed([].into()));
    });
    assert_eq!(read(&mut rig), Status::INVALID_FIELD.with_dnr());
    let cqe = rig.cqe(ADMIN);
    assert_eq!((cqe.cid.get(), cqe.dw0.get()), (7, NAMESPACES_CHANGED));
    change(&mut rig, |policy| policy.masks.clear());
    assert_eq!(read(&mut rig), Status::SUCCESS);
}

fn read_of(rig: &mut Rig, nsid: u32) -> Status {
    rig.hosts[IO].read(21, command::read(nsid, 0, 1), 512);
    let (cid, status) = rig.completion(IO);
    assert_eq!(cid, 21);
    status
}

#[test]
fn a_namespace_comes_to_queues_that_are_open_and_goes_while_it_works() {
    let mut rig = connected();
    ask_for_event(&mut rig, 7);
    assert_eq!(read_of(&mut rig, 2), Status::INVALID_FIELD.with_dnr());
    let device = Manual::new(Memory::Own);
    let bdev = Arc::clone(&device);
    rig.change(move |target: &mut Target| {
        let namespace = Namespace { nsid: 2, uuid: Uuid::from_u128(2), bdev };
        let options = reservation::Options { ptpl: false };
        target.add_namespace(0, namespace, Recovered::Fenced, options).expect("a new one");
        target.set_policy(Time::ORIGIN, 0, target.policy(0).clone());
    });
    let cqe = rig.cqe(ADMIN);
    assert_eq!((cqe.cid.get(), cqe.dw0.get()), (7, NAMESPACES_CHANGED));
    rig.hosts[IO].plain(5, command::flush(2));
    rig.quiet();
    let second = rig.open_queue(2, &Wish::default());
    rig.hosts[second].plain(6, command::flush(2));
    rig.quiet();
    assert_eq!(device.held(), 2);
    // It goes: what its device has goes on, and nothing more reaches it.
    change(&mut rig, |policy| {
        policy.masks.insert(2, Hosts::Listed([].into()));
    });
    assert_eq!(read_of(&mut rig, 2), Status::INVALID_FIELD.with_dnr());
    device.complete(2);
    assert_eq!(rig.completion(IO), (5, Status::SUCCESS));
    assert_eq!(rig.completion(second), (6, Status::SUCCESS));
    assert_eq!(read(&mut rig), Status::SUCCESS);
}

#[test]
fn a_queue_that_opens_after_a_change_judges_by_it() {
    let mut rig = connected();
    set_state(&mut rig, AnaState::INACCESSIBLE);
    let second = rig.open_queue(2, &Wish::default());
    rig.hosts[second].read(1, command::read(1, 0, 1), 512);
    assert_eq!(rig.completion(second), (1, Status::ANA_INACCESSIBLE));
}

#[test]
fn a_host_that_may_not_connect_any_more_loses_its_connections() {
    let mut rig = connected();
    change(&mut rig, |policy| policy.hosts = Hosts::Listed([].into()));
    rig.pass(std::time::Duration::from_secs(2));
    assert!(rig.hosts[ADMIN].closed && rig.hosts[IO].closed);
    assert_eq!(rig.live(), 0);
}
