//! What the error log keeps, of several queues at once.

use std::thread;

use zerocopy::FromBytes;

use super::*;

fn failed(cid: u16) -> Failed {
    Failed { cid, status: Status::LBA_OUT_OF_RANGE.with_dnr(), nsid: 7, lba: u64::MAX - 1, opcode: 0x02 }
}

fn entries(log: &mut ErrorLog) -> Vec<ErrorEntry> {
    let page = log.page();
    assert_eq!(page.len(), ENTRIES_MAX * 64);
    let entries = page.chunks(64).map(|entry| ErrorEntry::read_from_bytes(entry).unwrap());
    entries.filter(|entry| entry.error_count.get() != 0).collect()
}

/// Error count, SQID and CID of each entry.
fn names(log: &mut ErrorLog) -> Vec<(u64, u16, u16)> {
    let name = |entry: ErrorEntry| (entry.error_count.get(), entry.sqid.get(), entry.cid.get());
    entries(log).into_iter().map(name).collect()
}

#[test]
fn an_entry_says_which_command_failed_how_and_where() {
    let mut log = ErrorLog::default();
    let queue = log.open_queue(3);
    assert_eq!((entries(&mut log), log.count()), (Vec::new(), 0));
    queue.note(Time::from_nanos(5), &failed(0xabcd));
    let entry = entries(&mut log)[0];
    assert_eq!((entry.error_count.get(), entry.sqid.get(), entry.cid.get()), (1, 3, 0xabcd));
    assert_eq!((entry.status.get(), entry.parameter_location.get()), (0x8100, 0xffff));
    assert_eq!((entry.lba.get(), entry.nsid.get(), entry.opcode), (u64::MAX - 1, 7, 2));
    assert_eq!((entry.version, entry.csi, entry.trtype), (1, 0, 0));
}

#[test]
fn queues_are_merged_by_time_and_the_newest_comes_first() {
    let mut log = ErrorLog::default();
    let (first, second) = (log.open_queue(1), log.open_queue(2));
    for (at, queue, cid) in [(1, &first, 10), (2, &second, 20), (3, &first, 11), (4, &second, 21)] {
        queue.note(Time::from_nanos(at), &failed(cid));
    }
    assert_eq!(names(&mut log), [(4, 2, 21), (3, 1, 11), (2, 2, 20), (1, 1, 10)]);
    log.add(&failed(5));
    second.note(Time::from_nanos(9), &failed(22));
    log.close_queue(2);
    assert_eq!(names(&mut log)[..3], [(6, 2, 22), (5, 0, 5), (4, 2, 21)]);
    assert_eq!(log.count(), 6);
}

#[test]
fn all_are_counted_and_the_last_64_are_kept() {
    let mut log = ErrorLog::default();
    let queue = log.open_queue(1);
    for cid in 0..200 {
        queue.note(Time::from_nanos(cid.into()), &failed(cid));
    }
    let expected: Vec<_> = (0..64).map(|age| (200 - u64::from(age), 1, 199 - age)).collect();
    assert_eq!((names(&mut log), log.count()), (expected, 200));
    log.add(&failed(7));
    assert_eq!((names(&mut log)[0], log.page().len(), log.count()), ((201, 0, 7), 4096, 201));
}

#[test]
fn reading_beside_a_writer_counts_every_failure_once() {
    const FAILURES: u64 = 50_000;
    let mut log = ErrorLog::default();
    let queue = log.open_queue(1);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..FAILURES {
                queue.note(Time::from_nanos(number), &failed(number.to_le_bytes()[0].into()));
            }
        });
        let mut before = 0;
        while !writer.is_finished() {
            let counts: Vec<_> = names(&mut log).iter().map(|(count, ..)| *count).collect();
            assert!(counts.is_sorted_by(|newer, older| newer > older));
            assert!(log.count() >= before);
            before = log.count();
        }
    });
    assert_eq!(log.count(), FAILURES);
}
