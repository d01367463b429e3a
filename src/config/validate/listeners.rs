//! Checks of the listening addresses, within a subsystem and across all of them.

use std::net::SocketAddr;

use crate::config::Listener;
use crate::config::document::ListenerEntry;
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;
use crate::config::listen::{PORT_DEFAULT, covers, parse_address};

use super::{LISTENERS_MAX, Unique};

/// Range of a listener's port.
const PORT: Knob<u16> =
    Knob { min: 0, max: u16::MAX, default: PORT_DEFAULT, unit: "(0 lets the kernel choose)" };

/// The different addresses so far, of all subsystems, and where each was first.
#[derive(Default)]
pub(super) struct Addresses {
    known: Vec<(SocketAddr, Place)>,
    too_many: bool,
}

pub(super) fn check(
    entries: &[ListenerEntry],
    place: &Place,
    addresses: &mut Addresses,
    findings: &mut Findings,
) -> Vec<Listener> {
    if entries.is_empty() {
        findings.warning(place.clone(), "is empty: no host can reach this subsystem");
    }
    let mut listeners = Vec::with_capacity(entries.len());
    let mut own = Unique::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = place.entry(index);
        let port = PORT.check(entry.port, place.key("port"), findings);
        let address = match parse_address(&entry.address) {
            Ok(address) => SocketAddr::new(address, port),
            Err(problem) => {
                findings.error(place.key("address"), format!("{:?} {problem}", entry.address));
                continue;
            }
        };
        if let Some(first) = own.insert(address, &place) {
            findings.error(place, format!("is {address}, as {first} is; name an address once per subsystem"));
            continue;
        }
        addresses.add(address, &place, findings);
        listeners.push(Listener { transport: entry.transport, address });
    }
    listeners
}

impl Addresses {
    /// Remembers an address. Another subsystem may have the same one, but not one that takes in, or is taken
    /// in by, this one. Bounded: beyond [`LISTENERS_MAX`] addresses nothing is compared any more.
    fn add(&mut self, address: SocketAddr, place: &Place, findings: &mut Findings) {
        if self.too_many || self.known.iter().any(|(known, _)| *known == address) {
            return;
        }
        if self.known.len() == LISTENERS_MAX {
            self.too_many = true;
            let message =
                format!("is one more than the {LISTENERS_MAX} different addresses that are allowed");
            findings.error(place.clone(), message);
            return;
        }
        for (known, first) in &self.known {
            if covers(*known, address) || covers(address, *known) {
                let message = format!(
                    "is {address}, which collides with {known} of {first}: the wildcard takes every address of its \
                     port; keep one of the two, or use another port"
                );
                findings.error(place.clone(), message);
                break;
            }
        }
        self.known.push((address, place.clone()));
    }
}
