//! Abort commands across reactors: the admin queue is on one, the command on another.

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Delay, Delays, Memory};
use corelane::initiator::command;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane::transport::{QueueBuffers, Settings};

use crate::host::Wish;
use crate::manual::Manual;
use crate::rig::{Rig, memory, settings};

const ADMIN: usize = 0;
const IO: usize = 1;
const ABORTED: u32 = 0;
const NOT_ABORTED: u32 = 1;

/// Aborts a command of the I/O queue `qid`.
fn abort(rig: &mut Rig, cid: u16, qid: u16, victim: u16) {
    let mut sqe = Sqe::of(AdminOpcode::ABORT.0, cid, 0);
    sqe.cdw10.set(u32::from(victim) << 16 | u32::from(qid));
    rig.hosts[ADMIN].plain(cid, sqe);
}

/// CID, status and DW0 of the next completion on the admin queue.
fn answer(rig: &mut Rig) -> (u16, Status, u32) {
    let cqe = rig.cqe(ADMIN);
    (cqe.cid.get(), cqe.status(), cqe.dw0.get())
}

fn slow(settings: &Settings) -> Rig {
    let delays = Delays { fixed: Duration::from_secs(50), ..Delays::default() };
    Rig::connected(settings, &Wish::default(), |clock| Arc::new(Delay::new(memory(), clock.clone(), delays)))
}

#[test]
fn a_command_in_its_device_is_aborted_there_and_not_carried_out() {
    let mut rig = slow(&settings());
    rig.hosts[IO].in_capsule(5, command::write(1, 0, 1, false), &[3; 512]);
    rig.hosts[IO].in_capsule(6, command::write(1, 1, 1, false), &[4; 512]);
    rig.quiet();
    abort(&mut rig, 9, 1, 5);
    assert_eq!(answer(&mut rig), (9, Status::SUCCESS, ABORTED));
    assert_eq!(rig.completion(IO), (5, Status::ABORT_REQUESTED));
    // The other one was let run, and the aborted one has written nothing.
    rig.pass(Duration::from_secs(51));
    assert_eq!(rig.completion(IO), (6, Status::SUCCESS));
    rig.hosts[IO].read(7, command::read(1, 0, 2), 1024);
    rig.quiet();
    rig.pass(Duration::from_secs(51));
    assert_eq!(rig.completion(IO), (7, Status::SUCCESS));
    assert_eq!(rig.hosts[IO].reads[&7], [[0; 512], [4; 512]].concat());
}

#[test]
fn a_command_that_waits_for_a_buffer_is_aborted_at_once() {
    let few = QueueBuffers { small: 0, medium: 0, large: 2 };
    let mut rig = slow(&Settings { buffers: few, ..settings() });
    for cid in 1..=4 {
        rig.hosts[IO].read(cid, command::read(1, 0, 256), 128 << 10);
    }
    rig.quiet();
    abort(&mut rig, 9, 1, 4);
    assert_eq!(answer(&mut rig), (9, Status::SUCCESS, ABORTED));
    assert_eq!(rig.completion(IO), (4, Status::ABORT_REQUESTED));
    // The others get the buffers one after the other.
    for _ in 1..=3 {
        rig.pass(Duration::from_secs(51));
    }
    for cid in 1..=3 {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
    assert!(rig.hosts[IO].completions.is_empty());
}

#[test]
fn a_command_whose_data_is_under_way_takes_it_and_does_nothing() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    rig.hosts[IO].on_request(5, command::write(1, 0, 32, false), &[3; 16 << 10]);
    rig.hosts[IO].pump();
    rig.hosts[IO].talkative = false;
    rig.quiet();
    abort(&mut rig, 9, 1, 5);
    assert_eq!(answer(&mut rig), (9, Status::SUCCESS, NOT_ABORTED));
    assert!(rig.hosts[IO].completions.is_empty());
    rig.hosts[IO].talkative = true;
    assert_eq!(rig.completion(IO), (5, Status::ABORT_REQUESTED));
    rig.hosts[IO].read(6, command::read(1, 0, 32), 16 << 10);
    assert_eq!(rig.completion(IO), (6, Status::SUCCESS));
    assert!(rig.hosts[IO].reads[&6].iter().all(|byte| *byte == 0));
}

#[test]
fn a_device_that_does_not_let_go_does_not_hold_up_the_abort_command() {
    let device = Manual::new(Memory::Own);
    let bdev = Arc::clone(&device);
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| bdev);
    rig.hosts[IO].plain(5, command::flush(1));
    rig.quiet();
    // One that cannot abort says so at once.
    abort(&mut rig, 8, 1, 5);
    assert_eq!(answer(&mut rig), (8, Status::SUCCESS, NOT_ABORTED));
    device.accept_aborts();
    abort(&mut rig, 9, 1, 5);
    rig.quiet();
    assert!(rig.hosts[ADMIN].completions.is_empty());
    rig.pass(Duration::from_secs(1));
    assert_eq!(answer(&mut rig), (9, Status::SUCCESS, NOT_ABORTED));
    // It was carried out after all.
    device.complete(1);
    assert_eq!(rig.completion(IO), (5, Status::SUCCESS));
    assert_eq!(device.aborts(), 2);
}

#[test]
fn what_is_not_there_is_not_aborted() {
    let mut rig = slow(&settings());
    rig.hosts[IO].plain(5, command::flush(1));
    rig.quiet();
    for (cid, qid, victim) in [(9, 1, 6), (10, 2, 5), (11, 0, 5), (12, u16::MAX, 5)] {
        abort(&mut rig, cid, qid, victim);
        assert_eq!(answer(&mut rig), (cid, Status::SUCCESS, NOT_ABORTED), "{qid} {victim}");
    }
    assert!(rig.hosts[IO].completions.is_empty());
}

#[test]
fn an_abort_is_answered_when_its_queue_ends_first() {
    let device = Manual::new(Memory::Own);
    let bdev = Arc::clone(&device);
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| bdev);
    device.accept_aborts();
    rig.hosts[IO].plain(5, command::flush(1));
    rig.quiet();
    abort(&mut rig, 9, 1, 5);
    rig.quiet();
    rig.hosts[IO].hang_up();
    rig.quiet();
    device.complete(1);
    assert_eq!(answer(&mut rig), (9, Status::SUCCESS, NOT_ABORTED));
}
