//! Asking for huge pages.

use std::fs;
use std::io;

use super::fake::Fake;
use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn pages_are_asked_for_and_counted() {
    let fake = Fake::new();
    let outcome = hugepages::set(&mut fake.machine(), 128, 2 * MIB, None).unwrap();
    assert_eq!((outcome.to_string().as_str(), outcome.advice()), ("128 huge pages of 2MiB", None));
    let file = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    assert_eq!(fs::read_to_string(fake.at(file)).unwrap(), "128");

    let outcome = hugepages::set(&mut fake.machine(), 32, 2 * MIB, Some(0)).unwrap();
    assert_eq!(outcome.to_string(), "32 huge pages of 2MiB on node 0");
    let file = "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";
    assert_eq!(fs::read_to_string(fake.at(file)).unwrap(), "32");
}

#[test]
fn fewer_pages_than_wanted_are_said_with_a_way_out() {
    let fake = Fake::new();
    fake.faults.borrow_mut().pages_max = Some(100);
    let outcome = hugepages::set(&mut fake.machine(), 4096, 2 * MIB, None).unwrap();
    assert_eq!(outcome.to_string(), "100 huge pages of 2MiB, not 4096");
    assert!(!outcome.is_met());
    assert_eq!(
        outcome.advice().unwrap(),
        "memory is used up or in pieces: free it (echo 3 > /proc/sys/vm/drop_caches), join it \
         (echo 1 > /proc/sys/vm/compact_memory), and try again; surest is to ask at boot, on the kernel's command line: \
         hugepagesz=2M hugepages=4096"
    );
    let large = Outcome { wanted: 4, got: 1, size_bytes: 1024 * MIB, node: Some(1) };
    assert!(large.advice().unwrap().ends_with("hugepagesz=1G hugepages=4"));
    let more = Outcome { wanted: 0, got: 3, size_bytes: 2 * MIB, node: None };
    assert_eq!(more.advice().unwrap(), "3 more than wanted are in use: end the programs that use them");
}

#[test]
fn sizes_and_nodes_that_are_not_there_are_refused() {
    let fake = Fake::new();
    let set = |size, node| hugepages::set(&mut fake.machine(), 1, size, node).unwrap_err().to_string();
    assert_eq!(set(1024 * MIB, None), "this machine has no huge pages of 1GiB; it has: 2MiB");
    assert_eq!(set(3, None), "this machine has no huge pages of 3; it has: 2MiB");
    assert_eq!(set(2 * MIB, Some(4)), "this machine has no NUMA node 4; it has: 0");
    assert_eq!(fake.log.borrow().as_slice(), [] as [String; 0]);
    fake.remove("sys/kernel/mm/hugepages");
    assert_eq!(set(2 * MIB, None), "this machine has no huge pages of 2MiB; it has: none");
}

#[test]
fn who_may_not_ask_is_told_who_may() {
    let fake = Fake::new();
    fake.faults.borrow_mut().write = Some(("nr_hugepages", io::ErrorKind::PermissionDenied));
    let said = hugepages::set(&mut fake.machine(), 1, 2 * MIB, None).unwrap_err().to_string();
    assert_eq!(
        said,
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages cannot be written: permission denied; run as root"
    );
}
