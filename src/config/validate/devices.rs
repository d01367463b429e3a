//! Checks of the bdevs that are namespaces of local controllers.

use std::collections::HashMap;

use crate::config::BdevKind;
use crate::config::document::BdevEntry;
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;
use crate::spec::pci::PciAddress;

/// Range of a controller's namespace identifier.
pub(super) const NSID: Knob<u32> = Knob {
    min: 1,
    max: u32::MAX - 1,
    default: 1,
    unit: "(0 is no namespace, and 4294967295 is all of them)",
};

/// The namespaces of each controller that bdevs have so far, and where.
#[derive(Default)]
pub(super) struct Devices(HashMap<PciAddress, Vec<(Option<u32>, Place)>>);

impl Devices {
    /// Checks one more.
    pub(super) fn check(
        &mut self,
        entry: &BdevEntry,
        place: &Place,
        findings: &mut Findings,
    ) -> Option<BdevKind> {
        for (key, given) in [("size", entry.size.is_some()), ("block_size", entry.block_size.is_some())] {
            if given {
                findings.error(place.key(key), "is given, but the device has its own; leave it out");
            }
        }
        let namespace =
            entry.namespace.map(|namespace| NSID.check(namespace, place.key("namespace"), findings));
        let at = place.key("address");
        let Some(text) = &entry.address else {
            findings.error(at, "is missing: a bdev of the type \"nvme\" is a device of the machine");
            return None;
        };
        let address = match text.parse() {
            Ok(address) => address,
            Err(problem) => {
                findings.error(at, format!("{text:?} {problem}"));
                return None;
            }
        };
        let others = self.0.entry(address).or_default();
        let same =
            |other: &&(Option<u32>, Place)| other.0.is_none() || namespace.is_none() || other.0 == namespace;
        if let Some((_, first)) = others.iter().find(same) {
            let message = format!("is {address}, as in {first}; give each a \"namespace\" of its own");
            findings.error(at, message);
        }
        others.push((namespace, place.clone()));
        Some(BdevKind::Nvme { address, namespace })
    }
}
