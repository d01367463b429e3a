//! The configuration as a whole: what is taken, what is refused and where, and the way back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod ranges;
mod reactors;
mod reference;
mod refused;
mod reload;
mod round_trip;

/// The cores that tests may use.
const ALLOWED: [usize; 4] = [0, 1, 2, 3];

/// A file that uses every key.
fn example() -> Value {
    json!({
        "reactors": {"management": 0, "io": [1], "idle": {"policy": "adaptive", "spin_us": 100}},
        "state_dir": "/var/lib/corelane",
        "state_must_exist": true,
        "limits": {"queue_depth_max": 256},
        "memory": {"bytes_per_reactor": "512MiB", "hugepages": "auto", "page_size": "1GiB", "populate": true},
        "metrics": {"listen": "127.0.0.1:9920"},
        "bdevs": [
            {"name": "ram0", "type": "malloc", "size": "1GiB", "block_size": 4096},
            {"name": "void", "type": "null", "size": "1TiB", "block_size": 512},
            {"name": "disk", "type": "file", "size": "8GiB", "path": "/srv/disk", "preallocate": true}
        ],
        "subsystems": [{
            "nqn": "nqn.2026-11.io.corelane:disk0", "serial": "CL0001", "model": "Corelane",
            "allow_any_host": true, "hosts": [],
            "listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": 4420}],
            "namespaces": [{
                "nsid": 1, "bdev": "ram0", "uuid": "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11",
                "reservations": {"persist": true}
            }]
        }]
    })
}

/// The example with a value put in at a JSON pointer; its parent must be there.
fn example_with(pointer: &str, value: Value) -> String {
    let mut example = example();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match example.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.insert(key.to_owned(), value)),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{parent} is {other}"),
    }
    example.to_string()
}

/// The example without a key.
fn example_without(parent: &str, key: &str) -> String {
    let mut example = example();
    let removed = example.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    assert!(removed.is_some(), "{parent} has no {key}");
    example.to_string()
}

/// The layout with everything else as it is by default.
fn layout(management: usize, io: &[usize], idle: Idle) -> Reactors {
    Reactors {
        management,
        io: io.to_vec(),
        idle,
        overrides: Vec::new(),
        placement: Placement::LeastLoaded,
        budgets: Budgets::default(),
        engine: EngineName::Auto,
        rebalance: false,
    }
}

fn accepted(text: &str) -> Accepted {
    parse(text, &ALLOWED).unwrap_or_else(|findings| panic!("{text}: {findings:?}"))
}

#[test]
fn the_example_is_taken_as_it_is_meant() {
    let Accepted { config, warnings } = accepted(&example().to_string());
    assert_eq!(warnings, []);
    assert_eq!(config.reactors, layout(0, &[1], adaptive(100)));
    assert_eq!(config.reactors.to_string(), "management on core 0, I/O on core 1");
    assert_eq!(config.state_directory, Some("/var/lib/corelane".into()));
    assert!(config.state_must_exist);
    assert_eq!(config.limits, Limits { queue_depth_max: 256, ..Limits::default() });
    let memory = Memory {
        bytes_per_reactor: Some(ByteSize::new(512 << 20)),
        hugepages: HugepagesName::Auto,
        page_size: Some(ByteSize::new(1 << 30)),
        populate: true,
    };
    assert_eq!(config.memory, memory);
    assert_eq!(config.metrics, Some("127.0.0.1:9920".parse().unwrap()));
    let [ram, void, disk] = &config.bdevs[..] else { panic!("{:?}", config.bdevs) };
    assert_eq!(
        ram.kind,
        BdevKind::Malloc { size: ByteSize::new(1 << 30), block_size: 4096, atomic_writes: false }
    );
    assert_eq!(void.kind, BdevKind::Null { size: ByteSize::new(1 << 40), block_size: 512 });
    assert_eq!(config.bdev("void"), Some(void));
    let size = Some(ByteSize::new(8 << 30));
    let kind = BdevKind::FileBacked { path: "/srv/disk".into(), block_size: 4096, size, preallocate: true };
    assert_eq!(disk.kind, kind);
    assert_eq!([ram, disk].map(|bdev| bdev.kind.needs_ring()), [false, true]);
    let [subsystem] = &config.subsystems[..] else { panic!("{:?}", config.subsystems) };
    assert_eq!(subsystem.nqn.as_str(), "nqn.2026-11.io.corelane:disk0");
    assert_eq!((subsystem.serial.as_str(), subsystem.model.as_str()), ("CL0001", "Corelane"));
    assert_eq!((subsystem.allow_any_host, subsystem.hosts.len()), (true, 0));
    let listener = Listener { transport: Transport::Tcp, address: "127.0.0.1:4420".parse().unwrap() };
    assert_eq!(subsystem.listeners, [listener]);
    let uuid = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11".parse().unwrap();
    let reservations = Reservations { persist: true };
    assert_eq!(
        subsystem.namespaces,
        [Namespace {
            nsid: 1,
            bdev: "ram0".to_owned(),
            uuid,
            hosts: None,
            ana_group: 1,
            write_protected: false,
            reservations
        }]
    );
}

