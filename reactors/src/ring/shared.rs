//! What all handles of a ring share: the kernel's side, the operations in flight, the inboxes.
//!
//! Invariants: `unread` is the number of completions in all inboxes; a user that was dropped keeps its place, and what
//! completes for it is forgotten, until nothing of it is in flight. The list of an operation is not touched while it is
//! in flight.
#![expect(unsafe_code, reason = "operations hand the addresses of segments to the kernel")]

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use io_uring::opcode::AsyncCancel;
use rustix::io::Errno;

use super::{
    Completion, Full, Message, Operation, OperationId, Options, Ring, RingError, SEGMENTS_MAX, USERS_MAX,
    flights::{Flights, Landed, Owner},
    kernel::Kernel,
    memory::{PART_BYTES_MAX, Pinned},
    setup::{self, Mode},
};
use crate::buffer::{Segment, SegmentMut};

/// One wait for the operations of a ring that ends.
const CLOSE_STEP: Duration = Duration::from_millis(50);

pub(super) struct Shared {
    state: RefCell<State>,
    /// Room for the segments of each operation, [`SEGMENTS_MAX`] a slot.
    lists: Box<[Cell<Segment>]>,
    descriptor: OwnedFd,
}

struct State {
    kernel: Kernel,
    flights: Flights,
    users: Vec<Inbox>,
    unread: usize,
    /// The last hand-over brought completions, which nobody has had a chance to take.
    fresh: bool,
    /// Completions were left in the queue of the kernel, for want of room in an inbox.
    left: bool,
    /// Whose inbox is full of streaming completions: one user's, since then nothing is moved until that user takes some.
    crowded: Option<u32>,
    files: Files,
    pinned: Pinned,
    /// Names of windows that are free, and how many were ever given.
    windows: (Vec<u16>, u16),
    /// What operations in flight send, by slot.
    messages: Box<[Option<Message>]>,
}

/// The places in the table of files.
struct Files {
    free: Vec<u32>,
}

/// A user, as the ring sees it.
struct Inbox {
    completions: VecDeque<Completion>,
    limit: usize,
    /// Completions with `more` that find room.
    backlog: usize,
    in_flight: usize,
    /// Completions without `more` in the inbox.
    last: usize,
    open: bool,
}

