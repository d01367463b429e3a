//! Files that SPDK wrote.

use super::record::identity;
use super::*;
use crate::reservation::{Fault, Record, from_spdk};

const FILE: &str = r#"{
  "ptpl": true,
  "rtype": 1,
  "crkey": 18446744073709551615,
  "bdev_uuid": "00000000-0000-0000-0000-0000000000ff",
  "holder_uuid": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a",
  "registrants": [
    { "rkey": 18446744073709551615, "host_uuid": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a" },
    { "rkey": 9007199254740993, "host_uuid": "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b" }
  ]
}
"#;

const HOLDER: &str = "\"holder_uuid\": \"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\"";

fn import(text: &str) -> Result<Rig, Fault> {
    from_spdk(text.as_bytes(), &identity()).map(|record| Rig { state: record.state })
}

/// With changes to the file.
fn changed(changes: &[(&str, &str)]) -> Result<Rig, Fault> {
    let text = changes.iter().fold(FILE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    import(&text)
}

#[test]
fn a_file_of_spdk_becomes_a_record() {
    let rig = import(FILE).unwrap();
    assert_eq!((rig.reservation(), rig.registrants()), ((1, Some(A)), vec![A, B]));
    assert_eq!((rig.key(A), rig.key(B)), (Some(u64::MAX), Some((1 << 53) + 1)));
    assert!(rig.state.ptpl() && rig.state.generation() == 0);
    assert!(rig.state.registrants().all(|(_, registrant)| registrant.nqn.is_none()));
    let record = from_spdk(FILE.as_bytes(), &identity()).unwrap();
    assert_eq!((&record.identity, record.sequence), (&identity(), 0));
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

#[test]
fn a_host_gets_its_name_when_it_registers_again() {
    let mut rig = import(FILE).unwrap();
    rig.ok(A, &register(u64::MAX));
    assert_eq!(rig.state.registrant(id(A)).unwrap().nqn, Some(host(A).nqn));
}

#[test]
fn an_empty_file_means_that_ptpl_was_off() {
    assert_eq!(import("").unwrap().state, State::new());
}

#[test]
fn without_ptpl_nothing_survives() {
    for change in [("\"ptpl\": true", "\"ptpl\": false"), ("\"ptpl\": true,", "")] {
        assert_eq!(changed(&[change]).unwrap().state, State::new());
    }
}

#[test]
fn all_registrants_types_have_no_holder() {
    for rtype in ALL_REGISTRANTS {
        let kind = format!("\"rtype\": {rtype}");
        // The key is that of a host which is gone: SPDK cannot restore this, and wrote it.
        let rows = [
            ("\"rtype\": 1", kind.as_str()),
            (HOLDER, "\"holder_uuid\": \"\""),
            ("18446744073709551615", "99"),
        ];
        let rig = changed(&rows).unwrap();
        assert_eq!((rig.reservation(), rig.holders()), ((rtype, None), vec![A, B]));
    }
}

#[test]
fn registrants_without_a_reservation_are_imported() {
    for holder in ["\"holder_uuid\": \"\",", ""] {
        let change = [
            ("\"rtype\": 1", "\"rtype\": 0"),
            ("\"holder_uuid\": \"0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a\",", holder),
        ];
        let rig = changed(&change).unwrap();
        assert_eq!((rig.reservation(), rig.registrants()), ((0, None), vec![A, B]));
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_field() {
    let rows: [(&[(&str, &str)], &str); 17] = [
        (&[("\"rtype\": 1", "\"rtype\": 7")], "rtype: is 7, which is no type"),
        (&[("\"rtype\": 1", "\"rtype\": 257")], "rtype: is 257, which is no type"),
        (&[("\"rtype\": 1", "\"rtype\": 0")], "holder_uuid: names a host"),
        (&[("\"rtype\": 1", "\"rtype\": 5")], "holder_uuid: names a host"),
        (&[(HOLDER, "\"holder_uuid\": \"\"")], "holder_uuid: is missing"),
        (&[(HOLDER, "\"holder_uuid\": \"0a\"")], "holder_uuid: failed to parse a UUID"),
        (
            &[(HOLDER, "\"holder_uuid\": \"0c0c0c0c-0c0c-0c0c-0c0c-0c0c0c0c0c0c\"")],
            "holder_uuid: is 0c0c0c0c-0c0c-0c0c-0c0c-0c0c0c0c0c0c, who is not",
        ),
        (&[("\"crkey\": 18446744073709551615", "\"crkey\": 5")], "crkey: is not the key of the holder"),
        (&[("0000000000ff\"", "0000000000fe\"")], "bdev_uuid: is 00000000-0000-0000-0000-0000000000fe"),
        (&[("9007199254740993", "0")], "registrants[1].rkey: is 0"),
        (&[("9007199254740993", "-1")], "registrants[1].rkey: invalid value"),
        (&[("9007199254740993", "18446744073709551616")], "registrants[1].rkey: invalid type"),
        (&[("9007199254740993", "\"1\"")], "registrants[1].rkey: invalid type"),
        (
            &[("0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b", "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a")],
            "registrants[1].host_uuid: is 0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a, who is among",
        ),
        (
            &[("0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b", "00000000-0000-0000-0000-000000000000")],
            "registrants[1].host_uuid: is all zeros",
        ),
        (&[("\"ptpl\": true", "\"ptpl\": true, \"more\": 1")], "more: unknown field `more`"),
        (&[("\"bdev_uuid\": \"00000000-0000-0000-0000-0000000000ff\",", "")], ".: missing field `bdev_uuid`"),
    ];
    for (changes, expected) in rows {
        let fault = changed(changes).expect_err("a refusal").to_string();
        assert!(fault.starts_with(expected), "{changes:?}: {fault}");
    }
}

#[test]
fn a_file_without_its_end_is_refused_at_every_byte() {
    let text = FILE.trim_end();
    for end in 1..text.len() {
        let fault = from_spdk(&text.as_bytes()[..end], &identity()).expect_err("a refusal");
        assert_eq!(fault.reason, crate::reservation::Reason::Truncated, "{end}: {fault}");
    }
}
