//! The record: what is written, what is read, and what is refused with its field and its reason.

use uuid::Uuid;

use super::*;
use crate::reservation::{FORMAT_PROTECTED, Identity, Reason, Record};

const GOLDEN: &str = r#"{
  "format": 1,
  "sequence": 12,
  "subsystem": "nqn.2014-08.org.example:disk0",
  "nsid": 7,
  "uuid": "00000000-0000-0000-0000-0000000000ff",
  "ptpl": true,
  "generation": 4,
  "type": "write-exclusive-registrants-only",
  "holder": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a",
  "registrants": [
    {
      "hostid": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a",
      "key": "aaaa000000000001",
      "hostnqn": "nqn.2014-08.org.example:host-a"
    },
    {
      "hostid": "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b",
      "key": "bbbb000000000001",
      "hostnqn": "nqn.2014-08.org.example:host-b"
    },
    {
      "hostid": "0c0c0c0c-0c0c-0c0c-0c0c-0c0c0c0c0c0c",
      "key": "cccc000000000001",
      "hostnqn": "nqn.2014-08.org.example:host-c"
    }
  ],
  "checksum": "crc32c:CHECKSUM"
}
"#;

/// Of the text above without its checksum and white space, worked out bit by bit with the polynomial 82F63B78h.
const CHECKSUM: &str = "862cebf8";

pub(super) fn identity() -> Identity {
    let subsystem = Nqn::parse("nqn.2014-08.org.example:disk0").unwrap();
    Identity { subsystem, nsid: 7, uuid: Uuid::from_u128(0xff) }
}

fn golden() -> String {
    GOLDEN.replace("CHECKSUM", CHECKSUM)
}

fn record() -> Record {
    let mut rig = Rig::held(3);
    rig.ok(A, &register(KEY_A).cptpl(0b11));
    Record { identity: identity(), sequence: 12, write_protected: false, state: rig.state }
}

/// A text with its checksum, whatever it says: the reader tells what it should be.
fn sealed(text: &str) -> Vec<u8> {
    match Record::decode(text.as_bytes()) {
        Err(fault) => match fault.reason {
            Reason::Checksum { found, computed } => text.replace(&found, &computed).into_bytes(),
            _ => text.as_bytes().to_vec(),
        },
        Ok(_) => text.as_bytes().to_vec(),
    }
}

/// Why a text is refused that differs from the good one as `from` does from `to`, with the right checksum.
fn refusal(from: &str, to: &str) -> String {
    let text = golden();
    assert!(text.contains(from), "{from}");
    let fault = Record::decode(&sealed(&text.replace(from, to))).expect_err("a refusal");
    fault.to_string()
}

#[test]
fn a_record_is_written_as_people_read_it() {
    assert_eq!(String::from_utf8(record().encode()).unwrap(), golden());
    assert_eq!(Record::decode(golden().as_bytes()), Ok(record()));
}

