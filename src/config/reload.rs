//! What of a running appliance another configuration changes, and what it cannot change. Decides nothing about how.

use super::finding::{Finding, Findings, Place};
use super::{AnaStateName, BdevKind, Config, NSID_SPARE, Namespace, Subsystem};

const RESTART: &str = "cannot change while the appliance runs: restart it";

/// The places whose values differ between the configuration that runs and the one that is to, all of which can change.
///
/// Who may connect, who has which namespace, which are write protected, how listeners reach groups, what is done with duplicate hosts, and referrals
/// can change; namespaces and block devices that this process makes up can come and go, but not change. Subsystems are
/// recognised by their NQN, namespaces by their NSID, block devices by their name, and their order is of no meaning.
///
/// # Errors
/// A finding for each value that differs and cannot change; then nothing is to be changed.
pub fn changes(running: &Config, wanted: &Config) -> Result<Vec<Place>, Vec<Finding>> {
    let (root, mut found) = (Place::default(), Changes::default());
    found.fixed(running.reactors == wanted.reactors, root.key("reactors"));
    found.fixed(running.state_directory == wanted.state_directory, root.key("state_dir"));
    found.fixed(running.state_must_exist == wanted.state_must_exist, root.key("state_must_exist"));
    found.fixed(running.limits == wanted.limits, root.key("limits"));
    found.fixed(running.memory == wanted.memory, root.key("memory"));
    found.fixed(running.metrics == wanted.metrics, root.key("metrics"));
    found.bdevs(running, wanted, &root.key("bdevs"));
    found.free(running.referrals == wanted.referrals, root.key("discovery").key("referrals"));
    let list = root.key("subsystems");
    for (index, subsystem) in wanted.subsystems.iter().enumerate() {
        match running.subsystems.iter().find(|other| other.nqn == subsystem.nqn) {
            Some(before) => found.subsystem(before, subsystem, &list.entry(index)),
            None => found.fixed(false, list.entry(index)),
        }
    }
    for gone in &running.subsystems {
        if wanted.subsystems.iter().all(|subsystem| subsystem.nqn != gone.nqn) {
            found
                .refused
                .error(list.clone(), format!("lacks {}, which is served: restart the appliance", gone.nqn));
        }
    }
    found.refused.into_result().map(|_| found.changed)
}

#[derive(Default)]
struct Changes {
    changed: Vec<Place>,
    refused: Findings,
}

impl Changes {
    fn fixed(&mut self, same: bool, place: Place) {
        if !same {
            self.refused.error(place, RESTART);
        }
    }

    fn free(&mut self, same: bool, place: Place) {
        if !same {
            self.changed.push(place);
        }
    }

    fn subsystem(&mut self, before: &Subsystem, after: &Subsystem, place: &Place) {
        self.fixed(before.serial == after.serial, place.key("serial"));
        self.fixed(before.model == after.model, place.key("model"));
        self.fixed(before.listeners == after.listeners, place.key("listeners"));
        self.fixed(before.ana_reporting == after.ana_reporting, place.key("ana_reporting"));
        self.free(before.allow_any_host == after.allow_any_host, place.key("allow_any_host"));
        self.free(before.hosts == after.hosts, place.key("hosts"));
        self.free(before.duplicate_hosts == after.duplicate_hosts, place.key("duplicate_hosts"));
        for (index, _) in after.listeners.iter().enumerate() {
            let states = |of: &Subsystem| {
                let own = of.ana.iter().filter(|path| path.listener == index).copied();
                own.collect::<Vec<_>>()
            };
            let place = place.key("listeners").entry(index).key("ana");
            // What is lost for ever does not come back (NVMe base 2.1, section 8.1.1.7).
            let lost = states(before).into_iter().filter(|path| path.state == AnaStateName::PersistentLoss);
            if lost.into_iter().any(|path| !states(after).contains(&path)) {
                let message =
                    "ends a \"persistent_loss\", which hosts were told lasts for ever: restart the appliance";
                self.refused.error(place.clone(), message);
            }
            self.free(states(before) == states(after), place);
        }
        let list = place.key("namespaces");
        let highest = before.namespaces.iter().map(|namespace| namespace.nsid).max();
        let highest = highest.unwrap_or_default().max(NSID_SPARE);
        for (index, namespace) in after.namespaces.iter().enumerate() {
            match before.namespaces.iter().find(|other| other.nsid == namespace.nsid) {
                Some(before) => self.namespace(before, namespace, &list.entry(index)),
                None if namespace.nsid <= highest => self.changed.push(list.entry(index)),
                None => {
                    let message =
                        format!("is above {highest}, up to which hosts look: restart the appliance");
                    self.refused.error(list.entry(index).key("nsid"), message);
                }
            }
        }
        let remains = |gone: &Namespace| after.namespaces.iter().any(|other| other.nsid == gone.nsid);
        self.free(before.namespaces.iter().all(remains), list);
    }

    fn bdevs(&mut self, running: &Config, wanted: &Config, list: &Place) {
        for (index, bdev) in wanted.bdevs.iter().enumerate() {
            match running.bdevs.iter().find(|other| other.name == bdev.name) {
                Some(before) => self.fixed(before == bdev, list.entry(index)),
                None if matches!(bdev.kind, BdevKind::Nvme { .. } | BdevKind::Nvmf(_)) => {
                    self.fixed(false, list.entry(index));
                }
                None => self.changed.push(list.entry(index)),
            }
        }
        let remains = running.bdevs.iter().all(|gone| wanted.bdev(&gone.name).is_some());
        self.free(remains, list.clone());
    }

    fn namespace(&mut self, before: &Namespace, after: &Namespace, place: &Place) {
        self.fixed(before.bdev == after.bdev, place.key("bdev"));
        self.fixed(before.uuid == after.uuid, place.key("uuid"));
        self.fixed(before.reservations == after.reservations, place.key("reservations"));
        self.free(before.hosts == after.hosts, place.key("hosts"));
        self.free(before.ana_group == after.ana_group, place.key("ana_group"));
        self.free(before.write_protected == after.write_protected, place.key("write_protected"));
    }
}
