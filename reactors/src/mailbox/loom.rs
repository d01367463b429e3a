//! Models of the mailbox with the seat of its reactor: the shipped types. A lost wake-up is a reactor that still counts as parked though its mailbox holds a message and nobody is about to wake it.

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::{model::Builder, thread};

use super::*;

/// All interleavings of three threads take hours; errors show with two or three preemptions.
fn bounded() -> Builder {
    let mut bounded = Builder::new();
    bounded.preemption_bound = Some(3);
    bounded
}

fn setup(capacity: usize) -> (Arc<Seat>, Sender<u32>, Mailbox<u32>) {
    let seat = Arc::new(Seat::new().unwrap());
    let (sender, mailbox) = mailbox(&seat, capacity);
    (seat, sender, mailbox)
}

#[test]
fn no_message_is_slept_over() {
    loom::model(|| {
        let (seat, sender, mailbox) = setup(1);
        let sending = thread::spawn(move || sender.send(1).unwrap());
        let asleep = seat.flag().settle(|| !mailbox.is_empty());
        sending.join().unwrap();
        assert!(!asleep || !seat.flag().is_parked(), "asleep, and nobody will wake it");
    });
}

#[test]
fn no_stop_is_slept_over() {
    loom::model(|| {
        let (seat, ..) = setup(1);
        let handle = Arc::clone(&seat);
        let stopping = thread::spawn(move || handle.stop());
        let asleep = seat.flag().settle(|| seat.stopping());
        stopping.join().unwrap();
        assert!(!asleep || !seat.flag().is_parked(), "asleep, and nobody will wake it");
    });
}

#[test]
fn two_senders_share_one_credit_and_lose_nothing() {
    bounded().check(|| {
        let (_seat, sender, mut mailbox) = setup(1);
        let senders = [1, 2].map(|message| {
            let sender = sender.clone();
            thread::spawn(move || sender.send(message).is_ok())
        });
        let mut received: Vec<u32> = mailbox.receive().into_iter().collect();
        let accepted = senders.map(|sender| usize::from(sender.join().unwrap()));
        received.extend(mailbox.receive());
        assert_eq!(received.len(), accepted.iter().sum::<usize>());
        assert_eq!(mailbox.receiver.shared().left(), 1);
    });
}

#[test]
fn a_freed_place_is_seen_by_whoever_gets_its_credit() {
    bounded().check(|| {
        let (_seat, sender, mut mailbox) = setup(1);
        sender.send(0).unwrap();
        let again = thread::spawn(move || sender.send(1).is_ok());
        assert_eq!(mailbox.receive(), Some(0));
        let accepted = again.join().unwrap();
        assert_eq!(mailbox.receive(), accepted.then_some(1));
    });
}

#[test]
fn a_reserved_slot_always_has_room() {
    bounded().check(|| {
        let (_seat, sender, mut mailbox) = setup(2);
        let slot = sender.reserve().unwrap();
        let other = sender.clone();
        let others =
            thread::spawn(move || u32::from(other.send(1).is_ok()) + u32::from(other.send(1).is_ok()));
        slot.send(7);
        let mut sum: u32 = mailbox.receive().into_iter().sum();
        let accepted = others.join().unwrap();
        sum += std::iter::from_fn(|| mailbox.receive()).sum::<u32>();
        assert_eq!(sum, 7 + accepted);
    });
}

#[test]
fn an_unused_slot_gives_its_room_back() {
    loom::model(|| {
        let (_seat, sender, _mailbox) = setup(1);
        let slot = sender.reserve().unwrap();
        let giving = thread::spawn(move || drop(slot));
        let accepted = sender.send(1).is_ok();
        giving.join().unwrap();
        assert!(accepted || sender.send(1).is_ok());
    });
}

#[test]
fn a_slot_finds_the_place_free_that_another_sender_saw_freed() {
    bounded().check(|| {
        let (_seat, sender, mut mailbox) = setup(2);
        sender.send(1).unwrap();
        let slot = sender.reserve().unwrap();
        let using = thread::spawn(move || slot.send(2));
        assert_eq!(mailbox.receive(), Some(1));
        // The slot's message may come after this one, and lie where the first one was.
        sender.send(3).unwrap();
        let received = std::iter::from_fn(|| mailbox.receive()).sum::<u32>();
        using.join().unwrap();
        assert_eq!(received + std::iter::from_fn(|| mailbox.receive()).sum::<u32>(), 5);
    });
}

#[test]
fn two_slots_hand_on_what_was_known_when_they_were_reserved() {
    bounded().check(|| {
        let (_seat, sender, mut mailbox) = setup(2);
        let early = sender.reserve().unwrap();
        sender.send(1).unwrap();
        let using = thread::spawn(move || early.send(2));
        assert_eq!(mailbox.receive(), Some(1));
        // The early slot knows nothing of the place that this one was given for.
        sender.reserve().unwrap().send(4);
        let received = std::iter::from_fn(|| mailbox.receive()).sum::<u32>();
        using.join().unwrap();
        assert_eq!(received + std::iter::from_fn(|| mailbox.receive()).sum::<u32>(), 6);
    });
}

#[test]
fn room_that_one_sender_saw_is_room_for_another() {
    bounded().check(|| {
        let (_seat, sender, mut mailbox) = setup(2);
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        let senders = [4, 8].map(|message| {
            let sender = sender.clone();
            thread::spawn(move || sender.send(message).map_or(0, |()| message))
        });
        let mut received = [mailbox.receive(), mailbox.receive()].into_iter().flatten().sum::<u32>();
        let accepted: u32 = senders.map(|sender| sender.join().unwrap()).into_iter().sum();
        received += std::iter::from_fn(|| mailbox.receive()).sum::<u32>();
        assert_eq!(received, 3 + accepted);
    });
}

#[test]
fn who_empties_a_closed_mailbox_takes_nothing_twice() {
    bounded().check(|| {
        let dropped = drops();
        let seat = Arc::new(Seat::new().unwrap());
        let (sender, mut mailbox) = mailbox(&seat, 2);
        sender.send(Counted(dropped)).ok().unwrap();
        let message = Counted(dropped);
        let sending = thread::spawn(move || drop(sender.send(message)));
        drop(mailbox.receive());
        drop(mailbox);
        sending.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// Counts its drops, also those that should not be: so it owns nothing.
struct Counted(&'static AtomicUsize);

fn drops() -> &'static AtomicUsize {
    Box::leak(Box::default())
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_message_to_a_mailbox_that_closes_is_dropped_though_senders_live_on() {
    loom::model(|| {
        let dropped = drops();
        let seat = Arc::new(Seat::new().unwrap());
        let (sender, mailbox) = mailbox(&seat, 1);
        let (message, kept) = (Counted(dropped), sender.clone());
        let sending = thread::spawn(move || drop(sender.send(message)));
        drop(mailbox);
        sending.join().unwrap();
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            1,
            "what it carries, a slot for instance, is missing to others"
        );
        assert!(kept.is_closed());
    });
}
