//! Machines of ordinary files, and what is said of them.

use super::*;
use crate::tune::setup::tests::fake::Fake;
use computer::{DUAL, ONE, SINGLE, Shape, about, bad, card, computer, inspect};

pub(crate) mod computer;
mod containers;
mod judgement;
mod proposals;

#[test]
fn lists_of_the_kernel_are_read_and_written() {
    let rows = [
        ("", Some(vec![]), "none"),
        ("0-3,8\n", Some(vec![0, 1, 2, 3, 8]), "0-3,8"),
        ("5", Some(vec![5]), "5"),
        (" 2 , 1", Some(vec![1, 2]), "1-2"),
        ("3-1", Some(vec![]), "none"),
        ("(null)", None, ""),
        ("1-", None, ""),
        ("0-99999999999", None, ""),
        ("99999999999999999999", None, ""),
    ];
    for (text, cores, shown) in rows {
        let parsed = list::parse(text);
        assert_eq!(parsed, cores, "{text:?}");
        if let Some(cores) = parsed {
            assert_eq!(list::show(&cores), shown, "{text:?}");
        }
    }
}

#[test]
fn packages_threads_nodes_and_caches_are_read() {
    let inspection = inspect(&computer(DUAL), DUAL, "{}");
    let read: Vec<_> =
        inspection.cpus.iter().map(|cpu| (cpu.core, cpu.package, cpu.physical, cpu.node)).collect();
    let expected: Vec<_> = [
        //  package, physical core
        (0, 0),
        (0, 1),
        (1, 2),
        (1, 3),
        (0, 0),
        (0, 1),
        (1, 2),
        (1, 3),
    ]
    .into_iter()
    .enumerate()
    .map(|(core, (package, physical))| (core, Some(package), physical, Some(package)))
    .collect();
    assert_eq!(read, expected);
    let outer = &inspection.cpus[7].caches[1];
    assert_eq!((outer.level, outer.kind.as_str(), outer.size.as_deref()), (3, "Unified", Some("32768K")));
    assert_eq!(outer.shared_by, [2, 3, 6, 7]);
}

#[test]
fn a_kernel_without_numa_has_one_node() {
    let fake = computer(SINGLE);
    fake.remove("sys/devices/system/node");
    assert_eq!(topology(&fake.machine()).nodes(), [0]);
}

#[test]
fn nothing_hurts_on_a_good_machine() {
    for (shape, reactors) in [(ONE, "{}"), (SINGLE, "{}"), (DUAL, r#"{"node": 1}"#)] {
        let fake = computer(shape);
        let inspection = inspect(&fake, shape, reactors);
        assert_eq!(bad(&inspection), Vec::<&Item>::new(), "{reactors}");
        let helps = inspection.items.iter().filter(|item| item.verdict == Verdict::Helps).count();
        assert!(helps >= 14, "{helps}: {:#?}", inspection.items);
        // What hurts comes first.
        assert!(inspection.items.is_sorted_by_key(|item| item.verdict));
        assert_eq!(fake.log.borrow().len(), 0, "nothing is changed");
    }
}

#[test]
fn what_should_be_otherwise_has_a_command() {
    let fake = computer(DUAL);
    card(&fake, 1, &[1, 2]);
    fake.file("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 8 0 -2\n");
    let inspection = inspect(&fake, DUAL, r#"{"management": 0, "io": [1, 5]}"#);
    let hurts: Vec<_> = inspection.items.iter().filter(|item| item.verdict == Verdict::Hurts).collect();
    assert!(hurts.len() >= 3, "{hurts:#?}");
    for item in hurts {
        assert!(item.command.is_some() && !item.reason.is_empty(), "{item:?}");
    }
}

/// Puts a folder where a file was: whoever reads it gets an error, root too.
fn spoil(fake: &Fake, path: &str) {
    if fake.at(path).exists() {
        fake.remove(path);
    }
    fake.folder(path);
}

#[test]
fn what_cannot_be_read_is_unknown_and_neither_good_nor_bad() {
    let rows = [
        //  file                                                      topic
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "governor"),
        ("sys/devices/system/cpu/isolated", "isolcpus"),
        ("sys/devices/system/cpu/nohz_full", "nohz_full"),
        ("proc/cmdline", "rcu_nocbs"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "transparent huge pages"),
        ("proc/self/limits", "open files"),
        ("proc/swaps", "swap"),
        ("proc/cpuinfo", "TSC"),
        ("proc/sys/kernel/osrelease", "io_uring"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "clock"),
        ("sys/devices/system/cpu/vulnerabilities/meltdown", "mitigations"),
        ("proc/sys/net/core/somaxconn", "network"),
        ("proc/interrupts", "machine"),
        ("proc/self/status", "machine"),
        ("proc/self/cgroup", "machine"),
    ];
    let topics = |inspection: &Inspection, verdict: Verdict| -> Vec<&str> {
        inspection.items.iter().filter(|item| item.verdict == verdict).map(|item| item.topic).collect()
    };
    let fake = computer(SINGLE);
    for (path, topic) in rows {
        let before = std::fs::read(fake.at(path)).unwrap_or_default();
        spoil(&fake, path);
        let inspection = inspect(&fake, SINGLE, "{}");
        assert!(topics(&inspection, Verdict::Unknown).contains(&topic), "{path}: {:#?}", inspection.items);
        assert_eq!(topics(&inspection, Verdict::Hurts), Vec::<&str>::new(), "{path}");
        let reason = |item: &Item| item.reason.contains(&format!("/{path} cannot be read"));
        assert!(inspection.items.iter().any(reason), "{path}: {:#?}", inspection.items);
        fake.remove(path);
        fake.file(path, std::str::from_utf8(&before).unwrap());
    }
}

#[test]
fn a_machine_of_which_nothing_can_be_read_is_all_unknown() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["sys", "proc"] {
        std::fs::write(root.path().join(folder), "").unwrap();
    }
    let machine = Machine::at(root.path(), Box::new(crate::tune::setup::System));
    let topology = usable(&machine, &[0, 1]);
    assert_eq!(topology, Topology::flat(&[0, 1]));
    let inspection = Inspection::of(&machine, &embedded(&topology).unwrap(), &topology);
    let known: Vec<_> = inspection.items.iter().filter(|item| item.verdict != Verdict::Unknown).collect();
    assert!(inspection.items.len() > 10);
    assert_eq!(known, Vec::<&Item>::new());
}
