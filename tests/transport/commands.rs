//! Every I/O command, with and without digests and flow control, against memory.

use std::sync::Arc;

use corelane::bdev::Malloc;
use corelane::initiator::command;
use corelane::spec::nvm::DatasetRange;
use corelane::spec::status::Status;
use zerocopy::IntoBytes;

use crate::host::Wish;
use crate::rig::{Rig, memory, settings};

const IO: usize = 1;

fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 512 + at * 7 + seed).to_le_bytes()[0]).collect()
}

/// Reads blocks and waits for them.
fn read(rig: &mut Rig, lba: u64, blocks: u32) -> Vec<u8> {
    rig.hosts[IO].read(99, command::read(1, lba, blocks), blocks as usize * 512);
    assert_eq!(rig.completion(IO), (99, Status::SUCCESS));
    rig.hosts[IO].reads.remove(&99).expect("the data of a read")
}

fn all_commands(wish: &Wish) {
    let mut rig = Rig::connected(&settings(), wish, |_| memory());
    let (small, large) = (pattern(4096, 1), pattern(128 << 10, 2));

    rig.hosts[IO].in_capsule(1, command::write(1, 0, 8, false), &small);
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    rig.hosts[IO].on_request(2, command::write(1, 8, 256, true), &large);
    assert_eq!(rig.completion(IO), (2, Status::SUCCESS));
    assert_eq!(read(&mut rig, 0, 8), small);
    assert_eq!(read(&mut rig, 8, 256), large);

    rig.hosts[IO].in_capsule(3, command::compare(1, 0, 8), &small);
    assert_eq!(rig.completion(IO), (3, Status::SUCCESS));
    rig.hosts[IO].on_request(4, command::compare(1, 8, 256), &pattern(128 << 10, 3));
    assert_eq!(rig.completion(IO), (4, Status::COMPARE_FAILURE.with_dnr()));

    rig.hosts[IO].plain(5, command::write_zeroes(1, 1, 2, true));
    assert_eq!(rig.completion(IO), (5, Status::SUCCESS));
    assert_eq!(read(&mut rig, 0, 4), [&small[..512], &[0; 1024], &small[1536..2048]].concat());

    let ranges = [(0, 1), (8, 1)].map(|(lba, blocks): (u64, u32)| DatasetRange {
        attributes: 0.into(),
        blocks: blocks.into(),
        starting_lba: lba.into(),
    });
    rig.hosts[IO].in_capsule(6, command::deallocate(1, 2), ranges.as_bytes());
    assert_eq!(rig.completion(IO), (6, Status::SUCCESS));
    assert_eq!(read(&mut rig, 8, 2), [&[0; 512], &large[512..1024]].concat());

    rig.hosts[IO].plain(7, command::flush(1));
    assert_eq!(rig.completion(IO), (7, Status::SUCCESS));
    rig.hosts[IO].read(8, command::read(1, u64::MAX, 1), 512);
    assert_eq!(rig.completion(IO), (8, Status::LBA_OUT_OF_RANGE.with_dnr()));
    assert_eq!(rig.counters.commands.read(), 12);
}

#[test]
fn every_command_does_what_it_says() {
    for digests in [false, true] {
        for flow_control in [false, true] {
            all_commands(&Wish { digests, flow_control, ..Wish::default() });
        }
    }
}

#[test]
fn completions_tell_how_far_the_queue_was_fetched() {
    let wish = Wish { entries: 4, ..Wish::default() };
    let mut rig = Rig::connected(&settings(), &wish, |_| memory());
    // Connect was the first entry.
    for head in [2, 3, 0, 1, 2] {
        rig.hosts[IO].plain(1, command::flush(1));
        assert_eq!(rig.cqe(IO).sqhd.get(), head);
    }
}

#[test]
fn a_full_queue_of_reads_and_writes_is_answered() {
    for digests in [false, true] {
        let mut rig = Rig::connected(&settings(), &Wish { digests, ..Wish::default() }, |_| memory());
        let data = pattern(16 << 10, 4);
        for cid in 0..127 {
            let lba = u64::from(cid) * 32;
            match cid % 3 {
                0 => rig.hosts[IO].read(cid, command::read(1, lba, 32), data.len()),
                1 => rig.hosts[IO].on_request(cid, command::write(1, lba, 32, false), &data),
                _ => rig.hosts[IO].in_capsule(cid, command::write(1, lba, 8, false), &data[..4096]),
            }
        }
        rig.until("all completions", |rig| rig.hosts[IO].completions.len() == 127);
        assert!(rig.hosts[IO].completions.iter().all(|cqe| cqe.status().is_success()));
    }
}

#[test]
fn commands_without_data_take_as_many_blocks_as_they_can_name() {
    const BLOCKS: u32 = 1 << 16;
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| {
        Arc::new(Malloc::new("large", 512 << 20, 4096).expect("memory"))
    });
    let mut run = |sqe, status| {
        rig.hosts[IO].plain(1, sqe);
        assert_eq!(rig.completion(IO), (1, status));
    };
    run(command::write_uncorrectable(1, 7, BLOCKS), Status::SUCCESS);
    run(command::verify(1, 0, BLOCKS), Status::UNRECOVERED_READ_ERROR);
    run(command::write_zeroes(1, 7, BLOCKS, false), Status::SUCCESS);
    run(command::verify(1, 0, BLOCKS), Status::SUCCESS);
    run(command::verify(1, BLOCKS.into(), BLOCKS), Status::SUCCESS);
    run(command::verify(1, u64::from(BLOCKS) + 1, BLOCKS), Status::LBA_OUT_OF_RANGE.with_dnr());
    // While so much is cleared, in many turns, the queue goes on.
    rig.hosts[IO].plain(2, command::write_zeroes(1, 0, BLOCKS, true));
    rig.hosts[IO].read(3, command::read(1, u64::from(BLOCKS), 1), 4096);
    assert_eq!(rig.completion(IO), (3, Status::SUCCESS));
    assert_eq!(rig.completion(IO), (2, Status::SUCCESS));
}
