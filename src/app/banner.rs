//! What `corelane serve` says on standard output once it serves: for people, and one line a listener for scripts.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use crate::app::Appliance;

/// Prints what is served, where, and how a Linux host connects to it.
///
/// # Errors
/// When standard output is gone.
pub(super) fn print(appliance: &Appliance, layout: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for subsystem in appliance.subsystems() {
        let count = subsystem.namespaces;
        let noun = if count == 1 { "namespace" } else { "namespaces" };
        writeln!(out, "subsystem {} ({count} {noun})", subsystem.nqn)?;
    }
    writeln!(out, "reactors: {layout}")?;
    writeln!(out, "sockets: {}", appliance.socket_engine())?;
    writeln!(out, "state directory: {}", appliance.state_directory().display())?;
    if let Some(address) = appliance.metrics() {
        writeln!(out, "metrics: http://{address}/metrics")?;
    }
    for address in appliance.addresses() {
        writeln!(out, "listening tcp {address}")?;
    }
    for subsystem in appliance.subsystems() {
        if let Some(address) = subsystem.addresses.first() {
            writeln!(out, "connect with: {}", connect_command(&subsystem.nqn, *address))?;
        }
    }
    out.flush()
}

/// The command that connects a Linux host to `nqn` at `address`; a wildcard becomes the loopback address.
fn connect_command(nqn: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("nvme connect -t tcp -a {ip} -s {} -n {nqn}", address.port())
}
