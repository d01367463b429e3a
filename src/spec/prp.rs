//! Physical region pages: how commands on PCIe name memory (NVMe base 2.1, section 4.3.1).

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sgl::SglDescriptor;
use super::sqe::Sqe;

/// The data pointer of a command that uses PRPs (section 4.1, "Common Command Format", DPTR).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct PrpPair {
    /// PRP1: where the data begins; a multiple of 4 anywhere in a page.
    pub prp1: U64,
    /// PRP2: reserved where the data ends in the first page, the second page where it ends in that, otherwise a list of
    /// the pages after the first.
    pub prp2: U64,
}

const _: () = assert!(size_of::<PrpPair>() == size_of::<SglDescriptor>());

impl PrpPair {
    /// Data from `prp1` on, its further pages named by `prp2`.
    #[inline]
    pub fn of(prp1: u64, prp2: u64) -> Self {
        Self { prp1: U64::new(prp1), prp2: U64::new(prp2) }
    }
}

impl From<PrpPair> for SglDescriptor {
    /// The same 16 bytes, as the field of a command.
    #[inline]
    fn from(pair: PrpPair) -> Self {
        zerocopy::transmute!(pair)
    }
}

impl From<SglDescriptor> for PrpPair {
    /// The same 16 bytes, read as PRPs.
    #[inline]
    fn from(field: SglDescriptor) -> Self {
        zerocopy::transmute!(field)
    }
}

/// Bytes of an entry of a PRP list (section 4.3.1, "PRP List").
pub const PRP_BYTES: usize = 8;

/// What the offset of PRP1 in its page is a multiple of (section 4.3.1).
pub const PRP_ALIGNMENT: u64 = 4;

impl Sqe {
    /// A command of this opcode and identifier that uses PRPs; everything else zero.
    #[inline]
    pub fn with_prps(opcode: u8, cid: u16, nsid: u32) -> Self {
        let mut sqe = Self::new_zeroed();
        sqe.opcode = opcode;
        sqe.cid.set(cid);
        sqe.nsid.set(nsid);
        sqe
    }

    /// DPTR, read as PRPs.
    pub fn prps(&self) -> PrpPair {
        self.dptr.into()
    }

    /// The eight double words of the entry, as they are stored in a queue.
    #[inline]
    pub fn double_words(self) -> [u64; 8] {
        let [a, b, c, d, e, f, g, h]: [U64; 8] = zerocopy::transmute!(self);
        [a.get(), b.get(), c.get(), d.get(), e.get(), f.get(), g.get(), h.get()]
    }
}
