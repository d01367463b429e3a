//! What another configuration may change of one that runs.

use super::*;

/// The example with asymmetric access, as it runs.
fn running() -> Value {
    let mut example = example();
    let subsystem = &mut example["subsystems"][0];
    subsystem["ana_reporting"] = json!(true);
    subsystem["listeners"][0]["ana"] = json!([{"group": 2, "state": "persistent_loss"}]);
    example
}

/// The running configuration with a value put in.
fn with(pointer: &str, value: Value) -> Config {
    let mut wanted = running();
    *wanted.pointer_mut(pointer).unwrap() = value;
    accepted(&wanted.to_string()).config
}

fn result(wanted: &Config) -> Result<Vec<String>, Vec<String>> {
    let text = |place: Place| place.as_str().to_owned();
    changes(&accepted(&running().to_string()).config, wanted)
        .map(|places| places.into_iter().map(text).collect())
        .map_err(|findings| findings.into_iter().map(|finding| text(finding.place)).collect())
}

#[test]
fn policies_change() {
    let names = json!(["nqn.2026-11.com.example:a"]);
    let rows = [
        ("subsystems[0].allow_any_host", "/subsystems/0/allow_any_host", json!(false)),
        ("subsystems[0].hosts", "/subsystems/0/hosts", names.clone()),
    ];
    for (place, pointer, value) in rows {
        assert_eq!(result(&with(pointer, value)), Ok(vec![place.to_owned()]));
    }
    let added = [
        ("subsystems[0].duplicate_hosts", "/subsystems/0", "duplicate_hosts", json!("refuse_clones")),
        ("subsystems[0].namespaces[0].hosts", "/subsystems/0/namespaces/0", "hosts", names),
        ("subsystems[0].namespaces[0].ana_group", "/subsystems/0/namespaces/0", "ana_group", json!(2)),
        (
            "subsystems[0].namespaces[0].write_protected",
            "/subsystems/0/namespaces/0",
            "write_protected",
            json!(true),
        ),
        ("discovery.referrals", "", "discovery", json!({"referrals": [{"address": "192.0.2.1"}]})),
    ];
    for (place, parent, key, value) in added {
        let mut wanted = running();
        wanted.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(result(&accepted(&wanted.to_string()).config), Ok(vec![place.to_owned()]));
    }
    let states = json!([{"group": 2, "state": "persistent_loss"}, {"group": 1, "state": "inaccessible"}]);
    assert_eq!(
        result(&with("/subsystems/0/listeners/0/ana", states)),
        Ok(vec!["subsystems[0].listeners[0].ana".to_owned()])
    );
    assert_eq!(result(&accepted(&running().to_string()).config), Ok(Vec::new()));
}

#[test]
fn namespaces_and_block_devices_come_and_go() {
    let mut wanted = running();
    let extra = json!({"name": "extra", "type": "null", "size": "1GiB", "block_size": 512});
    wanted["bdevs"].as_array_mut().unwrap().push(extra);
    let namespace = json!({"nsid": 256, "bdev": "extra"});
    wanted["subsystems"][0]["namespaces"].as_array_mut().unwrap().push(namespace);
    let with_more = accepted(&wanted.to_string()).config;
    let came = ["bdevs[3]", "subsystems[0].namespaces[1]"].map(str::to_owned);
    assert_eq!(result(&with_more), Ok(came.to_vec()));
    let text = |place: Place| place.as_str().to_owned();
    let gone = changes(&with_more, &accepted(&running().to_string()).config).unwrap();
    assert_eq!(
        gone.into_iter().map(text).collect::<Vec<_>>(),
        ["bdevs", "subsystems[0].namespaces"].map(str::to_owned)
    );
    wanted["subsystems"][0]["namespaces"][1]["nsid"] = json!(257);
    let above = accepted(&wanted.to_string()).config;
    assert_eq!(result(&above), Err(vec!["subsystems[0].namespaces[1].nsid".to_owned()]));
    wanted["subsystems"][0]["namespaces"].as_array_mut().unwrap().pop();
    wanted["bdevs"][3] = json!({"name": "extra", "type": "nvme", "address": "0000:5e:00.0"});
    assert_eq!(result(&accepted(&wanted.to_string()).config), Err(vec!["bdevs[3]".to_owned()]));
}

