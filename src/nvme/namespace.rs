//! Namespaces: what Identify says of them, and which formats are supported.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use zerocopy::FromBytes;

use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{
    Dlfeat, Dps, Flbas, IdentifyNamespace, NSATTR_WRITE_PROTECTED, Rescap,
};
use crate::spec::identify::{Csi, IDENTIFY_BYTES};

/// Namespaces of one controller that this driver looks at; a controller with more is served with the first ones.
pub const NAMESPACES_MAX: usize = 128;
/// Blocks of 512 bytes to 64 KiB.
const SHIFTS: std::ops::RangeInclusive<u8> = 9..=16;

/// An active namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// NSID.
    pub nsid: u32,
    /// NSZE: blocks.
    pub blocks: u64,
    /// Bytes of a block; 0 where the format says nothing sensible.
    pub block_size: u32,
    /// Why commands that name blocks are refused; `None` for a namespace that can be used.
    pub refused: Option<FormatError>,
    /// EUI-64; zeros for none.
    pub eui64: [u8; 8],
    /// NGUID; zeros for none.
    pub nguid: [u8; 16],
    /// UUID.
    pub uuid: Option<Uuid>,
    /// Which reservations it supports.
    pub rescap: Rescap,
    /// Deallocated blocks read as zeros.
    pub deallocated_reads_zeros: bool,
    /// Write Zeroes may deallocate.
    pub write_zeroes_deallocates: bool,
    /// NSATTR: it is write protected.
    pub write_protected: bool,
    /// What one Copy may ask for; `None` where no Copy can succeed, whatever the controller offers.
    pub copy: Option<CopyLimits>,
}

/// What one Copy may ask for (NVM command set 1.0, section 4.1.5.1: MSSRL, MCL, MSRC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// MSSRL: blocks of one source range, at least 1. A longer one is sent as several.
    pub range_blocks: u16,
    /// MCL: blocks of all source ranges together, at least 1.
    pub blocks: u32,
    /// MSRC widened: source ranges, 1 to 256, of which the format of ranges leaves room for 128.
    pub ranges: u16,
}

impl CopyLimits {
    /// A controller that has Copy says more than 0 of both numbers of blocks; one that does not rejects every Copy.
    fn of(page: &IdentifyNamespace) -> Option<Self> {
        let (range_blocks, blocks) = (page.mssrl.get(), page.mcl.get());
        let ranges = u16::from(page.msrc_z) + 1;
        (range_blocks > 0 && blocks > 0).then_some(Self { range_blocks, blocks, ranges })
    }

    /// In one word, which is never 0.
    fn pack(self) -> u64 {
        u64::from(self.blocks) << 32 | u64::from(self.range_blocks) << 16 | u64::from(self.ranges)
    }

    fn unpack(word: u64) -> Option<Self> {
        let [ranges_low, ranges_high, range_low, range_high, blocks @ ..] = word.to_le_bytes();
        (word != 0).then(|| Self {
            range_blocks: u16::from_le_bytes([range_low, range_high]),
            blocks: u32::from_le_bytes(blocks),
            ranges: u16::from_le_bytes([ranges_low, ranges_high]),
        })
    }
}

/// Why a namespace cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Blocks carry metadata.
    #[error(
        "namespace {nsid} has {bytes} bytes of metadata in each block, which is not supported: format it without \
         (nvme format --ms=0 erases it)"
    )]
    Metadata {
        /// The namespace.
        nsid: u32,
        /// Bytes for each block.
        bytes: u16,
    },
    /// Blocks are protected end to end.
    #[error(
        "namespace {nsid} has protection information of type {kind}, which is not supported: format it without \
         (nvme format --pi=0 erases it)"
    )]
    Protection {
        /// The namespace.
        nsid: u32,
        /// PIT.
        kind: u8,
    },
    /// Blocks have a size that nobody uses.
    #[error(
        "namespace {nsid} has blocks of 2^{shift} bytes, which is not supported: format it with 512 or 4096 bytes \
         (nvme format --block-size=4096 erases it)"
    )]
    BlockSize {
        /// The namespace.
        nsid: u32,
        /// LBADS.
        shift: u8,
    },
    /// The namespace has no blocks.
    #[error("namespace {nsid} has a size of 0 blocks")]
    Empty {
        /// The namespace.
        nsid: u32,
    },
    /// The namespace is not one of the NVM command set.
    #[error("namespace {nsid} belongs to command set {csi}, not to the NVM command set")]
    CommandSet {
        /// The namespace.
        nsid: u32,
        /// CSI.
        csi: u8,
    },
}

