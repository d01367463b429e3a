//! Limits: each in its range, and in keeping with the others.

use super::refused::refused;
use super::*;

#[test]
fn limits_outside_their_range_are_refused_with_the_range() {
    let rows = [
        ("connections_max", 0, "from 1 to 65536 connections"),
        ("connections_max", 65_537, "from 1 to 65536 connections"),
        ("connections_per_host_max", 1, "from 2 to 65536 connections"),
        ("queues_per_controller_max", 0, "from 1 to 1024 I/O queues"),
        ("queue_depth_max", 1, "from 2 to 4096 entries"),
        ("queue_depth_max", 65_536 + 2, "from 2 to 4096 entries"),
        ("icreq_timeout_ms", 99, "from 100 to 600000 ms"),
        ("connect_timeout_ms", u64::MAX, "from 100 to 600000 ms"),
        ("shutdown_timeout_ms", 600_001, "from 0 to 600000 ms"),
        ("preempt_retire_after_ms", 600_001, "from 0 to 600000 ms"),
        ("preempt_reset_after_ms", 999, "not be below preempt_abort_after_ms, which is 1000"),
        ("preempt_retire_after_ms", 4_999, "not be below preempt_reset_after_ms, which is 5000"),
        ("keep_alive_min_ms", 999, "from 1000 to 600000 ms"),
        ("keep_alive_max_ms", 86_400_001, "from 1000 to 86400000 ms"),
        ("in_capsule_bytes_max", 32_769, "from 0 to 32KiB"),
        ("in_capsule_bytes_max", 4_100, "a multiple of 16"),
        ("transfer_bytes_max", 4_096, "from 8KiB to 1MiB"),
        ("transfer_bytes_max", 96 << 10, "a power of two"),
        ("transfer_bytes_max", u64::MAX, "from 8KiB to 1MiB"),
        ("connection_bytes_max", 1 << 30 | 1, "from 1MiB to 1GiB"),
    ];
    for (key, value, part) in rows {
        refused(&example_with("/limits", json!({key: value})), &format!("limits.{key}"), part);
    }
}

#[test]
fn limits_that_do_not_go_together_are_refused() {
    let rows = [
        (
            json!({"in_capsule_bytes_max": "16KiB", "transfer_bytes_max": "8KiB"}),
            "in_capsule_bytes_max",
            "is 16KiB; it must not be above transfer_bytes_max, which is 8KiB",
        ),
        (
            json!({"transfer_bytes_max": "1MiB", "connection_bytes_max": "2MiB"}),
            "connection_bytes_max",
            "is 2MiB; it must be at least 2560KiB: 512KiB to receive, and two of transfer_bytes_max",
        ),
        (
            json!({"keep_alive_min_ms": 5000, "keep_alive_max_ms": 4000}),
            "keep_alive_max_ms",
            "is 4000; it must not be below keep_alive_min_ms, which is 5000",
        ),
        (json!({"transfer_bytes_max": "128KB"}), "transfer_bytes_max", "\"128KB\" has an unknown unit"),
    ];
    for (limits, key, part) in rows {
        refused(&example_with("/limits", limits), &format!("limits.{key}"), part);
    }
    let all = json!({"in_capsule_bytes_max": 0, "transfer_bytes_max": "1MiB", "connection_bytes_max": "2560KiB",
        "keep_alive_min_ms": 1000, "keep_alive_max_ms": 1000});
    let limits = accepted(&example_with("/limits", all).to_string()).config.limits;
    assert_eq!((limits.in_capsule_bytes_max, limits.transfer_bytes_max), (0, 1 << 20));
    assert_eq!(limits.connection_bytes_max, 2560 << 10);
}
