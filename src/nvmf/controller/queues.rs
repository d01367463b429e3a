//! The I/O queues of a controller: which exist, and which are being closed.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Open,
    Closing,
}

/// I/O queues by QID. A queue exists from the moment its Connect is accepted until the transport says it is
/// closed.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<u16, Queue>,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn contains(&self, qid: u16) -> bool {
        self.queues.contains_key(&qid)
    }

    pub(super) fn open(&mut self, qid: u16) {
        let before = self.queues.insert(qid, Queue::Open);
        assert!(before.is_none());
    }

    /// The queue is gone. Returns whether it was there.
    pub(super) fn closed(&mut self, qid: u16) -> bool {
        self.queues.remove(&qid).is_some()
    }

    /// Marks every queue as closing. Returns those that were not yet.
    pub(super) fn close_all(&mut self) -> Vec<u16> {
        let open = self.queues.iter_mut().filter(|(_, queue)| **queue == Queue::Open);
        open.map(|(qid, queue)| {
            *queue = Queue::Closing;
            *qid
        })
        .collect()
    }
}
