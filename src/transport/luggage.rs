//! What an I/O queue takes along to another reactor: its commands that no bdev has, and where its submission queue is.
//!
//! Invariants: a command keeps its slot, which is its transfer tag, its place in line and the time at which it came; those
//! for whose data the host was asked have a buffer again before the first byte of it is taken.

use std::collections::VecDeque;

use crate::nvmf::io::Request;
use crate::transport::command::{Command, Stage};
use crate::transport::io_queue::IoQueue;
use crate::transport::submission::SubmissionQueue;
use crate::transport::tally::Mark;

/// A command on its way.
#[derive(Debug)]
struct Parcel {
    slot: u16,
    mark: Mark,
    request: Request,
    /// The host was asked for the data.
    receiving: bool,
    /// Its host wants it aborted.
    aborted: bool,
}

/// The commands of a queue on its way.
#[derive(Debug)]
pub(super) struct Luggage {
    submission: SubmissionQueue,
    parcels: Vec<Parcel>,
    waiting: VecDeque<u16>,
    asking: VecDeque<u16>,
    asked_last: bool,
}

impl IoQueue {
    /// No bdev has anything of it, nor has the management reactor, and no command waits with received bytes.
    pub(super) fn is_portable(&self) -> bool {
        let bound = |command: &Command| !matches!(command.stage, Stage::Waiting(None) | Stage::Receiving(_));
        self.is_quiet() && self.first.is_none() && !self.slots.iter().any(|(_, command)| bound(command))
    }

    /// Leaves; its buffers go back to the pool.
    pub(super) fn pack(self) -> Luggage {
        assert!(self.is_portable());
        assert!(self.answered.is_empty());
        let parcels = self.slots.iter().map(|(slot, command)| {
            let receiving = matches!(command.stage, Stage::Receiving(_));
            let Command { mark, request, aborted, .. } = *command;
            Parcel { slot, mark, request, receiving, aborted }
        });
        let parcels = parcels.collect();
        let Self { submission, waiting, asking, asked_last, .. } = self;
        Luggage { submission, parcels, waiting, asking, asked_last }
    }

    /// Arrives, on a queue that is new.
    pub(super) fn unpack(&mut self, luggage: Luggage) {
        let Luggage { submission, mut parcels, waiting, asking, asked_last } = luggage;
        self.submission = submission;
        (self.waiting, self.asking, self.asked_last) = (waiting, asking, asked_last);
        // The largest first: what is large enough for one is large enough for all that follow, so there is a buffer for
        // each as there was before.
        parcels.sort_by_key(|parcel| std::cmp::Reverse(parcel.request.transfer.bytes()));
        for Parcel { slot, mark, mut request, receiving, aborted } in parcels {
            let Some(namespace) = self.namespaces.attached(request.namespace.nsid) else {
                unreachable!("both reactors have the namespaces of the subsystem")
            };
            request.namespace = *namespace;
            let stage = if receiving {
                let Some(buffer) = self.buffers.for_data(request.transfer.bytes()) else {
                    unreachable!("both reactors give a queue the same buffers")
                };
                Stage::Receiving(buffer)
            } else {
                Stage::Waiting(None)
            };
            self.slots.insert_at(slot, Command { aborted, ..Command::new(mark, request, stage) });
        }
    }
}
