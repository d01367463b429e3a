//! Credits against a model, and what becomes of messages when the mailbox is gone.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn credits_slots_and_messages_add_up(capacity in 1usize..6, operations in prop::collection::vec(operation(), 1..200)) {
        let (sender, mut mailbox) = new_mailbox(capacity);
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
            let left = mailbox.shared.credits.left.load(Ordering::Relaxed);
            prop_assert_eq!(left + slots.len() + queue.len(), capacity);
        }
    }
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
    const EACH: usize = 2000;
    let (sender, mut mailbox) = new_mailbox::<(usize, usize)>(8);
    let threads: Vec<_> = (0..SENDERS)
        .map(|who| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    while sender.send((who, number)).is_err() {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; SENDERS];
    while next.iter().sum::<usize>() < SENDERS * EACH {
        match mailbox.receive() {
            Some((who, number)) => {
                assert_eq!(number, next[who]);
                next[who] += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(mailbox.shared.credits.left.load(Ordering::Relaxed), 8);
}
