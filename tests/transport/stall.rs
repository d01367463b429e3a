//! A block device in memory that can stall the turn of its reactor: in the midst of a submission, or of a poll.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corelane::bdev::{
    Bdev, BdevError, Channel, Command, Geometry, Home, Malloc, Memory, OpenError, Submitted, Tag,
};
use corelane_reactors::poller::Wake;

thread_local! {
    /// What happens while the turn stalls, and the calls of [`call`] until then.
    static STALL: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Stalls the turn at call number `calls`, from 0, of any device here.
pub(crate) fn arm(calls: usize, during: Box<dyn FnOnce()>) {
    CALLS.set(calls);
    STALL.set(Some(during));
}

/// Whether it came to the stall; if not, it does not come to it any more.
pub(crate) fn disarm() -> bool {
    STALL.take().is_none()
}

fn call() {
    if CALLS.get() > 0 {
        return CALLS.set(CALLS.get() - 1);
    }
    // Out of the cell first: what happens now may call again.
    let during = STALL.take();
    if let Some(during) = during {
        during();
    }
}

/// A memory device that stalls, and counts.
pub(crate) struct Stall {
    inner: Malloc,
    geometry: Geometry,
    pends: bool,
    submitted: Arc<AtomicUsize>,
}

struct StallChannel {
    inner: Box<dyn Channel>,
    pends: bool,
    submitted: Arc<AtomicUsize>,
    pending: VecDeque<Tag>,
}

impl Stall {
    /// 2,048 blocks of 512 bytes. Its commands are done at once and stall there; or, where it `pends`, they want buffers,
    /// are done by the next poll, and stall there.
    pub(crate) fn new(pends: bool) -> Arc<Self> {
        let inner = Malloc::new("stall", 1 << 20, 512).expect("memory");
        let mut geometry = *inner.geometry();
        if pends {
            geometry.memory = Memory::Callers { alignment: 4096 };
        }
        Arc::new(Self { inner, geometry, pends, submitted: Arc::default() })
    }

    /// Commands that it was handed.
    pub(crate) fn submitted(&self) -> usize {
        self.submitted.load(Ordering::Relaxed)
    }
}

impl Bdev for Stall {
    fn name(&self) -> &str {
        "stall"
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        let (inner, submitted) = (self.inner.open(home)?, Arc::clone(&self.submitted));
        Ok(Box::new(StallChannel { inner, pends: self.pends, submitted, pending: VecDeque::new() }))
    }
}

impl Channel for StallChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        self.submitted.fetch_add(1, Ordering::Relaxed);
        let submitted = self.inner.submit(tag, command);
        if self.pends {
            assert_eq!(submitted, Submitted::Done(Ok(())));
            self.pending.push_back(tag);
            return Submitted::Pending;
        }
        call();
        submitted
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let completed = self.pending.len();
        for tag in self.pending.drain(..) {
            done(tag, Ok(()));
        }
        if completed > 0 {
            call();
        }
        completed
    }

    fn outstanding(&self) -> usize {
        self.pending.len()
    }

    fn wake(&self) -> Wake {
        if self.pending.is_empty() { Wake::Never } else { Wake::Soon }
    }
}
