//! The kernel's two queues and the calls that move them. Routes nothing and owns no operation.
//!
//! Only here are entries pushed, which hand raw addresses to the kernel: whoever calls [`Kernel::push`] makes sure that
//! they hold.
//!
//! A sleeper waits for an eventfd and not for the ring itself: work that the kernel defers raises the flag and signals
//! the eventfd, but does not make the ring's own descriptor readable. The kernel raises the flag, then looks whether it
//! may signal; the sleeper allows the signal, then looks at the flag. On x86 both are full barriers, so one of the two
//! sees the other. Elsewhere the kernel promises less, and the signal is always allowed.
#![expect(unsafe_code, reason = "submission entries and pinned memory are raw addresses for the kernel")]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use io_uring::{
    IoUring, cqueue,
    opcode::AsyncCancel2,
    squeue::Entry,
    types::{CancelBuilder, SubmitArgs, Timespec},
};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

use super::{Options, RingError, memory, setup, setup::Mode, window};
use crate::buffer::{Segment, SegmentMut};

/// CPUs that the kernel's own set type has room for.
const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

pub(super) struct Kernel {
    ring: IoUring,
    mode: Mode,
    /// Entries pushed and not handed over.
    waiting: usize,
    enters: u64,
    /// Readable when the kernel has completions, or has raised its flag, since it was allowed to signal.
    eventfd: OwnedFd,
    /// The kernel may signal.
    armed: bool,
    /// It may have signalled since the eventfd was read.
    signalled: bool,
}

/// Whether the kernel is forbidden to signal while nobody sleeps, which saves it the trouble.
const SIGNAL_IS_SWITCHED: bool = cfg!(target_arch = "x86_64");

impl Kernel {
    pub(super) fn open(options: &Options, modes: &[Mode]) -> Result<Self, RingError> {
        let (ring, mode) = setup::open(options, modes)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfd = eventfd(0, flags).map_err(RingError::System)?;
        let registered = ring.submitter().register_eventfd(eventfd.as_raw_fd());
        registered.map_err(|error| setup::refusal(&error))?;
        let mut kernel = Self { ring, mode, waiting: 0, enters: 0, eventfd, armed: true, signalled: true };
        kernel.disarm();
        if !options.worker_cpus.is_empty() {
            kernel.place_workers(&options.worker_cpus)?;
        }
        // Without room for pinned memory everything works as well.
        let _ = kernel.ring.submitter().register_buffers_sparse(memory::PARTS_MAX.into());
        Ok(kernel)
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Entries pushed and not handed over.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    /// A descriptor for a sleeper: see [`Kernel::arm`].
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.eventfd.try_clone()
    }

    /// From now on the descriptor becomes readable when the kernel has completions, or would make some if it was entered;
    /// what it has already is found by [`Kernel::has_work`], asked afterwards.
    pub(super) fn arm(&mut self) {
        self.hush();
        if SIGNAL_IS_SWITCHED {
            // A read-modify-write: a full barrier where this is done.
            self.ring.completion().enable_eventfd();
        }
        self.armed = true;
        self.signalled = true;
    }

    /// Makes the descriptor unreadable.
    pub(super) fn hush(&mut self) {
        if self.signalled {
            // It is empty if nothing was signalled.
            let _ = rustix::io::read(&self.eventfd, &mut [0; 8]);
            self.signalled = !SIGNAL_IS_SWITCHED;
        }
    }

    /// Nobody sleeps any more.
    pub(super) fn disarm(&mut self) {
        if self.armed && SIGNAL_IS_SWITCHED {
            self.ring.completion().disable_eventfd();
        }
        self.armed = false;
    }

    /// Puts an entry into the submission queue; `false` when that is full.
    ///
    /// # Safety
    /// The addresses in `entry` are valid for what it asks for until it completes, except that a list of segments need
    /// only stay as it is until the entry was handed over.
    pub(super) unsafe fn push(&mut self, entry: &Entry) -> bool {
        let mut queue = self.ring.submission();
        // SAFETY: the caller promises what this needs; that lists are copied at hand-over was probed (SUBMIT_STABLE).
        let pushed = unsafe { queue.push(entry) }.is_ok();
        self.waiting += usize::from(pushed);
        pushed
    }

    /// Asks that everything in flight be cancelled; `false` when the submission queue is full.
    pub(super) fn cancel_all(&mut self, user_data: u64) -> bool {
        let entry = AsyncCancel2::new(CancelBuilder::any()).build().user_data(user_data);
        // SAFETY: the entry has no address.
        unsafe { self.push(&entry) }
    }