#[test]
fn reservations_persist_by_default_where_the_uuid_is_given() {
    let namespace = "/subsystems/0/namespaces/0";
    let uuid = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
    let rows = [
        //  UUID      "persist"              taken
        (Some(uuid), json!({}), true),
        (Some(uuid), json!({"persist": true}), true),
        (Some(uuid), json!({"persist": false}), false),
        (None, json!({}), false),
        (None, json!({"persist": false}), false),
    ];
    for (uuid, reservations, persist) in rows {
        let mut entry = json!({"nsid": 1, "bdev": "ram0", "reservations": reservations});
        if let Some(uuid) = uuid {
            entry["uuid"] = json!(uuid);
        }
        let taken = accepted(&example_with(namespace, entry.clone())).config;
        assert_eq!(taken.subsystems[0].namespaces[0].reservations, Reservations { persist }, "{entry}");
    }
    let embedded = Config::embedded_default(&ALLOWED).unwrap();
    assert!(!embedded.subsystems[0].namespaces[0].reservations.persist);
}

#[test]
fn everything_but_bdevs_and_subsystems_has_a_default() {
    let Accepted { config, warnings } = accepted(r#"{"bdevs": [], "subsystems": []}"#);
    assert_eq!(config.reactors, layout(0, &[1, 2, 3], adaptive(100)));
    assert!(!config.takes_memory_whole());
    assert_eq!((config.state_directory, config.state_must_exist), (None, false));
    assert_eq!(config.metrics, None);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.memory, Memory::default());
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(warning.to_string(), "subsystems: warning: is empty: nothing is served");
}

#[test]
fn the_core_layout_follows_what_is_given_and_allowed() {
    let rows = [
        //  given                                allowed         management  io
        (json!({}), vec![0, 1], 0, vec![1]),
        (json!({}), vec![3], 3, vec![3]),
        (json!({"management": 1}), vec![0, 1, 2], 1, vec![0, 2]),
        (json!({"management": 1}), vec![1], 1, vec![1]),
        (json!({"io": [0]}), vec![0, 1], 1, vec![0]),
        (json!({"io": "0-1"}), vec![0, 1], 0, vec![0, 1]),
        (json!({"management": 1, "io": [0, 1]}), vec![0, 1], 1, vec![0, 1]),
        (json!({"management": 5, "io": "1-3,5"}), vec![1, 2, 3, 5], 5, vec![1, 2, 3, 5]),
    ];
    for (given, allowed, management, io) in rows {
        let taken = parse(&example_with("/reactors", given.clone()), &allowed).unwrap().config.reactors;
        assert_eq!((taken.management, taken.io), (management, io), "{given} {allowed:?}");
    }
}

