//! The text of a scrape: its form, its numbers, and that the documentation has every metric.

use std::time::Duration;

use corelane_reactors::poller::Phase;
use corelane_reactors::stats::{Histogram, MailboxStats, PollerStats, Report, Sample as Value, Stats};

use super::*;
use crate::trace::{CommandTrace, Fault};

const REFERENCE: &str = include_str!("../../../docs/metrics.md");

fn report() -> Report {
    let histogram = |values: &[u64]| {
        let histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        histogram.distribution()
    };
    let poller = |name: &str| PollerStats {
        name: name.to_owned(),
        phase: Phase::Ingress,
        runs: 10,
        busy_runs: 5,
        done: 7,
        time: Duration::from_millis(3),
    };
    Report {
        stats: Stats { turns: 10, busy: Duration::from_millis(1500), ..Stats::default() },
        busy_turns: histogram(&[1023, 1024, 5_000_000_000_000]),
        batches: histogram(&[1, 1, 2, 1024]),
        lateness: histogram(&[]),
        pollers: vec![poller("sockets"), poller("sockets")],
        mailboxes: vec![MailboxStats {
            name: None,
            capacity: 8,
            depth: 1,
            depth_max: 4,
            received: 20,
            refused: 2,
        }],
    }
}

fn data() -> Data {
    let trace = CommandTrace::default();
    trace.succeeded(Kind::Read, 1, 4096);
    trace.failed(Kind::Read, Fault::Media, 1);
    trace.took(Class::Read, Value::of(2_000), 1);
    let counts = trace.counts();
    let subsystem = "nqn.2026-11.io.corelane:a\"b\\c\nd".to_owned();
    let connection = |qid, counts| ConnectionData {
        subsystem: subsystem.clone(),
        host: "nqn.2026-11.com.example:host".to_owned(),
        cntlid: 1,
        qid,
        peer: "127.0.0.1:5".parse().unwrap(),
        reactor: 0,
        counts,
    };
    Data {
        version: "1.2.3".to_owned(),
        reactors: vec![ReactorData { reactor: 0, core: 3, report: report() }],
        endpoints: vec![EndpointData { role: "io", commands: 2, ..EndpointData::default() }],
        connections: vec![connection(0, None), connection(1, Some(counts.clone()))],
        namespaces: vec![NamespaceData { subsystem, nsid: 1, counts }],
    }
}

/// The value of the line that begins with this.
fn value<'a>(text: &'a str, start: &str) -> &'a str {
    let line = text.lines().find(|line| line.strip_prefix(start).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit_once(' ')).unwrap_or_else(|| panic!("no line {start} in\n{text}")).1
}

#[test]
fn numbers_are_told_with_their_units() {
    let text = exposition(data());
    let rows = [
        ("corelane_build_info{version=\"1.2.3\"}", "1"),
        ("corelane_reactor_core{reactor=\"0\"}", "3"),
        ("corelane_reactor_busy_seconds_total{reactor=\"0\"}", "1.5"),
        ("corelane_reactor_turns_total{reactor=\"0\"}", "10"),
        ("corelane_reactor_busy_turn_seconds_bucket{le=\"0.000001024\",reactor=\"0\"}", "1"),
        ("corelane_reactor_busy_turn_seconds_bucket{le=\"+Inf\",reactor=\"0\"}", "3"),
        ("corelane_reactor_busy_turn_seconds_count{reactor=\"0\"}", "3"),
        ("corelane_reactor_batch_items_bucket{le=\"1.0\",reactor=\"0\"}", "2"),
        ("corelane_reactor_batch_items_bucket{le=\"1023.0\",reactor=\"0\"}", "3"),
        ("corelane_reactor_batch_items_bucket{le=\"2047.0\",reactor=\"0\"}", "4"),
        ("corelane_reactor_batch_items_sum{reactor=\"0\"}", "1028.0"),
        ("corelane_poller_busy_seconds_total{reactor=\"0\",poller=\"sockets\"}", "0.003"),
        ("corelane_poller_items_total{reactor=\"0\",poller=\"sockets 2\"}", "7"),
        ("corelane_mailbox_refused_total{reactor=\"0\",mailbox=\"unnamed\"}", "2"),
        ("corelane_endpoint_commands_total{reactor=\"0\",role=\"io\"}", "2"),
    ];
    for (start, expected) in rows {
        assert_eq!(value(&text, start), expected, "{start}");
    }
    let namespace = r#"subsystem="nqn.2026-11.io.corelane:a\"b\\c\nd",nsid="1""#;
    let rows = [
        (format!("corelane_namespace_commands_total{{{namespace},command=\"read\"}}"), "2"),
        (format!("corelane_namespace_errors_total{{{namespace},command=\"read\"}}"), "1"),
        (format!("corelane_namespace_errors_total{{{namespace},command=\"write\"}}"), "0"),
        (format!("corelane_namespace_data_bytes_total{{{namespace},command=\"read\"}}"), "4096"),
        (format!("corelane_namespace_media_errors_total{{{namespace}}}"), "1"),
        (format!("corelane_namespace_latency_seconds_count{{{namespace},class=\"read\"}}"), "1"),
        (format!("corelane_namespace_latency_seconds_count{{{namespace},class=\"write\"}}"), "0"),
    ];
    for (start, expected) in rows {
        assert_eq!(value(&text, &start), expected, "{start}");
    }
    assert!(!text.contains("command=\"flush\""), "what never occurred is left out");
}

#[test]
fn no_series_is_there_twice_and_every_family_is_described() {
    let text = exposition(data());
    assert!(text.ends_with("# EOF\n"));
    let mut series = HashSet::new();
    let mut described = HashSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(described.insert(help.split(' ').next().unwrap()), "{line}");
        } else if !line.starts_with('#') {
            let (name, _) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(name), "{line}");
            let family = name.split('{').next().unwrap();
            let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
            let known = suffixes
                .iter()
                .any(|suffix| family.strip_suffix(suffix).is_some_and(|family| described.contains(family)));
            assert!(known, "{line}");
        }
    }
    assert_eq!(series.iter().filter(|name| name.starts_with("corelane_connection{")).count(), 2);
}

#[test]
fn the_documentation_lists_what_is_served() {
    let text = exposition(data());
    let mut served: Vec<(String, &str)> = Vec::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let total = if kind == "counter" { "_total" } else { "" };
            served.push((format!("{name}{total}"), kind));
        }
    }
    let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `corelane_"));
    let documented: Vec<(String, &str)> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap().trim_end_matches('`');
            (format!("corelane_{name}"), cells.next().unwrap())
        })
        .collect();
    assert_eq!(documented, served);
}