    /// Whether there are completions, or the kernel would make some if it was entered.
    pub(super) fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        if queue.taskrun() || queue.cq_overflow() {
            return true;
        }
        drop(queue);
        // Deferred completions appear only in `enter`, after which the queue is emptied.
        !self.mode.is_deferred() && !self.ring.completion().is_empty()
    }

    /// Hands over what was pushed, and has the kernel do its deferred work when it has any. Returns whether it took
    /// everything: it has no memory for it, or was interrupted, otherwise.
    ///
    /// # Panics
    /// When the kernel refuses for a reason that only a defect of this folder can be.
    pub(super) fn enter(&mut self) -> bool {
        self.enters += 1;
        let result = self.ring.submitter().submit();
        self.entered(result)
    }

    /// As [`Kernel::enter`], and waits for a completion, at most so long.
    pub(super) fn enter_and_wait(&mut self, limit: Duration) -> bool {
        self.enters += 1;
        let time = Timespec::from(limit);
        let result = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time));
        self.entered(result)
    }

    /// Takes a completion: its name, its result as the kernel gives it, and whether more of the same operation follow.
    pub(super) fn take(&mut self) -> Option<(u64, i32, bool)> {
        let entry = self.ring.completion().next()?;
        Some((entry.user_data(), entry.result(), cqueue::more(entry.flags())))
    }

    /// Lets the kernel find buffers in the page at `page`, by the name of `group`.
    pub(super) fn register_buffers(&self, page: *mut u8, group: u16) -> Result<(), RingError> {
        let address = page.addr() as u64;
        // SAFETY: the page is mapped, and stays so until `unregister_buffers` has succeeded for it (see `Window`).
        let registered = unsafe {
            self.ring.submitter().register_buf_ring_with_flags(
                address,
                window::ENTRIES,
                group,
                window::INCREMENTAL,
            )
        };
        registered.map_err(|error| match setup::refusal(&error) {
            RingError::TooOld => RingError::NoStreams,
            refusal => refusal,
        })
    }

    /// Ends what `register_buffers` began.
    pub(super) fn unregister_buffers(&self, group: u16) -> bool {
        self.ring.submitter().unregister_buf_ring(group).is_ok()
    }

    /// Puts a file at `index` of the table; -1 takes away what is there.
    pub(super) fn set_file(&self, index: u32, file: Option<BorrowedFd<'_>>) -> Result<(), RingError> {
        let descriptor: RawFd = file.map_or(-1, |file| file.as_raw_fd());
        let updated = self.ring.submitter().register_files_update(index, &[descriptor]);
        updated.map(drop).map_err(|error| setup::refusal(&error))
    }

    /// Pins a part of memory as number `index`.
    pub(super) fn pin(&self, index: u16, part: SegmentMut) -> Result<(), RingError> {
        let list = [libc::iovec { iov_base: part.pointer().cast(), iov_len: part.len() }];
        // SAFETY: the bytes of a segment stay mapped for as long as it is used (its field invariant), and the kernel,
        // which pins their pages, uses it until the ring ends.
        let pinned = unsafe { self.ring.submitter().register_buffers_update(index.into(), &list, None) };
        pinned.map_err(|error| setup::refusal(&error))
    }

    fn entered(&mut self, result: io::Result<usize>) -> bool {
        self.waiting = self.ring.submission().len();
        let Err(error) = result else { return self.waiting == 0 };
        match Errno::from_io_error(&error) {
            Some(Errno::INTR | Errno::AGAIN | Errno::BUSY | Errno::TIME | Errno::NOMEM) => self.waiting == 0,
            _ => panic!("io_uring_enter refuses what it should take: {error}"),
        }
    }

    /// Has the kernel's threads of this ring run on these CPUs only.
    fn place_workers(&self, cpus: &[usize]) -> Result<(), RingError> {
        if cpus.iter().any(|&cpu| cpu >= CPUS_MAX) {
            return Err(RingError::Options);
        }
        // SAFETY: all zeros is a valid set: it is an array of integers.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        for &cpu in cpus {
            // SAFETY: `cpu < CPU_SETSIZE`, so its bit is inside of the set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        let placed = self.ring.submitter().register_iowq_aff(&set);
        placed.map_err(|error| RingError::System(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

const _: () = assert!(size_of::<Segment>() == size_of::<libc::iovec>());
