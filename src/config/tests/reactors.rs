//! The core layout: what is chosen, what is refused and with which words.

use super::*;

/// Two packages, each a node, of two physical cores with two threads: cores 0-3 are the first threads, 4-7 the others.
fn dual_socket() -> Topology {
    let place = |core| CorePlace { core, physical: core % 4, node: Some(core % 4 / 2) };
    Topology::new((0..8).map(place).collect())
}

fn taken(given: &Value) -> Accepted {
    let text = example_with("/reactors", given.clone());
    parse_on(&text, &dual_socket()).unwrap_or_else(|findings| panic!("{given}: {findings:?}"))
}

#[test]
fn auto_follows_the_topology_and_the_node() {
    let rows = [
        //  given                                             management  I/O
        (json!({}), 0, vec![1, 2, 3]),
        (json!({"io": "auto"}), 0, vec![1, 2, 3]),
        (json!({"io": "auto", "io_count": 2}), 0, vec![1, 2]),
        (json!({"io_count": 5}), 0, vec![1, 2, 3, 4, 5]),
        (json!({"io_count": 8}), 0, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (json!({"node": 1}), 2, vec![3]),
        (json!({"node": 1, "io_count": 3}), 2, vec![3, 6, 7]),
        (json!({"node": 0, "management": 1}), 1, vec![0]),
        (json!({"io": [0, 1]}), 2, vec![0, 1]),
        (json!({"node": 0, "io": [0, 1]}), 4, vec![0, 1]),
    ];
    for (given, management, io) in rows {
        let Accepted { config, warnings } = taken(&given);
        assert_eq!((config.reactors.management, config.reactors.io), (management, io), "{given}");
        assert_eq!(warnings, [], "{given}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let rows = [
        //  given                             place                       words
        (json!({"io": "0-9"}), "reactors.io", "names cores 8-9; this process may use cores 0-7"),
        (json!({"io": [8]}), "reactors.io", "names core 8; this process may use cores 0-7"),
        (json!({"node": 1, "io": [0, 2]}), "reactors.io", "names core 0; this process may use cores 2-3,6-7"),
        (json!({"node": 0, "management": 3}), "reactors.management", "may use cores 0-1,4-5"),
        (
            json!({"node": 2}),
            "reactors.node",
            "is 2; the cores that this process may use are on NUMA nodes 0-1",
        ),
        (json!({"node": u64::MAX}), "reactors.node", "NUMA nodes 0-1"),
        (
            json!({"io_count": 9}),
            "reactors.io_count",
            "is 9; each I/O reactor needs a core of its own, and there are only cores 0-7",
        ),
        (json!({"node": 1, "io_count": 5}), "reactors.io_count", "there are only cores 2-3,6-7"),
        (json!({"io_count": 0}), "reactors.io_count", "from 1 to 1024 I/O reactors"),
        (json!({"io": [1], "io_count": 1}), "reactors.io_count", "leave it out, as \"io\" is a list"),
        (json!({"io": "Auto"}), "reactors.io", "or \"auto\""),
        (
            json!({"overrides": [{"core": 0, "idle": {}}, {"core": 7, "idle": {}}]}),
            "reactors.overrides[1].core",
            "is 7; the reactors are on cores 0-3",
        ),
        (
            json!({"overrides": [{"core": 1, "idle": {}}, {"core": 1, "idle": {}}]}),
            "reactors.overrides[1].core",
            "the core of reactors.overrides[0] too",
        ),
        (json!({"overrides": [{"core": 1}]}), "reactors.overrides[0]", "missing field `idle`"),
        (
            json!({"overrides": [{"core": 1, "idle": {"policy": "spin", "spin_us": 1}}]}),
            "reactors.overrides[0].idle.spin_us",
            "belongs to the policy",
        ),
        (
            json!({"placement": "random"}),
            "reactors.placement",
            "`round_robin`, `least_loaded`, `incoming_cpu`",
        ),
        (
            json!({"budgets": {"sockets_per_turn": 0}}),
            "reactors.budgets.sockets_per_turn",
            "from 1 to 1024 sockets",
        ),
        (
            json!({"budgets": {"messages_per_turn": 1025}}),
            "reactors.budgets.messages_per_turn",
            "1024 messages",
        ),
        (
            json!({"budgets": {"accepts_per_turn": 1025}}),
            "reactors.budgets.accepts_per_turn",
            "1024 connections",
        ),
    ];
    for (given, place, words) in rows {
        let findings = parse_on(&example_with("/reactors", given.clone()), &dual_socket()).unwrap_err();
        let [finding] = &findings[..] else { panic!("{given}: {findings:?}") };
        assert_eq!(finding.place.as_str(), place, "{given}: {finding}");
        assert!(finding.message.contains(words), "{given}: {finding}");
    }
}

#[test]
fn nodes_that_are_not_known_cannot_be_asked_for() {
    let findings = parse(&example_with("/reactors", json!({"node": 0})), &ALLOWED).unwrap_err();
    assert_eq!(
        findings[0].to_string(),
        "reactors.node: is 0; the NUMA nodes of this machine are not known, so leave it out"
    );
}

#[test]
fn two_reactors_on_one_core_are_worth_a_warning_while_another_is_free() {
    let rows = [
        (json!({"management": 0, "io": [4]}), Some("cores 0 and 4")),
        (json!({"management": 0, "io": [0, 1, 5]}), None),
        (json!({"management": 0, "io": [0, 2, 6]}), Some("cores 2 and 6")),
        (json!({"management": 0, "io": [0]}), None),
    ];
    for (given, pair) in rows {
        let warnings = taken(&given).warnings;
        match (pair, &warnings[..]) {
            (None, []) => {}
            (Some(pair), [warning]) => assert!(warning.message.contains(pair), "{warning}"),
            _ => panic!("{given}: {warnings:?}"),
        }
    }
}

#[test]
fn one_reactor_may_differ_from_the_others() {
    let reactors = taken(&json!({
        "idle": {"policy": "spin"},
        "overrides": [{"core": 0, "idle": {"policy": "adaptive", "spin_us": 9}}, {"core": 3, "idle": {"policy": "park"}}]
    }));
    let reactors = reactors.config.reactors;
    let idle: Vec<Idle> = reactors.cores().into_iter().map(|core| reactors.idle_of(core)).collect();
    assert_eq!(idle, [adaptive(9), Idle::Spin, Idle::Spin, Idle::Park]);
}

#[test]
fn placement_and_budgets_are_taken_as_they_are_meant() {
    let reactors = taken(&json!({
        "placement": "incoming_cpu",
        "budgets": {"messages_per_turn": 1, "sockets_per_turn": 2, "accepts_per_turn": 3}
    }));
    let reactors = reactors.config.reactors;
    assert_eq!(reactors.placement, Placement::IncomingCpu);
    let budgets = Budgets { messages_per_turn: 1, sockets_per_turn: 2, accepts_per_turn: 3 };
    assert_eq!(reactors.budgets, budgets);
    let default = taken(&json!({})).config.reactors;
    let budgets = Budgets { messages_per_turn: 32, sockets_per_turn: 64, accepts_per_turn: 16 };
    assert_eq!((default.placement, default.budgets), (Placement::LeastLoaded, budgets));
}

#[test]
fn a_layout_that_was_chosen_survives_serialising() {
    for given in [json!({"node": 1, "io_count": 3}), json!({}), json!({"io_count": 8})] {
        let accepted = taken(&given);
        let again = parse_on(&Document::from(&accepted.config).to_json(), &dual_socket());
        assert_eq!(again, Ok(accepted), "{given}");
    }
}
