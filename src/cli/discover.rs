//! `corelane discover`: prints the discovery log of a target.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::initiator::blocking::{Discovered, Host, HostError, HostOptions};
use crate::spec::discovery::{AddressFamily, DiscoveryEntry, SubsystemType, TransportType};
use crate::spec::nqn::Nqn;

use super::Failure;
use super::perf::parse_positive;
use super::remote::{Authority, HostArguments, is_unreachable, parse_authority, refused};

/// What `discover` does, for its `--help`.
pub(super) const ABOUT: &str = "\
Ask a target over NVMe/TCP which subsystems it has, and where.

HOST is a name or an address, an IPv6 address in brackets. Without a port, 4420; discovery controllers of their own \
are often at 8009. One line for each entry of the discovery log, or with --json one object.";

/// Options of `discover`.
#[derive(Args, Debug)]
pub(super) struct DiscoverArguments {
    /// The target.
    #[arg(value_name = "HOST[:PORT]", value_parser = parse_authority)]
    target: Authority,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Time limit of connecting, and of each command: a number with ms, s, m or h.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_positive)]
    timeout: Duration,
    #[command(flatten)]
    host: HostArguments,
}

/// Prints the log.
pub(super) fn run(arguments: &DiscoverArguments, output: &mut dyn Write) -> Result<(), Failure> {
    let options = HostOptions { timeout: arguments.timeout, ..arguments.host.options(Nqn::discovery()) };
    let ask = |address: SocketAddr| {
        let mut host = Host::connect(address, &options)?;
        let entries = host.discovery_log()?;
        host.leave();
        Ok::<_, HostError>(entries)
    };
    let target = &arguments.target;
    let (_, entries) = target.try_each(ask, is_unreachable).map_err(|error| refused(target, &error))?;
    if arguments.json {
        let entries: Vec<_> = entries.iter().map(object).collect();
        writeln!(output, "{:#}", json!({ "entries": entries }))?;
        return Ok(());
    }
    if entries.is_empty() {
        writeln!(output, "no subsystem")?;
        return Ok(());
    }
    let rows: Vec<_> = entries.iter().map(row).collect();
    table(["KIND", "TRANSPORT", "ADDRESS", "PORT", "SUBSYSTEM"], &rows, output)
}

/// Text of a peer, without what would steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Left-justified columns, two spaces apart; a cell may be a peer's text.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: &[[String; N]],
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let head = head.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    for row in all() {
        let mut line = String::new();
        for (column, text) in row.iter().enumerate() {
            let width = all().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!("{:width$}  ", printable(text)));
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(found: &Discovered) -> [String; 5] {
    let Discovered { subsystem, address, port, entry } = found;
    let transport = format!("{} {}", transport(entry), family(entry));
    [kind(entry), transport, address.clone(), port.clone(), subsystem.clone()]
}

fn object(found: &Discovered) -> serde_json::Value {
    let Discovered { subsystem, address, port, entry } = found;
    json!({
        "subtype": kind(entry),
        "transport": transport(entry),
        "address_family": family(entry),
        "address": address,
        "port": port,
        "subsystem": subsystem,
        "port_id": entry.portid.get(),
        "cntlid": entry.cntlid.get(),
        "admin_queue_entries_max": entry.asqsz.get(),
        "sq_flow_control_optional": entry.treq & DiscoveryEntry::TREQ_FLOW_CONTROL_OPTIONAL != 0,
        "secure_channel_required": entry.treq & 3 == DiscoveryEntry::TREQ_REQUIRED,
    })
}

fn kind(entry: &DiscoveryEntry) -> String {
    match entry.subtype {
        SubsystemType::REFERRAL => "referral".to_owned(),
        SubsystemType::NVM => "nvm".to_owned(),
        SubsystemType::CURRENT_DISCOVERY => "discovery".to_owned(),
        SubsystemType(other) => format!("subtype {other}"),
    }
}

fn transport(entry: &DiscoveryEntry) -> String {
    match entry.trtype {
        TransportType::RDMA => "rdma".to_owned(),
        TransportType::FIBRE_CHANNEL => "fc".to_owned(),
        TransportType::TCP => "tcp".to_owned(),
        TransportType(other) => format!("type {other}"),
    }
}

fn family(entry: &DiscoveryEntry) -> String {
    match entry.adrfam {
        AddressFamily::IPV4 => "ipv4".to_owned(),
        AddressFamily::IPV6 => "ipv6".to_owned(),
        AddressFamily(other) => format!("family {other}"),
    }
}
