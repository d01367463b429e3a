//! Receive chunks of equal size from one pool, and what may be written into them when.
//!
//! The pool belongs to one thread, counts without atomics and allocates nothing after its start. A chunk is held by
//! its filler ([`Chunk`]) and by leases; it goes back to the pool with its last hold. The free list is a stack, so
//! that the chunk used last, still in the cache, is used next.
//!
//! Invariant: `taken <= filled <= chunk_bytes`. Bytes below `taken` are gone, bytes below `filled` were received,
//! and only bytes at or above `filled` are written while the chunk has a lease.
#![expect(
    unsafe_code,
    reason = "chunk memory is mapped and, at or above the fill mark, written by the kernel"
)]

use std::{cell::Cell, io, os::fd::BorrowedFd, ptr, rc::Rc};

use rustix::{
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous},
};

use super::{lease::Lease, segment::SegmentMut, system};

/// Marks the end of the free list.
const NONE: u32 = u32::MAX;

/// A pool of receive chunks of equal size. Clones share the pool; it stays on the thread that made it.
#[derive(Clone)]
pub struct Chunks(Rc<Pool>);

/// One chunk of a pool, held by the one who fills it.
pub struct Chunk {
    pool: Rc<Pool>,
    /// `index < pool.chunks.len()`, and this value is one of the holds of that chunk, the only `Chunk` among them.
    index: u32,
    /// `taken <= filled`.
    taken: usize,
    /// `filled <= pool.chunk_bytes`; a lease of this chunk ends at or below it.
    filled: usize,
}

/// How many bytes one receive brought, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes at the start of the wanted segment.
    pub(crate) direct: usize,
    /// Bytes appended to the chunk.
    pub(crate) chunk: usize,
}

/// The memory of a pool and the holds on it.
pub(super) struct Pool {
    /// `base..base + chunk_bytes * chunks.len()` is mapped, readable and writable, until the process ends: dropping
    /// the pool gives the pages back and keeps the addresses. So a segment of a lease never dangles.
    base: *mut u8,
    /// Length of each chunk in bytes.
    chunk_bytes: usize,
    chunks: Box<[State]>,
    /// Chunks held by each account.
    accounts: Box<[Cell<u32>]>,
    /// First free chunk, or `NONE`.
    free: Cell<u32>,
    free_count: Cell<u32>,
    /// Counts up, wrapping, with each chunk that comes back or is left with one hold.
    releases: Cell<u64>,
}

/// Book-keeping of one chunk.
struct State {
    /// 0 when and only when the chunk is in the free list.
    holds: Cell<u32>,
    /// The account that is charged while the chunk is held.
    account: Cell<u32>,
    /// The next free chunk, or `NONE`; meaningful in the free list only.
    next: Cell<u32>,
}

impl Chunks {
    /// A pool of `count` chunks of `chunk_bytes` each, charged to accounts `0..accounts`.
    ///
    /// # Errors
    /// `InvalidInput` when a number is 0 or their product does not fit; the error of mmap(2) otherwise.
    pub fn new(count: usize, chunk_bytes: usize, accounts: usize) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let last = u32::try_from(count).ok().filter(|&n| n < NONE).ok_or_else(invalid)?;
        u32::try_from(accounts).ok().filter(|&n| n > 0).ok_or_else(invalid)?;
        let bytes = count.checked_mul(chunk_bytes).filter(|&n| n > 0).ok_or_else(invalid)?;
        let base = map(bytes)?;
        let chunks = (1..=last)
            .map(|next| State {
                holds: Cell::new(0),
                account: Cell::new(0),
                next: Cell::new(if next == last { NONE } else { next }),
            })
            .collect();
        Ok(Self(Rc::new(Pool {
            base,
            chunk_bytes,
            chunks,
            accounts: vec![Cell::new(0); accounts].into_boxed_slice(),
            free: Cell::new(0),
            free_count: Cell::new(last),
            releases: Cell::new(0),
        })))
    }

    /// Takes an empty chunk and charges it to `account`; `None` when every chunk is held.
    ///
    /// # Panics
    /// If there is no such account.
    #[must_use]
    pub fn take(&self, account: usize) -> Option<Chunk> {
        let pool = &self.0;
        let charged = &pool.accounts[account];
        let index = pool.free.get();
        if index == NONE {
            return None;
        }
        let state = &pool.chunks[index as usize];
        assert!(state.holds.get() == 0);
        pool.free.set(state.next.get());
        pool.free_count.set(pool.free_count.get() - 1);
        charged.set(charged.get() + 1);
        state.holds.set(1);
        state.account.set(u32::try_from(account).expect("checked when the pool was made"));
        Some(Chunk { pool: Rc::clone(pool), index, taken: 0, filled: 0 })
    }

    /// Length of each chunk in bytes.
    #[must_use]
    pub fn chunk_bytes(&self) -> usize {
        self.0.chunk_bytes
    }

    /// Number of chunks that nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.free_count.get() as usize
    }

    /// Number of chunks charged to `account`.
    ///
    /// # Panics
    /// If there is no such account.
    #[must_use]
    pub fn held(&self, account: usize) -> usize {
        self.0.accounts[account].get() as usize
    }

    /// A number that changes whenever a chunk comes back or loses its last lease: a taker that found none can try again.
    #[must_use]
    pub fn releases(&self) -> u64 {
        self.0.releases.get()
    }
}

