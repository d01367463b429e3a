//! From a configuration to what can change of a subsystem while it is in service.

use crate::config::{self, AnaStateName, Config, DuplicateHosts};
use crate::nvmf::discovery::Referral;
use crate::nvmf::host::Hosts;
use crate::nvmf::policy::{ANA_GROUP_MAX, Ana, Duplicates, Policy};
use crate::spec::ana::AnaState;
use crate::spec::nqn::Nqn;

const _: () = assert!(config::ANA_GROUP_MAX == ANA_GROUP_MAX);

/// Who may use what of a subsystem; nobody has the namespaces `gone`.
pub(super) fn policy(entry: &config::Subsystem, gone: impl IntoIterator<Item = u32>) -> Policy {
    let listed = |hosts: &[Nqn]| Hosts::Listed(hosts.iter().cloned().collect());
    let masks = entry.namespaces.iter().filter_map(|it| Some((it.nsid, listed(it.hosts.as_ref()?))));
    let gone = gone.into_iter().map(|nsid| (nsid, listed(&[])));
    let groups = entry.namespaces.iter().map(|namespace| (namespace.nsid, namespace.ana_group));
    let states = entry.ana.iter().map(|path| ((path.listener, path.group), state(path.state)));
    Policy {
        hosts: if entry.allow_any_host { Hosts::Any } else { listed(&entry.hosts) },
        duplicates: match entry.duplicate_hosts {
            DuplicateHosts::Allow => Duplicates::Allow,
            DuplicateHosts::RefuseClones => Duplicates::RefuseClones,
            DuplicateHosts::OnePerListener => Duplicates::OnePerListener,
        },
        masks: masks.chain(gone).collect(),
        protected: entry.namespaces.iter().filter(|it| it.write_protected).map(|it| it.nsid).collect(),
        ana: entry.ana_reporting.then(|| Ana { groups: groups.collect(), states: states.collect() }),
    }
}

fn state(name: AnaStateName) -> AnaState {
    match name {
        AnaStateName::Optimized => AnaState::OPTIMIZED,
        AnaStateName::NonOptimized => AnaState::NON_OPTIMIZED,
        AnaStateName::Inaccessible => AnaState::INACCESSIBLE,
        AnaStateName::PersistentLoss => AnaState::PERSISTENT_LOSS,
        AnaStateName::Change => AnaState::CHANGE,
    }
}

/// Other discovery services that hosts are told of.
pub(super) fn referrals(config: &Config) -> Vec<Referral> {
    config.referrals.iter().map(|address| Referral { address: *address }).collect()
}
