//! Connections that end: by a time limit, by a mistake, by hanging up; with commands in a device.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Delay, Delays, Memory};
use corelane::initiator::command;
use corelane::spec::register::Property;
use corelane::spec::status::Status;

use crate::host::Wish;
use crate::manual::Manual;
use crate::rig::{Rig, memory, settings};

const ADMIN: usize = 0;
const IO: usize = 1;
/// More than the rounds of a test take.
const MOMENT: Duration = Duration::from_secs(2);

#[test]
fn a_peer_that_says_nothing_is_closed_in_time() {
    let mut rig = Rig::new(&settings(), |_| memory());
    let mut silent = TcpStream::connect(rig.address).unwrap();
    silent.set_nonblocking(true).unwrap();
    rig.until("an accepted connection", |rig| rig.live() == 1);
    rig.quiet();
    rig.pass(settings().icreq_timeout - MOMENT);
    assert_eq!(rig.live(), 1);
    rig.pass(2 * MOMENT);
    assert_eq!(rig.live(), 0);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_host_that_does_not_connect_is_closed_in_time() {
    let mut rig = Rig::new(&settings(), |_| memory());
    let host = rig.host(&Wish::default());
    rig.pass(settings().connect_timeout - MOMENT);
    assert_eq!(rig.live(), 1);
    // Other commands do not count as Connect.
    rig.hosts[host].plain(1, command::keep_alive());
    assert_eq!(rig.completion(host), (1, Status::COMMAND_SEQUENCE_ERROR.with_dnr()));
    rig.pass(2 * MOMENT);
    assert_eq!(rig.live(), 0);
}

#[test]
fn connections_that_are_gone_leave_no_time_limit() {
    let mut rig = Rig::new(&settings(), |_| memory());
    for _ in 0..3 * settings().connections_max {
        rig.host(&Wish::default());
        rig.hosts.pop();
        rig.quiet();
    }
    assert_eq!((rig.live(), rig.waits_until()), (0, None));
}

#[test]
fn a_connected_host_may_be_silent() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    for _ in 0..4 {
        rig.pass(settings().icreq_timeout + settings().connect_timeout);
    }
    rig.hosts[IO].plain(1, command::flush(1));
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
}

#[test]
fn a_refused_host_that_stays_is_closed_after_a_while() {
    let mut rig = Rig::new(&settings(), |_| memory());
    let host = rig.host(&Wish::default());
    rig.hosts[host].connect(0, "nqn.2026-11.io.corelane:other", u16::MAX, 0, &Wish::default());
    let (_, status) = rig.completion(host);
    assert!(status.is(Status::CONNECT_INVALID_PARAMETERS));
    rig.quiet();
    assert_eq!(rig.live(), 1);
    rig.pass(settings().linger);
    assert_eq!(rig.live(), 0);
}

#[test]
fn one_connection_too_many_is_closed() {
    let mut rig = Rig::new(&settings(), |_| memory());
    let max = settings().connections_max;
    for _ in 0..max {
        rig.host(&Wish::default());
    }
    let mut more = TcpStream::connect(rig.address).unwrap();
    more.set_nonblocking(true).unwrap();
    rig.quiet();
    assert_eq!(more.read(&mut [0]).unwrap(), 0);
    assert_eq!(rig.live(), max);
    rig.hosts.pop();
    rig.quiet();
    rig.host(&Wish::default());
}

#[test]
fn a_mistake_costs_only_its_own_connection() {
    let wish = Wish::default();
    let mut rig = Rig::connected(&settings(), &wish, |_| memory());
    let other = rig.open_queue(2, &wish);
    rig.hosts[other].send_raw(&[0xff; 64]);
    rig.until("the end of the wrong queue", |rig| rig.hosts[other].closed);
    assert_eq!(rig.counters.protocol_errors.read(), 1);
    rig.hosts[IO].plain(1, command::flush(1));
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
}

#[test]
fn commands_of_a_dead_connection_come_back_before_its_place_is_free() {
    let bdev = Manual::new(Memory::Own);
    let device = Arc::clone(&bdev);
    let wish = Wish::default();
    let mut rig = Rig::connected(&settings(), &wish, |_| device);
    for cid in 0..4 {
        rig.hosts[IO].in_capsule(cid, command::write(1, 0, 1, false), &[1; 512]);
    }
    rig.quiet();
    rig.hosts[IO].hang_up();
    rig.quiet();
    assert_eq!((bdev.held(), rig.live()), (4, 2));

    // What is new meanwhile gets its own completions, and only those.
    let other = rig.open_queue(2, &wish);
    rig.hosts[other].in_capsule(9, command::write(1, 0, 1, false), &[1; 512]);
    rig.quiet();
    for late in 1..=4 {
        bdev.complete(1);
        rig.quiet();
        assert_eq!(rig.counters.completed_late.read(), late);
        assert!(rig.hosts[other].completions.is_empty());
        assert_eq!(rig.live(), if late < 4 { 3 } else { 2 });
    }
    assert_eq!(bdev.aborts(), 4, "each command is asked to end once");
    bdev.complete(1);
    assert_eq!(rig.completion(other), (9, Status::SUCCESS));
}

#[test]
fn a_reset_takes_commands_out_of_a_device_that_hangs() {
    let delay = Arc::new(std::sync::OnceLock::new());
    let kept = Arc::clone(&delay);
    let mut rig = Rig::connected(&settings(), &Wish::default(), |clock| {
        Arc::clone(kept.get_or_init(|| Arc::new(Delay::new(memory(), clock.clone(), Delays::default())))) as _
    });
    delay.get().unwrap().hang();
    for cid in 0..100 {
        rig.hosts[IO].in_capsule(cid, command::write(1, 0, 1, false), &[1; 512]);
    }
    rig.quiet();
    rig.hosts[ADMIN].plain(1, command::property_set(Property::CC, 0x0046_0000));
    assert_eq!(rig.completion(ADMIN), (1, Status::SUCCESS));
    rig.until("the end of the queue", |rig| rig.hosts[IO].closed && rig.live() == 1);
    assert_eq!(rig.counters.completed_late.read(), 100);
    rig.hosts[ADMIN].plain(2, command::property_get(Property::CSTS));
    let cqe = rig.cqe(ADMIN);
    assert_eq!((cqe.cid.get(), cqe.dw0.get()), (2, 0), "the controller is at rest");
}

#[test]
fn a_host_hears_of_a_reset_although_its_device_hangs() {
    let bdev = Manual::new(Memory::Own);
    let device = Arc::clone(&bdev);
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| device);
    rig.hosts[IO].in_capsule(1, command::write(1, 0, 1, false), &[1; 512]);
    rig.quiet();
    rig.hosts[ADMIN].plain(1, command::property_set(Property::CC, 0x0046_0000));
    rig.until("the end of the queue", |rig| rig.hosts[IO].closed);
    assert_eq!(rig.live(), 2);
    bdev.complete(1);
    rig.until("the end of the command", |rig| rig.live() == 1);
}
