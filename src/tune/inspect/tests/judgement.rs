//! One thing spoilt or changed, and what is then said of it.

use super::*;

const CPU: &str = "sys/devices/system/cpu";
const CLOCK: &str = "sys/devices/system/clocksource/clocksource0";
/// Management on core 0, I/O on core 1.
const TWO: &str = r#"{"management": 0, "io": [1]}"#;

/// The only item of a topic that says `words` in its state.
fn item(inspection: &Inspection, topic: &str, words: &str) -> Item {
    let mut found = inspection.items.iter().filter(|item| item.topic == topic && item.state.contains(words));
    match (found.next(), found.next()) {
        (Some(item), None) => item.clone(),
        _ => panic!("{topic:?} {words:?}: {:#?}", inspection.items),
    }
}

/// A file and its text, the topic and state of the item that comes of it, its verdict, and part of its command.
type Setting = (&'static str, &'static str, &'static str, &'static str, Verdict, &'static str);

const SETTINGS: [Setting; 31] = [
    (
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "powersave",
        "governor",
        "powersave on core 1",
        Verdict::Hurts,
        "cpupower -c 1 frequency-set -g performance",
    ),
    ("sys/devices/system/cpu/isolated", "1-3", "isolcpus", "1-3", Verdict::Helps, ""),
    (
        "sys/devices/system/cpu/isolated",
        "2-3",
        "isolcpus",
        "2-3, but I/O core 1 not",
        Verdict::Hurts,
        "\"io\": \"2-3\"",
    ),
    ("sys/devices/system/cpu/nohz_full", "1", "nohz_full", "1", Verdict::Helps, ""),
    ("sys/devices/system/cpu/nohz_full", "1", "rcu_nocbs", "1", Verdict::Helps, ""),
    (
        "sys/devices/system/cpu/nohz_full",
        "2",
        "nohz_full",
        "not on I/O core 1",
        Verdict::Note,
        "nohz_full=1 on",
    ),
    ("proc/cmdline", "quiet rcu_nocbs=all", "rcu_nocbs", "1", Verdict::Helps, ""),
    ("proc/cmdline", "rcu_nocbs=2", "rcu_nocbs", "not on", Verdict::Note, "rcu_nocbs=1 on"),
    ("proc/77/comm", "irqbalance\n", "irqbalance", "runs", Verdict::Hurts, "IRQBALANCE_BANNED_CPULIST=1 in"),
    (
        "proc/swaps",
        "Filename Type\n/dev/sda2 partition 8 0 -2\n",
        "swap",
        "on /dev/sda2",
        Verdict::Hurts,
        "swapoff -a",
    ),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never",
        "transparent huge pages",
        "always",
        Verdict::Note,
        "echo madvise",
    ),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always madvise [never]",
        "transparent huge pages",
        "never",
        Verdict::Helps,
        "",
    ),
    (
        "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
        "4",
        "huge pages",
        "none free",
        Verdict::Hurts,
        "corelane setup hugepages",
    ),
    (
        "proc/self/limits",
        "Max locked memory 65536 65536 bytes",
        "memlock",
        "64KiB",
        Verdict::Hurts,
        "ulimit -l unlimited",
    ),
    (
        "proc/self/limits",
        "Max open files 512 1024 files",
        "open files",
        "1024",
        Verdict::Hurts,
        "ulimit -Hn ",
    ),
    (
        "proc/self/limits",
        "Max open files unlimited unlimited files",
        "open files",
        "unlimited",
        Verdict::Helps,
        "",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "hpet",
        "clock",
        "hpet",
        Verdict::Hurts,
        "echo tsc > /sys",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "kvm-clock",
        "clock",
        "kvm-clock",
        Verdict::Helps,
        "",
    ),
    ("proc/cpuinfo", "flags : fpu constant_tsc", "TSC", "not known", Verdict::Note, ""),
    ("proc/sys/kernel/osrelease", "5.15.0-91-generic", "io_uring", "Linux 5.15", Verdict::Hurts, "Linux 6.1"),
    ("proc/sys/kernel/osrelease", "5.19.0", "io_uring", "Linux 5.19", Verdict::Note, "Linux 6.1"),
    ("proc/sys/kernel/osrelease", "7.0", "io_uring", "Linux 7.0", Verdict::Helps, ""),
    (
        "proc/sys/kernel/io_uring_disabled",
        "2",
        "io_uring",
        "forbidden",
        Verdict::Hurts,
        "sysctl -w kernel.io_uring_disabled=0",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/meltdown",
        "Mitigation: PTI",
        "mitigations",
        "meltdown",
        Verdict::Note,
        "keep them",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/retbleed",
        "Mitigation: untrained return thunk",
        "mitigations",
        "retbleed",
        Verdict::Note,
        "keep them",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/mds",
        "Vulnerable",
        "mitigations",
        "vulnerable: mds",
        Verdict::Note,
        "",
    ),
    (
        "proc/sys/net/ipv4/tcp_wmem",
        "4096 16384 212992",
        "network",
        "tcp_wmem",
        Verdict::Note,
        "sysctl -w net.ipv4.tcp_wmem=\"4096 16384 4194304\"",
    ),
    (
        "proc/sys/net/core/somaxconn",
        "128",
        "network",
        "somaxconn 128",
        Verdict::Hurts,
        "sysctl -w net.core.somaxconn=1024",
    ),
    (
        "proc/sys/net/core/busy_poll",
        "50",
        "network",
        "busy_poll 50",
        Verdict::Hurts,
        "sysctl -w net.core.busy_poll=0",
    ),
    (
        "proc/sys/net/core/busy_read",
        "50",
        "network",
        "busy_read 50",
        Verdict::Hurts,
        "sysctl -w net.core.busy_read=0",
    ),
    (
        "proc/self/status",
        "Cpus_allowed_list: 0-3\nCapEff:\t0000000000004000",
        "memlock",
        "CAP_IPC_LOCK",
        Verdict::Helps,
        "",
    ),
];

