//! The completion queue entry: the 16 bytes of an answer (NVMe base 2.1, section 4.2).

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::status::Status;

/// A completion as it stands in a completion queue or a response capsule (section 4.2.1). On fabrics the
/// phase bit is reserved and zero (base 2.1, section 4.2.2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Cqe {
    /// DW0: command specific.
    pub dw0: U32,
    /// DW1: command specific.
    pub dw1: U32,
    /// SQHD: the submission queue head pointer; reserved where SQ flow control is disabled.
    pub sqhd: U16,
    /// SQID: the submission queue identifier; reserved on fabrics.
    pub sqid: U16,
    /// CID: the command that this completes.
    pub cid: U16,
    /// The status in bits 15:1, the phase in bit 0; see [`Cqe::status`].
    pub status_wire: U16,
}

const _: () = {
    assert!(size_of::<Cqe>() == 16);
    assert!(offset_of!(Cqe, sqhd) == 8 && offset_of!(Cqe, cid) == 12 && offset_of!(Cqe, status_wire) == 14);
};

impl Cqe {
    /// A completion of command `cid` with `status`; the dwords and SQHD are zero.
    pub fn of(cid: u16, status: Status) -> Self {
        Self { cid: U16::new(cid), status_wire: U16::new(status.to_wire()), ..Self::default() }
    }

    /// The entry of two double words, as they are loaded from a queue.
    #[inline]
    pub fn of_double_words(words: [u64; 2]) -> Self {
        let [low, high] = words;
        zerocopy::transmute!([U64::new(low), U64::new(high)])
    }

    /// The two double words of the entry, as they are stored in a queue; the second has the phase bit.
    #[inline]
    pub fn double_words(self) -> [u64; 2] {
        let [low, high]: [U64; 2] = zerocopy::transmute!(self);
        [low.get(), high.get()]
    }

    /// P: the phase bit, which is inverted each time that a completion queue is passed through (section 4.2.4).
    #[inline]
    pub fn phase(&self) -> bool {
        self.status_wire.get() & 1 == 1
    }

    /// The same entry with this phase bit.
    #[must_use]
    pub fn with_phase(self, phase: bool) -> Self {
        let status = self.status().to_wire() | u16::from(phase);
        Self { status_wire: U16::new(status), ..self }
    }

    /// The status field without the phase bit.
    #[inline]
    pub fn status(&self) -> Status {
        Status::from_wire(self.status_wire.get())
    }
}
