//! Addresses as operators write them, and words of the configuration space against hand-written bytes.

use super::{Capability, Class, Command, MsixTable, PciAddress, Status};

#[test]
fn addresses_are_written_as_sysfs_writes_them() {
    let rows = [
        ("0000:00:05.0", "0000:00:05.0"),
        ("00:05.0", "0000:00:05.0"),
        // Behind Intel's VMD, domains have five digits.
        ("10000:e1:1F.7", "10000:e1:1f.7"),
        ("ffffffff:ff:1f.7", "ffffffff:ff:1f.7"),
        ("abcd:FF:00.3", "abcd:ff:00.3"),
    ];
    for (text, written) in rows {
        assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), written);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let refused = [
        "",
        "05.0",
        "0000:00:05",
        "0000:00:20.0",
        "0000:00:05.8",
        "0000:00:5.0",
        "00:00:05.0",
        "0000:00:+5.0",
        "0000:00:05.0 ",
        "123456789:00:05.0",
        "000:00:05.0",
        "+000:00:05.0",
        "00:05.00",
        "0000:00:00:05.0",
        "0000:gg:05.0",
        "../../../etc",
        "é0:05.0",
        "nvme0",
        "/sys/bus/pci/devices/0000:00:05.0",
    ];
    for text in refused {
        assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
    }
}

#[test]
fn words_of_the_configuration_space_have_the_bits_of_the_standard() {
    assert_eq!(Class::from_bits(0x0108_0210).code(), Class::NVME);
    assert_eq!(Command::new().with_memory_space(true).with_bus_master(true).into_bits(), 0b110);
    assert!(Status::from_bits(0x0010).capability_list());
    let capability = Capability::from_bits(0x4011);
    assert_eq!((capability.id(), capability.next()), (Capability::MSIX, 0x40));
    let table = MsixTable::from_bits(0x0000_2000 | 4);
    assert_eq!((table.bar(), table.offset()), (4, 0x2000));
}