#[test]
fn every_setting_is_judged() {
    let fake = computer(SINGLE);
    for (path, text, topic, state, verdict, command) in SETTINGS {
        let before = std::fs::read_to_string(fake.at(path)).ok();
        fake.file(path, text);
        let found = item(&inspect(&fake, SINGLE, TWO), topic, state);
        assert_eq!(found.verdict, verdict, "{path}: {found:?}");
        assert_eq!(found.command.is_some(), !command.is_empty(), "{path}: {found:?}");
        assert!(found.command.unwrap_or_default().contains(command), "{path}: {command}");
        match before {
            Some(before) => fake.file(path, &before),
            None => fake.remove(path),
        }
    }
}

#[test]
fn what_a_machine_does_not_have_is_no_trouble() {
    let rows = [
        (format!("{CPU}/cpu1/cpufreq"), "governor", "performance on core 0"),
        ("proc/sys/net/core/busy_poll".to_owned(), "network", "busy_read 0"),
        ("sys/kernel/iommu_groups".to_owned(), "IOMMU", "not in use"),
        (format!("{CLOCK}/available_clocksource"), "clock", "tsc"),
    ];
    for (path, topic, state) in rows {
        let fake = computer(SINGLE);
        fake.remove(&path);
        let inspection = inspect(&fake, SINGLE, TWO);
        item(&inspection, topic, state);
        assert_eq!(bad(&inspection), Vec::<&Item>::new(), "{path}");
    }
}

#[test]
fn a_clock_without_a_better_one_is_explained() {
    let fake = computer(SINGLE);
    fake.file(&format!("{CLOCK}/current_clocksource"), "acpi_pm");
    fake.file(&format!("{CLOCK}/available_clocksource"), "hpet acpi_pm");
    let found = item(&inspect(&fake, SINGLE, TWO), "clock", "acpi_pm");
    assert!(found.command.unwrap().contains("dmesg"));
}

