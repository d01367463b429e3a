//! Checks of the namespaces, within a subsystem and across all of them.

use std::collections::HashMap;

use uuid::{Uuid, uuid};

use crate::config::document::{BdevEntry, BdevType, NamespaceEntry};
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;
use crate::config::{Namespace, Reservations};
use crate::spec::nqn::Nqn;

use super::ana;
use super::subsystems::host_list;
use super::{NAMESPACES_MAX, NSID_MAX, Unique, count, listing};

/// Range of a namespace identifier. Tables are as long as the highest one.
const NSID: Knob<u32> = Knob {
    min: 1,
    max: NSID_MAX,
    default: 1,
    unit: "(0 is no namespace, and tables are as long as the highest)",
};

/// Name space of the UUIDs that are made of NQN and NSID. Part of the interface: another one would give every
/// namespace without a UUID in the file a new identity.
const UUID_NAME_SPACE: Uuid = uuid!("c51c8d27-9e87-49b9-8b2d-6962c957ec1e");

/// What namespaces of all subsystems share: the bdevs there are, and what is taken already.
pub(super) struct Shared<'a> {
    bdevs: &'a [BdevEntry],
    known: HashMap<&'a str, BdevType>,
    used: Unique<&'a str>,
    uuids: Unique<Uuid>,
}

/// The UUID of a namespace for which the file gives none: the UUIDv5 (RFC 9562, section 5.5) of
/// `NQN/NSID`, with the NSID in decimal, in the name space c51c8d27-9e87-49b9-8b2d-6962c957ec1e.
#[must_use]
pub fn namespace_uuid(nqn: &Nqn, nsid: u32) -> Uuid {
    Uuid::new_v5(&UUID_NAME_SPACE, format!("{}/{nsid}", nqn.as_str()).as_bytes())
}

/// The serial number of a subsystem for which the file gives none: the same for the same NQN.
pub(super) fn serial_default(nqn: &Nqn) -> String {
    let digits = Uuid::new_v5(&UUID_NAME_SPACE, nqn.as_str().as_bytes()).simple().to_string();
    format!("CL{}", digits.to_uppercase().split_at(18).0)
}

impl<'a> Shared<'a> {
    pub(super) fn new(bdevs: &'a [BdevEntry]) -> Self {
        let known = bdevs.iter().map(|bdev| (bdev.name.as_str(), bdev.kind)).collect();
        Self { bdevs, known, used: Unique::new(), uuids: Unique::new() }
    }
}

/// `nqn` is that of the subsystem, unless it is wrong; `reporting` says whether it has asymmetric access.
pub(super) fn check<'a>(
    entries: &'a [NamespaceEntry],
    place: &Place,
    nqn: Option<&Nqn>,
    reporting: bool,
    shared: &mut Shared<'a>,
    findings: &mut Findings,
) -> Vec<Namespace> {
    count(entries.len(), NAMESPACES_MAX, place, findings);
    if entries.is_empty() {
        findings.warning(place.clone(), "is empty: hosts that connect find no disk");
    }
    let mut namespaces = Vec::with_capacity(entries.len());
    let mut nsids = Unique::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = place.entry(index);
        let nsid = NSID.check(entry.nsid, place.key("nsid"), findings);
        if let Some(first) = nsids.insert(entry.nsid, &place) {
            let message = format!("is {}, the NSID of {first} too; they must differ", entry.nsid);
            findings.error(place.key("nsid"), message);
        }
        check_bdev(&entry.bdev, &place.key("bdev"), shared, findings);
        let reservations = reservations(entry, &place.key("reservations"), shared, findings);
        let hosts = entry.hosts.as_ref().map(|hosts| host_list(hosts, &place.key("hosts"), findings));
        let ana_group = ana::group(entry.ana_group, reporting, &place.key("ana_group"), findings);
        let uuid = match (&entry.uuid, nqn) {
            (Some(text), _) => given_uuid(text, &place.key("uuid"), findings),
            (None, nqn) => nqn.map(|nqn| namespace_uuid(nqn, nsid)),
        };
        let Some(uuid) = uuid else { continue };
        if let Some(first) = shared.uuids.insert(uuid, &place) {
            let message = format!("is {uuid}, the UUID of {first} too; hosts would take both for one disk");
            findings.error(place.key("uuid"), message);
        }
        let (bdev, write_protected) = (entry.bdev.clone(), entry.write_protected);
        namespaces.push(Namespace { nsid, bdev, uuid, hosts, ana_group, write_protected, reservations });
    }
    namespaces
}

fn check_bdev<'a>(name: &'a str, place: &Place, shared: &mut Shared<'a>, findings: &mut Findings) {
    if !shared.known.contains_key(name) {
        let message = match shared.bdevs.is_empty() {
            true => format!("is {name:?}, but \"bdevs\" is empty; describe the bdev there"),
            false => {
                format!("is {name:?}; the bdevs are {}", listing(shared.bdevs.iter().map(|bdev| &bdev.name)))
            }
        };
        findings.error(place.clone(), message);
    } else if let Some(first) = shared.used.insert(name, place) {
        let message = format!("is {name:?}, which {first} uses already; a bdev has one namespace at most");
        findings.error(place.clone(), message);
    }
}

/// Reservations are kept under the namespace's UUID. One that is made of NQN and NSID would hand the records of an old
/// disk to a new one of the same place, so it will do only for a bdev that brings its contents along.
fn reservations(
    entry: &NamespaceEntry,
    place: &Place,
    shared: &Shared<'_>,
    findings: &mut Findings,
) -> Reservations {
    let given = entry.uuid.is_some();
    let persist = entry.reservations.persist.unwrap_or(given);
    let kind = shared.known.get(entry.bdev.as_str()).copied();
    if persist && !given && kind.is_some_and(|kind| !survives_restart(kind)) {
        let message = format!(
            "is true, but the namespace has no \"uuid\", and what is on {:?} does not survive a restart; give the \
             namespace a \"uuid\" of its own, or leave \"persist\" out",
            entry.bdev
        );
        findings.error(place.key("persist"), message);
    }
    Reservations { persist }
}

/// Whether a bdev has the same contents after a restart.
fn survives_restart(kind: BdevType) -> bool {
    match kind {
        BdevType::Malloc | BdevType::Null => false,
        BdevType::FileBacked | BdevType::Nvme | BdevType::Nvmf => true,
    }
}

fn given_uuid(text: &str, place: &Place, findings: &mut Findings) -> Option<Uuid> {
    // The parser also takes braces, "urn:" and digits without hyphens, all of another length.
    const HYPHENATED: usize = 36;
    match Uuid::try_parse(text).ok().filter(|_| text.len() == HYPHENATED) {
        Some(uuid) if uuid.is_nil() => {
            findings
                .error(place.clone(), "is all zeros, which means \"none\"; leave the key out for a made one");
            None
        }
        Some(uuid) => Some(uuid),
        None => {
            let message = format!(
                "is {text:?}; write it as 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11, or leave the key out"
            );
            findings.error(place.clone(), message);
            None
        }
    }
}
