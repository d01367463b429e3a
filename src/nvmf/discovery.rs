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

/// What a log is made for.
pub(super) struct Viewer<'a> {
    /// Who asks.
    pub(super) hostnqn: &'a Nqn,
    /// The address the host came to; reported in place of wildcards.
    pub(super) local: SocketAddr,
    /// ASQSZ.
    pub(super) admin_entries_max: u32,
}

/// The whole page for this viewer: header and entries.
pub(super) fn log_page(viewer: &Viewer<'_>, generation: u64, subsystems: &[Served]) -> Vec<u8> {
    let mut page = vec![0; size_of::<DiscoveryHeader>()];
    let mut records = 0u64;
    for served in subsystems {
        if !served.subsystem.hosts.allow(viewer.hostnqn) {
            continue;
        }
        for (index, listener) in served.subsystem.listeners.iter().enumerate() {
            if let Some(address) = reported(*listener, viewer.local) {
                page.extend_from_slice(entry(viewer, served, index, address).as_bytes());
                records += 1;
            }
        }
    }
    let mut header = DiscoveryHeader::new_zeroed();
    header.genctr.set(generation);
    header.numrec.set(records);
    page[..size_of::<DiscoveryHeader>()].copy_from_slice(header.as_bytes());
    page
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

fn entry(viewer: &Viewer<'_>, served: &Served, index: usize, address: SocketAddr) -> DiscoveryEntry {
    let mut entry = DiscoveryEntry::new_zeroed();
    entry.trtype = TransportType::TCP;
    entry.adrfam = if address.is_ipv4() { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
    entry.subtype = SubsystemType::NVM;
    entry.treq = DiscoveryEntry::TREQ_NOT_REQUIRED | DiscoveryEntry::TREQ_FLOW_CONTROL_OPTIONAL;
    entry.portid.set(u16::try_from(index + 1).unwrap_or(u16::MAX));
    entry.cntlid.set(CNTLID_DYNAMIC);
    entry.asqsz.set(u16::try_from(viewer.admin_entries_max).unwrap_or(u16::MAX));
    entry.trsvcid = text::space_padded(&address.port().to_string());
    entry.subnqn = served.subsystem.nqn.to_wire();
    entry.traddr = text::space_padded(&address.ip().to_string());
    entry.tsas[0] = SecurityType::NONE.0;
    entry
}