impl Shared {
    pub(super) fn open(options: &Options, modes: &[Mode]) -> Result<Self, RingError> {
        let kernel = Kernel::open(options, modes)?;
        let descriptor = kernel.descriptor().map_err(|error| setup::refusal(&error))?;
        let operations = options.operations.next_power_of_two();
        let state = State {
            kernel,
            flights: Flights::new(operations),
            users: Vec::with_capacity(USERS_MAX),
            unread: 0,
            fresh: false,
            left: false,
            crowded: None,
            files: Files { free: (0..options.files).rev().collect() },
            pinned: Pinned::with_capacity(),
            windows: (Vec::new(), 0),
            messages: (0..operations).map(|_| None).collect(),
        };
        let lists = vec![Cell::new(Segment::empty()); operations as usize * SEGMENTS_MAX];
        Ok(Self { state: RefCell::new(state), lists: lists.into_boxed_slice(), descriptor })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn mode(&self) -> Mode {
        self.state.borrow().kernel.mode()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state.borrow().flights.in_flight()
    }

    pub(super) fn enters(&self) -> u64 {
        self.state.borrow().kernel.enters()
    }

    /// Whether entries wait to be handed over.
    pub(super) fn has_waiting(&self) -> bool {
        self.state.borrow().kernel.waiting() > 0
    }

    /// Prepares for a sleep: returns whether there is something to be reaped or taken; if not, the descriptor becomes
    /// readable as soon as there is.
    pub(super) fn arm(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        if state.unread > 0 {
            return true;
        }
        if state.flights.in_flight() == 0 {
            state.kernel.hush();
            return false;
        }
        state.kernel.arm();
        state.kernel.has_work()
    }

    pub(super) fn reap(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.kernel.disarm();
        // What came with the last hand-over is taken first: one system call a turn does for both.
        let fresh = std::mem::take(&mut state.fresh);
        if !fresh && (state.left || state.flights.in_flight() > 0 && state.kernel.has_work()) {
            state.kernel.enter();
            state.drain();
        }
        state.unread > 0
    }

    pub(super) fn submit(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.kernel.waiting() == 0 {
            return false;
        }
        state.kernel.enter();
        state.drain();
        state.fresh = state.unread > 0;
        true
    }

    /// Hands over, and waits for a completion. Inboxes may grow beyond their room.
    pub(super) fn wait(&self, limit: Duration) {
        let state = &mut *self.state.borrow_mut();
        state.kernel.enter_and_wait(limit);
        state.crowded = None;
        while state.drain() {
            state.crowded = None;
        }
    }

    /// A place for a user with these limits.
    pub(super) fn add_user(&self, limit: u32, backlog: u32) -> Result<u32, RingError> {
        let state = &mut *self.state.borrow_mut();
        let (limit, backlog) = (limit as usize, backlog as usize);
        let completions = VecDeque::with_capacity(limit + backlog);
        let inbox = Inbox { completions, limit, backlog, in_flight: 0, last: 0, open: true };
        let free = state.users.iter().position(|user| !user.open && user.in_flight == 0);
        let index = free.unwrap_or(state.users.len());
        match state.users.get_mut(index) {
            Some(place) => *place = inbox,
            None if index < USERS_MAX => state.users.push(inbox),
            None => return Err(RingError::Users),
        }
        u32::try_from(index).map_err(|_| RingError::Users)
    }

    /// The user is gone: nobody takes its completions any more.
    pub(super) fn remove_user(&self, user: u32) {
        let state = &mut *self.state.borrow_mut();
        let inbox = &mut state.users[user as usize];
        state.unread -= inbox.completions.len();
        inbox.completions.clear();
        inbox.last = 0;
        inbox.open = false;
        state.crowded = state.crowded.filter(|&crowded| crowded != user);
    }

    pub(super) fn start(
        &self,
        user: u32,
        token: u64,
        operation: &Operation<'_>,
    ) -> Result<OperationId, Full> {
        let state = &mut *self.state.borrow_mut();
        let inbox = &mut state.users[user as usize];
        if inbox.in_flight + inbox.last >= inbox.limit {
            return Err(Full);
        }
        let id = state.flights.start(Owner { user, token }).ok_or(Full)?;
        let first = id.slot() * SEGMENTS_MAX;
        let list = &self.lists[first..first + SEGMENTS_MAX];
        let entry = operation.entry(list, &state.pinned).user_data(id.user_data());
        // SAFETY: the memory of a segment stays mapped for as long as the segment is used (its field invariant), and
        // the operation uses it until it completes. The list of a slot is only written when an operation starts in it,
        // which is after the last one completed, and lives as long as this value, which waits for what is in flight. A
        // message is shared with the operation until it completes, and nobody writes it while it is shared.
        let pushed = unsafe { state.kernel.push(&entry) };
        if !pushed {
            state.flights.undo(id);
            return Err(Full);
        }
        inbox.in_flight += 1;
        if let Some(message) = operation.message() {
            state.messages[id.slot()] = Some(message);
        }
        Ok(id)
    }

    pub(super) fn cancel(&self, user: u32, id: OperationId) -> bool {
        let state = &mut *self.state.borrow_mut();
        if !state.flights.may_cancel(id, user) {
            return false;
        }
        let entry = AsyncCancel::new(id.user_data()).build().user_data(id.cancellation_user_data());
        // SAFETY: the entry has a name in it, and no address.
        let pushed = unsafe { state.kernel.push(&entry) };
        if pushed {
            state.flights.cancelled(id);
        }
        pushed
    }

    pub(super) fn take(&self, user: u32) -> Option<Completion> {
        let state = &mut *self.state.borrow_mut();
        let inbox = &mut state.users[user as usize];
        let completion = inbox.completions.pop_front()?;
        state.unread -= 1;
        if completion.more {
            state.crowded = state.crowded.filter(|&crowded| crowded != user);
        } else {
            inbox.last -= 1;
        }
        Some(completion)
    }

    pub(super) fn has_completion(&self, user: u32) -> bool {
        !self.state.borrow().users[user as usize].completions.is_empty()
    }

    pub(super) fn outstanding(&self, user: u32) -> usize {
        let state = self.state.borrow();
        let inbox = &state.users[user as usize];
        inbox.in_flight + inbox.completions.len()
    }

    pub(super) fn add_file(&self, file: BorrowedFd<'_>) -> Result<u32, RingError> {
        let state = &mut *self.state.borrow_mut();
        let index = state.files.free.pop().ok_or(RingError::Files)?;
        let added = state.kernel.set_file(index, Some(file));
        if added.is_err() {
            state.files.free.push(index);
        }
        added.map(|()| index)
    }

    /// Closes a file in the ring. Operations on it that wait to be handed over must not find the next file in its place,
    /// so they are handed over first.
    pub(super) fn remove_file(&self, index: u32) {
        let state = &mut *self.state.borrow_mut();
        if state.kernel.waiting() > 0 {
            let all = state.kernel.enter();
            state.drain();
            if !all {
                // Its place is lost rather than mistaken.
                return;
            }
        }
        if state.kernel.set_file(index, None).is_ok() {
            state.files.free.push(index);
        }
    }

    /// Registers a page for buffers, and names it.
    pub(super) fn add_window(&self, page: *mut u8) -> Result<u16, RingError> {
        let state = &mut *self.state.borrow_mut();
        let (free, given) = &mut state.windows;
        let group = match free.pop() {
            Some(group) => group,
            None => {
                let next = given.checked_add(1).ok_or(RingError::Memory)?;
                std::mem::replace(given, next)
            }
        };
        let registered = state.kernel.register_buffers(page, group);
        if registered.is_err() {
            state.windows.0.push(group);
        }
        registered.map(|()| group)
    }

    /// Ends what `add_window` began; `false` if the kernel keeps the page.
    pub(super) fn remove_window(&self, group: u16) -> bool {
        let state = &mut *self.state.borrow_mut();
        let removed = state.kernel.unregister_buffers(group);
        if removed {
            state.windows.0.push(group);
        }
        removed
    }

    pub(super) fn pin_memory(&self, memory: SegmentMut) -> Result<(), RingError> {
        let state = &mut *self.state.borrow_mut();
        for start in (0..memory.len()).step_by(PART_BYTES_MAX) {
            let part = memory.slice(start..memory.len().min(start + PART_BYTES_MAX));
            if state.pinned.find(part.read_only()).is_some() {
                continue;
            }
            let index = state.pinned.next_index().ok_or(RingError::Memory)?;
            state.kernel.pin(index, part)?;
            state.pinned.add(part.read_only());
        }
        Ok(())
    }
}

impl State {
    /// Moves completions into the inboxes, all of them unless an inbox is crowded: then some may be left, and it
    /// returns true. The completion queue has room for what is not a stream; a stream stops when it is full.
    fn drain(&mut self) -> bool {
        self.left = false;
        loop {
            if self.crowded.is_some() {
                self.left = true;
                return true;
            }
            let Some((user_data, result, more)) = self.kernel.take() else { return false };
            match self.flights.land(user_data, more) {
                Some(Landed::Operation(owner, slot)) => {
                    if !more {
                        self.messages[slot] = None;
                    }
                    self.deliver(owner, result, more);
                }
                Some(Landed::Cancellation) => {}
                None => debug_assert!(false, "the kernel completed what was not in flight"),
            }
        }
    }

