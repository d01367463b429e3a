//! Layouts that are proposed, and why.

use super::*;
use crate::config::{Document, Placement, parse_on};

/// A machine, what is changed on it, the layout that is then proposed, and a part of the reasons.
type Row = (Shape, fn(&Fake), usize, &'static [usize], Placement, &'static str);

fn set_aside(fake: &Fake) {
    fake.file("sys/devices/system/cpu/isolated", "1-3");
}

#[test]
fn a_proposal_follows_the_machine() {
    let rows: [Row; 9] = [
        //  machine  change    management  I/O  placement  reason
        (ONE, |_| (), 0, &[0], Placement::LeastLoaded, "one core is there"),
        (SINGLE, |_| (), 0, &[1, 2, 3], Placement::LeastLoaded, "physical cores of their own"),
        (DUAL, |_| (), 0, &[1, 2, 3], Placement::LeastLoaded, "physical cores of their own"),
        (
            DUAL,
            |fake| card(fake, 1, &[0]),
            2,
            &[3],
            Placement::LeastLoaded,
            "on NUMA node 1, where the network card eth0 is",
        ),
        (SINGLE, set_aside, 0, &[1, 2, 3], Placement::LeastLoaded, "cores 1-3, set aside by isolcpus"),
        (
            SINGLE,
            |fake| card(fake, 0, &[1, 2, 3]),
            0,
            &[1, 2, 3],
            Placement::IncomingCpu,
            "interrupts every I/O core",
        ),
        (SINGLE, |fake| card(fake, 0, &[1, 2]), 0, &[1, 2, 3], Placement::LeastLoaded, ""),
        (
            SINGLE,
            |fake| fake.file("sys/fs/cgroup/cpu.max", "250000 100000"),
            0,
            &[1],
            Placement::LeastLoaded,
            "feeds, which is 2",
        ),
        (
            DUAL,
            |fake| fake.file("sys/fs/cgroup/cpuset.cpus.effective", "2,6"),
            2,
            &[6],
            Placement::LeastLoaded,
            "threads of one physical core",
        ),
    ];
    for (number, (shape, change, management, io, placement, reason)) in rows.into_iter().enumerate() {
        let fake = computer(shape);
        change(&fake);
        let machine = fake.machine();
        let topology = usable(&machine, &shape.all());
        let proposal = propose(&machine, &embedded(&topology).unwrap(), &topology);
        let reactors = &proposal.config.reactors;
        assert_eq!(
            (reactors.management, reactors.io.as_slice(), reactors.placement),
            (management, io, placement),
            "row {number}"
        );
        assert!(
            proposal.reasons.iter().any(|line| line.contains(reason)),
            "row {number}: {:?}",
            proposal.reasons
        );
        // It is taken, and without a warning.
        let again = parse_on(&Document::from(&proposal.config).to_json(), &topology).unwrap();
        assert_eq!((again.config, again.warnings), (proposal.config, vec![]), "row {number}");
    }
}

#[test]
fn what_is_no_layout_stays_as_it_was() {
    let fake = computer(SINGLE);
    let machine = fake.machine();
    let topology = usable(&machine, &SINGLE.all());
    let reactors = r#"{"management": 3, "io": [2], "idle": {"policy": "spin"}, "placement": "round_robin",
        "overrides": [{"core": 3, "idle": {"policy": "park"}}], "budgets": {"sockets_per_turn": 8}}"#;
    let before = computer::configured(&topology, reactors);
    let after = propose(&machine, &before, &topology).config;
    assert_eq!(after.reactors.io, [1, 2, 3]);
    let mut expected = before.clone();
    expected.reactors.management = 0;
    expected.reactors.io = vec![1, 2, 3];
    assert_eq!(after, expected);
    // An override of a core that has no reactor any more would be refused.
    fake.file("sys/fs/cgroup/cpuset.cpus.effective", "0-2");
    let topology = usable(&machine, &SINGLE.all());
    assert_eq!(propose(&machine, &before, &topology).config.reactors.overrides, []);
}
