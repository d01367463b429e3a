//! Commands that stay in their device for a while, and commands that wait for a buffer.

use std::time::Duration;

use corelane::bdev::{Delay, Delays, Memory};
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane::transport::{QueueBuffers, Settings};
use std::sync::Arc;

use crate::host::Wish;
use crate::manual::Manual;
use crate::rig::{Rig, memory, settings};

const IO: usize = 1;
/// More than the rounds of a test take.
const MOMENT: Duration = Duration::from_secs(2);
const DELAY: Duration = Duration::from_secs(50);

fn few_buffers() -> Settings {
    Settings { buffers: QueueBuffers { small: 0, medium: 0, large: 2 }, ..settings() }
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

#[test]
fn data_for_devices_lies_in_the_memory_that_they_know() {
    for (alignment, digests) in [(1, false), (4, false), (4, true), (4096, true)] {
        // The device refuses memory that is not the reactor's.
        let bdev = Manual::new(Memory::Callers { alignment });
        let device = Arc::clone(&bdev);
        let wish = Wish { digests, ..Wish::default() };
        let mut rig = Rig::connected(&settings(), &wish, |_| device);
        bdev.complete(usize::MAX / 2);
        rig.hosts[IO].in_capsule(0, command::write(1, 0, 1, false), &[1; 512]);
        rig.hosts[IO].in_capsule(1, command::compare(1, 0, 16), &[1; 8192]);
        rig.hosts[IO].on_request(2, command::write(1, 0, 256, false), &[1; 128 << 10]);
        rig.hosts[IO].read(3, command::read(1, 0, 1), 512);
        rig.hosts[IO].read(4, command::read(1, 0, 256), 128 << 10);
        rig.until("all completions", |rig| rig.hosts[IO].completions.len() == 5);
        assert!(rig.hosts[IO].completions.iter().all(|cqe| cqe.status().is_success()));
        assert_eq!(bdev.submitted(), 5);
    }
}

#[test]
fn a_full_queue_of_blocks_is_with_its_device_at_once() {
    let bdev = Manual::new(Memory::Callers { alignment: 4 });
    let device = Arc::clone(&bdev);
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| device);
    for cid in 0..127 {
        rig.hosts[IO].read(cid, command::read(1, 0, 8), 4096);
    }
    rig.quiet();
    assert_eq!(bdev.held(), 127);
    bdev.complete(127);
    rig.until("all completions", |rig| rig.hosts[IO].completions.len() == 127);
}

#[test]
fn commands_without_a_buffer_wait_and_none_is_forgotten() {
    // Three sizes, few of each: 4 reads of a block fit, then larger buffers serve them, then they wait.
    let buffers = QueueBuffers { small: 4, medium: 2, large: 3 };
    let bdev = Manual::new(Memory::Callers { alignment: 4 });
    let device = Arc::clone(&bdev);
    let mut rig = Rig::connected(&Settings { buffers, ..settings() }, &Wish::default(), |_| device);
    for cid in 0..20 {
        rig.hosts[IO].read(cid, command::read(1, 0, 8), 4096);
    }
    rig.quiet();
    assert_eq!(bdev.held(), 4 + 2 + 3);
    // A large one behind the small ones waits for a large buffer, and is not overtaken.
    rig.hosts[IO].read(20, command::read(1, 0, 256), 128 << 10);
    for cid in 21..60 {
        rig.hosts[IO].read(cid, command::read(1, 0, 8), 4096);
        rig.hosts[IO].on_request(cid + 40, command::write(1, 0, 32, false), &[3; 16 << 10]);
    }
    rig.quiet();
    for _ in 0..60 + 39 {
        bdev.complete(1);
        rig.quiet();
        assert!(bdev.held() <= 4 + 2 + 3);
    }
    rig.until("all completions", |rig| rig.hosts[IO].completions.len() == 60 + 39);
    assert!(rig.hosts[IO].completions.iter().all(|cqe| cqe.status().is_success()));
}

#[test]
fn writes_that_came_together_are_announced_before_the_first_is_carried_out() {
    let device = Manual::new(Memory::Own);
    let kept = Arc::clone(&device);
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| device);
    let host = &mut rig.hosts[IO];
    for (cid, lba) in [(1, 10), (2, 20), (3, 5000), (4, 40)] {
        host.in_capsule(cid, command::write(1, lba, 1, false), &[3; 512]);
    }
    host.read(5, command::read(1, 50, 1), 512);
    host.in_capsule(6, command::compare(1, 60, 1), &[3; 512]);
    host.in_capsule(7, command::write(1, 70, 1, false), &[3; 512]);
    // One is beyond the end, and only writes are announced.
    assert_eq!(rig.completion(IO), (3, Status::LBA_OUT_OF_RANGE.with_dnr()));
    rig.quiet();
    assert_eq!(kept.expected(), [(20, 0), (40, 0), (70, 0)]);
    assert_eq!(kept.submitted(), 6);
    kept.complete(6);
    for cid in [1, 2, 4, 5, 6, 7] {
        assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
    }
    rig.hosts[IO].in_capsule(8, command::write(1, 80, 1, false), &[3; 512]);
    kept.complete(1);
    assert_eq!(rig.completion(IO), (8, Status::SUCCESS));
    assert_eq!(kept.expected().len(), 3, "one alone is carried out at once");
}