impl NamespaceInfo {
    /// Reads Identify Namespace, CNS 00h.
    pub(super) fn of(nsid: u32, bytes: &[u8; IDENTIFY_BYTES]) -> Self {
        let (page, _) = IdentifyNamespace::ref_from_prefix(bytes).expect("the structure has this size");
        let formats = page.nlbaf_z.saturating_add(1);
        // 0 to 63, and there are 64 formats.
        let format = page.lbaf[Flbas::from_bits(page.flbas).format(formats)];
        let (metadata, shift) = (format.ms.get(), format.lbads);
        let kind = Dps::from_bits(page.dps).pit();
        let blocks = page.nsze.get();
        let fits = SHIFTS.contains(&shift) && blocks <= u64::MAX >> shift;
        let refused = if !fits {
            Some(FormatError::BlockSize { nsid, shift })
        } else if metadata != 0 {
            Some(FormatError::Metadata { nsid, bytes: metadata })
        } else if kind != 0 {
            Some(FormatError::Protection { nsid, kind })
        } else if blocks == 0 {
            Some(FormatError::Empty { nsid })
        } else {
            None
        };
        let dlfeat = Dlfeat::from_bits(page.dlfeat);
        Self {
            nsid,
            blocks,
            block_size: 1u32.checked_shl(shift.into()).unwrap_or(0),
            refused,
            eui64: page.eui64,
            nguid: page.nguid,
            uuid: None,
            rescap: Rescap::from_bits(page.rescap),
            deallocated_reads_zeros: dlfeat.reads() == Dlfeat::READS_ZEROS,
            write_zeroes_deallocates: dlfeat.write_zeroes_deallocates(),
            write_protected: page.nsattr & NSATTR_WRITE_PROTECTED != 0,
            copy: CopyLimits::of(page),
        }
    }

    /// Adds what the Namespace Identification Descriptor list, CNS 03h, says. What is malformed is passed over.
    pub(super) fn add_descriptors(&mut self, bytes: &[u8; IDENTIFY_BYTES]) {
        let mut rest = bytes.as_slice();
        while let Ok((head, tail)) = DescriptorHead::read_from_prefix(rest) {
            let len = usize::from(head.nidl);
            if len == 0 {
                break;
            }
            let Some((identifier, next)) = tail.split_at_checked(len) else { break };
            match (head.nidt, identifier) {
                (IdentifierType::EUI64, id) => self.eui64 = id.try_into().unwrap_or(self.eui64),
                (IdentifierType::NGUID, id) => self.nguid = id.try_into().unwrap_or(self.nguid),
                (IdentifierType::UUID, id) => self.uuid = Uuid::from_slice(id).ok().filter(|id| !id.is_nil()),
                (IdentifierType::CSI, &[csi]) if csi != Csi::NVM.0 => {
                    self.refused = Some(FormatError::CommandSet { nsid: self.nsid, csi });
                }
                _ => {}
            }
            rest = next;
        }
    }

    /// LBADS of a namespace that can be used.
    pub(super) fn shift(&self) -> Option<u8> {
        // The logarithm of 512 to 65,536: lossless.
        self.refused.is_none().then(|| self.block_size.ilog2().to_le_bytes()[0])
    }
}

/// The block size of each namespace that can be used, and its limits of Copy, for the queue pairs.
///
/// The controller stores, when namespaces have changed; queue pairs load. Relaxed: nothing else is published by a word,
/// and the words of one entry need not be of one time. A queue pair that looks while a namespace changes finds the old
/// format or the new one, as the device may for a command in flight; so it does with limits, which the device judges
/// anyway.
pub(super) struct Formats {
    shifts: [AtomicU64; NAMESPACES_MAX],
    copies: [AtomicU64; NAMESPACES_MAX],
}

impl Formats {
    pub(super) fn new() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self { shifts: zeros(), copies: zeros() }
    }

    /// Replaces all entries.
    pub(super) fn set(&self, namespaces: &[NamespaceInfo]) {
        let usable = namespaces.iter().filter_map(|info| {
            Some((Self::entry(info.nsid, info.shift()?), info.copy.map_or(0, CopyLimits::pack)))
        });
        let words = self.shifts.iter().zip(&self.copies);
        for ((shift, copy), (entry, limits)) in words.zip(usable.chain(std::iter::repeat((0, 0)))) {
            shift.store(entry, Ordering::Relaxed);
            copy.store(limits, Ordering::Relaxed);
        }
    }

    /// LBADS of the namespace; `hint` is the entry that was right last time.
    #[inline]
    pub(super) fn find(&self, hint: &mut usize, nsid: u32) -> Option<u8> {
        let shift = |word: &AtomicU64| {
            let word = word.load(Ordering::Relaxed);
            (word >> 32 == u64::from(nsid) && word != 0).then(|| word.to_le_bytes()[0])
        };
        if let Some(shift) = self.shifts.get(*hint).and_then(shift) {
            return Some(shift);
        }
        let (index, found) =
            self.shifts.iter().enumerate().find_map(|(index, word)| Some((index, shift(word)?)))?;
        *hint = index;
        Some(found)
    }

    /// The limits of Copy of the entry that was found.
    pub(super) fn copy(&self, entry: usize) -> Option<CopyLimits> {
        CopyLimits::unpack(self.copies.get(entry)?.load(Ordering::Relaxed))
    }

    fn entry(nsid: u32, shift: u8) -> u64 {
        u64::from(nsid) << 32 | u64::from(shift)
    }
}
