//! A block device whose commands complete when the test says so, and not before, whoever aborts them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use corelane::bdev::{
    Atomicity, Bdev, BdevError, Blocks, Channel, Command, Features, Geometry, Home, Memory, OpenError,
    Submitted, Tag,
};
use corelane_reactors::poller::Wake;

#[derive(Default)]
struct State {
    /// Each with the number of its channel.
    held: VecDeque<(usize, Tag)>,
    channels: usize,
    permits: usize,
    submitted: usize,
    /// The first block of each write that was announced, and how many commands had been submitted before.
    expected: Vec<(u64, usize)>,
    aborts: usize,
    accepts_aborts: bool,
    resets: usize,
    retired: usize,
}

/// A device of 2,048 blocks of 512 bytes that holds nothing.
pub(crate) struct Manual {
    geometry: Geometry,
    state: Arc<Mutex<State>>,
}

/// A channel, with its number and, where the device uses the caller's memory, what that is.
struct ManualChannel(Arc<Mutex<State>>, usize, Option<Home>);

impl ManualChannel {
    /// Whether a device that knows the reactor's memory, and no other, can carry the command out.
    fn reaches(&self, command: &Command<'_>) -> bool {
        let Some(home) = &self.2 else { return true };
        let inside = |start: usize, len: usize| {
            home.extents
                .iter()
                .any(|extent| extent.address() <= start && start + len <= extent.address() + extent.len())
        };
        match command {
            Command::Read { into, .. } => {
                into.iter().all(|segment| inside(segment.pointer().addr(), segment.len()))
            }
            Command::Write { from, .. } | Command::Compare { with: from, .. } => {
                from.iter().all(|segment| inside(segment.pointer().addr(), segment.len()))
            }
            Command::WriteZeroes { .. }
            | Command::Deallocate { .. }
            | Command::Verify { .. }
            | Command::WriteUncorrectable { .. }
            | Command::Copy { .. }
            | Command::Flush => true,
        }
    }
}

impl Manual {
    /// With memory of the callers' that is aligned so, or its own.
    pub(crate) fn new(memory: Memory) -> Arc<Self> {
        let geometry = Geometry {
            block_size: 512,
            blocks: 2048,
            volatile_write_cache: false,
            survives_restart: false,
            atomicity: Atomicity::BLOCK,
            memory,
            features: Features::ALL,
        };
        Arc::new(Self { geometry, state: Arc::default() })
    }

    /// Lets `count` more commands complete, the oldest first.
    pub(crate) fn complete(&self, count: usize) {
        self.state.lock().expect("a test that goes on").permits += count;
    }

    /// From now on it says of every command that it is being aborted; nothing else happens.
    pub(crate) fn accept_aborts(&self) {
        self.state.lock().expect("a test that goes on").accepts_aborts = true;
    }

    /// Commands that were submitted and have not completed.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().expect("a test that goes on").held.len()
    }

    /// Commands that were ever submitted.
    pub(crate) fn submitted(&self) -> usize {
        self.state.lock().expect("a test that goes on").submitted
    }

    /// The first block of each write that was announced, and how many commands had been submitted before.
    pub(crate) fn expected(&self) -> Vec<(u64, usize)> {
        self.state.lock().expect("a test that goes on").expected.clone()
    }

    /// Times that somebody asked for a command to end early.
    pub(crate) fn aborts(&self) -> usize {
        self.state.lock().expect("a test that goes on").aborts
    }

    /// Times that somebody asked for a reset of a channel.
    pub(crate) fn resets(&self) -> usize {
        self.state.lock().expect("a test that goes on").resets
    }

    /// Times that somebody asked for it to be retired.
    pub(crate) fn retired(&self) -> usize {
        self.state.lock().expect("a test that goes on").retired
    }
}

impl Bdev for Manual {
    fn name(&self) -> &str {
        "manual"
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn retire(&self) -> bool {
        self.state.lock().expect("a test that goes on").retired += 1;
        false
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        let mut state = self.state.lock().expect("a test that goes on");
        state.channels += 1;
        let home = self.geometry.uses_callers_memory().then(|| home.clone());
        Ok(Box::new(ManualChannel(Arc::clone(&self.state), state.channels, home)))
    }
}

impl Channel for ManualChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        assert!(self.reaches(command), "the data lies outside the reactor's memory: {command:?}");
        let mut state = self.0.lock().expect("a test that goes on");
        assert!(!state.held.contains(&(self.1, tag)), "a tag is used twice");
        state.held.push_back((self.1, tag));
        state.submitted += 1;
        Submitted::Pending
    }

    fn expect_write(&self, blocks: Blocks) {
        let mut state = self.0.lock().expect("a test that goes on");
        let submitted = state.submitted;
        state.expected.push((blocks.first, submitted));
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut completed = 0;
        loop {
            let mut state = self.0.lock().expect("a test that goes on");
            if state.permits == 0 {
                return completed;
            }
            let Some(first) = state.held.iter().position(|(channel, _)| *channel == self.1) else {
                return completed;
            };
            let Some((_, tag)) = state.held.remove(first) else { unreachable!("it was found above") };
            state.permits -= 1;
            drop(state);
            completed += 1;
            done(tag, Ok(()));
        }
    }

    fn outstanding(&self) -> usize {
        let state = self.0.lock().expect("a test that goes on");
        state.held.iter().filter(|(channel, _)| *channel == self.1).count()
    }

    fn wake(&self) -> Wake {
        if self.outstanding() == 0 { Wake::Never } else { Wake::Soon }
    }

    fn reset(&mut self) -> bool {
        self.0.lock().expect("a test that goes on").resets += 1;
        false
    }

    fn abort(&mut self, _tag: Tag) -> bool {
        let mut state = self.0.lock().expect("a test that goes on");
        state.aborts += 1;
        state.accepts_aborts
    }
}
