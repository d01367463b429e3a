//! The discovery log of a discovery controller.

use std::net::SocketAddr;

use zerocopy::FromBytes;

use crate::initiator::blocking::drive::Exchange;
use crate::initiator::blocking::{Host, HostError, HostOptions};
use crate::initiator::command;
use crate::spec::discovery::{DiscoveryEntry, DiscoveryHeader};
use crate::spec::log_page::LogPageId;
use crate::spec::text::nul_terminated;

/// How often the log is read until it stays the same meanwhile.
const READS_MAX: usize = 5;
/// Entries that are believed; a target that claims more is not asked for them.
const ENTRIES_MAX: u64 = 4096;
const NONSENSE: HostError = HostError::Nonsense("the discovery log");

/// An entry of the log: a way to a subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// SUBNQN.
    pub subsystem: String,
    /// TRADDR.
    pub address: String,
    /// TRSVCID.
    pub port: String,
    /// The entry as it came.
    pub entry: Box<DiscoveryEntry>,
}

impl Host {
    /// Connects to the discovery controller at `address`, reads its log, and disconnects.
    ///
    /// # Errors
    /// [`HostError`], also where the log makes no sense.
    pub fn discover(address: SocketAddr) -> Result<Vec<Discovered>, HostError> {
        let mut host = Self::connect(address, &HostOptions::discovery())?;
        let entries = host.discovery_log()?;
        host.leave();
        Ok(entries)
    }

    /// Reads the discovery log, again if it changes meanwhile (base 2.1, section 5.1.12.3.1).
    ///
    /// # Errors
    /// As [`Host::admin`]; [`HostError::Nonsense`], [`HostError::Unstable`].
    pub fn discovery_log(&mut self) -> Result<Vec<Discovered>, HostError> {
        for _ in 0..READS_MAX {
            let before = self.discovery_header()?;
            let entries = before.numrec.get();
            if entries > ENTRIES_MAX {
                return Err(NONSENSE);
            }
            let found = (0..entries).map(|index| self.discovery_entry(index)).collect::<Result<_, _>>()?;
            if self.discovery_header()?.genctr == before.genctr {
                return Ok(found);
            }
        }
        Err(HostError::Unstable { times: READS_MAX })
    }

    fn discovery_header(&mut self) -> Result<DiscoveryHeader, HostError> {
        DiscoveryHeader::read_from_bytes(&self.discovery_bytes(0)?).map_err(|_| NONSENSE)
    }

    fn discovery_entry(&mut self, index: u64) -> Result<Discovered, HostError> {
        const { assert!(size_of::<DiscoveryHeader>() == size_of::<DiscoveryEntry>()) };
        let data = self.discovery_bytes(index + 1)?;
        DiscoveryEntry::read_from_bytes(&data).map_err(|_| NONSENSE)?.try_into()
    }

    /// The header, or the entry before `place`: all are equally long.
    fn discovery_bytes(&mut self, place: u64) -> Result<Vec<u8>, HostError> {
        let bytes = size_of::<DiscoveryEntry>();
        let length = u32::try_from(bytes).expect("1,024 bytes");
        let sqe = command::log_page(LogPageId::DISCOVERY, place * u64::from(length), length);
        Ok(self.admin(&sqe, Exchange::Receive(bytes))?.data)
    }
}

impl TryFrom<DiscoveryEntry> for Discovered {
    type Error = HostError;

    /// [`HostError::Nonsense`] where a text is none.
    fn try_from(entry: DiscoveryEntry) -> Result<Self, HostError> {
        Ok(Self {
            subsystem: nul_terminated(&entry.subnqn).ok_or(NONSENSE)?.to_owned(),
            address: text(&entry.traddr)?,
            port: text(&entry.trsvcid)?,
            entry: Box::new(entry),
        })
    }
}

/// A field of ASCII that is filled with spaces, by some with NULs.
fn text(field: &[u8]) -> Result<String, HostError> {
    let text = std::str::from_utf8(field).map_err(|_| NONSENSE)?;
    Ok(text.trim_end_matches([' ', '\0']).to_owned())
}
