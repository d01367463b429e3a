//! Machines of ordinary files that are as good as they can be, for tests to spoil.

use crate::config::{Config, Topology, parse_on};
use crate::tune::inspect::{self, Inspection, Item, Verdict};
use crate::tune::setup::tests::fake::Fake;

const CPUS: &str = "sys/devices/system/cpu";

/// How many of what.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) packages: usize,
    /// Physical cores of each package.
    pub(crate) cores: usize,
    /// Threads of each physical core.
    pub(crate) threads: usize,
}

impl Shape {
    fn physical(self) -> usize {
        self.packages * self.cores
    }

    pub(crate) fn all(self) -> Vec<usize> {
        (0..self.physical() * self.threads).collect()
    }

    /// Cores of a package: as Linux numbers them, first threads of all packages before second threads.
    fn package(self, package: usize) -> Vec<usize> {
        self.all().into_iter().filter(|core| core % self.physical() / self.cores == package).collect()
    }
}

pub(crate) const ONE: Shape = Shape { packages: 1, cores: 1, threads: 1 };
/// Cores 0-3.
pub(crate) const SINGLE: Shape = Shape { packages: 1, cores: 4, threads: 1 };
/// Packages and nodes 0 (cores 0-1, 4-5) and 1 (cores 2-3, 6-7).
pub(crate) const DUAL: Shape = Shape { packages: 2, cores: 2, threads: 2 };

pub(crate) fn list(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A machine without a network card on which nothing hurts.
pub(crate) fn computer(shape: Shape) -> Fake {
    let fake = Fake::new();
    let all = list(&shape.all());
    fake.file(&format!("{CPUS}/online"), &all);
    for core in shape.all() {
        let physical = core % shape.physical();
        let package = physical / shape.cores;
        let siblings: Vec<usize> =
            (0..shape.threads).map(|thread| physical + thread * shape.physical()).collect();
        let folder = format!("{CPUS}/cpu{core}");
        fake.file(&format!("{folder}/topology/thread_siblings_list"), &list(&siblings));
        fake.file(&format!("{folder}/topology/physical_package_id"), &package.to_string());
        fake.file(&format!("{folder}/cpufreq/scaling_governor"), "performance\n");
        for (index, level, shared) in [(0, 1, siblings), (1, 3, shape.package(package))] {
            let cache = format!("{folder}/cache/index{index}");
            fake.file(&format!("{cache}/level"), &level.to_string());
            fake.file(&format!("{cache}/type"), "Unified\n");
            fake.file(&format!("{cache}/size"), "32768K\n");
            fake.file(&format!("{cache}/shared_cpu_list"), &list(&shared));
        }
    }
    for package in 0..shape.packages {
        fake.file(&format!("sys/devices/system/node/node{package}/cpulist"), &list(&shape.package(package)));
    }
    fake.file(
        "proc/self/status",
        &format!("Name:\tcorelane\nCpus_allowed_list:\t{all}\nCapEff:\t0000000000000000\n"),
    );
    fake.file("proc/self/cgroup", "0::/\n");
    settings(&fake);
    fake
}

/// What is the same on all of them.
fn settings(fake: &Fake) {
    for (path, text) in [
        ("sys/devices/system/cpu/isolated", "\n"),
        ("sys/devices/system/cpu/nohz_full", "(null)\n"),
        ("proc/cmdline", "quiet\n"),
        ("proc/interrupts", ""),
        ("proc/cpuinfo", "flags\t\t: fpu constant_tsc nonstop_tsc\n"),
        (
            "proc/self/limits",
            "Max open files            65536     1048576    files\nMax locked memory  unlimited unlimited bytes\n",
        ),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
        ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
        (
            "sys/devices/system/cpu/vulnerabilities/spectre_v2",
            "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional\n",
        ),
        ("proc/sys/kernel/osrelease", "6.12.0-1-amd64\n"),
        ("proc/sys/kernel/io_uring_disabled", "0\n"),
        ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t33554432\n"),
        ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
        ("proc/sys/net/core/rmem_max", "212992\n"),
        ("proc/sys/net/core/wmem_max", "212992\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/net/core/busy_poll", "0\n"),
        ("proc/sys/net/core/busy_read", "0\n"),
        ("proc/1/comm", "init\n"),
    ] {
        fake.file(path, text);
    }
}

/// Adds `eth0` on a node, with one receive queue and one interrupt for each of `cores`: numbers from 40.
pub(crate) fn card(fake: &Fake, node: i32, cores: &[usize]) {
    let device = "sys/devices/pci0000:00/0000:01:00.0";
    fake.file(&format!("{device}/numa_node"), &format!("{node}\n"));
    fake.file("sys/class/net/eth0/operstate", "up\n");
    fake.link("sys/class/net/eth0/device", "../../../devices/pci0000:00/0000:01:00.0");
    fake.folder("sys/class/net/lo");
    let mut table = String::from("           CPU0       CPU1\n");
    for (queue, core) in cores.iter().enumerate() {
        let number = 40 + queue;
        fake.folder(&format!("sys/class/net/eth0/queues/rx-{queue}"));
        fake.file(&format!("{device}/msi_irqs/{number}"), "msix\n");
        fake.file(&format!("proc/irq/{number}/smp_affinity_list"), "0-1023\n");
        fake.file(&format!("proc/irq/{number}/effective_affinity_list"), &format!("{core}\n"));
        table
            .push_str(&format!(" {number}:   7   5   PCI-MSIX-0000:01:00.0   {queue}-edge   eth0-{queue}\n"));
    }
    fake.file("proc/interrupts", &table);
}

/// A configuration with these `reactors`, on this machine.
pub(crate) fn configured(topology: &Topology, reactors: &str) -> Config {
    let text = format!(r#"{{"reactors": {reactors}, "bdevs": [], "subsystems": []}}"#);
    parse_on(&text, topology).unwrap_or_else(|findings| panic!("{reactors}: {findings:?}")).config
}

/// What is said of a machine with these `reactors`, when the kernel allows all of its cores.
pub(crate) fn inspect(fake: &Fake, shape: Shape, reactors: &str) -> Inspection {
    let machine = fake.machine();
    let topology = inspect::usable(&machine, &shape.all());
    Inspection::of(&machine, &configured(&topology, reactors), &topology)
}

/// Everything that is said of one topic.
pub(crate) fn about(inspection: &Inspection, topic: &str) -> Vec<(Verdict, String)> {
    let items = inspection.items.iter().filter(|item| item.topic == topic);
    items.map(|item| (item.verdict, item.state.clone())).collect()
}

/// Items that are neither good nor a matter of taste.
pub(crate) fn bad(inspection: &Inspection) -> Vec<&Item> {
    inspection.items.iter().filter(|item| matches!(item.verdict, Verdict::Hurts | Verdict::Unknown)).collect()
}
