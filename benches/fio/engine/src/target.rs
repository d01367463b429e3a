//! What the options of a job name: a subsystem over NVMe/TCP, or a PCIe device.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::OnceLock;
use std::time::Duration;

use corelane::initiator::Identity;
use corelane::initiator::blocking::HostOptions;
use corelane::spec::nqn::{Nqn, NqnError};
use corelane::spec::pci::{PciAddress, PciAddressError};
use uuid::Uuid;

/// How names of hosts begin that are made of a UUID.
const UUID_FORM: &str = "nqn.2014-08.org.nvmexpress:uuid:";
/// The most data of one command, in bytes, whatever a controller allows.
const TRANSFER_BYTES_MAX: u32 = 64 << 20;
/// The most commands that the wire lets a queue have.
const DEPTH_MAX: u32 = 65_534;

/// The options as they were given; what is not given is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) address: Option<String>,
    pub(crate) port: u16,
    pub(crate) subnqn: Option<String>,
    pub(crate) hostnqn: Option<String>,
    pub(crate) hostid: Option<String>,
    pub(crate) pcie: Option<String>,
    pub(crate) header_digest: bool,
    pub(crate) data_digest: bool,
    pub(crate) flow_control: bool,
    pub(crate) timeout: Duration,
    /// fio's iodepth.
    pub(crate) depth: u32,
}

/// What is measured, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A subsystem.
    Tcp {
        /// Where it is.
        address: SocketAddr,
        /// How to connect; one I/O queue.
        options: Box<HostOptions>,
    },
    /// A controller of this machine.
    Pcie {
        /// Where it is.
        address: PciAddress,
        /// Commands that are to be under way on a queue pair.
        depth: u16,
        /// How long a command may take.
        timeout: Duration,
    },
}

/// Why the options name nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("say what to measure: subnqn=NQN, with address= and port=, or pcie=ADDRESS")]
    Nothing,
    #[error("subnqn and pcie are two different things to measure: leave one of them out")]
    Both,
    #[error("subnqn: {0}")]
    Subsystem(NqnError),
    #[error("hostnqn: {0}")]
    Host(NqnError),
    #[error("hostid={0} is not a UUID other than zero")]
    HostId(String),
    #[error("pcie={0}: {1} (such as 0000:00:05.0)")]
    Pcie(String, PciAddressError),
    #[error("port=0 is not a port")]
    Port,
    #[error("address={0}: {1}")]
    Unknown(String, io::Error),
    #[error("address={0} has no address")]
    NoAddress(String),
}

impl Target {
    /// What is meant. Asks the resolver where `address` is a name.
    pub(crate) fn new(given: &Given) -> Result<Self, TargetError> {
        let depth = u16::try_from(given.depth.clamp(1, DEPTH_MAX)).unwrap_or(u16::MAX - 1);
        match (&given.subnqn, &given.pcie) {
            (None, None) => Err(TargetError::Nothing),
            (Some(_), Some(_)) => Err(TargetError::Both),
            (None, Some(pcie)) => {
                let address = pcie.parse().map_err(|error| TargetError::Pcie(pcie.clone(), error))?;
                Ok(Self::Pcie { address, depth, timeout: given.timeout })
            }
            (Some(subnqn), None) => {
                let subsystem = Nqn::parse(subnqn).map_err(TargetError::Subsystem)?;
                let options = HostOptions {
                    identity: identity(given, subsystem)?,
                    io_queues: 1,
                    depth,
                    header_digest: given.header_digest,
                    data_digest: given.data_digest,
                    flow_control: given.flow_control,
                    // fio does not call an engine while a job thinks, so nobody could keep an association alive.
                    keep_alive: Duration::ZERO,
                    timeout: given.timeout,
                    transfer_bytes_max: TRANSFER_BYTES_MAX,
                };
                Ok(Self::Tcp { address: resolve(given)?, options: Box::new(options) })
            }
        }
    }
}

/// All jobs of a process are one host, whose name is made up where none is given.
fn identity(given: &Given, subsystem: Nqn) -> Result<Identity, TargetError> {
    static MADE_UP: OnceLock<Uuid> = OnceLock::new();
    let mut uuid = *MADE_UP.get_or_init(Uuid::new_v4);
    let mut name = format!("{UUID_FORM}{uuid}");
    if let Some(given) = &given.hostnqn {
        name.clone_from(given);
        let form = name.strip_prefix(UUID_FORM).and_then(|uuid| uuid.parse().ok());
        uuid = form.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()));
    }
    if let Some(given) = &given.hostid {
        let parsed = given.parse().ok().filter(|uuid: &Uuid| !uuid.is_nil());
        uuid = parsed.ok_or_else(|| TargetError::HostId(given.clone()))?;
    }
    let host = Nqn::lenient(&name).map_err(TargetError::Host)?;
    Ok(Identity { host, host_id: uuid.into_bytes(), subsystem })
}

fn resolve(given: &Given) -> Result<SocketAddr, TargetError> {
    if given.port == 0 {
        return Err(TargetError::Port);
    }
    let written = given.address.as_deref().unwrap_or("127.0.0.1");
    let host = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    let unknown = |error| TargetError::Unknown(written.to_owned(), error);
    let mut found = (host, given.port).to_socket_addrs().map_err(unknown)?;
    found.next().ok_or_else(|| TargetError::NoAddress(written.to_owned()))
}

#[cfg(test)]
mod tests;
