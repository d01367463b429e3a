//! Models of the mailbox with the seat of its reactor: the shipped types, but for the queue (see [`crate::sync`]). A lost
//! wake-up is a reactor that still counts as parked though its mailbox holds a message and nobody is about to wake it.

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::{model::Builder, thread};

use super::*;
use crate::sync::Ordering as Modelled;

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
        assert_eq!(mailbox.shared.credits.left.load(Modelled::Relaxed), 1);
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

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_message_to_a_mailbox_that_closes_is_dropped_though_senders_live_on() {
    loom::model(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let seat = Arc::new(Seat::new().unwrap());
        let (sender, mailbox) = mailbox(&seat, 1);
        let (message, kept) = (Counted(Arc::clone(&dropped)), sender.clone());
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
