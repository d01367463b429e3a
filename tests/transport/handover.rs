//! The way of an I/O queue from the management reactor to its own.

use corelane::initiator::command;
use corelane::spec::status::Status;
use zerocopy::IntoBytes;

use crate::host::{Wish, connect};
use crate::rig::{NQN, Rig, memory, settings};

#[test]
fn bytes_right_behind_the_connect_command_are_not_lost() {
    for digests in [false, true] {
        let wish = Wish { digests, ..Wish::default() };
        let mut rig = Rig::new(&settings(), |_| memory());
        rig.associate(&wish);
        let io = rig.host(&wish);
        rig.connect_io(io, 1, &wish);
        rig.hosts[io].in_capsule(1, command::write(1, 0, 8, false), &[5; 4096]);
        rig.hosts[io].read(2, command::read(1, 0, 8), 4096);
        rig.hosts[io].on_request(3, command::write(1, 8, 8, false), &[6; 4096]);
        for cid in 0..3 {
            assert_eq!(rig.completion(io), (cid, Status::SUCCESS));
        }
        assert_eq!(rig.completion(io), (3, Status::SUCCESS));
        assert_eq!(rig.hosts[io].reads[&2], [5; 4096]);
        assert_eq!(rig.counters.commands.read(), 3);
    }
}

#[test]
fn the_data_of_a_connect_command_may_be_asked_for() {
    let wish = Wish::default();
    let mut rig = Rig::new(&settings(), |_| memory());
    rig.associate(&wish);
    let io = rig.host(&wish);
    let (sqe, data) = connect(NQN, rig.cntlid(), 1, &wish);
    rig.hosts[io].on_request(0, sqe, data.as_bytes());
    assert_eq!(rig.completion(io), (0, Status::SUCCESS));
    rig.hosts[io].plain(1, command::flush(1));
    assert_eq!(rig.completion(io), (1, Status::SUCCESS));
}

#[test]
fn a_second_connect_command_does_not_hold_up_the_first() {
    let wish = Wish::default();
    let mut rig = Rig::new(&settings(), |_| memory());
    rig.associate(&wish);
    let io = rig.host(&wish);
    let (sqe, data) = connect(NQN, rig.cntlid(), 1, &wish);
    rig.hosts[io].on_request(0, sqe, data.as_bytes());
    rig.hosts[io].on_request(1, sqe, data.as_bytes());
    assert_eq!(rig.completion(io), (1, Status::COMMAND_SEQUENCE_ERROR.with_dnr()));
    assert_eq!(rig.completion(io), (0, Status::SUCCESS));
    rig.hosts[io].plain(2, command::flush(1));
    assert_eq!(rig.completion(io), (2, Status::SUCCESS));
}

#[test]
fn nothing_is_asked_for_before_the_connect_command() {
    let mut rig = Rig::new(&settings(), |_| memory());
    let host = rig.host(&Wish::default());
    for cid in 0..100 {
        rig.hosts[host].on_request(cid, command::write(1, 0, 1, false), &[0; 512]);
        rig.hosts[host].pump();
        rig.hosts[host].talkative = false;
        assert_eq!(rig.completion(host), (cid, Status::COMMAND_SEQUENCE_ERROR.with_dnr()));
        rig.hosts[host].talkative = true;
    }
}

#[test]
fn a_queue_that_is_refused_leaves_room_for_another() {
    let wish = Wish::default();
    let mut rig = Rig::connected(&settings(), &wish, |_| memory());
    for _ in 0..3 * settings().connections_max {
        let again = rig.host(&wish);
        rig.connect_io(again, 1, &wish);
        assert_eq!(rig.completion(again), (0, Status::COMMAND_SEQUENCE_ERROR.with_dnr()));
        rig.until("the end of a refused queue", |rig| rig.hosts[again].closed);
        rig.hosts.pop();
        rig.quiet();
    }
    assert_eq!(rig.live(), 2);
    for round in 0..3 * settings().connections_max {
        let next = rig.open_queue(2, &wish);
        rig.hosts[next].plain(1, command::flush(1));
        assert_eq!(rig.completion(next), (1, Status::SUCCESS), "round {round}");
        rig.hosts.pop();
        rig.quiet();
    }
    assert_eq!(rig.live(), 2);
}

#[test]
fn a_queue_for_which_no_buffers_are_left_is_refused_until_another_ends() {
    let wish = Wish::default();
    let mut rig = Rig::with_memory(&settings(), 2, |_| memory());
    rig.associate(&wish);
    let first = rig.open_queue(1, &wish);
    let second = rig.open_queue(2, &wish);
    let busy = rig.host(&wish);
    rig.connect_io(busy, 3, &wish);
    assert_eq!(rig.completion(busy), (0, Status::CONNECT_CONTROLLER_BUSY));
    rig.until("the end of a refused queue", |rig| rig.hosts[busy].closed);
    rig.hosts.pop();
    // Those that are there are not disturbed.
    for host in [first, second] {
        rig.hosts[host].plain(1, command::flush(1));
        assert_eq!(rig.completion(host), (1, Status::SUCCESS));
    }
    rig.hosts.pop();
    rig.quiet();
    let third = rig.open_queue(3, &wish);
    rig.hosts[third].plain(1, command::flush(1));
    assert_eq!(rig.completion(third), (1, Status::SUCCESS));
}
