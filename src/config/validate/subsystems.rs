//! Checks of the subsystems: names, texts and hosts.

use crate::config::Subsystem;
use crate::config::document::{BdevEntry, SubsystemEntry};
use crate::config::finding::{Findings, Place};
use crate::spec::nqn::Nqn;

use super::ana;
use super::listeners::{self, Addresses};
use super::namespaces::{self, Shared};
use super::{HOSTS_MAX, SUBSYSTEMS_MAX, Unique, count};

/// Bytes of the SN field of Identify Controller (NVMe Base Specification, "Identify Controller Data
/// Structure").
const SERIAL_BYTES: usize = 20;
/// Bytes of the MN field of Identify Controller.
const MODEL_BYTES: usize = 40;
/// Model number when the file says nothing.
const MODEL_DEFAULT: &str = "Corelane";

/// `bdevs` are all block devices.
pub(super) fn check<'a>(
    entries: &'a [SubsystemEntry],
    place: &Place,
    bdevs: &'a [BdevEntry],
    findings: &mut Findings,
) -> Vec<Subsystem> {
    count(entries.len(), SUBSYSTEMS_MAX, place, findings);
    if entries.is_empty() {
        findings.warning(place.clone(), "is empty: nothing is served");
    }
    let mut shared = Shared::new(bdevs);
    let mut addresses = Addresses::default();
    let mut names = Unique::new();
    let mut subsystems = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let place = place.entry(index);
        let nqn = subsystem_nqn(&entry.nqn, &place.key("nqn"), findings);
        if let Some(first) = names.insert(entry.nqn.as_str(), &place) {
            let message = format!("is {:?}, the NQN of {first} too; they must differ", entry.nqn);
            findings.error(place.key("nqn"), message);
        }
        let serial = serial(entry.serial.as_deref(), nqn.as_ref(), &place.key("serial"), findings);
        let model = entry.model.as_deref().unwrap_or(MODEL_DEFAULT);
        check_text(model, MODEL_BYTES, &place.key("model"), findings);
        let hosts = hosts(entry, &place, findings);
        let listeners = listeners::check(&entry.listeners, &place.key("listeners"), &mut addresses, findings);
        let ana = ana::check(entry, &place, findings);
        let namespaces = &place.key("namespaces");
        let namespaces = namespaces::check(
            &entry.namespaces,
            namespaces,
            nqn.as_ref(),
            entry.ana_reporting,
            &mut shared,
            findings,
        );
        let Some(nqn) = nqn else { continue };
        let (model, allow_any_host) = (model.to_owned(), entry.allow_any_host);
        let (duplicate_hosts, ana_reporting) = (entry.duplicate_hosts, entry.ana_reporting);
        subsystems.push(Subsystem {
            nqn,
            serial,
            model,
            allow_any_host,
            hosts,
            duplicate_hosts,
            ana_reporting,
            ana,
            listeners,
            namespaces,
        });
    }
    subsystems
}

fn subsystem_nqn(text: &str, place: &Place, findings: &mut Findings) -> Option<Nqn> {
    let nqn = nqn(text, place, findings)?;
    if nqn.is_discovery() {
        findings
            .error(place.clone(), "is the discovery subsystem's, which is always there; choose another name");
        return None;
    }
    Some(nqn)
}

fn nqn(text: &str, place: &Place, findings: &mut Findings) -> Option<Nqn> {
    match Nqn::parse(text) {
        Ok(nqn) => Some(nqn),
        Err(problem) => {
            let message = format!("{text:?} {problem}; an NQN looks like \"nqn.2026-11.com.example:disk0\"");
            findings.error(place.clone(), message);
            None
        }
    }
}

fn serial(text: Option<&str>, nqn: Option<&Nqn>, place: &Place, findings: &mut Findings) -> String {
    match (text, nqn) {
        (Some(text), _) => {
            check_text(text, SERIAL_BYTES, place, findings);
            text.to_owned()
        }
        (None, Some(nqn)) => namespaces::serial_default(nqn),
        (None, None) => String::new(),
    }
}

fn check_text(text: &str, bytes_max: usize, place: &Place, findings: &mut Findings) {
    let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let padded = text.starts_with(' ') || text.ends_with(' ');
    if text.is_empty() || text.len() > bytes_max || !printable || padded {
        let message = format!(
            "is {text:?}; it must be 1 to {bytes_max} printable ASCII characters without spaces at either end"
        );
        findings.error(place.clone(), message);
    }
}

fn hosts(entry: &SubsystemEntry, place: &Place, findings: &mut Findings) -> Vec<Nqn> {
    let list = place.key("hosts");
    match (entry.allow_any_host, entry.hosts.is_empty()) {
        (false, true) => {
            let message = "is empty and \"allow_any_host\" is false: no host may connect; list their NQNs";
            findings.warning(list.clone(), message);
        }
        (true, false) => {
            findings.warning(list.clone(), "is not looked at while \"allow_any_host\" is true");
        }
        (true, true) | (false, false) => {}
    }
    host_list(&entry.hosts, &list, findings)
}

/// A list of the NQNs of hosts.
pub(super) fn host_list(texts: &[String], list: &Place, findings: &mut Findings) -> Vec<Nqn> {
    count(texts.len(), HOSTS_MAX, list, findings);
    let mut names = Unique::new();
    let mut hosts = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let place = list.entry(index);
        if let Some(first) = names.insert(text.as_str(), &place) {
            findings.error(place.clone(), format!("is {text:?}, as {first} is; name a host once"));
        }
        hosts.extend(nqn(text, &place, findings));
    }
    hosts
}
