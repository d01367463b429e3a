//! A controller under test with its queue pairs and memory; checks what holds for every command.
//!
//! Invariant: `flying` holds the tags of exactly the commands that were taken and have not completed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corelane::mem::{Segment, SegmentMut};
use corelane::nvme::{
    AdminCommand, AdminReply, Controller, CopyLimits, Device, Failure, IoCommand, NamespaceInfo, Options,
    Outcome, QueuePair, StartError, SubmitError,
};
use corelane_reactors::clock::{Clock, Time};

use super::buffers::{Buffer, Buffers};

/// How long anything may take that is to come to an end, resets of a slow controller included.
const END: Duration = Duration::from_secs(120);

/// Queue pairs that the suite uses.
pub(crate) const QUEUES: u16 = 2;

/// A controller under test.
pub(crate) struct Subject<'a, D: Device> {
    /// What is driven.
    pub(crate) device: Arc<D>,
    /// How it is driven; two queue pairs, at least, are asked for.
    pub(crate) options: Options,
    /// The namespace whose blocks are overwritten: at least [`super::BLOCKS_MIN`] of them.
    pub(crate) nsid: u32,
    /// What time it is.
    pub(crate) clock: Clock,
    /// Called again and again: lets a device that does not live by itself work, and time pass that does not by itself.
    pub(crate) progress: &'a dyn Fn(),
}

/// A command that completed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) tag: u64,
    pub(crate) outcome: Outcome,
    /// What its buffer held when it completed; empty where it had none.
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Rig<'a, D: Device> {
    pub(crate) controller: Controller<D>,
    pub(crate) queues: Vec<QueuePair<D>>,
    pub(crate) nsid: u32,
    pub(crate) block_size: usize,
    pub(crate) blocks: u64,
    /// What one Copy may ask for; `None` where there is none.
    pub(crate) copy: Option<CopyLimits>,
    pub(crate) clock: Clock,
    pub(crate) buffers: Buffers,
    progress: &'a dyn Fn(),
    next_tag: u64,
    flying: BTreeMap<u64, Option<Buffer>>,
    done: Vec<Done>,
}

/// Where the data of a command lies, and how it is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Bytes before it in its buffer.
    pub(crate) offset: usize,
    /// Where it is cut into segments, in bytes from its start.
    pub(crate) cuts: Vec<usize>,
}

impl<'a, D: Device> Rig<'a, D> {
    /// A controller that is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    pub(crate) fn new(subject: &Subject<'a, D>) -> Self {
        Self::try_new(subject).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A controller that is ready, unless it was given up.
    pub(crate) fn try_new(subject: &Subject<'a, D>) -> Result<Self, String> {
        let Subject { device, options, nsid, clock, progress } = subject;
        let words = |error: &StartError| error.to_string();
        let mut controller = Controller::new(Arc::clone(device), options).map_err(|error| words(&error))?;
        let buffers = Buffers::new();
        controller.map(buffers.extent()).unwrap();
        let end = clock.now() + END;
        while !controller.is_ready() {
            controller.poll(clock.now());
            if let Some(fault) = controller.fault() {
                return Err(words(fault));
            }
            assert!(clock.now() < end, "the controller neither becomes ready nor is given up");
            progress();
        }
        let queues = std::iter::from_fn(|| controller.take_queue_pair()).collect();
        let info = controller.namespaces().iter().find(|info| info.nsid == *nsid);
        let info: NamespaceInfo = *info.expect("the namespace is active");
        let copies = controller.identity().oncs.copy();
        Ok(Self {
            controller,
            queues,
            nsid: *nsid,
            block_size: info.block_size as usize,
            blocks: info.blocks,
            copy: info.copy.filter(|_| copies),
            clock: clock.clone(),
            buffers,
            progress: *progress,
            next_tag: u64::MAX,
            flying: BTreeMap::new(),
            done: Vec::new(),
        })
    }

    /// Sends an admin command, and waits for its reply.
    pub(crate) fn ask(&mut self, command: &AdminCommand) -> AdminReply {
        let now = self.now();
        let asked = self.controller.submit_admin(command, now).unwrap();
        let mut reply = None;
        self.until("answered", |rig| {
            reply = reply.take().or_else(|| rig.controller.take_reply());
            reply.is_some()
        });
        let (tag, reply) = reply.unwrap();
        assert_eq!(tag, asked);
        reply.unwrap()
    }

    /// Takes a buffer for `bytes` bytes that lie as the shape says.
    pub(crate) fn buffer(&mut self, bytes: usize, shape: &Shape) -> Buffer {
        self.buffers.take(shape.offset..shape.offset + bytes)
    }

