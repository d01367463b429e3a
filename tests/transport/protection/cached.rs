//! A block device in memory with a volatile cache, which counts what is asked of it, and empties its cache when the test
//! says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use corelane::bdev::{
    Access, Bdev, BdevError, Channel, Command, Geometry, Home, Malloc, OpenError, Submitted, Tag,
};
use corelane_reactors::poller::Wake;

#[derive(Default)]
struct State {
    channels: usize,
    /// Writes that are not durable.
    cached: usize,
    /// Flushes that wait, each with the number of its channel.
    flushing: VecDeque<(usize, Tag)>,
    /// Flushes that succeeded.
    flushed: usize,
    /// How flushes end; not before.
    ends: Option<Result<(), BdevError>>,
}

/// 2,048 blocks of 512 bytes.
pub(crate) struct Cached {
    memory: Malloc,
    geometry: Geometry,
    state: Arc<Mutex<State>>,
}

struct CachedChannel {
    memory: Box<dyn Channel>,
    number: usize,
    state: Arc<Mutex<State>>,
}

impl Cached {
    pub(crate) fn new() -> Arc<Self> {
        let memory = Malloc::new("cached", 1 << 20, 512).expect("memory");
        let geometry = Geometry { volatile_write_cache: true, ..*memory.geometry() };
        Arc::new(Self { memory, geometry, state: Arc::default() })
    }

    /// Flushes that wait.
    pub(crate) fn flushing(&self) -> usize {
        self.state.lock().expect("a test that goes on").flushing.len()
    }

    /// Flushes that succeeded.
    pub(crate) fn flushed(&self) -> usize {
        self.state.lock().expect("a test that goes on").flushed
    }

    /// Writes that are not durable.
    pub(crate) fn cached(&self) -> usize {
        self.state.lock().expect("a test that goes on").cached
    }

    /// From now on flushes end so: those that wait, and those to come.
    pub(crate) fn flushes(&self, succeed: bool) {
        let failed = Err(BdevError::Media { access: Access::Write });
        self.state.lock().expect("a test that goes on").ends = Some(if succeed { Ok(()) } else { failed });
    }
}

impl Bdev for Cached {
    fn name(&self) -> &str {
        "cached"
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        let mut state = self.state.lock().expect("a test that goes on");
        state.channels += 1;
        let (memory, state, number) = (self.memory.open(home)?, Arc::clone(&self.state), state.channels);
        Ok(Box::new(CachedChannel { memory, number, state }))
    }
}

impl Channel for CachedChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        let mut state = self.state.lock().expect("a test that goes on");
        match command {
            Command::Flush => {
                state.flushing.push_back((self.number, tag));
                return Submitted::Pending;
            }
            Command::Write { .. } => state.cached += 1,
            _ => {}
        }
        drop(state);
        self.memory.submit(tag, command)
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut completed = 0;
        loop {
            let mut state = self.state.lock().expect("a test that goes on");
            let Some(result) = state.ends else { return completed };
            let own = state.flushing.iter().position(|(number, _)| *number == self.number);
            let Some((_, tag)) = own.and_then(|at| state.flushing.remove(at)) else { return completed };
            if result.is_ok() {
                state.cached = 0;
                state.flushed += 1;
            }
            drop(state);
            completed += 1;
            done(tag, result);
        }
    }

    fn outstanding(&self) -> usize {
        let state = self.state.lock().expect("a test that goes on");
        state.flushing.iter().filter(|(number, _)| *number == self.number).count()
    }

    fn wake(&self) -> Wake {
        if self.outstanding() == 0 { Wake::Never } else { Wake::Soon }
    }
}
