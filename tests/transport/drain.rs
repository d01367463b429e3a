//! The orderly end: what is in flight is finished, whoever is slow, and nobody can hold it up for ever.

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Bdev, Delay, Delays};
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane_reactors::clock::Clock;

use crate::host::Wish;
use crate::rig::{Rig, memory, settings};

const ADMIN: usize = 0;
const IO: usize = 1;
const DELAY: Duration = Duration::from_secs(50);

fn slow(clock: &Clock) -> Arc<dyn Bdev> {
    Arc::new(Delay::new(memory(), clock.clone(), Delays { fixed: DELAY, ..Delays::default() }))
}

/// Waits for both connections to be closed, hangs up as hosts do, and waits for the end.
fn ends(rig: &mut Rig) {
    rig.until("the end of the I/O queue", |rig| rig.hosts[IO].closed);
    rig.hosts[IO].hang_up();
    rig.until("the end of the admin queue", |rig| rig.hosts[ADMIN].closed);
    rig.hosts[ADMIN].hang_up();
    rig.until("the end", |rig| rig.management.borrow().is_drained() && rig.io.borrow().is_drained());
    assert_eq!(rig.live(), 0);
}

#[test]
fn commands_of_a_slow_device_are_answered() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), slow);
    for cid in 0..3 {
        rig.hosts[IO].in_capsule(cid, command::write(1, u64::from(cid), 1, false), &[7; 512]);
    }
    rig.quiet();
    rig.management.borrow_mut().drain();
    rig.quiet();
    assert!(!rig.hosts[IO].closed && !rig.hosts[ADMIN].closed);
    rig.pass(DELAY);
    for cid in 0..3 {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
    ends(&mut rig);
}

#[test]
fn a_write_whose_data_is_on_its_way_is_answered() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    rig.hosts[IO].on_request(1, command::write(1, 0, 256, false), &[7; 128 << 10]);
    rig.hosts[IO].pump();
    rig.hosts[IO].talkative = false;
    rig.quiet();
    rig.management.borrow_mut().drain();
    rig.quiet();
    assert!(!rig.hosts[IO].closed);
    rig.hosts[IO].talkative = true;
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    ends(&mut rig);
}

#[test]
fn data_that_the_socket_did_not_take_yet_arrives() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    rig.hosts[IO].appetite = 0;
    for cid in 0..120 {
        rig.hosts[IO].read(cid, command::read(1, 0, 256), 128 << 10);
    }
    rig.quiet();
    rig.management.borrow_mut().drain();
    rig.quiet();
    rig.hosts[IO].appetite = usize::MAX;
    for cid in 0..120 {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
    ends(&mut rig);
}

#[test]
fn commands_that_come_late_are_not_carried_out() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), slow);
    rig.hosts[IO].in_capsule(1, command::write(1, 0, 1, false), &[7; 512]);
    rig.quiet();
    rig.management.borrow_mut().drain();
    rig.quiet();
    rig.hosts[IO].in_capsule(2, command::write(1, 0, 1, false), &[8; 512]);
    rig.quiet();
    rig.pass(DELAY);
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    ends(&mut rig);
    assert!(rig.hosts[IO].completions.is_empty());
    assert_eq!(rig.counters.commands.read(), 1);
}

#[test]
fn hosts_that_say_nothing_are_left_after_a_while() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    rig.hosts[ADMIN].appetite = 0;
    rig.hosts[IO].appetite = 0;
    rig.management.borrow_mut().drain();
    rig.quiet();
    for _ in 0..2 {
        rig.pass(settings().linger);
    }
    assert!(rig.management.borrow().is_drained());
    assert_eq!(rig.live(), 0);
}

#[test]
fn connections_that_come_late_are_closed() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), slow);
    rig.hosts[IO].in_capsule(1, command::write(1, 0, 1, false), &[7; 512]);
    let opening = rig.host(&Wish::default());
    rig.quiet();
    rig.management.borrow_mut().drain();
    rig.until("the end of what is not connected", |rig| rig.hosts[opening].closed);
    assert!(!rig.hosts[ADMIN].closed);
}
