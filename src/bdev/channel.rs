//! The way of one reactor to a block device.

use corelane_reactors::{buffer::Segment, poller::Wake};

use super::{BdevError, Blocks, Command, Tag};

/// One reactor's way to a block device. It stays on the reactor that opened it.
///
/// Dropping a channel abandons the commands that are outstanding on it: whoever drops it must first have
/// seen them complete, because their memory belongs to the device until then.
pub trait Channel {
    /// Hands a command over; here its processing starts. The device may learn of it only at the next
    /// [`Channel::commit`] or [`Channel::poll`].
    ///
    /// The command's lists need to live for this call only, the memory that they name until the command
    /// completes. `tag` must differ from those of the commands outstanding on this channel. The segments
    /// of a command may be cut anywhere (but see [`super::Memory::Callers`]); their lengths must add up to
    /// the blocks, which is [`BdevError::Length`] otherwise.
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted;

    /// Completes commands that [`Channel::submit`] left pending, at most one named batch of them; `done`
    /// is called once for each. Returns their number. Never blocks.
    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize;

    /// Number of commands submitted and not yet completed.
    fn outstanding(&self) -> usize;

    /// Tells the device of what was submitted since the last call: one doorbell, one system call, for all of
    /// it. Whoever submits calls this once in a turn, and before it sleeps.
    fn commit(&mut self) {}

    /// When to poll again while commands are outstanding; always [`Wake::Never`] with none. [`Wake::Descriptor`]
    /// is what the reactor watches anyway, such as its ring; [`Wake::Soon`] is at once, do not sleep.
    fn wake(&self) -> Wake;

    /// Asks that a pending command end early; it still completes through [`Channel::poll`], with
    /// [`BdevError::Aborted`] if it was not carried out. Returns whether the request could be followed:
    /// `false` for an unknown tag, and for a command that has gone too far.
    fn abort(&mut self, tag: Tag) -> bool {
        let _ = tag;
        false
    }

    /// Asks that everything outstanding on this channel be ended by force, its device's queue taken down and made
    /// anew if it must be. Each command still completes through [`Channel::poll`], once the device can no longer
    /// touch its memory or the medium for it, with [`BdevError::Aborted`] if it was not carried out; commands may
    /// be submitted meanwhile, and may then be answered [`BdevError::Busy`]. Returns whether the request could be
    /// followed: `false` leaves everything as it was.
    fn reset(&mut self) -> bool {
        false
    }

    /// A hint: a write of `blocks` is about to be handed over, or to be refused. Whatever the range is, nothing becomes
    /// different by it but how long the write takes.
    fn expect_write(&self, blocks: Blocks) {
        let _ = blocks;
    }

    /// The bytes of `blocks` where they lie, to be sent from there instead of being read; `None` when the
    /// device has no such memory or the range is not on it.
    ///
    /// They may change while they are looked at, as the blocks are written, and stay readable as long as
    /// the bdev lives. A device lends only where nobody but this thread writes them: so whoever reads a block at one go on
    /// this thread, between two commands, reads a whole one.
    fn lend(&self, blocks: Blocks) -> Option<Segment> {
        let _ = blocks;
        None
    }
}

/// What became of a command inside [`Channel::submit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a completion that is dropped hangs its host"]
pub enum Submitted {
    /// It completed, and will not be reported again.
    Done(Result<(), BdevError>),
    /// It will complete through [`Channel::poll`].
    Pending,
}
