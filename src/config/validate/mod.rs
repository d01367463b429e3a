//! Turns a document into a configuration, or into everything that is wrong with it.
//!
//! Every check goes on after a finding, with the default or without the entry, so that one run shows all of
//! them.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::PathBuf;

use super::document::Document;
use super::finding::{Finding, Findings, Place};
use super::{Accepted, CORE_MAX, Config, Topology};

pub use namespaces::namespace_uuid;

mod ana;
mod bdevs;
mod devices;
mod discovery;
mod listeners;
mod metrics;
mod namespaces;
mod reactors;
mod remotes;
mod subsystems;

/// Most block devices.
pub const BDEVS_MAX: usize = 1024;
/// Most subsystems.
pub const SUBSYSTEMS_MAX: usize = 256;
/// Most hosts of one subsystem.
pub const HOSTS_MAX: usize = 1024;
/// Most namespaces of one subsystem.
pub const NAMESPACES_MAX: usize = 1024;
/// Highest namespace identifier: tables are as long as it.
pub const NSID_MAX: u32 = 65_535;
/// NSIDs up to this can be given to namespaces that come to a subsystem while the appliance runs, and up to its highest one.
pub const NSID_SPARE: u32 = 256;
/// Most referrals to other discovery services.
pub const REFERRALS_MAX: usize = 64;
/// Highest group of asymmetric access.
pub const ANA_GROUP_MAX: u32 = 128;
/// Most different listening addresses.
pub const LISTENERS_MAX: usize = 64;

/// Validates a document. `topology` has the cores that this process may use.
///
/// # Errors
/// One finding for each wrong value, and the warnings too.
pub fn validate(document: &Document, topology: &Topology) -> Result<Accepted, Vec<Finding>> {
    let findings = &mut Findings::default();
    let root = Place::default();
    let reactors = reactors::check(&document.reactors, &root.key("reactors"), topology, findings);
    let state_directory = state_directory(document.state_dir.as_deref(), &root, findings);
    let limits = document.limits.check(&root.key("limits"), findings);
    let memory = document.memory.check(&root.key("memory"), findings);
    let bdevs = bdevs::check(&document.bdevs, &root.key("bdevs"), findings);
    let subsystems =
        subsystems::check(&document.subsystems, &root.key("subsystems"), &document.bdevs, findings);
    let state_must_exist = document.state_must_exist;
    let metrics = document
        .metrics
        .as_ref()
        .and_then(|entry| metrics::check(entry, &root.key("metrics"), &subsystems, findings));
    let referrals = discovery::check(&document.discovery, &root.key("discovery"), findings);
    let config = Config {
        reactors,
        state_directory,
        state_must_exist,
        limits,
        memory,
        metrics,
        referrals,
        bdevs,
        subsystems,
    };
    let warnings = std::mem::take(findings).into_result()?;
    Ok(Accepted { config, warnings })
}

/// Values that must be unique, and where each was first.
struct Unique<K>(HashMap<K, Place>);

impl<K: std::hash::Hash + Eq> Unique<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// Remembers the value. When it was there before: where.
    fn insert(&mut self, value: K, place: &Place) -> Option<&Place> {
        match self.0.entry(value) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.into_mut()),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(place.clone());
                None
            }
        }
    }
}

fn count(found: usize, most: usize, place: &Place, findings: &mut Findings) {
    if found > most {
        findings.error(place.clone(), format!("has {found} entries, at most {most} are allowed"));
    }
}

fn state_directory(text: Option<&str>, root: &Place, findings: &mut Findings) -> Option<PathBuf> {
    let text = text?;
    if !text.starts_with('/') || text.contains('\0') {
        let message = format!("is {text:?}; it must be an absolute path such as \"/var/lib/corelane\"");
        findings.error(root.key("state_dir"), message);
    }
    Some(PathBuf::from(text))
}

/// "\"a\", \"b\"" for a message that names what there is, without growing with the file.
fn listing<T: Display>(names: impl Iterator<Item = T>) -> String {
    const MOST: usize = 8;
    let mut names = names.map(|name| format!("\"{name}\""));
    let mut text = names.by_ref().take(MOST).collect::<Vec<_>>().join(", ");
    let more = names.count();
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