#[test]
fn each_idle_policy_is_taken() {
    let rows = [
        (json!({}), adaptive(100)),
        (json!({"policy": "adaptive"}), adaptive(100)),
        (json!({"spin_us": 7}), adaptive(7)),
        (json!({"policy": "spin"}), Idle::Spin),
        (json!({"policy": "park"}), Idle::Park),
    ];
    for (given, idle) in rows {
        assert_eq!(accepted(&example_with("/reactors/idle", given)).config.reactors.idle, idle);
    }
}

#[test]
fn memory_is_taken_whole_where_that_was_asked_for() {
    let rows = [
        //  given                        whole   as it is shown
        (json!({}), false, "memory: as much as each I/O reactor needs"),
        (
            json!({"bytes_per_reactor": "16MiB", "hugepages": "never"}),
            false,
            "memory: 16MiB for each I/O reactor, never in huge pages",
        ),
        (
            json!({"page_size": "2MiB"}),
            false,
            "memory: as much as each I/O reactor needs, huge pages of 2MiB",
        ),
        (
            json!({"bytes_per_reactor": 1u64 << 40, "hugepages": "always", "page_size": "1GiB"}),
            true,
            "memory: 1TiB for each I/O reactor, always in huge pages of 1GiB",
        ),
        (
            json!({"populate": true}),
            true,
            "memory: as much as each I/O reactor needs, taken and locked at the start",
        ),
    ];
    for (given, whole, shown) in rows {
        let config = accepted(&example_with("/memory", given)).config;
        assert_eq!((config.takes_memory_whole(), config.memory.to_string().as_str()), (whole, shown));
    }
}

#[test]
fn addresses_of_all_kinds_are_taken() {
    let rows = [
        ("0.0.0.0", "0.0.0.0:4420"),
        ("::1", "[::1]:4420"),
        ("[::1]", "[::1]:4420"),
        ("::", "[::]:4420"),
        ("[fd00::7]", "[fd00::7]:4420"),
    ];
    for (address, expected) in rows {
        let text = example_with("/subsystems/0/listeners/0", json!({"address": address}));
        assert_eq!(accepted(&text).config.subsystems[0].listeners[0].address, expected.parse().unwrap());
    }
    let text = example_with("/subsystems/0/listeners/0/port", json!(0));
    assert_eq!(accepted(&text).config.subsystems[0].listeners[0].address.port(), 0);
}

#[test]
fn command_line_addresses_are_read_with_and_without_a_port() {
    let rows = [
        ("127.0.0.1", Ok("127.0.0.1:4420")),
        ("127.0.0.1:0", Ok("127.0.0.1:0")),
        ("0.0.0.0:8009", Ok("0.0.0.0:8009")),
        ("::1", Ok("[::1]:4420")),
        ("[::1]", Ok("[::1]:4420")),
        ("[::1]:1", Ok("[::1]:1")),
        ("", Err(AddressError::Malformed)),
        (":4420", Err(AddressError::Malformed)),
        ("localhost:4420", Err(AddressError::Malformed)),
        ("::1:99999", Err(AddressError::Malformed)),
        ("[127.0.0.1]:1", Err(AddressError::Malformed)),
        ("fe80::1%eth0", Err(AddressError::Scope)),
        ("[fe80::1%eth0]:4420", Err(AddressError::Scope)),
        ("224.0.0.1:4420", Err(AddressError::Group)),
        ("255.255.255.255", Err(AddressError::Group)),
        ("ff02::1", Err(AddressError::Group)),
        ("127.0.0.1:", Err(AddressError::Port)),
        ("127.0.0.1:65536", Err(AddressError::Port)),
        ("127.0.0.1:+1", Err(AddressError::Port)),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_listen(text), expected.map(|address| address.parse().unwrap()), "{text}");
    }
}

