//! The store and the writer on a disk that loses power, and on one that fails.

use rustix::io::Errno;

use super::{Call, Disk, Fault, Random, Survivor};
use crate::persist::{Reason, RecordName, SaveError, Stage, Step, Store};

mod failures;
mod model;
mod power;
mod story;
mod writer;

/// The record that the tests are about.
const NAME: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
/// Records of three sectors; none is a part of another, and none has zeros.
const OLD: &[u8] = b"old record";
const NEW: &[u8] = b"the new one";
const THIRD: &[u8] = b"again old";

fn name() -> RecordName {
    RecordName::new(NAME).unwrap()
}

/// A disk that holds the record, or none.
fn disk(record: Option<&[u8]>) -> Disk {
    Disk::holding(&record.iter().map(|bytes| (NAME.to_owned(), bytes.to_vec())).collect())
}

/// The record after the machine has started again from what survived. Leftovers must be gone by then.
fn booted(survivor: &Survivor) -> Option<Vec<u8>> {
    let disk = Disk::holding(survivor);
    let store = disk.store();
    let record = store.load(&name()).unwrap();
    assert_eq!(disk.visible(), record.iter().map(|_| NAME.to_owned()).collect::<Vec<_>>());
    record
}

/// Every record that a power cut at this moment may leave.
fn after_power_cut(disk: &Disk) -> Vec<Option<Vec<u8>>> {
    let mut records: Vec<_> = disk.survivors().every().iter().map(booted).collect();
    records.sort();
    records.dedup();
    records
}

/// The same as text, for comparing.
fn texts(records: &[Option<Vec<u8>>]) -> Vec<String> {
    let text = |record: &Option<Vec<u8>>| match record {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "none".to_owned(),
    };
    records.iter().map(text).collect()
}
