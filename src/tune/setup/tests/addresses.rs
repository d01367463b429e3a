//! PCI addresses as people write them.

use super::*;

#[test]
fn addresses_are_read_with_and_without_their_domain() {
    let rows = [
        ("0000:00:05.0", "0000:00:05.0"),
        ("00:05.0", "0000:00:05.0"),
        ("C1:1F.7", "0000:c1:1f.7"),
        // Behind Intel's VMD, domains have five digits.
        ("10000:e1:00.0", "10000:e1:00.0"),
        ("ffffffff:ff:1f.7", "ffffffff:ff:1f.7"),
    ];
    for (text, wanted) in rows {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), wanted);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let rows = [
        "",
        "0",
        "05.0",
        "0:05.0",
        "00:5.0",
        "00:05",
        "00:05.8",
        "00:20.0",
        "000:00:05.0",
        "+000:00:05.0",
        "00:05.0 ",
        "00:05.00",
        "123456789:00:05.0",
        "0000:00:00:05.0",
        "0000:gg:05.0",
        "../../../etc",
        "nvme0",
        "é0:05.0",
    ];
    for text in rows {
        assert_eq!(text.parse::<Address>(), Err(AddressError), "{text:?}");
    }
}