#[test]
fn records_of_every_type_survive_writing_and_reading() {
    let mut states = vec![State::new(), Rig::registered().state];
    states.extend(ALL_TYPES.map(|rtype| Rig::held(rtype).state));
    for state in states {
        let record = Record { identity: identity(), sequence: u64::MAX, write_protected: false, state };
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn write_protection_has_a_format_of_its_own_that_earlier_versions_refuse() {
    let protected = Record { write_protected: true, ..record() };
    let text = String::from_utf8(protected.encode()).unwrap();
    assert!(text.contains("\"format\": 2,") && text.contains("\"write_protected\": true,"), "{text}");
    assert_eq!(Record::decode(text.as_bytes()), Ok(protected));
    let rows = [
        (
            "\"format\": 2",
            "\"format\": 1",
            "write_protected: is true, which is not said in a record of format 1",
        ),
        (
            "\"write_protected\": true",
            "\"write_protected\": false",
            "write_protected: is false, which is not",
        ),
        ("  \"write_protected\": true,\n", "", "write_protected: is missing in a record of format 2"),
        ("\"write_protected\": true", "\"write_protected\": 1", "write_protected: invalid type"),
    ];
    for (from, to, expected) in rows {
        let fault = Record::decode(&sealed(&text.replace(from, to))).expect_err("a refusal").to_string();
        assert!(fault.starts_with(expected), "{to}: {fault}");
    }
    for byte in 0..text.len() {
        for bit in 0..8 {
            let mut damaged = text.as_bytes().to_vec();
            damaged[byte] ^= 1 << bit;
            assert!(
                Record::decode(&damaged).is_ok_and(|read| read.write_protected)
                    || Record::decode(&damaged).is_err()
            );
        }
    }
}

#[test]
fn the_largest_keys_survive() {
    for key in [1, 1 << 53 | 1, u64::MAX - 1, u64::MAX] {
        let mut rig = Rig::new();
        rig.ok(A, &register(key));
        let record = Record { identity: identity(), sequence: 0, write_protected: false, state: rig.state };
        let read = Record::decode(&record.encode()).unwrap();
        assert_eq!(read.state.registrant(id(A)).unwrap().key.0, key);
    }
}

#[test]
fn names_that_need_escapes_survive() {
    for name in ["nqn.2014-08.org.example:\"\\\n\u{7}", "é\u{1f600}", "{}"] {
        let mut state = State::new();
        let host = Host { nqn: Nqn::lenient(name).unwrap(), id: id(A) };
        run(&mut state, &host, &register(KEY_A)).unwrap();
        let record = Record { identity: identity(), sequence: 0, write_protected: false, state };
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn a_record_that_ends_too_early_is_refused_at_every_byte() {
    let text = golden();
    for end in 0..text.len() {
        let fault = Record::decode(&text.as_bytes()[..end]).expect_err("a refusal");
        assert_eq!(fault.reason, Reason::Truncated, "{end}: {fault}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_says_the_same() {
    let text = golden();
    for byte in 0..text.len() {
        for bit in 0..8 {
            let mut damaged = text.as_bytes().to_vec();
            damaged[byte] ^= 1 << bit;
            if let Ok(read) = Record::decode(&damaged) {
                assert_eq!(read, record(), "byte {byte}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_bad_checksum_says_both() {
    let text = golden().replace("\"generation\": 4", "\"generation\": 5");
    let fault = Record::decode(text.as_bytes()).expect_err("a refusal");
    assert_eq!(fault.field, "checksum");
    assert!(matches!(&fault.reason, Reason::Checksum { found, .. } if found.ends_with(CHECKSUM)));
    assert!(fault.to_string().contains("damaged or changed by hand"));
    let text = golden().replace(&format!(",\n  \"checksum\": \"crc32c:{CHECKSUM}\""), "");
    let fault = Record::decode(text.as_bytes()).expect_err("a refusal");
    assert!(matches!(&fault.reason, Reason::Checksum { found, .. } if found == "missing"));
}

#[test]
fn other_formats_are_refused_before_their_fields_are_looked_at() {
    let newer = "{\"format\": 3, \"what\": [\"nobody\", \"knows\"]}\n";
    let fault = Record::decode(newer.as_bytes()).expect_err("a refusal");
    assert_eq!(fault.field, "format");
    assert_eq!(fault.reason, Reason::NewerFormat { found: 3, known: FORMAT_PROTECTED });
    let fault = Record::decode(b"{\"format\": 0}\n").expect_err("a refusal");
    assert_eq!(fault.reason, Reason::UnknownFormat { found: 0 });
    assert!(Record::decode(b"{}\n").unwrap_err().to_string().contains("format"));
}

#[test]
fn impossible_content_is_refused_with_its_field() {
    let holder = "\"holder\": \"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\"";
    let hostid_b = "\"hostid\": \"0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b\"";
    let kind = "\"write-exclusive-registrants-only\"";
    let rows = [
        (
            hostid_b,
            "\"hostid\": \"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\"",
            "registrants[1].hostid: is 0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a, who is among the registrants before",
        ),
        (
            hostid_b,
            "\"hostid\": \"00000000-0000-0000-0000-000000000000\"",
            "registrants[1].hostid: is all zeros",
        ),
        (hostid_b, "\"hostid\": \"0b0b\"", "registrants[1].hostid: "),
        ("bbbb000000000001", "0", "registrants[1].key: is 0"),
        ("bbbb000000000001", "1bbbb000000000001", "registrants[1].key: invalid value"),
        ("bbbb000000000001", "+bbbb", "registrants[1].key: invalid value"),
        ("\"bbbb000000000001\"", "13527612320720337921", "registrants[1].key: invalid type"),
        ("bbbb000000000001", "", "registrants[1].key: invalid value"),
        ("nqn.2014-08.org.example:host-b", "", "registrants[1].hostnqn: is empty"),
        ("nqn.2014-08.org.example:disk0", "\\u0000", "subsystem: contains a NUL"),
        (holder, "\"holder\": \"0d0d0d0d-0d0d-0d0d-0d0d-0d0d0d0d0d0d\"", "holder: is 0d0d0d0d"),
        (holder, "\"holder\": null", "holder: is missing"),
        (kind, "null", "holder: names a host"),
        (kind, "\"write-exclusive-all-registrants\"", "holder: names a host"),
        (kind, "\"exclusive\"", "type: unknown variant `exclusive`"),
        (kind, "7", "type: "),
        ("\"nsid\": 7", "\"nsid\": 4294967296", "nsid: "),
        ("\"generation\": 4", "\"generation\": -1", "generation: "),
        ("\"ptpl\": true", "\"ptpl\": 1", "ptpl: invalid type"),
        ("\"ptpl\": true", "\"ptpl\": true, \"ptpl\": true", ".: duplicate field `ptpl`"),
        ("\"ptpl\": true", "\"ptpl\": true, \"more\": 1", "more: unknown field `more`"),
        ("\"ptpl\": true,", "", ".: missing field `ptpl`"),
        ("\"\n}\n", "\"\n}\n{}", ".: trailing characters"),
    ];
    for (from, to, expected) in rows {
        let refusal = refusal(from, to);
        assert!(refusal.starts_with(expected), "{to}: {refusal}");
    }
}

#[test]
fn a_reservation_that_nobody_holds_is_refused() {
    let text = golden();
    let (start, end) = (text.find("[\n").unwrap(), text.find("],").unwrap());
    let text = text.replace(&text[start..end], "[");
    for (kind, holder, expected) in [
        (
            "\"write-exclusive-all-registrants\"",
            "null",
            "type: is one that all registrants hold, and there are none",
        ),
        (
            "\"write-exclusive\"",
            "\"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\"",
            "holder: is 0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a, who is not among the registrants",
        ),
    ] {
        let text = text.replace("\"write-exclusive-registrants-only\"", kind);
        let text = text.replace("\"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\"", holder);
        let fault = Record::decode(&sealed(&text)).expect_err("a refusal");
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let mut bytes = golden().into_bytes();
    bytes[10] = 0xff;
    let fault = Record::decode(&bytes).expect_err("a refusal");
    assert_eq!(fault.to_string(), ".: is not UTF-8 from byte 10 on");
    assert_eq!(Record::decode(&[]).expect_err("a refusal").reason, Reason::Truncated);
}

#[test]
fn a_record_of_another_namespace_is_refused_with_the_field_that_says_so() {
    let record = record();
    assert_eq!(record.judge_owner(&identity()), Ok(()));
    let other = Identity { uuid: Uuid::from_u128(1), ..identity() };
    assert_eq!(record.judge_owner(&other).expect_err("a refusal").field, "uuid");
    let other = Identity { subsystem: Nqn::discovery(), ..identity() };
    assert_eq!(record.judge_owner(&other).expect_err("a refusal").field, "subsystem");
    let other = Identity { nsid: 8, ..identity() };
    let fault = record.judge_owner(&other).expect_err("a refusal");
    let expected = "nsid: is 7, and the namespace is 8: the record belongs to another namespace";
    assert_eq!(fault.to_string(), expected);
}
