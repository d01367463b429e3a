//! The kernel's settings for sockets. Documentation/admin-guide/sysctl/net.rst of the kernel; tcp(7).

use super::look::Look;

const TOPIC: &str = "network";
/// Data that a connection has under way at most: 32 commands of 128 KiB.
const WINDOW_BYTES: u64 = 4 << 20;
/// Connections that a listener asks the kernel to keep until they are accepted.
const BACKLOG: u64 = 1024;

pub(super) fn check(look: &mut Look<'_>) {
    for (name, least) in [("net.ipv4.tcp_rmem", WINDOW_BYTES), ("net.ipv4.tcp_wmem", WINDOW_BYTES)] {
        let Some(value) = value(look, name) else { continue };
        let numbers: Vec<u64> = value.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [first, second, most] = numbers[..] else {
            look.unknown(TOPIC, &format!("{name} is \"{value}\""));
            continue;
        };
        let state = format!("{name} up to {most}");
        if most >= least {
            look.helps(TOPIC, state).because("a connection's buffers can grow to 32 commands of 128 KiB");
        } else {
            look.note(TOPIC, state).change(
                "a connection's buffers cannot grow to 32 commands of 128 KiB, which a long or fast line needs",
                format!("sysctl -w {name}=\"{first} {second} {least}\""),
            );
        }
    }
    for name in ["net.core.rmem_max", "net.core.wmem_max"] {
        if let Some(value) = value(look, name) {
            look.note(TOPIC, format!("{name} {value}"))
                .because("limits what a program asks for; Corelane leaves the size to the kernel, so it does not matter");
        }
    }
    if let Some(value) = value(look, "net.core.somaxconn") {
        let enough = value.parse::<u64>().is_ok_and(|most| most >= BACKLOG);
        let state = format!("net.core.somaxconn {value}");
        if enough {
            look.helps(TOPIC, state)
                .because("hosts that come all at once, as after a restart, are kept waiting and not lost");
        } else {
            look.hurts(TOPIC, state).change(
                "of hosts that come all at once, as after a restart, some have to try again",
                format!("sysctl -w net.core.somaxconn={BACKLOG}"),
            );
        }
    }
    for name in ["net.core.busy_poll", "net.core.busy_read"] {
        let Some(value) = value(look, name) else { continue };
        let state = format!("{name} {value}");
        if value == "0" {
            look.helps(TOPIC, state).because("a reactor polls by itself, and for all its sockets");
        } else {
            look.hurts(TOPIC, state).change(
                "the kernel spins for one socket in a call that a reactor makes for all",
                format!("sysctl -w {name}=0"),
            );
        }
    }
}

/// The value of a setting; `None` where the kernel does not have it, as in a network name space of a container.
fn value(look: &mut Look<'_>, name: &str) -> Option<String> {
    look.text(TOPIC, &format!("/proc/sys/{}", name.replace('.', "/"))).ok().flatten()
}
