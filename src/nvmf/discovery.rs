//! The Discovery log page: which subsystems a host may see, and where (NVMe base 2.1, section 5.1.12.3.1).

use std::net::{IpAddr, SocketAddr};

use zerocopy::{FromZeros, IntoBytes};

use crate::nvmf::subsystem::Served;
use crate::spec::discovery::{
    AddressFamily, DiscoveryEntry, DiscoveryHeader, SecurityType, SubsystemType, TransportType,
};
use crate::spec::fabrics::CNTLID_DYNAMIC;
use crate::spec::nqn::Nqn;
use crate::spec::text;

/// Another discovery service that hosts are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referral {
    /// Where it is reached, by TCP.
    pub address: SocketAddr,
}

/// ASQSZ of a service of which no more is known than that it exists: the least that it may say.
const ASQSZ_LEAST: u16 = 32;

/// What a log is made for.
pub(super) struct Viewer<'a> {
    /// Who asks.
    pub(super) hostnqn: &'a Nqn,
    /// The address the host came to; reported in place of wildcards.
    pub(super) local: SocketAddr,
    /// ASQSZ.
    pub(super) admin_entries_max: u32,
}

/// The whole page for this viewer: header and entries. First the subsystems, then this discovery subsystem at each of its
/// addresses, then other services.
pub(super) fn log_page(
    viewer: &Viewer<'_>,
    generation: u64,
    subsystems: &[Served],
    referrals: &[Referral],
) -> Vec<u8> {
    let mut entries = Vec::new();
    for served in subsystems {
        if !served.subsystem.policy.hosts.allow(viewer.hostnqn) {
            continue;
        }
        for (index, listener) in served.subsystem.listeners.iter().enumerate() {
            if let Some(address) = reported(*listener, viewer.local) {
                let mut entry = entry(SubsystemType::NVM, &served.subsystem.nqn, index, address);
                entry.asqsz.set(asqsz(viewer));
                entries.push(entry);
            }
        }
    }
    entries.extend(here(viewer, subsystems));
    entries.extend(referrals.iter().enumerate().map(|(index, referral)| {
        let mut entry = entry(SubsystemType::REFERRAL, &Nqn::discovery(), index, referral.address);
        entry.asqsz.set(ASQSZ_LEAST);
        entry
    }));
    let mut header = DiscoveryHeader::new_zeroed();
    header.genctr.set(generation);
    header.numrec.set(entries.len() as u64);
    let entries = entries.iter().flat_map(|entry| entry.as_bytes().to_vec());
    header.as_bytes().iter().copied().chain(entries).collect()
}

/// This discovery subsystem at each of its addresses. It keeps connections that have a keep alive timer; and what it says
/// is the same everywhere, unless it listens on wildcards, which it reports by the address that the host came to.
fn here(viewer: &Viewer<'_>, subsystems: &[Served]) -> Vec<DiscoveryEntry> {
    let listeners = || subsystems.iter().flat_map(|served| &served.subsystem.listeners);
    let alike = listeners().all(|listener| !listener.ip().is_unspecified());
    let mut addresses: Vec<_> =
        listeners().filter_map(|listener| reported(*listener, viewer.local)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let entries = addresses.into_iter().enumerate().map(|(index, address)| {
        let mut entry = entry(SubsystemType::CURRENT_DISCOVERY, &Nqn::discovery(), index, address);
        let same = if alike { DiscoveryEntry::DUPLICATE_INFORMATION } else { 0 };
        entry.eflags.set(DiscoveryEntry::PERSISTENT | same);
        entry.asqsz.set(asqsz(viewer));
        entry
    });
    entries.collect()
}

fn asqsz(viewer: &Viewer<'_>) -> u16 {
    u16::try_from(viewer.admin_entries_max).unwrap_or(u16::MAX)
}

/// The address under which the host reaches a listener; `None` when it is a wildcard of a family that the
/// host did not come by, because no address of it is known.
fn reported(listener: SocketAddr, local: SocketAddr) -> Option<SocketAddr> {
    let (bound, came) = (listener.ip().to_canonical(), local.ip().to_canonical());
    let ip = match bound {
        _ if !bound.is_unspecified() => bound,
        IpAddr::V4(_) if came.is_ipv6() => return None,
        IpAddr::V4(_) | IpAddr::V6(_) => came,
    };
    Some(SocketAddr::new(ip, listener.port()))
}

fn entry(subtype: SubsystemType, subnqn: &Nqn, index: usize, address: SocketAddr) -> DiscoveryEntry {
    let mut entry = DiscoveryEntry::new_zeroed();
    entry.trtype = TransportType::TCP;
    entry.adrfam = if address.is_ipv4() { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
    entry.subtype = subtype;
    entry.treq = DiscoveryEntry::TREQ_NOT_REQUIRED | DiscoveryEntry::TREQ_FLOW_CONTROL_OPTIONAL;
    entry.portid.set(u16::try_from(index + 1).unwrap_or(u16::MAX));
    entry.cntlid.set(CNTLID_DYNAMIC);
    entry.trsvcid = text::space_padded(&address.port().to_string());
    entry.subnqn = subnqn.to_wire();
    entry.traddr = text::space_padded(&address.ip().to_string());
    entry.tsas[0] = SecurityType::NONE.0;
    entry
}
