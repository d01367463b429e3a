//! Formats that are used, and those that are refused with a word.

use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::spec::identify::namespace::LbaFormat;

fn info(ms: u16, lbads: u8, dps: u8, blocks: u64) -> NamespaceInfo {
    let mut page = IdentifyNamespace::new_zeroed();
    page.nsze.set(blocks);
    page.nlbaf_z = 1;
    page.flbas = 1;
    page.lbaf[1] = LbaFormat { ms: ms.into(), lbads, rp: 0 };
    page.dps = dps;
    NamespaceInfo::of(3, page.as_bytes().try_into().unwrap())
}

#[test]
fn formats_are_used_or_refused() {
    let nsid = 3;
    let rows = [
        (info(0, 9, 0, 8), 512, None),
        (info(0, 12, 0, 8), 4096, None),
        (info(8, 12, 0, 8), 4096, Some(FormatError::Metadata { nsid, bytes: 8 })),
        (info(8, 12, 1, 8), 4096, Some(FormatError::Metadata { nsid, bytes: 8 })),
        (info(0, 12, 3, 8), 4096, Some(FormatError::Protection { nsid, kind: 3 })),
        (info(0, 8, 0, 8), 256, Some(FormatError::BlockSize { nsid, shift: 8 })),
        (info(0, 0xff, 0, 8), 0, Some(FormatError::BlockSize { nsid, shift: 0xff })),
        (info(0, 12, 0, u64::MAX), 4096, Some(FormatError::BlockSize { nsid, shift: 12 })),
        (info(0, 9, 0, 0), 512, Some(FormatError::Empty { nsid })),
    ];
    for (info, block_size, refused) in rows {
        assert_eq!((info.block_size, info.refused), (block_size, refused));
        assert_eq!(info.shift().is_some(), refused.is_none());
    }
    assert!(FormatError::Metadata { nsid, bytes: 8 }.to_string().contains("nvme format --ms=0"));
}

#[test]
fn descriptors_are_read_as_far_as_they_are_sound() {
    let mut bytes = [0; IDENTIFY_BYTES];
    bytes[..4].copy_from_slice(&[1, 8, 0, 0]);
    bytes[4..12].copy_from_slice(&[7; 8]);
    bytes[12..16].copy_from_slice(&[3, 16, 0, 0]);
    bytes[16..32].copy_from_slice(&[9; 16]);
    bytes[32..36].copy_from_slice(&[4, 1, 0, 0]);
    bytes[36] = 2;
    let mut read = info(0, 12, 0, 8);
    read.add_descriptors(&bytes);
    assert_eq!((read.eui64, read.uuid), ([7; 8], Some(Uuid::from_bytes([9; 16]))));
    assert_eq!(read.refused, Some(FormatError::CommandSet { nsid: 3, csi: 2 }));
    // One that is longer than the page, or has the wrong length, changes nothing.
    let mut torn = [0xff; IDENTIFY_BYTES];
    torn[..4].copy_from_slice(&[3, 5, 0, 0]);
    let mut same = info(0, 12, 0, 8);
    same.add_descriptors(&torn);
    assert_eq!(same, info(0, 12, 0, 8));
}

#[test]
fn queue_pairs_find_the_namespaces_that_can_be_used() {
    let formats = Formats::new();
    let mut hint = 0;
    assert_eq!(formats.find(&mut hint, 0), None);
    formats.set(&[info(8, 12, 0, 8), NamespaceInfo { nsid: 70_000, ..info(0, 12, 0, 8) }, info(0, 9, 0, 8)]);
    assert_eq!((formats.find(&mut hint, 3), hint), (Some(9), 1));
    assert_eq!((formats.find(&mut hint, 70_000), hint), (Some(12), 0));
    formats.set(&[]);
    assert_eq!(formats.find(&mut hint, 70_000), None);
}

#[test]
fn limits_of_copy_are_read_and_kept_and_without_them_there_is_none() {
    let mut page = IdentifyNamespace::new_zeroed();
    page.nsze.set(8);
    page.lbaf[0].lbads = 9;
    let rows = [
        ((0, 0, 0), None),
        ((8, 0, 127), None),
        ((0, 8, 127), None),
        ((8, 9, 0), Some(CopyLimits { range_blocks: 8, blocks: 9, ranges: 1 })),
        (
            (u16::MAX, u32::MAX, 255),
            Some(CopyLimits { range_blocks: u16::MAX, blocks: u32::MAX, ranges: 256 }),
        ),
    ];
    for ((mssrl, mcl, msrc_z), copy) in rows {
        (page.mssrl, page.mcl, page.msrc_z) = (mssrl.into(), mcl.into(), msrc_z);
        let info = NamespaceInfo::of(7, page.as_bytes().try_into().unwrap());
        assert_eq!(info.copy, copy);
        let (formats, mut hint) = (Formats::new(), 0);
        formats.set(&[self::info(0, 12, 0, 8), info]);
        assert_eq!(formats.find(&mut hint, 7), Some(9));
        assert_eq!(formats.copy(hint), copy);
        formats.set(&[]);
        assert_eq!(formats.copy(hint), None);
    }
}
