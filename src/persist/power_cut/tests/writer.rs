//! The writer on such a disk: what it has answered is on stable storage.

use corelane_reactors::mailbox::Mailbox;
use corelane_reactors::sim::Simulation;

use super::*;
use crate::persist::{Answer, Order, Refused, Work, Writer};

/// Room for orders and for answers.
const ROOM: usize = 4;

/// A simulation with a mailbox, whose messages are read without a turn.
fn mailbox() -> (corelane_reactors::mailbox::Sender<Answer>, Mailbox<Answer>) {
    let simulation = Simulation::new(1, 1).unwrap();
    simulation.group().mailbox(0, ROOM)
}

fn save(ticket: u64, bytes: &[u8]) -> Order {
    Order { ticket, name: name(), work: Work::Save(bytes.to_vec()) }
}

fn answers(mailbox: &mut Mailbox<Answer>) -> Vec<Answer> {
    std::iter::from_fn(|| mailbox.receive()).collect()
}

#[test]
fn a_crash_between_any_two_calls_leaves_what_was_answered_or_asked_for() {
    let orders = [save(1, NEW), Order { ticket: 2, name: name(), work: Work::Remove }, save(3, THIRD)];
    let targets = [Some(NEW.to_vec()), None, Some(THIRD.to_vec())];
    for boundary in 0.. {
        let disk = disk(Some(OLD));
        let (sender, mut mailbox) = mailbox();
        let (writer, mut worker) = Writer::local(disk.store(), sender, ROOM);
        let opening = disk.calls().len();
        disk.kill_at(opening + boundary);
        let mut allowed = vec![Some(OLD.to_vec())];
        for (order, target) in orders.iter().zip(&targets) {
            writer.submit(order.clone()).unwrap();
            assert!(worker.step());
            let answers = answers(&mut mailbox);
            assert_eq!(answers.iter().map(|answer| answer.ticket).collect::<Vec<_>>(), [order.ticket]);
            if answers[0].result.is_ok() {
                allowed.clear();
            }
            allowed.push(target.clone());
            if disk.is_dead() {
                break;
            }
        }
        let found = after_power_cut(&disk);
        assert!(found.iter().all(|record| allowed.contains(record)), "{boundary}: {:?}", texts(&found));
        if !disk.is_dead() {
            assert_eq!(boundary, disk.calls().len() - opening);
            return;
        }
    }
}

#[test]
fn orders_beyond_the_room_are_given_back_and_accepted_ones_answered_in_order() {
    let disk = disk(None);
    let (sender, mut mailbox) = mailbox();
    let (writer, mut worker) = Writer::local(disk.store(), sender, ROOM);
    for ticket in 0..4 {
        writer.submit(save(ticket, NEW)).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(writer.submit(save(9, OLD)), Err(Refused::Full(save(9, OLD))));
    }
    while worker.step() {}
    // The answers that nobody has looked at take the room of others.
    assert_eq!(writer.submit(save(9, OLD)), Err(Refused::Full(save(9, OLD))));
    let tickets: Vec<u64> = answers(&mut mailbox).iter().map(|answer| answer.ticket).collect();
    assert_eq!(tickets, [0, 1, 2, 3]);
    writer.submit(save(4, THIRD)).unwrap();
    assert!(worker.step());
    assert!(!worker.step());
    assert_eq!(answers(&mut mailbox), [Answer { ticket: 4, name: name(), result: Ok(()) }]);
    assert_eq!(texts(&after_power_cut(&disk)), texts(&[Some(THIRD.to_vec())]));
}

#[test]
fn a_queue_shorter_than_the_mailbox_gives_the_room_for_the_answer_back() {
    let (sender, mut mailbox) = mailbox();
    let (writer, mut worker) = Writer::local(disk(None).store(), sender, 1);
    for round in 0..10 {
        writer.submit(save(round, NEW)).unwrap();
        assert_eq!(writer.submit(save(9, OLD)), Err(Refused::Full(save(9, OLD))));
        assert!(worker.step());
        assert_eq!(answers(&mut mailbox).len(), 1);
    }
}

#[test]
fn a_worker_that_panics_answers_what_it_had_accepted() {
    let disk = disk(Some(OLD));
    let (sender, mut mailbox) = mailbox();
    disk.break_calls(Call::Rename, Fault::Panics);
    let writer = Writer::spawn(disk.store(), sender, ROOM, &[]).unwrap();
    let mut accepted = 0;
    // The thread may end at any moment after the first of them.
    for ticket in 0..3 {
        match writer.submit(save(ticket, NEW)) {
            Ok(()) => accepted += 1,
            Err(Refused::Ended(order)) => assert_eq!(order, save(ticket, NEW)),
            Err(Refused::Full(order)) => panic!("{order:?}"),
        }
    }
    drop(writer);
    let answers = answers(&mut mailbox);
    assert_eq!(answers.len(), accepted);
    for (answer, stage) in answers.iter().zip([Stage::Unknown, Stage::Before, Stage::Before]) {
        let error = answer.result.as_ref().unwrap_err();
        assert_eq!((error.stage, error.reason), (stage, Reason::WriterEnded), "{}", answer.ticket);
    }
    assert_eq!(disk.handles(), 0);
}

#[test]
fn nothing_is_accepted_after_the_end() {
    let (sender, mailbox) = mailbox();
    let (writer, worker) = Writer::local(disk(None).store(), sender, ROOM);
    drop(worker);
    assert_eq!(writer.submit(save(1, NEW)), Err(Refused::Ended(save(1, NEW))));
    let (writer, _worker) = Writer::local(disk(None).store(), mailbox.sender(), ROOM);
    drop(mailbox);
    assert_eq!(writer.submit(save(1, NEW)), Err(Refused::Ended(save(1, NEW))));
}