impl Chunk {
    /// Bytes that were received and not taken.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.filled - self.taken
    }

    /// Bytes that can still be received.
    #[must_use]
    pub fn room(&self) -> usize {
        self.pool.chunk_bytes - self.filled
    }

    /// Bytes at the front that are gone.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Whether no lease of this chunk exists.
    #[must_use]
    pub fn is_sole(&self) -> bool {
        self.pool.state(self.index).holds.get() == 1
    }

    /// A lease of the unread bytes.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.pool.hold(self.index);
        // SAFETY: the hold was taken above, and the unread bytes are below `filled` and in the chunk.
        unsafe { Lease::adopt(Rc::clone(&self.pool), self.index, self.taken, self.unread()) }
    }

    /// Gives up the first `bytes` of the unread bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn take(&mut self, bytes: usize) {
        assert!(bytes <= self.unread());
        self.taken += bytes;
    }

    /// Moves the unread bytes to the front of the chunk, so that its whole rest can be filled.
    ///
    /// # Panics
    /// If a lease of the chunk exists.
    pub fn compact(&mut self) {
        assert!(self.is_sole());
        let unread = self.unread();
        if unread > 0 {
            let base = self.base();
            // SAFETY: both ranges are in the chunk (`unread <= filled <= chunk_bytes`), whose memory is mapped; no
            // lease of it exists, so no reference does.
            unsafe { ptr::copy(base.wrapping_add(self.taken), base, unread) };
        }
        self.taken = 0;
        self.filled = unread;
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let end = self.base().wrapping_add(self.filled);
        // SAFETY: `count <= room`, so the target is in the chunk and at or above `filled`, where no lease reaches;
        // `bytes` is a reference and so not there.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), end, count) };
        self.filled += count;
        count
    }

    /// Receives once from `socket`: into `wanted` first, then at most `room` bytes, of which there are so many, into this
    /// chunk.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        wanted: Option<SegmentMut>,
        room: usize,
    ) -> Result<Received, Errno> {
        assert!(room <= self.room());
        let end = self.base().wrapping_add(self.filled);
        // SAFETY: the room of a chunk is mapped and writable, and no lease, hence no reference, reaches above `filled`;
        // the segment is not used after this call.
        let room = unsafe { SegmentMut::from_raw(end, room) };
        let (got, direct_max) = match wanted {
            Some(wanted) => (system::receive(socket, &[wanted, room])?, wanted.len()),
            None => (system::receive(socket, &[room])?, 0),
        };
        let direct = got.min(direct_max);
        let chunk = got - direct;
        assert!(chunk <= self.room());
        self.filled += chunk;
        Ok(Received { direct, chunk })
    }

    /// Where at most `bytes` of what comes next belong, for a receive that ends later. Until it has, nobody may move the
    /// unread bytes or fill the chunk in another way, and the chunk must be held.
    pub(crate) fn offer(&mut self, bytes: usize) -> SegmentMut {
        let end = self.base().wrapping_add(self.filled);
        // SAFETY: the room of a chunk is mapped until the process ends (field invariant of `Pool`) and writable, and no
        // lease, hence no reference, reaches above `filled`.
        unsafe { SegmentMut::from_raw(end, self.room().min(bytes)) }
    }

    /// `bytes` came to the front of what was offered, and will not be written any more.
    pub(crate) fn arrived(&mut self, bytes: usize) {
        assert!(bytes <= self.room());
        self.filled += bytes;
    }

    /// Address of the first byte of the chunk.
    fn base(&self) -> *mut u8 {
        self.pool.address(self.index)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.pool.release(self.index);
    }
}

impl Pool {
    /// Address of the first byte of chunk `index`; the chunk's `chunk_bytes` are mapped from there on.
    pub(super) fn address(&self, index: u32) -> *mut u8 {
        assert!((index as usize) < self.chunks.len());
        self.base.wrapping_add(index as usize * self.chunk_bytes)
    }

    /// Adds a hold to a chunk that has one.
    pub(super) fn hold(&self, index: u32) {
        let holds = &self.state(index).holds;
        assert!(holds.get() > 0);
        holds.set(holds.get().checked_add(1).expect("holds of one chunk fit in 32 bits"));
    }

    /// Takes a hold from a chunk; the last one puts it back into the free list.
    pub(super) fn release(&self, index: u32) {
        let state = self.state(index);
        let holds = state.holds.get();
        assert!(holds > 0);
        state.holds.set(holds - 1);
        if holds == 1 {
            let charged = &self.accounts[state.account.get() as usize];
            charged.set(charged.get() - 1);
            state.next.set(self.free.replace(index));
            self.free_count.set(self.free_count.get() + 1);
        }
        if holds <= 2 {
            self.releases.set(self.releases.get().wrapping_add(1));
        }
    }

    fn state(&self, index: u32) -> &State {
        &self.chunks[index as usize]
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the range was mapped in `new` and stays mapped: private anonymous pages are only replaced by zeros.
        // No lease exists, since each holds the pool, so no reference into it does.
        let given_back =
            unsafe { madvise(self.base.cast(), self.chunk_bytes * self.chunks.len(), Advice::LinuxDontNeed) };
        debug_assert!(given_back.is_ok());
    }
}

/// Maps `bytes` of zeros, in huge pages where the machine grants them.
fn map(bytes: usize) -> io::Result<*mut u8> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
    let base =
        unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE | MapFlags::NORESERVE) }?;
    // SAFETY: the range is the mapping made above; the advice changes no contents.
    let _huge_pages_are_a_wish = unsafe { madvise(base, bytes, Advice::LinuxHugepage) };
    Ok(base.cast())
}
