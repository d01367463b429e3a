//! The kernel: its version, what it lets programs do, its clock, and what its protections cost.

use super::look::Look;

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";
/// The first version in which io_uring has what is needed, and the first in which it is at its best.
const RING_LEAST: (u32, u32) = (5, 19);
const RING_BEST: (u32, u32) = (6, 1);
/// Clocks that are read without a system call.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
/// What stands in a mitigation that makes each system call dearer. Documentation/admin-guide/hw-vuln of the kernel.
const COSTLY: [&str; 5] = ["PTI", "Clear CPU buffers", "untrained return thunk", "Safe RET", "IBRS"];
/// What looks like one of these, and is done by the processor.
const CHEAP: &str = "Enhanced / Automatic IBRS";

pub(super) fn check(look: &mut Look<'_>) {
    rings(look);
    descriptors(look);
    clock(look);
    mitigations(look);
}

fn rings(look: &mut Look<'_>) {
    const TOPIC: &str = "io_uring";
    let release = look.text(TOPIC, "/proc/sys/kernel/osrelease");
    let disabled = look.text(TOPIC, "/proc/sys/kernel/io_uring_disabled");
    let (Ok(Some(release)), Ok(disabled)) = (release, disabled) else { return };
    let Some(version) = version(&release) else {
        return look.unknown(TOPIC, &format!("\"{release}\" is no version of Linux"));
    };
    let upgrade = "boot Linux 6.1 or newer";
    match disabled.as_deref() {
        Some("1" | "2") => look
            .hurts(TOPIC, "forbidden (kernel.io_uring_disabled)")
            .change("files and sockets then cost a system call each", "sysctl -w kernel.io_uring_disabled=0"),
        _ if version < RING_LEAST => look
            .hurts(TOPIC, format!("Linux {release}"))
            .change("io_uring has what is needed from Linux 5.19 on", upgrade),
        _ if version < RING_BEST => look.note(TOPIC, format!("Linux {release}")).change(
            "from 6.1 on the kernel keeps its work until the reactor enters, which saves interruptions",
            upgrade,
        ),
        _ => look
            .helps(TOPIC, format!("Linux {release}"))
            .because("the kernel has all that is used; a container may forbid it all the same"),
    }
}

/// Major and minor version.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn descriptors(look: &mut Look<'_>) {
    const TOPIC: &str = "open files";
    let Ok(Some(limits)) = look.text(TOPIC, "/proc/self/limits") else { return };
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    // The target raises its own limit up to the hard one.
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    let connections = u64::from(look.config.limits.connections_max);
    let needed = look.config.descriptors();
    match hard.map(|hard| (hard, hard.parse::<u64>())) {
        Some(("unlimited", _)) => {
            look.helps(TOPIC, "unlimited").because("each connection takes a descriptor")
        }
        Some((_, Ok(most))) if most >= needed => {
            look.helps(TOPIC, most.to_string()).because(format!("enough for {connections} connections"))
        }
        Some((_, Ok(most))) => look.hurts(TOPIC, most.to_string()).change(
            format!("\"connections_max\" allows {connections} connections, and each takes a descriptor"),
            format!("ulimit -Hn {needed}, or LimitNOFILE={needed} of the unit"),
        ),
        _ => look.unknown(TOPIC, "the limit on open files is not in /proc/self/limits"),
    }
}

fn clock(look: &mut Look<'_>) {
    const TOPIC: &str = "clock";
    if let Ok(Some(current)) = look.text(TOPIC, &format!("{CLOCK}/current_clocksource")) {
        if FAST_CLOCKS.contains(&current.as_str()) {
            look.helps(TOPIC, current)
                .because("reading the time is no system call; a reactor reads it in every turn");
        } else {
            let available = look.text(TOPIC, &format!("{CLOCK}/available_clocksource"));
            let available = available.ok().flatten().unwrap_or_default();
            let faster = available.split_whitespace().find(|name| FAST_CLOCKS.contains(name));
            let command = match faster {
                Some(name) => format!("echo {name} > {CLOCK}/current_clocksource"),
                None => "dmesg says why tsc was given up; tsc=reliable on the kernel's command line, if it was wrong to"
                    .to_owned(),
            };
            look.hurts(TOPIC, current)
                .change("reading the time is a system call; a reactor reads it in every turn", command);
        }
    }
    let Ok(Some(cpuinfo)) = look.text("TSC", "/proc/cpuinfo") else { return };
    let Some(flags) = cpuinfo.lines().find(|line| line.starts_with("flags")) else { return };
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    if has("constant_tsc") && has("nonstop_tsc") {
        look.helps("TSC", "invariant").because("it counts on at one rate, whatever the core does");
    } else {
        look.note("TSC", "not known to be invariant")
            .because("the kernel may give it up as a clock; in a virtual machine the hypervisor decides");
    }
}

fn mitigations(look: &mut Look<'_>) {
    const TOPIC: &str = "mitigations";
    let mut costly = Vec::new();
    let mut open = Vec::new();
    let Ok(names) = look.names(TOPIC, VULNERABILITIES) else { return };
    let mut unread = false;
    for name in &names {
        let Ok(text) = look.text(TOPIC, &format!("{VULNERABILITIES}/{name}")) else {
            unread = true;
            continue;
        };
        let text = text.unwrap_or_default();
        let own = text.replace(CHEAP, "");
        if COSTLY.iter().any(|word| own.contains(word)) {
            costly.push(name.as_str());
        }
        if text.starts_with("Vulnerable") {
            open.push(name.as_str());
        }
    }
    if !costly.is_empty() {
        look.note(TOPIC, costly.join(", ")).change(
            "they make each system call dearer, by up to a microsecond, and protect programs from one another",
            "keep them, unless nobody else's code ever runs here: mitigations=off on the kernel's command line",
        );
    } else if !names.is_empty() && !unread {
        look.helps(TOPIC, "none that makes system calls dearer")
            .because("the processor needs none, or they are off");
    }
    if !open.is_empty() {
        look.note(TOPIC, format!("vulnerable: {}", open.join(", ")))
            .because("fast, but other programs on this machine may read the target's memory");
    }
}
