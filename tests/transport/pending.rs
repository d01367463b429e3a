//! Commands that stay in their device for a while, and commands that wait for a buffer.

use std::time::Duration;

use corelane::bdev::{Delay, Delays, Memory};
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane::transport::Settings;
use std::sync::Arc;

use crate::host::Wish;
use crate::manual::Manual;
use crate::rig::{Rig, memory, settings};

const IO: usize = 1;
/// More than the rounds of a test take.
const MOMENT: Duration = Duration::from_secs(2);
const DELAY: Duration = Duration::from_secs(50);

fn few_buffers() -> Settings {
    Settings { buffers_per_queue: 2, ..settings() }
}

#[test]
fn a_delayed_command_completes_when_its_time_has_come() {
    let delays = Delays { fixed: DELAY, ..Delays::default() };
    let mut rig = Rig::connected(&settings(), &Wish::default(), |clock| {
        Arc::new(Delay::new(memory(), clock.clone(), delays))
    });
    rig.hosts[IO].in_capsule(1, command::write(1, 0, 1, false), &[3; 512]);
    rig.hosts[IO].read(2, command::read(1, 0, 1), 512);
    rig.quiet();
    rig.pass(DELAY - MOMENT);
    assert!(rig.hosts[IO].completions.is_empty());
    rig.pass(MOMENT);
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    assert_eq!(rig.completion(IO), (2, Status::SUCCESS));
    assert_eq!(rig.hosts[IO].reads[&2], [3; 512]);
}

#[test]
fn writes_take_turns_with_few_buffers() {
    let mut rig = Rig::connected(&few_buffers(), &Wish::default(), |_| memory());
    for cid in 0..127 {
        let data = vec![u8::try_from(cid).unwrap(); 16 << 10];
        rig.hosts[IO].on_request(cid, command::write(1, u64::from(cid) * 32, 32, false), &data);
    }
    for cid in 0..127 {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
    for cid in 0..127_u8 {
        rig.hosts[IO].read(cid.into(), command::read(1, u64::from(cid) * 32, 32), 16 << 10);
        assert_eq!(rig.completion(IO), (cid.into(), Status::SUCCESS));
        assert!(rig.hosts[IO].reads[&cid.into()].iter().all(|&byte| byte == cid));
    }
}

#[test]
fn reads_with_digests_take_turns_with_few_buffers() {
    let wish = Wish { digests: true, ..Wish::default() };
    let mut rig = Rig::connected(&few_buffers(), &wish, |_| memory());
    // A host that does not read at first: buffers come back only with what is sent.
    rig.hosts[IO].appetite = 0;
    for cid in 0..127 {
        rig.hosts[IO].read(cid, command::read(1, 0, 256), 128 << 10);
    }
    rig.quiet();
    rig.hosts[IO].appetite = usize::MAX;
    for cid in 0..127 {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
}

#[test]
fn a_queue_with_every_entry_in_use_takes_the_data_of_its_writes() {
    let wish = Wish { entries: 4, ..Wish::default() };
    let mut rig = Rig::connected(&settings(), &wish, |_| memory());
    for cid in 0..4 {
        rig.hosts[IO].on_request(cid, command::write(1, 0, 16, false), &[1; 8192]);
    }
    for cid in 0..4 {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
}

#[test]
fn a_command_behind_the_data_that_frees_its_entry_is_taken() {
    let wish = Wish { entries: 4, ..Wish::default() };
    let mut rig = Rig::connected(&settings(), &wish, |_| memory());
    for cid in 0..4 {
        rig.hosts[IO].on_request(cid, command::write(1, 0, 16, false), &[1; 8192]);
    }
    rig.hosts[IO].pump();
    rig.hosts[IO].talkative = false;
    // One R2T at a time, so that the command stands between the data of the first write and that of the second.
    rig.hosts[IO].appetite = 24;
    rig.until("data to send", |rig| rig.hosts[IO].has_queued());
    rig.hosts[IO].plain(4, command::flush(1));
    rig.hosts[IO].appetite = usize::MAX;
    rig.quiet();
    rig.hosts[IO].talkative = true;
    for cid in [0, 4, 1, 2, 3] {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
}

#[test]
fn commands_beyond_the_queue_wait_until_there_is_room() {
    let wish = Wish { entries: 4, ..Wish::default() };
    let bdev = Manual::new(Memory::Own);
    let device = Arc::clone(&bdev);
    let mut rig = Rig::connected(&settings(), &wish, |_| device);
    for cid in 0..20 {
        rig.hosts[IO].in_capsule(cid, command::write(1, 0, 1, false), &[1; 512]);
    }
    rig.quiet();
    assert_eq!(bdev.submitted(), 4);
    for cid in 0..20 {
        bdev.complete(1);
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
}

#[test]
fn data_in_capsules_that_waits_does_not_shut_out_data_that_was_asked_for() {
    let bdev = Manual::new(Memory::Callers { alignment: 512 });
    let device = Arc::clone(&bdev);
    let mut rig = Rig::connected(&few_buffers(), &Wish::default(), |_| device);
    bdev.complete(usize::MAX / 2);
    for cid in 0..2 {
        rig.hosts[IO].on_request(cid, command::write(1, 0, 256, false), &[1; 128 << 10]);
    }
    for cid in 2..127 {
        rig.hosts[IO].in_capsule(cid, command::write(1, 0, 16, false), &[2; 8192]);
    }
    rig.until("all completions", |rig| rig.hosts[IO].completions.len() == 127);
    assert!(rig.hosts[IO].completions.iter().all(|cqe| cqe.status().is_success()));
}
