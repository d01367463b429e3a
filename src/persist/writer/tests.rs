//! The writer with its thread, on real files, answering to a reactor that sleeps.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use corelane_reactors::clock::Clock;
use corelane_reactors::cpu;
use corelane_reactors::group::{Group, Layout};
use corelane_reactors::idle::IdlePolicy;
use corelane_reactors::poller::Phase;

use super::*;
use crate::persist::StateDirectory;

/// Longer than any disk takes.
const LIMIT: Duration = Duration::from_secs(60);

fn name(record: u64) -> RecordName {
    RecordName::new(&format!("record-{record}")).unwrap()
}

fn store(directory: &std::path::Path) -> Store {
    let state = StateDirectory::open(directory, false).unwrap();
    Store::open(StateFiles::new(Arc::new(state))).unwrap()
}

fn group() -> Group {
    let core = cpu::allowed()[0];
    let layout = Layout { management: core, io: vec![core] };
    Group::new(&layout, IdlePolicy::Park, Clock::real()).unwrap()
}

#[test]
fn answers_wake_the_reactor_in_the_order_of_the_orders() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let (answers, mailbox) = group.mailbox::<Answer>(group.management(), 8);
    let writer = Writer::spawn(store(directory.path()), answers, 8, &[group.allowed_cpus()[0]]).unwrap();
    let (sender, receiver) = mpsc::channel();
    group
        .spawn(group.management(), "management", move |reactor| {
            let poller = mailbox.into_poller("answers", 1, move |_turn, answer| sender.send(answer).unwrap());
            reactor.add_poller(Phase::Mailbox, poller).map(drop)
        })
        .unwrap();
    for round in 0..20_u64 {
        for record in 0..4 {
            let work = if round == 19 && record == 3 {
                Work::Remove
            } else {
                Work::Save(format!("{round}").into_bytes())
            };
            writer.submit(Order { ticket: round * 4 + record, name: name(record), work }).unwrap();
        }
        for record in 0..4 {
            let answer = receiver.recv_timeout(LIMIT).unwrap();
            assert_eq!(answer, Answer { ticket: round * 4 + record, name: name(record), result: Ok(()) });
        }
    }
    for record in 0..3 {
        assert_eq!(fs::read(directory.path().join(name(record).as_str())).unwrap(), b"19");
    }
    assert!(!directory.path().join("record-3").exists());
    group.stop();
    group.join().unwrap();
}

#[test]
fn dropping_the_writer_finishes_what_it_has_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let (answers, mut mailbox) = group.mailbox::<Answer>(group.management(), 64);
    let writer = Writer::spawn(store(directory.path()), answers, 64, &[]).unwrap();
    for ticket in 0..64 {
        let work = Work::Save(ticket.to_string().into_bytes());
        writer.submit(Order { ticket, name: name(ticket % 2), work }).unwrap();
    }
    drop(writer);
    for ticket in 0..64 {
        let answer = mailbox.receive().unwrap();
        assert_eq!(answer, Answer { ticket, name: name(ticket % 2), result: Ok(()) });
    }
    assert!(mailbox.receive().is_none());
    // The thread has ended, and with it the lock.
    let store = store(directory.path());
    assert_eq!(store.load(&name(0)).unwrap().unwrap(), b"62");
    assert_eq!(store.load(&name(1)).unwrap().unwrap(), b"63");
}

#[test]
fn failures_are_answered_too() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let (answers, mut mailbox) = group.mailbox::<Answer>(group.management(), 4);
    let writer = Writer::spawn(store(directory.path()), answers, 4, &[]).unwrap();
    fs::remove_dir_all(directory.path()).unwrap();
    for (ticket, work) in [(0, Work::Save(b"bytes".to_vec())), (1, Work::Remove)] {
        writer.submit(Order { ticket, name: name(0), work }).unwrap();
    }
    drop(writer);
    for ticket in 0..2 {
        let answer = mailbox.receive().unwrap();
        let error = answer.result.unwrap_err();
        assert_eq!((answer.ticket, error.stage, error.reason), (ticket, Stage::Before, Reason::Gone));
        assert_eq!(error.path, directory.path().join("record-0"));
    }
}

#[test]
fn a_writer_that_may_run_nowhere_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    for cpu in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU, usize::MAX] {
        let (answers, _mailbox) = group.mailbox::<Answer>(group.management(), 4);
        Writer::spawn(store(directory.path()), answers, 4, &[cpu]).unwrap_err();
    }
    // The lock is free: nothing has stayed behind.
    store(directory.path());
}
