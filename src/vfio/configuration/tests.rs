//! Configuration spaces made of bytes in a file.

use std::io::Write;
use std::os::unix::fs::FileExt;

use super::Configuration;
use crate::spec::pci::Class;

/// Where the configuration space begins in the file, as in that of a device.
const START: u64 = 0x1000;

/// A space that has these bytes at these offsets, and zeros.
fn space(bytes: &[(usize, &[u8])]) -> Configuration {
    let mut all = vec![0; 256];
    for (at, part) in bytes {
        all[*at..*at + part.len()].copy_from_slice(part);
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0xee; usize::try_from(START).unwrap()]).unwrap();
    file.write_all(&all).unwrap();
    Configuration::new(file, START, 256)
}

#[test]
fn class_and_presence_are_read() {
    let nvme = space(&[(8, &[0x02, 0x02, 0x08, 0x01])]);
    assert!(nvme.is_present().unwrap());
    assert_eq!(nvme.class().unwrap().code(), Class::NVME);
    assert!(!space(&[(0, &[0x36, 0x1b]), (8, &[0xff; 4])]).is_present().unwrap());
}

#[test]
fn bus_mastering_comes_with_memory_space_and_goes_alone() {
    let nvme = space(&[(4, &[0x01, 0x04])]);
    let command = |nvme: &Configuration| {
        let mut bytes = [0; 2];
        nvme.file.read_exact_at(&mut bytes, START + 4).unwrap();
        u16::from_le_bytes(bytes)
    };
    nvme.set_bus_master(true).unwrap();
    assert_eq!(command(&nvme), 0x0407);
    nvme.set_bus_master(false).unwrap();
    assert_eq!(command(&nvme), 0x0403);
}

#[test]
fn the_table_of_vectors_is_found_behind_other_capabilities() {
    let with_list = (6, &[0x10, 0x00][..]);
    let nvme = space(&[
        with_list,
        (0x34, &[0x40]),
        (0x40, &[0x01, 0x60]),
        (0x60, &[0x11, 0x80, 0x08, 0x00, 0x00, 0x20, 0x00, 0x00]),
    ]);
    let table = nvme.msix_table().unwrap().unwrap();
    assert_eq!((table.bar(), table.offset()), (0, 0x2000));
    // Without the bit the pointer means nothing.
    assert_eq!(space(&[(0x34, &[0x60]), (0x60, &[0x11])]).msix_table().unwrap(), None);
    assert_eq!(space(&[with_list]).msix_table().unwrap(), None);
}

#[test]
fn a_list_of_capabilities_that_loops_or_leaves_ends() {
    let with_list = (6, &[0x10, 0x00][..]);
    assert_eq!(space(&[with_list, (0x34, &[0x40]), (0x40, &[0x01, 0x40])]).msix_table().unwrap(), None);
    assert_eq!(space(&[with_list, (0x34, &[0x40]), (0x40, &[0x01, 0x0c])]).msix_table().unwrap(), None);
    // The table's word would be past the end: the function lies.
    assert!(space(&[with_list, (0x34, &[0xfc]), (0xfc, &[0x11, 0x00])]).msix_table().is_err());
}

#[test]
fn a_space_that_cannot_be_read_is_an_error() {
    let short = Configuration::new(tempfile::tempfile().unwrap(), 0, 256);
    assert!(short.is_present().is_err());
    assert!(short.set_bus_master(true).is_err());
    assert!(short.msix_table().is_err());
}