    fn deliver(&mut self, owner: Owner, result: i32, more: bool) {
        let inbox = &mut self.users[owner.user as usize];
        inbox.in_flight -= usize::from(!more);
        if !inbox.open {
            return;
        }
        let result = u32::try_from(result).map_err(|_| Errno::from_raw_os_error(result.wrapping_neg()));
        assert!(more || inbox.last < inbox.limit);
        inbox.completions.push_back(Completion { token: owner.token, result, more });
        inbox.last += usize::from(!more);
        let full = more && inbox.completions.len() - inbox.last >= inbox.backlog;
        self.crowded = full.then_some(owner.user);
        self.unread += 1;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if state.flights.in_flight() == 0 {
            return;
        }
        // A full submission queue is handed over first.
        let everything = u64::MAX;
        if !state.kernel.cancel_all(everything) {
            state.kernel.enter();
            state.drain();
            state.kernel.cancel_all(everything);
        }
        let end = Instant::now() + Ring::CLOSE_WAIT;
        while state.flights.in_flight() > 0 && Instant::now() < end {
            state.kernel.enter_and_wait(CLOSE_STEP);
            state.drain();
        }
        if state.flights.in_flight() > 0 {
            // The kernel may still read them.
            std::mem::forget(std::mem::take(&mut state.messages));
        }
    }
}
