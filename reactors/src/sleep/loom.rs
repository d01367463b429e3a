//! Model of the sleep protocol. A counter per sender stands for the mailbox's queue. A lost wake-up is a
//! deadlock.

use loom::{
    model::Builder,
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::ParkFlag;
use crate::sync::{AtomicU64, Ordering};

/// Like a kernel's: a write is remembered until the wait that it ends.
struct Eventfd {
    written: Mutex<bool>,
    waiter: Condvar,
}

impl Eventfd {
    fn new() -> Self {
        Eventfd { written: Mutex::new(false), waiter: Condvar::new() }
    }

    fn write(&self) {
        *self.written.lock().unwrap() = true;
        self.waiter.notify_one();
    }

    fn wait(&self) {
        let mut written = self.written.lock().unwrap();
        while !*written {
            written = self.waiter.wait(written).unwrap();
        }
        *written = false;
    }
}

struct Model {
    flag: ParkFlag,
    eventfd: Eventfd,
    /// By sender: how many messages it has pushed. What was received is known to the receiver.
    tails: Vec<AtomicU64>,
}

impl Model {
    fn new(senders: usize) -> Arc<Self> {
        let tails = (0..senders).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Model { flag: ParkFlag::new(), eventfd: Eventfd::new(), tails })
    }

    fn send(&self, sender: usize) {
        // Release only, as a queue's push at the least.
        self.flag.announce(|| self.tails[sender].store(1, Ordering::Release), || self.eventfd.write());
    }

    fn pushed(&self) -> u64 {
        self.tails.iter().map(|tail| tail.load(Ordering::Acquire)).sum()
    }

    /// Turns and sleeps until everything was received; returns how often it slept.
    fn run(&self, messages: u64) -> u64 {
        let mut sleeps = 0;
        loop {
            let received = self.pushed();
            if received == messages {
                return sleeps;
            }
            if self.flag.settle(|| self.pushed() > received) {
                self.eventfd.wait();
                sleeps += 1;
                self.flag.rise();
            }
        }
    }
}

#[test]
fn no_message_is_slept_over() {
    loom::model(|| {
        let model = Model::new(1);
        let sender = Arc::clone(&model);
        let sender = thread::spawn(move || sender.send(0));
        model.run(1);
        sender.join().unwrap();
    });
}

#[test]
fn two_senders_and_one_sleeper() {
    let mut bounded = Builder::new();
    // All interleavings of three threads take hours; errors show with two or three preemptions.
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let model = Model::new(2);
        let senders = [0, 1].map(|index| {
            let sender = Arc::clone(&model);
            thread::spawn(move || sender.send(index))
        });
        let sleeps = model.run(2);
        // Nobody writes the eventfd unless the reactor has settled.
        assert!(sleeps <= 2);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}