#[test]
fn siblings_and_nodes_of_the_layout_are_judged() {
    use Verdict::{Helps, Hurts, Note};
    let rows = [
        //  reactors                                       topic                verdict  state
        (
            r#"{"management": 0, "io": [4]}"#,
            "threads of a core",
            Hurts,
            "reactors on 0 and 4, which are one; 1 is free",
        ),
        (r#"{"node": 1, "io_count": 4}"#, "threads of a core", Note, "reactors on 2 and 6, which are one"),
        (r#"{"node": 1}"#, "threads of a core", Helps, "every reactor has a core of its own"),
        (r#"{"node": 1}"#, "NUMA", Helps, "the reactors are on node 1 of 0-1"),
        (r#"{"management": 0, "io": [2]}"#, "NUMA", Hurts, "the reactors are on nodes 0-1"),
        (r#"{"management": 0, "io": [0]}"#, "cores", Note, "management and I/O share one"),
    ];
    for (reactors, topic, verdict, state) in rows {
        let inspection = inspect(&computer(DUAL), DUAL, reactors);
        assert_eq!(item(&inspection, topic, state).verdict, verdict, "{reactors}");
    }
}

#[test]
fn interrupts_are_judged_against_the_layout() {
    use Verdict::{Helps, Hurts};
    let rows: [(&[usize], &str, Verdict, &str, &str); 5] = [
        //  on cores   reactors                                   verdict  state                             command
        (&[2, 3], TWO, Helps, "none of 2 of eth0 comes", ""),
        (&[1, 2], TWO, Hurts, "1 of 2 of eth0 come on I/O core 1", "for irq in 40; do echo 0,2-3 >"),
        (&[1, 1], TWO, Hurts, "2 of 2 of eth0 come on I/O core 1", "for irq in 40 41; do"),
        (&[1, 1], r#"{"management": 0, "io": [1], "placement": "incoming_cpu"}"#, Helps, "2 of 2", ""),
        (
            &[0],
            r#"{"management": 0, "io": "0-3"}"#,
            Hurts,
            "1 of 1 of eth0 come on I/O core 0",
            "\"placement\": \"incoming_cpu\"",
        ),
    ];
    for (cores, reactors, verdict, state, command) in rows {
        let fake = computer(SINGLE);
        card(&fake, 0, cores);
        let found = item(&inspect(&fake, SINGLE, reactors), "interrupts", state);
        assert_eq!(found.verdict, verdict, "{reactors} {cores:?}: {found:?}");
        assert!(found.command.unwrap_or_default().contains(command), "{reactors} {cores:?}");
    }
}

#[test]
fn an_interrupt_that_never_came_disturbs_nobody() {
    let fake = computer(SINGLE);
    card(&fake, 0, &[1]);
    fake.file("proc/interrupts", "  40:   0   0   PCI-MSIX   0-edge   eth0-config\n");
    assert_eq!(about(&inspect(&fake, SINGLE, TWO), "interrupts"), []);
    fake.file("sys/class/net/eth0/operstate", "down");
    assert_eq!(inspect(&fake, SINGLE, TWO).devices, []);
}

#[test]
fn interrupts_of_a_card_of_a_virtual_machine_are_found_below_its_device() {
    let fake = computer(SINGLE);
    fake.folder("sys/devices/pci0000:00/0000:00:03.0/virtio2");
    fake.file("sys/devices/pci0000:00/0000:00:03.0/msi_irqs/38", "msix");
    fake.link("sys/class/net/eth0/device", "../../../devices/pci0000:00/0000:00:03.0/virtio2");
    fake.file("proc/irq/38/smp_affinity_list", "1");
    fake.file("proc/interrupts", "  38:   4   4   PCI-MSIX   1-edge   virtio2-input.0\n");
    let expected = Interrupt { number: 38, count: Some(8), cores: vec![1] };
    assert_eq!(inspect(&fake, SINGLE, TWO).devices[0].interrupts, [expected]);
}

#[test]
fn an_nvme_interrupt_on_an_io_core_is_a_note() {
    let fake = computer(SINGLE);
    fake.file("sys/devices/pci0000:00/0000:00:05.0/msi_irqs/50", "msix");
    fake.link("sys/class/nvme/nvme0/device", "../../../devices/pci0000:00/0000:00:05.0");
    fake.file("proc/irq/50/effective_affinity_list", "1");
    fake.file("proc/interrupts", "  50:   9   PCI-MSIX   1-edge   nvme0q1\n");
    let found = item(&inspect(&fake, SINGLE, TWO), "interrupts", "1 of 1 of nvme0 come on I/O core 1");
    assert_eq!((found.verdict, found.command), (Verdict::Note, None));
}

#[test]
fn a_card_on_another_node_hurts() {
    let rows = [
        (r#"{"node": 1}"#, Verdict::Helps, "eth0 is on NUMA node 1, as the I/O cores are"),
        (r#"{"node": 0}"#, Verdict::Hurts, "eth0 is on NUMA node 1, I/O core 1 is not"),
    ];
    for (reactors, verdict, state) in rows {
        let fake = computer(DUAL);
        card(&fake, 1, &[0]);
        assert_eq!(item(&inspect(&fake, DUAL, reactors), "network card", state).verdict, verdict);
    }
    let fake = computer(DUAL);
    card(&fake, 1, &[0]);
    fake.file("sys/fs/cgroup/cpuset.cpus.effective", "0-1");
    let found = item(&inspect(&fake, DUAL, "{}"), "network card", "where this process may use no core");
    assert_eq!(found.verdict, Verdict::Hurts);
}

#[test]
fn a_card_with_few_queues_is_noted() {
    let fake = computer(SINGLE);
    card(&fake, -1, &[0]);
    let found =
        item(&inspect(&fake, SINGLE, "{}"), "network card", "eth0 has 1 receive queue, for 3 I/O reactors");
    assert!(found.command.unwrap().contains("ethtool -L eth0 combined 3"));
}
