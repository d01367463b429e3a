//! Names that must be taken and names that must be refused, and the field on the wire.

use proptest::prelude::*;

use super::*;

const UUID_FORM: &str = "nqn.2014-08.org.nvmexpress:uuid:6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";

#[test]
fn names_of_both_forms_are_taken() {
    let longest = format!("nqn.2026-11.io.corelane:{}", "x".repeat(NQN_BYTES_MAX - 24));
    let rows = [
        DISCOVERY_NQN,
        UUID_FORM,
        &longest,
        "nqn.2026-11.io.corelane:disk0",
        "nqn.2026-11.io.corelane",
        "nqn.1999-01.a",
        "nqn.2020-12.com.3par.x-y:a:b:c",
        "nqn.2020-12.com.example:Größe 7",
        // Older releases of nvme-cli generate host names like this one.
        "nqn.2014-08.org.nvmexpress:NVMf:uuid:6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11",
    ];
    for row in rows {
        assert_eq!(Nqn::parse(row).map(|nqn| nqn.as_str().to_owned()), Ok(row.to_owned()));
    }
}

#[test]
fn malformed_names_are_refused_with_the_reason() {
    let long = format!("nqn.2026-11.io.corelane:{}", "x".repeat(NQN_BYTES_MAX - 23));
    let long_label = format!("nqn.2026-11.io.{}", "x".repeat(64));
    let rows = [
        ("", NqnError::Empty),
        (&long, NqnError::TooLong { bytes: 224 }),
        ("nqn.2026-11.io.corelane:a\0b", NqnError::ContainsNul),
        ("iqn.2026-11.io.corelane", NqnError::Prefix),
        ("NQN.2026-11.io.corelane", NqnError::Prefix),
        ("nqn", NqnError::Prefix),
        ("nqn.", NqnError::Date),
        ("nqn.2026-11", NqnError::Date),
        ("nqn.2026-13.io.corelane", NqnError::Date),
        ("nqn.2026-00.io.corelane", NqnError::Date),
        ("nqn.2026-1.io.corelane", NqnError::Date),
        ("nqn.2026-+1.io.corelane", NqnError::Date),
        ("nqn.+026-11.io.corelane", NqnError::Date),
        ("nqn.202611.io.corelane", NqnError::Date),
        ("nqn.2026-11.", NqnError::Domain),
        ("nqn.2026-11.:disk0", NqnError::Domain),
        ("nqn.2026-11.io..corelane", NqnError::Domain),
        ("nqn.2026-11.io.-corelane", NqnError::Domain),
        ("nqn.2026-11.io.corelane-", NqnError::Domain),
        ("nqn.2026-11.io.core_lane", NqnError::Domain),
        ("nqn.2026-11.io.corelane disk0", NqnError::Domain),
        (&long_label, NqnError::Domain),
        ("nqn.2026-11.io.corelane:", NqnError::NoName),
        ("nqn.2026-11.io.corelane:a\nb", NqnError::ControlCharacter),
        ("nqn.2014-08.org.nvmexpress:uuid:", NqnError::Uuid),
        ("nqn.2014-08.org.nvmexpress:uuid:6f1b9a5c6f0e4c3e8d6a0d2f5c1b7a11", NqnError::Uuid),
        ("nqn.2014-08.org.nvmexpress:uuid:6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a1g", NqnError::Uuid),
    ];
    for (text, error) in rows {
        assert_eq!(Nqn::parse(text), Err(error), "{text}");
    }
}

#[test]
fn lenient_names_need_only_length_and_no_nul() {
    assert_eq!(Nqn::lenient("my host").map(|nqn| nqn.to_string()), Ok("my host".to_owned()));
    assert_eq!(Nqn::lenient(""), Err(NqnError::Empty));
    assert_eq!(Nqn::lenient("a\0"), Err(NqnError::ContainsNul));
    assert_eq!(Nqn::lenient(&"x".repeat(224)), Err(NqnError::TooLong { bytes: 224 }));
}

#[test]
fn a_field_is_read_up_to_its_nul() {
    let mut field = [0xFF; NQN_FIELD_BYTES];
    assert_eq!(Nqn::from_wire(&field), Err(NqnError::Unterminated));
    field[224] = 0;
    field[..224].fill(b'x');
    assert_eq!(Nqn::from_wire(&field), Err(NqnError::TooLong { bytes: 224 }));
    field[223] = 0;
    assert_eq!(Nqn::from_wire(&field).map(|nqn| nqn.as_str().len()), Ok(NQN_BYTES_MAX));
    field[1] = 0;
    assert_eq!(Nqn::from_wire(&field).map(|nqn| nqn.to_string()), Ok("x".to_owned()));
    field[0] = 0xC3;
    assert_eq!(Nqn::from_wire(&field), Err(NqnError::NotUtf8));
    field[0] = 0;
    assert_eq!(Nqn::from_wire(&field), Err(NqnError::Empty));
}

#[test]
fn the_discovery_name_is_known_by_its_bytes() {
    assert_eq!(Nqn::parse(DISCOVERY_NQN), Ok(Nqn::discovery()));
    assert!(Nqn::discovery().is_discovery());
    assert!(Nqn::parse(UUID_FORM).is_ok_and(|nqn| !nqn.is_discovery()));
    assert!(Nqn::lenient("nqn.2014-08.org.nvmexpress.Discovery").is_ok_and(|nqn| !nqn.is_discovery()));
}

#[test]
fn a_name_cannot_forge_lines_of_a_log() {
    let nqn = Nqn::lenient("a\nb\u{1b}[1m").unwrap();
    assert_eq!(nqn.to_string(), "a\\nb\\u{1b}[1m");
    assert_eq!(format!("{nqn:?}"), "\"a\\nb\\u{1b}[1m\"");
}

proptest! {
    #[test]
    fn every_field_is_refused_or_survives_the_way_back(
        bytes in proptest::collection::vec(prop_oneof![3 => 0x20u8..0x7F, 1 => any::<u8>()], NQN_FIELD_BYTES),
        end in 0..NQN_FIELD_BYTES,
    ) {
        let mut field: [u8; NQN_FIELD_BYTES] = bytes.try_into().unwrap();
        field[end] = 0;
        if let Ok(nqn) = Nqn::from_wire(&field) {
            prop_assert_eq!(Nqn::from_wire(&nqn.to_wire()), Ok(nqn));
        }
    }

    #[test]
    fn every_text_is_refused_or_survives_the_way_back(text in "(nqn[.])?(2026-1[0-9][.])?\\PC{0,230}") {
        if let Ok(nqn) = Nqn::parse(&text) {
            prop_assert_eq!(nqn.as_str(), &text);
            prop_assert_eq!(Nqn::from_wire(&nqn.to_wire()), Ok(nqn));
        }
    }
}