    /// The buffer's bytes, cut as the shape says.
    pub(crate) fn cut(&self, buffer: Buffer, shape: &Shape) -> Vec<SegmentMut> {
        let whole = self.buffers.own(buffer);
        let mut cuts = shape.cuts.clone();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| whole.slice(pair[0]..pair[1])).collect()
    }

    /// Submits a command, waiting for room as long as the queue pair says so; it uses `buffer`, which is given back when
    /// the command has completed. Returns its tag.
    ///
    /// # Panics
    /// If it is refused for another reason than that the controller is gone, which completes it.
    pub(crate) fn submit(&mut self, queue: usize, buffer: Option<Buffer>, command: &IoCommand<'_>) -> u64 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        let end = self.clock.now() + END;
        loop {
            match self.queues[queue].submit(tag, command) {
                Ok(()) => {
                    assert!(self.flying.insert(tag, buffer).is_none());
                    return tag;
                }
                Err(SubmitError::Full | SubmitError::Resetting) => {
                    self.commit();
                    self.turn();
                }
                Err(SubmitError::Gone) => {
                    let bytes = buffer.map(|buffer| self.buffers.bytes(buffer)).unwrap_or_default();
                    buffer.into_iter().for_each(|buffer| self.buffers.give_back(buffer));
                    self.done.push(Done { tag, outcome: Err(Failure::Gone), bytes });
                    return tag;
                }
                Err(other) => panic!("{command:?} is refused: {other}"),
            }
            assert!(self.clock.now() < end, "there is never room for {command:?}: {:?}", self.state());
        }
    }

    /// Tells the device of everything.
    pub(crate) fn commit(&mut self) {
        self.queues.iter_mut().for_each(QueuePair::commit);
    }

    /// Lets everybody work once.
    pub(crate) fn turn(&mut self) {
        (self.progress)();
        let now = self.clock.now();
        self.controller.poll(now);
        let (flying, done, buffers) = (&mut self.flying, &mut self.done, &mut self.buffers);
        for queue in &mut self.queues {
            let before = done.len();
            let count = queue.poll(now, &mut |tag, outcome| {
                let buffer = flying.remove(&tag);
                let buffer =
                    buffer.unwrap_or_else(|| panic!("{tag} completed twice, or was never submitted"));
                let bytes = buffer.map(|buffer| buffers.bytes(buffer)).unwrap_or_default();
                buffer.into_iter().for_each(|buffer| buffers.give_back(buffer));
                done.push(Done { tag, outcome, bytes });
            });
            assert_eq!(count, done.len() - before);
        }
    }

    /// What completed since the last call.
    pub(crate) fn take_done(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.done)
    }

    /// Waits until every command has completed; returns what has since the last call.
    ///
    /// # Panics
    /// If one does not.
    pub(crate) fn settle(&mut self) -> Vec<Done> {
        self.commit();
        let end = self.clock.now() + END;
        while !self.flying.is_empty() {
            self.turn();
            assert!(self.clock.now() < end, "never completed: {:?}, {:?}", self.flying, self.state());
        }
        assert_eq!(self.buffers.taken(), 0);
        self.take_done()
    }

    /// Waits until a reset that was asked for is over.
    pub(crate) fn recover(&mut self) {
        // A queue pair's request is looked at within this time.
        self.pass(Duration::from_millis(20));
        self.until("ready", |rig| rig.controller.is_ready());
        self.turn();
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it never is.
    pub(crate) fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let end = self.clock.now() + END;
        while !is(self) {
            self.turn();
            assert!(self.clock.now() < end, "{what}: never, {:?}", self.state());
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.turn();
        }
    }

    /// Carries out one command.
    pub(crate) fn run(&mut self, queue: usize, command: &IoCommand<'_>) -> Outcome {
        let tag = self.submit(queue, None, command);
        let mut done = self.settle();
        assert_eq!((done.len(), done[0].tag), (1, tag));
        done.remove(0).outcome
    }

    /// Writes whole blocks.
    pub(crate) fn write(&mut self, queue: usize, slba: u64, bytes: &[u8], shape: &Shape) -> Outcome {
        self.submit_write(queue, slba, bytes, shape);
        let mut done = self.settle();
        assert_eq!(done.len(), 1);
        done.remove(0).outcome
    }

    /// Submits a write of whole blocks; returns its tag.
    pub(crate) fn submit_write(&mut self, queue: usize, slba: u64, bytes: &[u8], shape: &Shape) -> u64 {
        let buffer = self.buffer(bytes.len(), shape);
        corelane::mem::copy_in(bytes, self.buffers.own(buffer));
        let from: Vec<Segment> = self.cut(buffer, shape).iter().map(SegmentMut::read_only).collect();
        let blocks = self.count(bytes.len());
        let fua = false;
        self.submit(
            queue,
            Some(buffer),
            &IoCommand::Write { nsid: self.nsid, slba, blocks, from: &from, fua },
        )
    }

    /// Reads blocks.
    pub(crate) fn read(
        &mut self,
        queue: usize,
        slba: u64,
        blocks: u32,
        shape: &Shape,
    ) -> Result<Vec<u8>, Failure> {
        self.submit_read(queue, slba, blocks, shape);
        let mut done = self.settle();
        assert_eq!(done.len(), 1);
        let done = done.remove(0);
        done.outcome.map(|_| done.bytes)
    }

    /// Submits a read; returns its tag.
    pub(crate) fn submit_read(&mut self, queue: usize, slba: u64, blocks: u32, shape: &Shape) -> u64 {
        let buffer = self.buffer(blocks as usize * self.block_size, shape);
        let into = self.cut(buffer, shape);
        self.submit(queue, Some(buffer), &IoCommand::Read { nsid: self.nsid, slba, blocks, into: &into })
    }

    /// Blocks in so many bytes.
    pub(crate) fn count(&self, bytes: usize) -> u32 {
        assert!(bytes.is_multiple_of(self.block_size));
        u32::try_from(bytes / self.block_size).unwrap()
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    fn state(&self) -> String {
        let counts: Vec<_> = self.queues.iter().map(QueuePair::counts).collect();
        format!("{:?} {:?} {counts:?}", self.controller.condition(), self.controller.fault())
    }
}
