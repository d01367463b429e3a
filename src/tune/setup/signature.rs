//! Whether a block device is a member of LVM or of a RAID that nobody has assembled: the few superblocks that say so.
//!
//! Bytes come from a disk and may be anything. What is looked for are magic numbers and versions, and nothing else of
//! a superblock is believed.

use std::fmt;
use std::io;

use serde::Serialize;

/// Bytes that are read at a time, as an offset and as a length.
const SECTOR_BYTES: u64 = 512;
const SECTOR_LEN: usize = 512;
/// A label of LVM lies in one of the first four sectors: "LABELONE", and the type 24 bytes further.
const LVM_SECTORS: u64 = 4;
const LVM_LABEL: &[u8; 8] = b"LABELONE";
const LVM_TYPE: &[u8; 8] = b"LVM2 001";
const LVM_TYPE_AT: usize = 24;
/// First word of a superblock of the kernel's RAID, behind it the major version: the kernel's `md_p.h`.
const RAID_MAGIC: u32 = 0xa92b_4efc;
/// Version 1.2 begins so far from the start.
const RAID_1_2_AT: u64 = 4096;
/// Version 0.90 begins in the last whole 64 KiB but one boundary: a reserved range of this size at the end.
const RAID_0_90_RESERVED: u64 = 64 << 10;
/// Version 1.0 begins at least 8 KiB from the end, at a multiple of 4 KiB.
const RAID_1_0_RESERVED: u64 = 8 << 10;
const RAID_1_0_ALIGNMENT: u64 = 4 << 10;

/// What a superblock says that its device belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// A physical volume of LVM2.
    LvmMember,
    /// A member of a RAID with metadata of version 0.90, 1.0, 1.1 or 1.2.
    RaidMember,
}

/// Looks for signatures on a device of `size_bytes`. `read` fills the buffer from an offset in bytes.
pub(super) fn find(
    size_bytes: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<Signature>> {
    let mut sector = [0; SECTOR_LEN];
    let fits = |at: u64| at.checked_add(SECTOR_BYTES).is_some_and(|end| end <= size_bytes);
    for at in (0..LVM_SECTORS).map(|index| index * SECTOR_BYTES).filter(|at| fits(*at)) {
        read(at, &mut sector)?;
        if sector.starts_with(LVM_LABEL) && sector[LVM_TYPE_AT..].starts_with(LVM_TYPE) {
            return Ok(Some(Signature::LvmMember));
        }
    }
    for (at, version) in raid_places(size_bytes) {
        let Some(at) = at.filter(|at| fits(*at)) else { continue };
        read(at, &mut sector)?;
        if is_raid(&sector, version) {
            return Ok(Some(Signature::RaidMember));
        }
    }
    Ok(None)
}

/// Where a superblock of RAID may begin, and the major version that it has there.
fn raid_places(size_bytes: u64) -> [(Option<u64>, u32); 4] {
    let down = |bytes: u64, alignment: u64| bytes / alignment * alignment;
    let v1_0 = size_bytes.checked_sub(RAID_1_0_RESERVED).map(|at| down(at, RAID_1_0_ALIGNMENT));
    let v0_90 = down(size_bytes, RAID_0_90_RESERVED).checked_sub(RAID_0_90_RESERVED);
    [(Some(0), 1), (Some(RAID_1_2_AT), 1), (v1_0, 1), (v0_90, 0)]
}

fn is_raid(sector: &[u8], version: u32) -> bool {
    let (words, _) = sector.as_chunks::<4>();
    let [magic, major, ..] = words else { return false };
    let little = (u32::from_le_bytes(*magic), u32::from_le_bytes(*major)) == (RAID_MAGIC, version);
    // Version 0.90 has the byte order of the machine that wrote it.
    let big = (u32::from_be_bytes(*magic), u32::from_be_bytes(*major)) == (RAID_MAGIC, version);
    little || (version == 0 && big)
}

impl fmt::Display for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LvmMember => "a physical volume of LVM (LVM2_member)",
            Self::RaidMember => "a member of a RAID (linux_raid_member)",
        })
    }
}
