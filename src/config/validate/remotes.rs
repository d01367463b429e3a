//! Checks of the bdevs that are namespaces of remote subsystems.

use std::net::SocketAddr;
use std::time::Duration;

use uuid::Uuid;

use crate::config::document::{BdevEntry, PathEntry};
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;
use crate::config::listen::{PORT_DEFAULT, parse_address};
use crate::config::remote::{
    FAST_IO_FAIL_MS, IO_TIMEOUT_MS, KEEP_ALIVE_MS, PATHS_MAX, QUEUE_DEPTH, RECONNECT_DELAY_MS, Remote,
    WAIT_MS,
};
use crate::spec::nqn::Nqn;

use super::devices::NSID;
use super::{Unique, count};

/// Range of a remote port.
const PORT: Knob<u16> = Knob { min: 1, max: u16::MAX, default: PORT_DEFAULT, unit: "" };

/// The keys that only remote namespaces have, and whether they are there.
pub(super) fn keys(entry: &BdevEntry) -> [(&'static str, bool); 13] {
    [
        ("port", entry.port.is_some()),
        ("nqn", entry.nqn.is_some()),
        ("paths", !entry.paths.is_empty()),
        ("hostnqn", entry.hostnqn.is_some()),
        ("hostid", entry.hostid.is_some()),
        ("header_digest", entry.header_digest.is_some()),
        ("data_digest", entry.data_digest.is_some()),
        ("queue_depth", entry.queue_depth.is_some()),
        ("keep_alive_ms", entry.keep_alive_ms.is_some()),
        ("io_timeout_ms", entry.io_timeout_ms.is_some()),
        ("fast_io_fail_ms", entry.fast_io_fail_ms.is_some()),
        ("reconnect_delay_ms", entry.reconnect_delay_ms.is_some()),
        ("wait_ms", entry.wait_ms.is_some()),
    ]
}

/// Checks one.
pub(super) fn check(entry: &BdevEntry, place: &Place, findings: &mut Findings) -> Option<Remote> {
    for (key, given) in [("size", entry.size.is_some()), ("block_size", entry.block_size.is_some())] {
        if given {
            findings.error(place.key(key), "is given, but the namespace has its own; leave it out");
        }
    }
    let paths = paths(entry, place, findings);
    let namespace = entry.namespace.map(|nsid| NSID.check(nsid, place.key("namespace"), findings));
    let hostnqn = entry.hostnqn.as_ref().and_then(|text| name(text, &place.key("hostnqn"), findings));
    let hostid = entry.hostid.as_ref().and_then(|text| match text.parse::<Uuid>() {
        Ok(id) if !id.is_nil() => Some(id),
        _ => {
            findings
                .error(place.key("hostid"), format!("is {text:?}; it must be a UUID other than all zeros"));
            None
        }
    });
    let mut time = |key: &str, given: Option<u64>, knob: Knob<u32>| {
        let given = given.unwrap_or_else(|| knob.default.into());
        Duration::from_millis(knob.check(given, place.key(key), findings).into())
    };
    let keep_alive = time("keep_alive_ms", entry.keep_alive_ms, KEEP_ALIVE_MS);
    let io_timeout = time("io_timeout_ms", entry.io_timeout_ms, IO_TIMEOUT_MS);
    let fast_io_fail = time("fast_io_fail_ms", entry.fast_io_fail_ms, FAST_IO_FAIL_MS);
    let reconnect_delay = time("reconnect_delay_ms", entry.reconnect_delay_ms, RECONNECT_DELAY_MS);
    let wait = time("wait_ms", entry.wait_ms, WAIT_MS);
    let depth = entry.queue_depth.unwrap_or_else(|| QUEUE_DEPTH.default.into());
    let queue_depth = QUEUE_DEPTH.check(depth, place.key("queue_depth"), findings);
    let nqn = match &entry.nqn {
        Some(text) => name(text, &place.key("nqn"), findings),
        None => {
            findings.error(place.key("nqn"), "is missing: the name of the remote subsystem");
            None
        }
    };
    Some(Remote {
        paths: paths?,
        nqn: nqn?,
        namespace,
        hostnqn,
        hostid,
        header_digest: entry.header_digest.unwrap_or(false),
        data_digest: entry.data_digest.unwrap_or(false),
        queue_depth,
        keep_alive,
        io_timeout,
        fast_io_fail,
        reconnect_delay,
        wait,
    })
}

/// All paths, the first of which the bdev itself names; each once.
fn paths(entry: &BdevEntry, place: &Place, findings: &mut Findings) -> Option<Vec<SocketAddr>> {
    let Some(address) = &entry.address else {
        findings.error(place.key("address"), "is missing: where the remote subsystem is reached");
        return None;
    };
    let list = place.key("paths");
    count(entry.paths.len() + 1, PATHS_MAX, &list, findings);
    let first = PathEntry { address: address.clone(), port: entry.port };
    let mut known = Unique::new();
    let mut paths = Vec::with_capacity(entry.paths.len() + 1);
    let places = std::iter::once(place.clone()).chain((0..entry.paths.len()).map(|index| list.entry(index)));
    for (entry, place) in std::iter::once(&first).chain(&entry.paths).zip(places) {
        let port = entry.port.unwrap_or_else(|| PORT.default.into());
        let port = PORT.check(port, place.key("port"), findings);
        match parse_address(&entry.address) {
            Ok(ip) if ip.is_unspecified() => {
                findings.error(place.key("address"), format!("is {ip}, which no target has"));
            }
            Ok(ip) => {
                let address = SocketAddr::new(ip, port);
                if let Some(first) = known.insert(address, &place) {
                    findings.error(place.clone(), format!("is {address}, as {first} is; name a path once"));
                }
                paths.push(address);
            }
            Err(problem) => findings.error(place.key("address"), format!("{:?} {problem}", entry.address)),
        }
    }
    (!paths.is_empty()).then_some(paths)
}

/// Names as peers have them, of any form.
fn name(text: &str, place: &Place, findings: &mut Findings) -> Option<Nqn> {
    match Nqn::lenient(text) {
        Ok(name) => Some(name),
        Err(problem) => {
            findings.error(place.clone(), format!("{text:?} {problem}"));
            None
        }
    }
}
