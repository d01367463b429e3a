//! The fuzz entries, fed with what is nearly right and with anything.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::model::runner;
use super::record::identity;
use super::*;
use crate::reservation::{Record, fuzz_import, fuzz_record, fuzz_request};

/// A stream of commands for [`fuzz_request`]: right opcodes, and small numbers elsewhere.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![Just(0x0du8), Just(0x0e), Just(0x11), Just(0x15), any::<u8>()];
    let command = (0u8..4, 0u8..26, opcode, any::<u32>(), 0u32..4, vec(0u8..3, 24)).prop_map(
        |(host, length, opcode, cdw10, cdw11, data)| {
            let mut sqe = Sqe::of(opcode, 1, 1);
            sqe.cdw10.set(cdw10 & 0xc000_030f);
            sqe.cdw11.set(cdw11);
            let mut bytes = vec![host, length];
            bytes.extend(sqe.as_bytes());
            bytes.extend(&data[..usize::from(length).min(24)]);
            bytes
        },
    );
    vec(command, 0..40).prop_map(|commands| commands.concat())
}

fn good_record() -> Vec<u8> {
    Record { identity: identity(), sequence: 3, write_protected: false, state: Rig::held(4).state }.encode()
}

/// A file that is accepted.
const GOOD_FILE: &[u8] = br#"{"ptpl": true, "rtype": 5, "crkey": 1, "holder_uuid": "",
    "bdev_uuid": "00000000-0000-0000-0000-000000000000",
    "registrants": [{"rkey": 1, "host_uuid": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a"}]}"#;

/// Good bytes, a few of which are replaced, cut out or doubled.
fn damaged(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<Index>(), any::<u8>(), 0u8..4);
    vec(damage, 0..4).prop_map(move |damages| {
        let mut bytes = good.clone();
        for (at, byte, what) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

/// Runs a fuzz entry on what a strategy makes.
fn feed(bytes: impl Strategy<Value = Vec<u8>>, entry: fn(&[u8])) {
    let fed = runner().run(&bytes, |bytes| {
        entry(&bytes);
        Ok(())
    });
    fed.unwrap();
}

#[test]
fn any_commands_leave_a_state_that_can_be_written() {
    feed(streams(), fuzz_request);
    feed(vec(any::<u8>(), 0..400), fuzz_request);
}

#[test]
fn any_record_is_refused_or_survives() {
    feed(damaged(good_record()), fuzz_record);
    feed(vec(any::<u8>(), 0..200), fuzz_record);
}

#[test]
fn any_file_of_spdk_is_refused_or_makes_a_record() {
    feed(damaged(GOOD_FILE.to_vec()), fuzz_import);
    feed(vec(any::<u8>(), 0..200), fuzz_import);
}