#[test]
fn everything_else_is_refused_where_it_differs() {
    let rows = [
        ("reactors", "/reactors/io", json!([1, 2])),
        ("state_dir", "/state_dir", json!("/elsewhere")),
        ("state_must_exist", "/state_must_exist", json!(false)),
        ("limits", "/limits/queue_depth_max", json!(128)),
        ("limits", "/limits", json!({"queue_depth_max": 256, "transfer_bytes_max": "64KiB"})),
        ("limits", "/limits", json!({"queue_depth_max": 256, "keep_alive_max_ms": 60_000})),
        ("memory", "/memory/populate", json!(false)),
        ("metrics", "/metrics/listen", json!("127.0.0.1:9921")),
        ("bdevs[1]", "/bdevs/1/size", json!("2TiB")),
        ("subsystems[0].serial", "/subsystems/0/serial", json!("CL0002")),
        ("subsystems[0].model", "/subsystems/0/model", json!("Other")),
        ("subsystems[0].listeners", "/subsystems/0/listeners/0/port", json!(4421)),
        ("subsystems[0].listeners[0].ana", "/subsystems/0/listeners/0/ana", json!([])),
        ("subsystems[0].namespaces[0].bdev", "/subsystems/0/namespaces/0/bdev", json!("void")),
        (
            "subsystems[0].namespaces[0].uuid",
            "/subsystems/0/namespaces/0/uuid",
            json!("6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a12"),
        ),
        (
            "subsystems[0].namespaces[0].reservations",
            "/subsystems/0/namespaces/0/reservations",
            json!({"persist": false}),
        ),
    ];
    for (place, pointer, value) in rows {
        assert_eq!(result(&with(pointer, value)), Err(vec![place.to_owned()]), "{pointer}");
    }
    let both = vec!["subsystems[0]".to_owned(), "subsystems".to_owned()];
    assert_eq!(result(&with("/subsystems/0/nqn", json!("nqn.2026-11.io.corelane:other"))), Err(both));
}

#[test]
fn wrong_policies_are_refused_where_they_are() {
    let rows = [
        (
            "subsystems[0].listeners[0].ana",
            "/subsystems/0/listeners/0/ana",
            json!([{"group": 1, "state": "change"}]),
        ),
        ("subsystems[0].namespaces[0].ana_group", "/subsystems/0/namespaces/0/ana_group", json!(1)),
        ("subsystems[0].namespaces[0].hosts[1]", "/subsystems/0/namespaces/0/hosts", json!([HOST, HOST])),
        ("discovery.referrals[0].address", "/discovery", json!({"referrals": [{"address": "0.0.0.0"}]})),
        ("discovery.referrals[0].address", "/discovery", json!({"referrals": [{"address": "here"}]})),
        ("discovery.referrals[0].port", "/discovery", json!({"referrals": [{"address": "::1", "port": 0}]})),
        (
            "discovery.referrals[1]",
            "/discovery",
            json!({"referrals": [{"address": "::1"}, {"address": "[::1]", "port": 8009}]}),
        ),
    ];
    const HOST: &str = "nqn.2026-11.com.example:a";
    for (place, pointer, value) in rows {
        let findings = parse(&example_with(pointer, value), &ALLOWED).unwrap_err();
        let found: Vec<_> = findings.iter().map(|finding| finding.place.as_str()).collect();
        assert!(found.contains(&place), "{place}: {found:?}");
    }
    for (place, ana) in [
        ("subsystems[0].listeners[0].ana[0].group", json!([{"group": 129, "state": "change"}])),
        (
            "subsystems[0].listeners[0].ana[1].group",
            json!([{"group": 1, "state": "change"}, {"group": 1, "state": "optimized"}]),
        ),
    ] {
        let mut wanted = running();
        wanted["subsystems"][0]["listeners"][0]["ana"] = ana;
        let findings = parse(&wanted.to_string(), &ALLOWED).unwrap_err();
        assert!(findings.iter().any(|finding| finding.place.as_str() == place), "{place}: {findings:?}");
    }
}
