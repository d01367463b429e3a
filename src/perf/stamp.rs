//! Blocks that say what they are: run, namespace, address, generation and a CRC32C in front, and behind it bytes that
//! follow from all of them. Does no I/O.
//!
//! ```text
//!   0       8     16      20          24      28     32
//!   | run   | lba | nsid  | generation | magic | crc  | words ...
//! ```
//!
//! The run is a number that no other run has: what an earlier one left is never taken for what this one wrote.
//!
//! A block is right when its head is right and its CRC, which covers all the rest, matches. Only a block that is wrong is
//! made once more, to say where it differs.

use std::fmt;
use std::ops::RangeInclusive;

use crate::perf::places::mix;

/// Bytes of the head.
const HEAD_BYTES: usize = 32;
const CRC_AT: usize = 28;
const MAGIC: u32 = u32::from_le_bytes(*b"CLPV");
/// Generations that a wrong block is compared with, the newest first.
const CANDIDATES_MAX: u32 = 8;

/// What a block says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of the run that wrote it.
    pub(super) run: u64,
    pub(super) nsid: u32,
    pub(super) lba: u64,
    /// The how-many-eth write of this block it is, from 1.
    pub(super) generation: u32,
}

/// A block that does not hold what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The namespace; 0 for a block device.
    pub nsid: u32,
    /// The logical block.
    pub lba: u64,
    /// The first wrong byte of the block.
    pub offset: u32,
    /// What it should be.
    pub expected: u8,
    /// What it is.
    pub got: u8,
    /// How many bytes of the block are wrong.
    pub wrong_bytes: u32,
    /// What it looks like.
    pub meaning: Meaning,
}

/// What a wrong block looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// What was written, but for this many bits.
    Flipped {
        /// How many bits are wrong.
        bits: u32,
    },
    /// An intact block, from before a write that was acknowledged.
    Stale {
        /// Which write of this block it is.
        generation: u32,
        /// The last one that was acknowledged.
        acknowledged: u32,
    },
    /// An intact block of this run that belongs to another address.
    Misplaced {
        /// Where it belongs.
        lba: u64,
    },
    /// An intact block of another run: old data, where this run has written.
    OtherRun,
    /// Nothing that any run has written.
    Foreign,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nsid, lba, offset, expected, got, .. } = self;
        if *nsid > 0 {
            write!(out, "namespace {nsid}, ")?;
        }
        write!(out, "LBA {lba}, byte {offset}: expected {expected:#04x}, got {got:#04x} ({}", self.meaning)?;
        write!(out, "; {} of the block's bytes are wrong)", self.wrong_bytes)
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flipped { bits: 1 } => out.write_str("one bit is flipped"),
            Self::Flipped { bits } => write!(out, "{bits} bits are flipped"),
            Self::Stale { generation, acknowledged } => {
                write!(
                    out,
                    "an old block: write {generation} of it, and write {acknowledged} was acknowledged"
                )
            }
            Self::Misplaced { lba } => write!(out, "the block of LBA {lba}"),
            Self::OtherRun => out.write_str("an old block: another run wrote it"),
            Self::Foreign => out.write_str("not what this run wrote"),
        }
    }
}

impl Stamp {
    /// Writes the whole block.
    ///
    /// # Panics
    /// If the block is shorter than its head, or no whole number of words.
    pub(super) fn fill(&self, block: &mut [u8]) {
        assert!(block.len() > HEAD_BYTES);
        assert!(block.len().is_multiple_of(8));
        let (head, words) = block.split_at_mut(HEAD_BYTES);
        head[0..8].copy_from_slice(&self.run.to_le_bytes());
        head[8..16].copy_from_slice(&self.lba.to_le_bytes());
        head[16..20].copy_from_slice(&self.nsid.to_le_bytes());
        head[20..24].copy_from_slice(&self.generation.to_le_bytes());
        head[24..28].copy_from_slice(&MAGIC.to_le_bytes());
        let start =
            mix(self.run ^ mix(self.lba) ^ mix(u64::from(self.generation) << 32 | u64::from(self.nsid)));
        for (word, number) in words.as_chunks_mut::<8>().0.iter_mut().zip(0_u64..) {
            *word = mix(start.wrapping_add(number)).to_le_bytes();
        }
        let crc = checksum(block);
        block[CRC_AT..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// What an intact block says; `None` of any other.
    pub(super) fn read(block: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*block.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*block.get(at..)?.first_chunk()?));
        if word(24)? != MAGIC || block.len() <= HEAD_BYTES || word(CRC_AT)? != checksum(block) {
            return None;
        }
        Some(Self { run: long(0)?, lba: long(8)?, nsid: word(16)?, generation: word(20)? })
    }

    /// Whether nobody but a load generator wrote this block: it is one of these blocks, of any run, or all zeros.
    pub(super) fn is_ours(block: &[u8]) -> bool {
        block.iter().all(|&byte| byte == 0) || Self::read(block).is_some()
    }

    /// Whether `block` is what this stamp says, of any of these generations.
    ///
    /// # Errors
    /// [`Mismatch`] against the generation that it comes closest to.
    pub(super) fn check(&self, block: &[u8], generations: RangeInclusive<u32>) -> Result<(), Mismatch> {
        let read = Self::read(block);
        if let Some(read) = read
            && read == (Self { generation: read.generation, ..*self })
            && generations.contains(&read.generation)
        {
            return Ok(());
        }
        Err(self.explain(block, read, generations))
    }

    #[cold]
    fn explain(&self, block: &[u8], read: Option<Self>, generations: RangeInclusive<u32>) -> Mismatch {
        let mut expected = vec![0; block.len()];
        let mut closest: Option<Mismatch> = None;
        for generation in generations.clone().rev().take(CANDIDATES_MAX as usize) {
            Self { generation, ..*self }.fill(&mut expected);
            let found = self.compare(block, &expected);
            if closest.is_none_or(|closest| found.wrong_bytes < closest.wrong_bytes) {
                closest = Some(found);
            }
        }
        let Some(mut closest) = closest else { unreachable!("a range of generations is never empty") };
        match read.filter(|read| read.run != self.run || read.nsid == self.nsid) {
            Some(read) if read.run != self.run => closest.meaning = Meaning::OtherRun,
            Some(read) if read.lba != self.lba => closest.meaning = Meaning::Misplaced { lba: read.lba },
            Some(read) if read.generation < *generations.start() => {
                let acknowledged = *generations.start();
                closest.meaning = Meaning::Stale { generation: read.generation, acknowledged };
            }
            // A block of random bytes differs in nearly all of them.
            _ if closest.wrong_bytes as usize > block.len() / 2 => closest.meaning = Meaning::Foreign,
            _ => {}
        }
        closest
    }

    fn compare(&self, block: &[u8], expected: &[u8]) -> Mismatch {
        let differing =
            || block.iter().zip(expected).enumerate().filter(|(_, (got, expected))| got != expected);
        let (offset, (&got, &expected_byte)) = differing().next().unwrap_or((0, (&block[0], &expected[0])));
        let bits = differing().map(|(_, (got, expected))| (got ^ expected).count_ones()).sum();
        Mismatch {
            nsid: self.nsid,
            lba: self.lba,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            expected: expected_byte,
            got,
            wrong_bytes: u32::try_from(differing().count()).unwrap_or(u32::MAX),
            meaning: Meaning::Flipped { bits },
        }
    }
}

/// CRC32C of all but its own place.
fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..CRC_AT]), &block[HEAD_BYTES..])
}
