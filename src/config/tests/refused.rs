//! Configurations that must be refused: at which place, and what the message must say.

use super::*;

/// Asserts that the text is refused with exactly one finding.
pub(super) fn refused(text: &str, place: &str, part: &str) {
    let findings = parse(text, &ALLOWED).expect_err(text);
    let [finding] = &findings[..] else { panic!("{text}: {findings:#?}") };
    assert_eq!((finding.severity, finding.place.as_str()), (Severity::Error, place), "{finding}");
    assert!(finding.message.contains(part), "{finding}, without {part:?}");
}

#[test]
fn texts_that_are_no_document_name_the_place_and_the_line() {
    let rows = [
        ("", "", "at line 1 column 0"),
        ("[]", "", "expected an object with the configuration"),
        ("{", "", "at line 1"),
        (r#"{"bdevs": []}"#, "", "missing field `subsystems`"),
        (r#"{"bdevs": [], "subsystems": []} x"#, "", "trailing characters"),
        (r#"{"bdevs": [], "bdevs": [], "subsystems": []}"#, "", "duplicate field `bdevs`"),
        (r#"{"bdevs": [{"name": "a", "#, "bdevs[0]", "EOF while parsing"),
        (r#"{"bdev": []}"#, "bdev", "unknown field `bdev`, expected one of"),
    ];
    for (text, place, part) in rows {
        refused(text, place, part);
    }
    refused(&" ".repeat(TEXT_BYTES_MAX + 1), "", "at most 4194304 are allowed");
}

#[test]
fn wrong_types_and_keys_are_refused_at_their_place() {
    let rows = [
        ("/bdevs", json!({}), "bdevs", "expected a list"),
        ("/bdevs/0", json!(1), "bdevs[0]", "expected an object that describes a bdev"),
        (
            "/bdevs/0/type",
            json!("disk"),
            "bdevs[0].type",
            "expected one of `malloc`, `null`, `file`, `nvme`, `nvmf`",
        ),
        ("/bdevs/1/size", json!(1.5), "bdevs[1].size", "expected bytes as a whole number"),
        ("/bdevs/1/sise", json!(1), "bdevs[1].sise", "unknown field `sise`"),
        ("/reactors/io", json!(1), "reactors.io", "expected a list of core numbers"),
        ("/reactors/io/0", json!("1"), "reactors.io[0]", "expected a whole number"),
        ("/reactors/io/0", json!(-1), "reactors.io[0]", "expected a whole number"),
        ("/reactors/engine", json!("uring"), "reactors.engine", "`auto`, `io_uring`, `epoll`"),
        ("/reactors/idle/policy", json!("sleep"), "reactors.idle.policy", "`spin`, `park`, `adaptive`"),
        ("/limits/connections", json!(1), "limits.connections", "unknown field `connections`"),
        ("/subsystems/0/nqn", json!(7), "subsystems[0].nqn", "expected a string"),
        ("/metrics", json!("127.0.0.1"), "metrics", "expected an object such as {\"listen\""),
        ("/metrics/port", json!(1), "metrics.port", "unknown field `port`"),
        ("/metrics/listen", json!(9920), "metrics.listen", "expected a string"),
        (
            "/subsystems/0/listeners/0/transport",
            json!("rdma"),
            "subsystems[0].listeners[0].transport",
            "`tcp`",
        ),
        (
            "/subsystems/0/listeners/0/port",
            json!("4420"),
            "subsystems[0].listeners[0].port",
            "a whole number",
        ),
        ("/subsystems/0/namespaces/0/bdevs", json!(""), "subsystems[0].namespaces[0].bdevs", "unknown field"),
        (
            "/subsystems/0/namespaces/0/reservations",
            json!(true),
            "subsystems[0].namespaces[0].reservations",
            "expected an object such as {\"persist\": true}",
        ),
    ];
    for (pointer, value, place, part) in rows {
        refused(&example_with(pointer, value), place, part);
    }
    refused(
        &example_with("/subsystems/0/namespaces/0/reservations/persist", json!(1)),
        "subsystems[0].namespaces[0].reservations.persist",
        "expected a boolean",
    );
    refused(
        &example_without("/subsystems/0/namespaces/0", "bdev"),
        "subsystems[0].namespaces[0]",
        "field `bdev`",
    );
    refused(&example_without("/bdevs/0", "size"), "bdevs[0].size", "is missing: a bdev of this type");
}

#[test]
fn wrong_reactors_are_refused_with_what_is_allowed() {
    let rows = [
        ("/reactors/management", json!(4), "reactors.management", "core 4; this process may use cores 0-3"),
        ("/reactors/management", json!(u64::MAX), "reactors.management", "this process may use cores 0-3"),
        ("/reactors/io", json!("1,7"), "reactors.io", "core 7; this process may use cores 0-3"),
        ("/reactors/io", json!([1, 1]), "reactors.io", "names core 1 twice"),
        ("/reactors/io", json!([]), "reactors.io", "names no core"),
        ("/reactors/io", json!("1;2"), "reactors.io", "such as \"1-3,5\""),
        ("/reactors/io", json!("0-99999999"), "reactors.io", "the highest possible is 1023"),
        ("/reactors/idle/spin_us", json!(0), "reactors.idle.spin_us", "from 1 to 1000000 microseconds"),
        (
            "/reactors/idle/policy",
            json!("park"),
            "reactors.idle.spin_us",
            "belongs to the policy \"adaptive\"",
        ),
        ("/state_dir", json!("state"), "state_dir", "absolute path"),
        ("/state_dir", json!(""), "state_dir", "absolute path"),
        ("/state_dir", json!("/a\0b"), "state_dir", "absolute path"),
    ];
    for (pointer, value, place, part) in rows {
        refused(&example_with(pointer, value), place, part);
    }
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let rows = [
        (json!({"bytes_per_reactor": (16 << 20) - 1}), "bytes_per_reactor", "from 16MiB to 1TiB"),
        (json!({"bytes_per_reactor": "2TiB"}), "bytes_per_reactor", "is 2TiB; it must be from 16MiB to 1TiB"),
        (json!({"bytes_per_reactor": "256MB"}), "bytes_per_reactor", "unknown unit"),
        (json!({"page_size": "4KiB"}), "page_size", "is 4KiB; it must be 2MiB or 1GiB"),
        (json!({"page_size": "2MiB", "hugepages": "never"}), "page_size", "belongs to huge pages"),
        (json!({"hugepages": "some"}), "hugepages", "expected one of `auto`, `always`, `never`"),
        (json!({"hugepages": true}), "hugepages", "expected"),
        (json!({"populate": 1}), "populate", "expected a boolean"),
        (json!({"pages": 1}), "pages", "unknown field `pages`"),
    ];
    for (value, key, part) in rows {
        refused(&example_with("/memory", value), &format!("memory.{key}"), part);
    }
    refused(&example_with("/memory", json!("256MiB")), "memory", "expected an object such as");
}

#[test]
fn wrong_bdevs_are_refused() {
    let rows = [
        ("/bdevs/1/name", json!("ram0"), "bdevs[1].name", "the name of bdevs[0] too"),
        ("/bdevs/1/name", json!(""), "bdevs[1].name", "1 to 63 letters"),
        ("/bdevs/1/name", json!("-a"), "bdevs[1].name", "1 to 63 letters"),
        ("/bdevs/1/name", json!("a b"), "bdevs[1].name", "1 to 63 letters"),
        ("/bdevs/1/name", json!("x".repeat(64)), "bdevs[1].name", "1 to 63 letters"),
        ("/bdevs/1/size", json!(0), "bdevs[1].size", "is 0"),
        (
            "/bdevs/1/size",
            json!(513),
            "bdevs[1].size",
            "not a multiple of the block size of 512 bytes; \"512\" is one",
        ),
        ("/bdevs/1/size", json!(5), "bdevs[1].size", "\"512\" is one"),
        ("/bdevs/1/size", json!("4194305TiB"), "bdevs[1].size", "at most 4194304TiB"),
        ("/bdevs/1/size", json!("16777216TiB"), "bdevs[1].size", "more bytes than 64 bits"),
        ("/bdevs/1/size", json!("1GB"), "bdevs[1].size", "\"1GB\" has an unknown unit; use KiB"),
        ("/bdevs/1/block_size", json!(0), "bdevs[1].block_size", "a power of two from 512 to 65536"),
        ("/bdevs/1/block_size", json!(256), "bdevs[1].block_size", "a power of two from 512 to 65536"),
        ("/bdevs/1/block_size", json!(1000), "bdevs[1].block_size", "a power of two from 512 to 65536"),
        ("/bdevs/1/block_size", json!("128KiB"), "bdevs[1].block_size", "a power of two from 512 to 65536"),
        ("/bdevs/1/block_size", json!("4k"), "bdevs[1].block_size", "unknown unit"),
        ("/bdevs/1/path", json!("/dev/sdb"), "bdevs[1].path", "is for bdevs of the type \"file\""),
        (
            "/bdevs/1/atomic_writes",
            json!(true),
            "bdevs[1].atomic_writes",
            "is for bdevs of the type \"malloc\"",
        ),
        ("/bdevs/1/preallocate", json!(false), "bdevs[1].preallocate", "is for bdevs of the type \"file\""),
        ("/bdevs/1/address", json!("00:05.0"), "bdevs[1].address", "is for bdevs of the type \"nvme\""),
        ("/bdevs/1/namespace", json!(1), "bdevs[1].namespace", "is for bdevs of the type \"nvme\""),
        ("/bdevs/1/nqn", json!("a"), "bdevs[1].nqn", "is for bdevs of the type \"nvmf\""),
        ("/bdevs/1/data_digest", json!(true), "bdevs[1].data_digest", "is for bdevs of the type \"nvmf\""),
    ];
    for (pointer, value, place, part) in rows {
        refused(&example_with(pointer, value), place, part);
    }
}

#[test]
fn wrong_devices_are_refused() {
    let rows = [
        (json!({}), "bdevs[1].address", "is missing"),
        (json!({"address": "/dev/nvme0"}), "bdevs[1].address", "such as 0000:00:05.0 or 00:05.0"),
        (json!({"address": "0000:00:05"}), "bdevs[1].address", "\"0000:00:05\" is not a PCI address"),
        (
            json!({"address": "00:05.0", "size": "1GiB"}),
            "bdevs[1].size",
            "the device has its own; leave it out",
        ),
        (json!({"address": "00:05.0", "block_size": 512}), "bdevs[1].block_size", "the device has its own"),
        (json!({"address": "00:05.0", "namespace": 0}), "bdevs[1].namespace", "from 1 to 4294967294"),
        (
            json!({"address": "00:05.0", "namespace": 4_294_967_295_u64}),
            "bdevs[1].namespace",
            "is all of them",
        ),
    ];
    for (mut entry, place, part) in rows {
        entry["name"] = json!("void");
        entry["type"] = json!("nvme");
        refused(&example_with("/bdevs/1", entry), place, part);
    }
}

#[test]
fn wrong_remotes_are_refused() {
    let rows = [
        ("address", Value::Null, "bdevs[1].address", "is missing: where the remote subsystem is reached"),
        ("address", json!("disk.example"), "bdevs[1].address", "\"disk.example\""),
        ("address", json!("0.0.0.0"), "bdevs[1].address", "is 0.0.0.0, which no target has"),
        ("nqn", Value::Null, "bdevs[1].nqn", "is missing: the name of the remote subsystem"),
        ("nqn", json!(""), "bdevs[1].nqn", "\"\""),
        ("port", json!(0), "bdevs[1].port", "from 1 to 65535"),
        ("size", json!("1GiB"), "bdevs[1].size", "the namespace has its own; leave it out"),
        ("block_size", json!(512), "bdevs[1].block_size", "the namespace has its own; leave it out"),
        ("path", json!("/disk"), "bdevs[1].path", "is for bdevs of the type \"file\""),
        ("namespace", json!(0), "bdevs[1].namespace", "from 1 to 4294967294"),
        ("hostid", json!("x"), "bdevs[1].hostid", "must be a UUID"),
        ("hostid", json!(Uuid::nil()), "bdevs[1].hostid", "other than all zeros"),
        ("queue_depth", json!(0), "bdevs[1].queue_depth", "from 1 to 1024"),
        ("keep_alive_ms", json!(999), "bdevs[1].keep_alive_ms", "from 1000 to 600000"),
        ("io_timeout_ms", json!(1), "bdevs[1].io_timeout_ms", "from 100 to 600000"),
        ("fast_io_fail_ms", json!(9_999_999), "bdevs[1].fast_io_fail_ms", "from 0 to 3600000"),
        ("reconnect_delay_ms", json!(9), "bdevs[1].reconnect_delay_ms", "from 10 to 600000"),
        ("wait_ms", json!(9_999_999), "bdevs[1].wait_ms", "from 0 to 3600000"),
        ("paths", json!([{"address": "10.0.0.1"}]), "bdevs[1].paths[0]", "as bdevs[1] is; name a path once"),
        ("paths", json!([{"address": "::", "port": 1}]), "bdevs[1].paths[0].address", "which no target has"),
        ("paths", json!([{"address": "10.0.0.2", "port": 0}]), "bdevs[1].paths[0].port", "from 1 to 65535"),
        ("paths", json!([{"adress": "10.0.0.2"}]), "bdevs[1].paths[0].adress", "unknown field"),
    ];
    for (key, value, place, part) in rows {
        let mut entry =
            json!({"name": "void", "type": "nvmf", "address": "10.0.0.1", "nqn": "nqn.2026-11.a:b"});
        match value {
            Value::Null => drop(entry.as_object_mut().unwrap().remove(key)),
            value => entry[key] = value,
        }
        refused(&example_with("/bdevs/1", entry), place, part);
    }
}

#[test]
fn one_namespace_of_a_device_is_one_bdev() {
    let pair = |first, second| {
        let entry = |name: &str, address: &str, namespace: Value| {
            let mut entry = json!({"name": name, "type": "nvme", "address": address});
            if !namespace.is_null() {
                entry["namespace"] = namespace;
            }
            entry
        };
        example_with(
            "/bdevs",
            json!([entry("ram0", "0000:00:05.0", first), entry("void", "00:05.0", second)]),
        )
    };
    let part = "is 0000:00:05.0, as in bdevs[0]; give each a \"namespace\" of its own";
    for (first, second) in [(json!(null), json!(null)), (json!(null), json!(2)), (json!(2), json!(2))] {
        refused(&pair(first, second), "bdevs[1].address", part);
    }
    let config = accepted(&pair(json!(1), json!(2))).config;
    let address = "0000:00:05.0".parse().unwrap();
    assert_eq!(config.bdevs[1].kind, BdevKind::Nvme { address, namespace: Some(2) });
    assert!(config.takes_memory_whole());
}

#[test]
fn wrong_subsystems_are_refused() {
    let listener =
        |address: &str, port| json!([{"address": "127.0.0.1"}, {"address": address, "port": port}]);
    let rows = [
        ("nqn", json!("disk0"), "nqn", "\"disk0\" does not start with \"nqn.\""),
        ("nqn", json!("nqn.2026-11.io.corelane:"), "nqn", "nothing after the colon"),
        ("nqn", json!(crate::spec::nqn::DISCOVERY_NQN), "nqn", "the discovery subsystem's"),
        ("serial", json!(""), "serial", "1 to 20 printable ASCII"),
        ("serial", json!("123456789012345678901"), "serial", "1 to 20 printable ASCII"),
        ("serial", json!("Ü"), "serial", "1 to 20 printable ASCII"),
        ("serial", json!("1 "), "serial", "without spaces at either end"),
        ("model", json!("x".repeat(41)), "model", "1 to 40 printable ASCII"),
        ("model", json!("a\tb"), "model", "1 to 40 printable ASCII"),
        ("listeners", listener("localhost", 1), "listeners[1].address", "\"localhost\" is not an IP address"),
        ("listeners", listener("224.0.0.1", 1), "listeners[1].address", "multicast"),
        ("listeners", listener("::1", 65_536), "listeners[1].port", "from 0 to 65535"),
        ("listeners", listener("127.0.0.1", 4420), "listeners[1]", "as subsystems[0].listeners[0] is"),
        ("listeners", listener("0.0.0.0", 4420), "listeners[1]", "collides with 127.0.0.1:4420"),
        ("listeners", listener("::", 4420), "listeners[1]", "collides with 127.0.0.1:4420"),
    ];
    for (key, value, place, part) in rows {
        let text = example_with(&format!("/subsystems/0/{key}"), value);
        refused(&text, &format!("subsystems[0].{place}"), part);
    }
    let host = "nqn.2026-11.com.example:host";
    let rows = [
        (json!([host, "host"]), "hosts[1]", "\"host\" does not start with"),
        (json!([host, host]), "hosts[1]", "as subsystems[0].hosts[0] is"),
    ];
    for (hosts, place, part) in rows {
        let mut example = example();
        example["subsystems"][0]["allow_any_host"] = json!(false);
        example["subsystems"][0]["hosts"] = hosts;
        refused(&example.to_string(), &format!("subsystems[0].{place}"), part);
    }
}

#[test]
fn wrong_namespaces_are_refused() {
    let rows = [
        (json!({"nsid": 0, "bdev": "void"}), "nsid", "from 1 to 65535"),
        (json!({"nsid": 65_536, "bdev": "void"}), "nsid", "from 1 to 65535"),
        (
            json!({"nsid": 1, "bdev": "void", "uuid": "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a12"}),
            "nsid",
            "namespaces[0] too",
        ),
        (json!({"nsid": 2, "bdev": "disc"}), "bdev", "the bdevs are \"ram0\", \"void\", \"disk\""),
        (json!({"nsid": 2, "bdev": "ram0"}), "bdev", "which subsystems[0].namespaces[0].bdev uses already"),
        (json!({"nsid": 2, "bdev": "void", "uuid": "x"}), "uuid", "write it as"),
        (
            json!({"nsid": 2, "bdev": "void", "uuid": "6f1b9a5c6f0e4c3e8d6a0d2f5c1b7a11"}),
            "uuid",
            "write it as",
        ),
        (json!({"nsid": 2, "bdev": "void", "uuid": Uuid::nil().to_string()}), "uuid", "is all zeros"),
        (
            json!({"nsid": 2, "bdev": "void", "uuid": "6F1B9A5C-6F0E-4C3E-8D6A-0D2F5C1B7A11"}),
            "uuid",
            "the UUID of subsystems[0].namespaces[0] too",
        ),
    ];
    for (namespace, key, part) in rows {
        let text = example_with("/subsystems/0/namespaces/-", namespace);
        refused(&text, &format!("subsystems[0].namespaces[1].{key}"), part);
    }
}

#[test]
fn collisions_between_subsystems_are_refused() {
    let rows = [
        ("nqn", json!("nqn.2026-11.io.corelane:disk0"), "subsystems[1].nqn", "the NQN of subsystems[0] too"),
        (
            "listeners",
            json!([{"address": "0.0.0.0"}]),
            "subsystems[1].listeners[0]",
            "collides with 127.0.0.1:4420",
        ),
        (
            "namespaces",
            json!([{"nsid": 1, "bdev": "ram0"}]),
            "subsystems[1].namespaces[0].bdev",
            "uses already",
        ),
    ];
    for (key, value, place, part) in rows {
        let mut example = example();
        let mut second = example["subsystems"][0].clone();
        second["nqn"] = json!("nqn.2026-11.io.corelane:disk1");
        second["namespaces"] = json!([{"nsid": 9, "bdev": "void"}]);
        second[key] = value;
        example["subsystems"].as_array_mut().unwrap().push(second);
        refused(&example.to_string(), place, part);
    }
}

#[test]
fn wrong_files_are_refused() {
    let file = json!({"name": "f0", "type": "file", "path": "/srv/f0"});
    let rows = [
        ("path", json!(null), "is missing: a bdev of the type \"file\" lies in one"),
        ("path", json!("srv/f0"), "is \"srv/f0\"; it must be an absolute path"),
        ("path", json!(""), "it must be an absolute path"),
        ("path", json!("/srv/\u{0}"), "it must be an absolute path"),
        ("path", json!("/srv/disk"), "the path of bdevs[2] too"),
        ("preallocate", json!(true), "there is no \"size\" to set storage aside for"),
        ("size", json!(5000), "not a multiple of the block size of 4096 bytes"),
        ("block_size", json!(1000), "a power of two from 512 to 65536"),
    ];
    for (key, value, part) in rows {
        let mut wrong = file.clone();
        wrong[key] = value;
        refused(&example_with("/bdevs/-", wrong), &format!("bdevs[3].{key}"), part);
    }
    accepted(&example_with("/bdevs/-", file));
}

#[test]
fn too_many_of_anything_is_refused() {
    let bdevs: Vec<_> = (0..=BDEVS_MAX)
        .map(|index| if index == 0 { "ram0".to_owned() } else { format!("b{index}") })
        .map(|name| json!({"name": name, "type": "null", "size": 4096}))
        .collect();
    refused(&example_with("/bdevs", json!(bdevs)), "bdevs", "has 1025 entries, at most 1024");

    let subsystem = |index: usize| {
        json!({"nqn": format!("nqn.2026-11.io.corelane:{index}"), "allow_any_host": true,
               "listeners": [{"address": "::1"}], "namespaces": []})
    };
    let subsystems: Vec<_> = (0..=SUBSYSTEMS_MAX).map(subsystem).collect();
    let findings = parse(&example_with("/subsystems", json!(subsystems)), &ALLOWED).unwrap_err();
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "subsystems: has 257 entries, at most 256 are allowed");

    let listeners: Vec<_> =
        (0..=LISTENERS_MAX).map(|port| json!({"address": "::1", "port": port + 1})).collect();
    let text = example_with("/subsystems/0/listeners", json!(listeners));
    refused(&text, "subsystems[0].listeners[64]", "one more than the 64 different addresses");

    let mut example = example();
    let host = |index| format!("nqn.2026-11.io.corelane:{index}");
    example["subsystems"][0]["allow_any_host"] = json!(false);
    example["subsystems"][0]["hosts"] = (0..=HOSTS_MAX).map(host).collect();
    refused(&example.to_string(), "subsystems[0].hosts", "has 1025 entries, at most 1024");
}

#[test]
fn all_wrong_values_are_found_in_one_go() {
    let mut example = example();
    example["reactors"]["io"] = json!([9]);
    example["limits"]["queue_depth_max"] = json!(1);
    example["bdevs"][0]["block_size"] = json!(1000);
    example["bdevs"][1]["size"] = json!("1TB");
    example["subsystems"][0]["nqn"] = json!("x");
    example["subsystems"][0]["allow_any_host"] = json!(false);
    example["subsystems"][0]["listeners"][0]["port"] = json!(70_000);
    example["subsystems"][0]["namespaces"][0]["uuid"] = json!("x");
    let findings = parse(&example.to_string(), &ALLOWED).unwrap_err();
    let places: Vec<_> = findings.iter().map(|finding| finding.place.as_str()).collect();
    let expected = [
        "reactors.io",
        "limits.queue_depth_max",
        "bdevs[0].block_size",
        "bdevs[1].size",
        "subsystems[0].nqn",
        "subsystems[0].hosts",
        "subsystems[0].listeners[0].port",
        "subsystems[0].namespaces[0].uuid",
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_wrong_bdev_is_reported_once_and_not_as_missing() {
    let text = example_with("/bdevs/0/size", json!("x"));
    refused(&text, "bdevs[0].size", "\"x\" is not a size");
}

#[test]
fn reservations_that_persist_need_a_uuid_from_the_file_where_the_data_does_not_survive() {
    let text = example_without("/subsystems/0/namespaces/0", "uuid");
    for bdev in ["ram0", "void"] {
        let text = text.replace(r#""bdev":"ram0""#, &format!(r#""bdev":"{bdev}""#));
        let place = "subsystems[0].namespaces[0].reservations.persist";
        refused(&text, place, &format!("what is on \"{bdev}\" does not survive a restart"));
        refused(&text, place, "give the namespace a \"uuid\" of its own");
    }
}

#[test]
fn metrics_need_an_address_of_their_own() {
    let rows = [
        ("localhost:9920", "is not an IP address"),
        ("127.0.0.1:99999", "has no port"),
        ("127.0.0.1:4420", "where 127.0.0.1:4420 of a subsystem listens"),
        ("0.0.0.0:4420", "where 127.0.0.1:4420 of a subsystem listens"),
    ];
    for (listen, part) in rows {
        refused(&example_with("/metrics/listen", json!(listen)), "metrics.listen", part);
    }
}
