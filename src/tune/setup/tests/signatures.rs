//! Superblocks of LVM and RAID, each where it may lie, and what only looks like one.

use std::io;

use super::super::signature::{Signature, find};

const BYTES: usize = 1 << 20;
const LVM: &[u8] = b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001";
const RAID_1: &[u8] = b"\xfc\x4e\x2b\xa9\x01\0\0\0";
const RAID_0: &[u8] = b"\xfc\x4e\x2b\xa9\0\0\0\0";
const RAID_0_BIG: &[u8] = b"\xa9\x2b\x4e\xfc\0\0\0\0";

fn on(bytes: &[u8]) -> Option<Signature> {
    let read = |at: u64, buffer: &mut [u8]| {
        let at = usize::try_from(at).unwrap();
        let end = at + buffer.len();
        buffer.copy_from_slice(bytes.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    find(bytes.len() as u64, read).unwrap()
}

fn with(len: usize, at: usize, what: &[u8]) -> Option<Signature> {
    let mut disk = vec![0; len];
    disk[at..at + what.len()].copy_from_slice(what);
    on(&disk)
}

#[test]
fn superblocks_are_found_where_they_may_lie() {
    let odd = BYTES + 512;
    let rows = [
        ("LVM, first sector", BYTES, 0, LVM, Some(Signature::LvmMember)),
        ("LVM, as pvcreate does", BYTES, 512, LVM, Some(Signature::LvmMember)),
        ("LVM, fourth sector", BYTES, 1536, LVM, Some(Signature::LvmMember)),
        ("LVM, fifth sector", BYTES, 2048, LVM, None),
        ("LVM, not on a sector", BYTES, 8, LVM, None),
        ("a label of something else", BYTES, 512, &LVM[..24], None),
        ("RAID 1.1", BYTES, 0, RAID_1, Some(Signature::RaidMember)),
        ("RAID 1.2", BYTES, 4096, RAID_1, Some(Signature::RaidMember)),
        ("RAID 1.0", BYTES, BYTES - 8192, RAID_1, Some(Signature::RaidMember)),
        ("RAID 1.0, odd size", odd, BYTES - 8192, RAID_1, Some(Signature::RaidMember)),
        ("RAID 0.90", BYTES, BYTES - 65536, RAID_0, Some(Signature::RaidMember)),
        ("RAID 0.90, odd size", odd, BYTES - 65536, RAID_0, Some(Signature::RaidMember)),
        ("RAID 0.90, other byte order", BYTES, BYTES - 65536, RAID_0_BIG, Some(Signature::RaidMember)),
        ("a version that does not belong there", BYTES, 4096, RAID_0, None),
        ("a place where none lies", BYTES, 8192, RAID_1, None),
        ("zeros", BYTES, 0, &[0], None),
    ];
    for (what, len, at, bytes, wanted) in rows {
        assert_eq!(with(len, at, bytes), wanted, "{what}");
    }
}

#[test]
fn devices_of_every_size_can_be_looked_at() {
    for len in [0, 1, 511, 512, 513, 2048, 4096, 4607, 4608, 8191, 8192, 65535, 65536, 65537, 131_072] {
        assert_eq!(on(&vec![0; len]), None, "{len}");
        assert_eq!(on(&vec![0xff; len]), None, "{len}");
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_an_error() {
    let broken = |_: u64, _: &mut [u8]| Err(io::ErrorKind::TimedOut.into());
    assert_eq!(find(1 << 20, broken).unwrap_err().kind(), io::ErrorKind::TimedOut);
}
