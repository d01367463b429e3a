//! An idle target costs next to nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::Server;
use crate::scene::{NQN, OTHER_NQN, configuration, connect};

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(3);
/// USER_HZ: the unit of the times in /proc, on every architecture that Rust runs on but Alpha.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of a process, in ticks.
pub(crate) fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the times of the process");
    // The name may hold spaces; behind it come state, and utime and stime as fields 14 and 15 (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let times = fields.split(' ').skip(11).take(2);
    times.map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn an_idle_target_is_small() {
    // Its buffers are address space until they are written. The program itself is not counted: that is larger or smaller
    // by how it was built.
    const KIB_MAX: u64 = 4 << 10;
    let server = Server::start(configuration());
    let path = format!("/proc/{}/status", server.child.id());
    let status = fs::read_to_string(path).expect("the status of the process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("what it uses");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib <= KIB_MAX, "{kib} KiB");
    server.stop();
}

#[test]
fn an_idle_target_with_hosts_costs_less_than_a_hundredth_of_a_core() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let mut hosts: Vec<_> = [NQN, OTHER_NQN, NQN, OTHER_NQN].map(|nqn| connect(address, nqn)).into();
    for host in &mut hosts {
        host.read(1, 0, 8).expect("a read");
    }
    let before = ticks(server.child.id());
    thread::sleep(IDLE);
    let used = ticks(server.child.id()) - before;
    let allowed = IDLE.as_secs() * TICKS_PER_SECOND / 100;
    assert!(used <= allowed, "{used} ticks in {IDLE:?}, more than {allowed}");
    for host in &mut hosts {
        host.read(1, 0, 8).expect("a read");
    }
    drop(hosts);
    server.stop();
}

#[test]
fn an_override_goes_before_the_policy_of_all_reactors() {
    let cores = corelane_reactors::cpu::allowed();
    let (first, last) = (cores[0], cores[cores.len() - 1]);
    let mut configuration = configuration();
    let mut overrides = vec![json!({"core": first, "idle": {"policy": "park"}})];
    if first != last {
        overrides.push(json!({"core": last, "idle": {"policy": "adaptive", "spin_us": 1}}));
    }
    configuration["reactors"] = json!({
        "management": first, "io": [last], "idle": {"policy": "spin"}, "overrides": overrides
    });
    let server = Server::start(configuration);
    let before = ticks(server.child.id());
    thread::sleep(IDLE);
    let used = ticks(server.child.id()) - before;
    let allowed = IDLE.as_secs() * TICKS_PER_SECOND / 100;
    assert!(used <= allowed, "{used} ticks in {IDLE:?}, more than {allowed}: somebody spins");
    server.stop();
}
