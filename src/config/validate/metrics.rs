//! Checks where the metrics are served.

use std::net::SocketAddr;

use crate::config::Subsystem;
use crate::config::document::MetricsEntry;
use crate::config::finding::{Findings, Place};
use crate::config::listen::{METRICS_PORT_DEFAULT, covers, parse_listen_at};

pub(super) fn check(
    entry: &MetricsEntry,
    place: &Place,
    subsystems: &[Subsystem],
    findings: &mut Findings,
) -> Option<SocketAddr> {
    let place = place.key("listen");
    let address = match parse_listen_at(&entry.listen, METRICS_PORT_DEFAULT) {
        Ok(address) => address,
        Err(problem) => {
            findings.error(place, format!("{:?} {problem}", entry.listen));
            return None;
        }
    };
    let listeners = subsystems.iter().flat_map(|subsystem| &subsystem.listeners);
    let collides = |other: SocketAddr| {
        other.port() != 0 && other == address || covers(other, address) || covers(address, other)
    };
    if let Some(other) = listeners.map(|listener| listener.address).find(|other| collides(*other)) {
        findings
            .error(place, format!("is {address}, where {other} of a subsystem listens; use another port"));
    } else if !address.ip().to_canonical().is_loopback() {
        let message = format!(
            "is {address}: whoever reaches it reads the names of hosts and subsystems; 127.0.0.1 is for this machine only"
        );
        findings.warning(place, message);
    }
    Some(address)
}
