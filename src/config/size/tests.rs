//! Sizes that are taken, sizes that are refused, and the way back.

use proptest::prelude::*;

use super::*;

#[test]
fn sizes_are_bytes_or_powers_of_1024() {
    let rows = [
        ("0", 0),
        ("512", 512),
        ("1KiB", 1 << 10),
        ("256MiB", 256 << 20),
        (" 1 GiB ", 1 << 30),
        ("16777215TiB", 0xFF_FFFF << 40),
        ("18446744073709551615", u64::MAX),
    ];
    for (text, bytes) in rows {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
}

#[test]
fn other_texts_are_refused_with_the_reason() {
    let rows = [
        ("", SizeError::NoNumber),
        ("MiB", SizeError::NoNumber),
        ("-1", SizeError::NoNumber),
        ("0x10", SizeError::Unit),
        ("1.5GiB", SizeError::Fraction),
        ("1,5GiB", SizeError::Fraction),
        ("1GB", SizeError::Unit),
        ("1G", SizeError::Unit),
        ("1gib", SizeError::Unit),
        ("1B", SizeError::Unit),
        ("1GiB1", SizeError::Unit),
        ("1Ⅷ", SizeError::Unit),
        ("18446744073709551616", SizeError::Overflow),
        ("16777216TiB", SizeError::Overflow),
    ];
    for (text, error) in rows {
        assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
    }
}

#[test]
fn a_size_is_shown_in_the_largest_exact_unit() {
    let rows =
        [(0, "0"), (1000, "1000"), (1536, "1536"), (2048, "2KiB"), (1 << 40, "1TiB"), (3 << 29, "1536MiB")];
    for (bytes, text) in rows {
        assert_eq!(ByteSize(bytes).to_string(), text);
    }
}

#[test]
fn json_numbers_must_be_whole() {
    for text in ["1.5", "-1", "1e3", "true", "null", "[1]", "18446744073709551616"] {
        let error = serde_json::from_str::<SizeText>(text).unwrap_err().to_string();
        assert!(error.contains("expected bytes as a whole number, or text such as"), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn every_size_survives_the_way_back(bytes in any::<u64>(), shift in 0u32..64) {
        let size = ByteSize((bytes >> shift) << (shift / 2));
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,12}") {
        let _ = text.parse::<ByteSize>();
    }
}
