//! The configuration files of `tuning/`: each is right, has the layout that its name says, and is explained.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corelane::config::{self, Config, CorePlace, Idle, Placement, Topology};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning")
}

/// The texts of the files, by name.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder()).expect("the folder tuning/") {
        let path = entry.expect("an entry of tuning/").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            files.insert(name, fs::read_to_string(&path).expect("a readable file"));
        }
    }
    files
}

/// Packages, each a NUMA node, of physical cores with threads, numbered as Linux does.
fn machine(packages: usize, cores: usize, threads: usize) -> Topology {
    let physical = packages * cores;
    let place = |core| {
        let first = core % physical;
        CorePlace { core, physical: first, node: Some(first / cores) }
    };
    Topology::new((0..physical * threads).map(place).collect())
}

fn on(name: &str, machine: &Topology) -> Config {
    let accepted = config::parse_on(&files()[name], machine)
        .unwrap_or_else(|findings| panic!("{name} is refused: {findings:?}"));
    assert_eq!(accepted.warnings, [], "{name}");
    accepted.config
}

const ADAPTIVE: Idle = Idle::Adaptive { spin: Duration::from_micros(100) };

#[test]
fn every_file_has_the_layout_of_its_name() {
    let rows: [(&str, Topology, usize, &[usize], Idle); 7] = [
        //  file          packages, cores, threads  management  I/O  idle
        ("dual-socket", machine(2, 4, 2), 0, &[1, 2, 3], ADAPTIVE),
        ("latency", machine(1, 4, 2), 0, &[1, 2, 3], Idle::Spin),
        ("one-core", machine(1, 4, 1), 0, &[0], ADAPTIVE),
        ("power-saving", machine(1, 4, 1), 0, &[1], Idle::Park),
        ("single-socket", machine(1, 4, 2), 0, &[1, 2, 3], ADAPTIVE),
        ("throughput", machine(1, 4, 2), 0, &[1, 2, 3], Idle::Adaptive { spin: Duration::from_millis(1) }),
        ("two-cores", machine(1, 2, 1), 0, &[1], ADAPTIVE),
    ];
    let names: Vec<_> = files().into_keys().collect();
    assert_eq!(names, rows.each_ref().map(|(name, ..)| *name));
    for (name, machine, management, io, idle) in rows {
        let reactors = on(name, &machine).reactors;
        assert_eq!((reactors.management, reactors.io.as_slice()), (management, io), "{name}");
        assert!(io.iter().all(|&core| reactors.idle_of(core) == idle), "{name}");
    }
}

#[test]
fn every_file_runs_on_one_core_but_that_for_two() {
    for name in files().into_keys().filter(|name| name != "two-cores") {
        let reactors = on(&name, &machine(1, 1, 1)).reactors;
        assert_eq!((reactors.management, reactors.io.as_slice()), (0, &[0][..]), "{name}");
    }
}

#[test]
fn profiles_differ_where_they_say_they_do() {
    let four = machine(1, 4, 1);
    let latency = on("latency", &four).reactors;
    assert_eq!((latency.idle_of(0), latency.budgets.sockets_per_turn), (ADAPTIVE, 16));
    assert_eq!(on("throughput", &four).reactors.placement, Placement::IncomingCpu);
    let cores = on("dual-socket", &machine(2, 2, 2)).reactors.cores();
    assert_eq!(cores, [0, 1], "the cores of one socket");
}

#[test]
fn every_file_serves_the_loopback_address_only() {
    for name in files().into_keys() {
        let config = on(&name, &machine(1, 2, 1));
        let listeners: Vec<_> = config.subsystems.iter().flat_map(|subsystem| &subsystem.listeners).collect();
        assert!(!listeners.is_empty(), "{name}");
        assert!(
            listeners.iter().all(|listener| listener.address.ip().is_loopback()),
            "{name}: {listeners:?}"
        );
    }
}

#[test]
fn every_file_is_explained() {
    let page = fs::read_to_string(folder().join("README.md")).expect("the page");
    for name in files().into_keys() {
        let row = format!("| [`{name}.json`]({name}.json) |");
        assert!(page.lines().any(|line| line.starts_with(&row)), "{name} has no row");
        assert!(page.lines().any(|line| line == format!("### {name}")), "{name} has no section");
    }
}

#[test]
fn two_cores_are_refused_where_there_is_one() {
    let findings = config::parse(&files()["two-cores"], &[0]).expect_err("core 1 is not allowed");
    assert_eq!(findings[0].place.as_str(), "reactors.io");
}
