//! Credits against a model, and what becomes of messages when the mailbox is gone.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::cases::{drawn, steps};

fn new_mailbox<M: Send + 'static>(capacity: usize) -> (Sender<M>, Mailbox<M>) {
    mailbox(&Arc::new(Seat::new().unwrap()), capacity)
}

#[derive(Clone, Debug)]
enum Operation {
    Reserve,
    SendReserved(usize),
    DropReserved(usize),
    Send,
    Receive,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => Just(Operation::Reserve),
        2 => any::<usize>().prop_map(Operation::SendReserved),
        1 => any::<usize>().prop_map(Operation::DropReserved),
        3 => Just(Operation::Send),
        3 => Just(Operation::Receive),
    ]
}

proptest! {
    #![proptest_config(drawn(256))]

    #[test]
    fn credits_slots_and_messages_add_up(
        capacity in 1usize..6,
        before_the_last in 0u64..300,
        operations in prop::collection::vec(operation(), 1..steps(200)),
    ) {
        let first = shared::NUMBERS - 1 - before_the_last;
        let mut mailbox = Mailbox { receiver: shared::shared(&Arc::new(Seat::new().unwrap()), capacity, first) };
        let sender = mailbox.sender();
        let mut slots = Vec::new();
        let mut queue = VecDeque::new();
        for (number, operation) in operations.into_iter().enumerate() {
            let full = slots.len() + queue.len() == capacity;
            match operation {
                Operation::Reserve => {
                    let slot = sender.reserve();
                    prop_assert_eq!(slot.is_none(), full);
                    slots.extend(slot);
                }
                Operation::SendReserved(choice) => {
                    let Some(choice) = choice.checked_rem(slots.len()) else { continue };
                    slots.swap_remove(choice).send(number);
                    queue.push_back(number);
                }
                Operation::DropReserved(choice) => {
                    let Some(choice) = choice.checked_rem(slots.len()) else { continue };
                    drop(slots.swap_remove(choice));
                }
                Operation::Send => {
                    let sent = sender.send(number);
                    prop_assert_eq!(sent, if full { Err(number) } else { Ok(()) });
                    if !full {
                        queue.push_back(number);
                    }
                }
                Operation::Receive => prop_assert_eq!(mailbox.receive(), queue.pop_front()),
            }
            prop_assert_eq!(mailbox.is_empty(), queue.is_empty());
            prop_assert_eq!(sender.shared.len(), queue.len());
            prop_assert_eq!(sender.shared.left() + slots.len() + queue.len(), capacity);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "a million messages")]
fn a_mailbox_with_room_for_the_most_holds_that_many() {
    let (sender, mut mailbox) = new_mailbox::<u32>(CAPACITY_MAX);
    let most = u32::try_from(CAPACITY_MAX).unwrap();
    let slots: Vec<_> = (0..most).map_while(|_| sender.reserve()).collect();
    assert_eq!(slots.len(), CAPACITY_MAX);
    assert_eq!(sender.send(0), Err(0));
    for (slot, number) in slots.into_iter().zip(0..) {
        slot.send(number);
    }
    assert_eq!(sender.send(0), Err(0));
    assert_eq!(
        std::iter::from_fn(|| mailbox.receive()).zip(0..most).filter(|(a, b)| a == b).count(),
        CAPACITY_MAX
    );
    assert!(sender.send(0).is_ok());
}

#[test]
#[should_panic(expected = "room for more than")]
fn more_than_the_most_is_refused() {
    new_mailbox::<u8>(CAPACITY_MAX + 1);
}

#[test]
fn a_message_that_sends_when_it_is_dropped_does_not_wait_for_itself() {
    /// Uses its slot, of the mailbox that it lies in, when it goes.
    struct Echo(Option<Slot<Echo>>);
    impl Drop for Echo {
        fn drop(&mut self) {
            if let Some(slot) = self.0.take() {
                slot.send(Echo(None));
            }
        }
    }
    let (sender, mailbox) = new_mailbox(2);
    let slot = sender.reserve();
    sender.send(Echo(slot)).ok().unwrap();
    drop(mailbox);
    assert_eq!(sender.shared.left(), 2);
}

#[test]
fn dropping_a_mailbox_drops_its_messages_and_those_to_come() {
    let (sender, mailbox) = new_mailbox(3);
    let message = Arc::new(());
    sender.send(Arc::clone(&message)).unwrap();
    let slot = sender.reserve().unwrap();
    assert_eq!(Arc::strong_count(&message), 2);
    drop(mailbox);
    assert_eq!(Arc::strong_count(&message), 1);
    slot.send(Arc::clone(&message));
    assert_eq!(Arc::strong_count(&message), 1);
    assert!(sender.is_closed());
    assert!(sender.reserve().is_none());
    assert!(sender.send(message).is_err());
}

#[test]
fn mailboxes_that_carry_slots_of_each_other_are_freed() {
    struct Request(
        #[expect(dead_code, reason = "held, as a request holds the room for its reply")] Slot<Reply>,
    );
    struct Reply(#[expect(dead_code, reason = "held, as above")] Slot<Request>);
    let (requests, request_mailbox) = new_mailbox::<Request>(2);
    let (replies, reply_mailbox) = new_mailbox::<Reply>(2);
    requests.send(Request(replies.reserve().unwrap())).ok().unwrap();
    replies.send(Reply(requests.reserve().unwrap())).ok().unwrap();
    let alive = [Arc::downgrade(&requests.shared.seat), Arc::downgrade(&replies.shared.seat)];
    drop((requests, replies));
    drop(request_mailbox);
    drop(reply_mailbox);
    assert!(alive.iter().all(|seat| seat.upgrade().is_none()));
}

#[test]
fn senders_on_other_threads_keep_their_order_and_lose_nothing() {
    const SENDERS: usize = 3;
    let each = steps(2000);
    let (sender, mut mailbox) = new_mailbox::<(usize, usize)>(8);
    let threads: Vec<_> = (0..SENDERS)
        .map(|who| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for number in 0..each {
                    while sender.send((who, number)).is_err() {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; SENDERS];
    while next.iter().sum::<usize>() < SENDERS * each {
        match mailbox.receive() {
            Some((who, number)) => {
                assert_eq!(number, next[who]);
                next[who] += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(sender.shared.left(), 8);
}
