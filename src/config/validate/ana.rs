//! Checks of asymmetric access: groups, and how listeners reach them.

use crate::config::AnaPath;
use crate::config::document::SubsystemEntry;
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;

use super::{ANA_GROUP_MAX, Unique};

/// Range of a group. Those of no other group are in the first.
const GROUP: Knob<u32> = Knob { min: 1, max: ANA_GROUP_MAX, default: 1, unit: "" };

/// The states that listeners of a subsystem give to groups.
pub(super) fn check(entry: &SubsystemEntry, place: &Place, findings: &mut Findings) -> Vec<AnaPath> {
    let mut paths = Vec::new();
    for (listener, listening) in entry.listeners.iter().enumerate() {
        let place = place.key("listeners").entry(listener).key("ana");
        needs_reporting(entry.ana_reporting, !listening.ana.is_empty(), &place, findings);
        let mut known = Unique::new();
        for (index, path) in listening.ana.iter().enumerate() {
            let place = place.entry(index);
            let group = GROUP.check(path.group, place.key("group"), findings);
            if let Some(first) = known.insert(group, &place) {
                findings
                    .error(place.key("group"), format!("is {group}, as that of {first}; name a group once"));
            }
            paths.push(AnaPath { listener, group, state: path.state });
        }
    }
    paths
}

/// The group of a namespace of a subsystem that reports ANA, or not.
pub(super) fn group(group: Option<u64>, reporting: bool, place: &Place, findings: &mut Findings) -> u32 {
    needs_reporting(reporting, group.is_some(), place, findings);
    group.map_or(GROUP.default, |group| GROUP.check(group, place.clone(), findings))
}

fn needs_reporting(reporting: bool, given: bool, place: &Place, findings: &mut Findings) {
    if given && !reporting {
        findings
            .error(place.clone(), "is given, but hosts are not told of it: set \"ana_reporting\" to true");
    }
}
