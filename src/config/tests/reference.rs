//! docs/configuration.md: its examples are right, and it leaves no key, default or range out.

use super::*;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// The JSON texts of the page.
fn examples() -> Vec<&'static str> {
    REFERENCE.split("```json\n").skip(1).filter_map(|part| part.split("```").next()).collect()
}

/// The row of the table that documents a key.
fn row(key: &str) -> &'static str {
    let start = format!("| `{key}` |");
    REFERENCE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row for {key}"))
}

#[test]
fn every_key_of_the_schema_has_a_row() {
    fn keys(schema: &Value, found: &mut Vec<String>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        found.extend(properties.into_iter().flatten().map(|(key, _)| key.clone()));
        for part in schema.as_object().into_iter().flat_map(|object| object.values()) {
            keys(part, found);
        }
    }
    let mut found = Vec::new();
    keys(&schema(), &mut found);
    assert!(found.len() > 30, "{found:?}");
    for key in found {
        row(&key);
    }
}

#[test]
fn the_examples_are_taken_without_a_warning() {
    let [example, far, embedded] = examples()[..] else { panic!("{:?}", examples()) };
    assert_eq!(accepted(example).warnings, []);
    assert_eq!(accepted(far).warnings, []);
    assert_eq!(accepted(embedded).config, Config::embedded_default(&ALLOWED).unwrap());
}

#[test]
fn the_file_for_a_chain_is_taken_without_a_warning() {
    let accepted = accepted(include_str!("../../../examples/chained.json"));
    assert_eq!(accepted.warnings, []);
    let BdevKind::Nvmf(far) = &accepted.config.bdevs[0].kind else { panic!("{:?}", accepted.config.bdevs) };
    assert_eq!(
        (far.nqn.as_str(), far.namespace, far.data_digest),
        ("nqn.2026-11.io.corelane:disk0", Some(1), true)
    );
}

#[test]
fn the_limits_are_documented_as_they_are() {
    fn check<T: Copy + Into<u64>>(key: &str, knob: Knob<T>) {
        let row = row(key);
        let [min, max, default] = [knob.min, knob.max, knob.default].map(|number| grouped(number.into()));
        assert!(row.contains(&format!("| {min} to {max} | {default} |")), "{row}");
    }
    check("connections_max", limits::CONNECTIONS_MAX);
    check("connections_per_host_max", limits::CONNECTIONS_PER_HOST_MAX);
    check("queues_per_controller_max", limits::QUEUES_PER_CONTROLLER_MAX);
    check("queue_depth_max", limits::QUEUE_DEPTH_MAX);
    check("keep_alive_min_ms", limits::KEEP_ALIVE_MIN_MS);
    check("keep_alive_max_ms", limits::KEEP_ALIVE_MAX_MS);
    check("icreq_timeout_ms", limits::ICREQ_TIMEOUT_MS);
    check("connect_timeout_ms", limits::CONNECT_TIMEOUT_MS);
    check("shutdown_timeout_ms", limits::SHUTDOWN_TIMEOUT_MS);
    check("preempt_abort_after_ms", limits::PREEMPT_ABORT_AFTER_MS);
    check("preempt_reset_after_ms", limits::PREEMPT_RESET_AFTER_MS);
    check("preempt_retire_after_ms", limits::PREEMPT_RETIRE_AFTER_MS);
    check("queue_depth", remote::QUEUE_DEPTH);
    check("keep_alive_ms", remote::KEEP_ALIVE_MS);
    check("io_timeout_ms", remote::IO_TIMEOUT_MS);
    check("fast_io_fail_ms", remote::FAST_IO_FAIL_MS);
    check("reconnect_delay_ms", remote::RECONNECT_DELAY_MS);
    check("wait_ms", remote::WAIT_MS);
    check("messages_per_turn", budgets::MESSAGES_PER_TURN);
    check("sockets_per_turn", budgets::SOCKETS_PER_TURN);
    check("accepts_per_turn", budgets::ACCEPTS_PER_TURN);
    for (key, most) in [("bdevs", BDEVS_MAX), ("subsystems", SUBSYSTEMS_MAX), ("hosts", HOSTS_MAX)] {
        assert!(row(key).contains(&format!("at most {}", grouped(most as u64))), "{key}");
    }
}

#[test]
fn limits_in_bytes_are_documented_as_they_are() {
    let rows = [
        ("in_capsule_bytes_max", limits::IN_CAPSULE_BYTES_MAX),
        ("transfer_bytes_max", limits::TRANSFER_BYTES_MAX),
        ("connection_bytes_max", limits::CONNECTION_BYTES_MAX),
    ];
    for (key, Knob { min, max, default, .. }) in rows {
        let row = row(key);
        let range = format!("`\"{min}\"` to `\"{max}\"`");
        assert!(row.contains(&range) && row.contains(&format!("| `\"{default}\"` |")), "{row}");
    }
}

#[test]
fn the_memory_is_documented_as_it_is() {
    let Knob { min, max, default, .. } = memory::BYTES_PER_REACTOR;
    let row = row("bytes_per_reactor");
    for part in [format!("`\"{min}\"` to `\"{max}\"`"), format!("`\"{default}\"` where")] {
        assert!(row.contains(&part), "{row}");
    }
}

/// A number as the page writes it: `65,536`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(groups.join(&b',')).unwrap()
}
