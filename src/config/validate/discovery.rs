//! Checks of what the discovery service says beside what is served.

use std::net::SocketAddr;

use crate::config::document::DiscoveryEntry;
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;
use crate::config::listen::{DISCOVERY_PORT_DEFAULT, parse_address};

use super::{REFERRALS_MAX, Unique, count};

/// Range of the port of a referral: hosts connect to it.
const PORT: Knob<u16> =
    Knob { min: 1, max: u16::MAX, default: DISCOVERY_PORT_DEFAULT, unit: "(hosts connect to it)" };

pub(super) fn check(entry: &DiscoveryEntry, place: &Place, findings: &mut Findings) -> Vec<SocketAddr> {
    let place = place.key("referrals");
    count(entry.referrals.len(), REFERRALS_MAX, &place, findings);
    let mut known = Unique::new();
    let mut referrals = Vec::with_capacity(entry.referrals.len());
    for (index, referral) in entry.referrals.iter().enumerate() {
        let place = place.entry(index);
        let port = PORT.check(referral.port, place.key("port"), findings);
        let address = match parse_address(&referral.address) {
            Ok(address) if !address.is_unspecified() => SocketAddr::new(address, port),
            Ok(_) => {
                let message = format!("is {:?}; hosts need an address to connect to", referral.address);
                findings.error(place.key("address"), message);
                continue;
            }
            Err(problem) => {
                findings.error(place.key("address"), format!("{:?} {problem}", referral.address));
                continue;
            }
        };
        if let Some(first) = known.insert(address, &place) {
            findings.error(place, format!("is {address}, as {first} is; name a service once"));
            continue;
        }
        referrals.push(address);
    }
    referrals
}
