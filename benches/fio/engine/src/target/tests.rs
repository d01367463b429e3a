//! Options, right and wrong.

use super::*;

const NQN: &str = "nqn.2026-11.io.corelane:disk0";

fn tcp() -> Given {
    Given { subnqn: Some(NQN.to_owned()), port: 4420, depth: 32, ..Given::default() }
}

fn options(given: &Given) -> (SocketAddr, HostOptions) {
    match Target::new(given).expect("a target") {
        Target::Tcp { address, options } => (address, *options),
        Target::Pcie { .. } => panic!("not the device"),
    }
}

#[test]
fn a_subsystem_has_defaults() {
    let (address, options) = options(&tcp());
    assert_eq!(address, "127.0.0.1:4420".parse().expect("an address"));
    assert_eq!(options.depth, 32);
    assert!(options.identity.host.as_str().starts_with(UUID_FORM));
    assert_eq!(options.identity.subsystem.as_str(), NQN);
}

#[test]
fn jobs_are_one_host() {
    let (first, second) = (options(&tcp()).1.identity, options(&tcp()).1.identity);
    assert_eq!((first.host, first.host_id), (second.host, second.host_id));
}

#[test]
fn a_host_that_is_named_has_an_identifier_of_its_own() {
    let uuid = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
    let of_form = Given { hostnqn: Some(format!("{UUID_FORM}{uuid}")), ..tcp() };
    let parsed: Uuid = uuid.parse().expect("a UUID");
    assert_eq!(options(&of_form).1.identity.host_id, parsed.into_bytes());
    let named = Given { hostnqn: Some("nqn.2026-11.org.example:host".to_owned()), ..tcp() };
    assert_ne!(options(&named).1.identity.host_id, [0; 16]);
    let both = Given { hostid: Some(uuid.to_owned()), ..named };
    assert_eq!(options(&both).1.identity.host_id, parsed.into_bytes());
}

#[test]
fn addresses_are_taken_in_every_form() {
    for (written, address) in
        [("127.0.0.2", "127.0.0.2:4420"), ("[::1]", "[::1]:4420"), ("::1", "[::1]:4420")]
    {
        let given = Given { address: Some(written.to_owned()), ..tcp() };
        assert_eq!(options(&given).0, address.parse().expect("an address"));
    }
}

#[test]
fn a_device_is_named_by_its_address() {
    let given = Given { pcie: Some("0000:00:05.0".to_owned()), depth: 1 << 20, ..Given::default() };
    let Target::Pcie { address, depth, .. } = Target::new(&given).expect("a target") else {
        panic!("a device")
    };
    assert_eq!(address.to_string(), "0000:00:05.0");
    assert_eq!(depth, 65_534);
}

#[test]
fn what_is_wrong_is_named() {
    let text = |text: &str| Some(text.to_owned());
    let rows = [
        (Given::default(), "say what to measure"),
        (Given { pcie: text("0000:00:05.0"), ..tcp() }, "leave one of them out"),
        (Given { subnqn: text("disk0"), ..tcp() }, "subnqn: "),
        (Given { hostnqn: text(""), ..tcp() }, "hostnqn: "),
        (Given { hostid: text("7"), ..tcp() }, "hostid=7 is not a UUID"),
        (Given { hostid: text("00000000-0000-0000-0000-000000000000"), ..tcp() }, "hostid=0000"),
        (Given { pcie: text("5"), ..Given::default() }, "pcie=5: "),
        (Given { port: 0, ..tcp() }, "port=0"),
        (Given { address: text("256.0.0.1"), ..tcp() }, "address=256.0.0.1: "),
    ];
    for (given, beginning) in rows {
        let said = Target::new(&given).expect_err(beginning).to_string();
        assert!(said.contains(beginning), "{said}");
    }
}
