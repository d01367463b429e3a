//! Fuzz entries of the decoders: any bytes may come in.

use uuid::Uuid;
use zerocopy::FromBytes;

use crate::reservation::import::from_spdk;
use crate::reservation::record::{Identity, Record};
use crate::reservation::request::Request;
use crate::reservation::transition::{Options, transition};
use crate::reservation::{Fault, Reason, State, report};
use crate::spec::host::{Host, HostId};
use crate::spec::nqn::Nqn;
use crate::spec::sqe::Sqe;

/// How many bytes of data a fuzzed command brings at most; and how many bytes of a report are asked for.
const DATA_BYTES_MAX: usize = 24;
const REPORT_BYTES_MAX: u64 = 4096;

/// Reads the bytes as commands and their data, one after the other: a byte chooses the host, a byte the length of the
/// data, the command and the data follow.
///
/// # Panics
/// When a state that comes of them cannot be written and read again, which is a bug of this module.
#[doc(hidden)]
pub fn fuzz_request(bytes: &[u8]) {
    let (mut state, mut rest) = (State::new(), bytes);
    while let Some((&[host, length], tail)) = rest.split_first_chunk() {
        let Ok((sqe, tail)) = Sqe::read_from_prefix(tail) else { break };
        let (data, tail) = tail.split_at(usize::from(length).min(DATA_BYTES_MAX).min(tail.len()));
        rest = tail;
        if let Ok(bytes_max) = report::decode(&sqe) {
            let report = report::encode(&state, bytes_max.min(REPORT_BYTES_MAX), |_| None);
            assert!(report.len().is_multiple_of(4));
        }
        let Ok(request) = Request::decode(&sqe, data) else { continue };
        let host = Host { nqn: Nqn::discovery(), id: HostId([host | 1; 16]) };
        if let Ok(outcome) = transition(&state, &host, &request, Options { ptpl: true }) {
            state = outcome.next;
        }
    }
    let record = Record { identity: nobody(), sequence: 1, write_protected: false, state };
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

/// Reads the bytes as a record, once more with the right checksum if it was wrong: no fuzzer guesses it.
///
/// # Panics
/// When a record that is accepted does not survive writing and reading, which is a bug of this module.
#[doc(hidden)]
pub fn fuzz_record(bytes: &[u8]) {
    match Record::decode(bytes) {
        Ok(record) => assert_eq!(Record::decode(&record.encode()), Ok(record)),
        Err(Fault { reason: Reason::Checksum { found, computed }, .. }) => {
            let mended = String::from_utf8_lossy(bytes).replace(&found, &computed);
            if let Ok(record) = Record::decode(mended.as_bytes()) {
                assert_eq!(Record::decode(&record.encode()), Ok(record));
            }
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

/// Reads the bytes as a file of SPDK.
///
/// # Panics
/// When a file that is accepted makes no record, which is a bug of this module.
#[doc(hidden)]
pub fn fuzz_import(bytes: &[u8]) {
    match from_spdk(bytes, &nobody()) {
        Ok(record) => assert_eq!(Record::decode(&record.encode()), Ok(record)),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

fn nobody() -> Identity {
    Identity { subsystem: Nqn::discovery(), nsid: 1, uuid: Uuid::nil() }
}