#[test]
fn left_out_identity_is_made_of_the_nqn_and_stays_the_same() {
    let text = example_with("/subsystems/0/namespaces/0", json!({"nsid": 1, "bdev": "ram0"}));
    let derived = accepted(&text).config.subsystems[0].namespaces[0].uuid;
    // Computed with Python: uuid.uuid5(UUID("c51c8d27-..."), "nqn.2026-11.io.corelane:disk0/1").
    assert_eq!(derived.to_string(), "b7e31eb1-19b5-5b9f-9a3c-c8db5b200018");
    let text = example_without("/subsystems/0", "serial");
    assert_eq!(accepted(&text).config.subsystems[0].serial, "CL78715018C68C519788");
}

#[test]
fn subsystems_may_share_a_listener() {
    let mut text = example();
    let mut second = text["subsystems"][0].clone();
    second["nqn"] = json!("nqn.2026-11.io.corelane:disk1");
    second["namespaces"] = json!([{"nsid": 1, "bdev": "void"}]);
    text["subsystems"].as_array_mut().unwrap().push(second);
    assert_eq!(accepted(&text.to_string()).warnings, []);
}

#[test]
fn odd_but_usable_configurations_are_taken_with_a_warning() {
    let host = json!(["nqn.2014-08.org.nvmexpress:uuid:6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11"]);
    let rows = [
        (
            example_with("/subsystems/0/allow_any_host", json!(false)),
            "subsystems[0].hosts",
            "no host may connect",
        ),
        (example_with("/subsystems/0/hosts", host), "subsystems[0].hosts", "is not looked at"),
        (example_with("/subsystems/0/listeners", json!([])), "subsystems[0].listeners", "no host can reach"),
        (example_with("/subsystems/0/namespaces", json!([])), "subsystems[0].namespaces", "find no disk"),
        (example_with("/metrics/listen", json!("0.0.0.0")), "metrics.listen", "is 0.0.0.0:9920: whoever"),
    ];
    for (text, place, part) in rows {
        let warnings = accepted(&text).warnings;
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!((warning.severity, warning.place.as_str()), (Severity::Warning, place));
        assert!(warning.message.contains(part), "{warning}");
    }
}

#[test]
fn the_embedded_default_is_a_ram_disk_on_the_loopback_address() {
    let config = Config::embedded_default(&[0, 1]).unwrap();
    assert_eq!(config.reactors, layout(0, &[1], adaptive(100)));
    let kind = BdevKind::Malloc { size: ByteSize::new(256 << 20), block_size: 4096, atomic_writes: false };
    assert_eq!(config.bdevs, [Bdev { name: "ram0".to_owned(), kind }]);
    let [subsystem] = &config.subsystems[..] else { panic!("{:?}", config.subsystems) };
    assert_eq!(subsystem.nqn.as_str(), "nqn.2026-11.io.corelane:disk0");
    assert!(subsystem.allow_any_host);
    assert_eq!(subsystem.listeners[0].address.to_string(), "127.0.0.1:4420");
    assert_eq!((subsystem.namespaces.len(), config.namespaces()), (1, 1));
    let findings = Config::embedded_default(&[]).unwrap_err();
    assert_eq!(findings[0].place.as_str(), "reactors");
}

#[test]
fn the_schema_closes_every_object_and_describes_every_key() {
    fn walk(schema: &Value, place: &str, objects: &mut usize) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            *objects += 1;
            assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "{place}");
            for (key, property) in properties {
                assert!(
                    property.get("description").is_some() || property.get("$ref").is_some(),
                    "{place}.{key}"
                );
            }
        }
        for (key, part) in schema.as_object().into_iter().flatten() {
            walk(part, &format!("{place}/{key}"), objects);
        }
    }
    let mut objects = 0;
    walk(&schema(), "", &mut objects);
    assert_eq!(objects, 17);
    assert_eq!(schema()["required"], json!(["bdevs", "subsystems"]));
}

fn adaptive(spin_us: u64) -> Idle {
    Idle::Adaptive { spin: Duration::from_micros(spin_us) }
}
