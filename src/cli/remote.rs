//! Targets on the network as the command line names them, and whom they are asked as.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;
use uuid::Uuid;

use crate::config::PORT_DEFAULT;
use crate::initiator::Identity;
use crate::initiator::blocking::{HostError, HostOptions};
use crate::spec::nqn::Nqn;

use super::Failure;

/// How names of hosts begin that are made of a UUID.
const UUID_FORM: &str = "nqn.2014-08.org.nvmexpress:uuid:";
const SCHEME: &str = "tcp://";

/// A host of the network, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    host: String,
    port: u16,
}

/// A subsystem: where it is, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) authority: Authority,
    pub(super) subsystem: Nqn,
}

/// Options that say who asks.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct HostArguments {
    /// Name of this host. Default: one of the UUID form, made up for this run.
    #[arg(long, value_name = "NQN", value_parser = parse_nqn, help_heading = "Host options")]
    pub(super) hostnqn: Option<Nqn>,
    /// Identifier of this host. Default: the UUID in its name, or one that follows from the name.
    #[arg(long, value_name = "UUID", help_heading = "Host options")]
    pub(super) hostid: Option<Uuid>,
}

impl HostArguments {
    /// Connects as this host to `subsystem`, without I/O queues.
    pub(super) fn options(&self, subsystem: Nqn) -> HostOptions {
        let mut options = HostOptions { io_queues: 0, ..HostOptions::new(subsystem) };
        let Identity { host, host_id, .. } = &mut options.identity;
        if let Some(name) = &self.hostnqn {
            let uuid = name.as_str().strip_prefix(UUID_FORM).and_then(|uuid| uuid.parse().ok());
            let uuid = uuid.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_str().as_bytes()));
            (*host, *host_id) = (name.clone(), uuid.into_bytes());
        }
        if let Some(uuid) = self.hostid {
            *host_id = uuid.into_bytes();
        }
        options
    }
}

/// HOST[:PORT]; an IPv6 address in brackets.
pub(super) fn parse_authority(text: &str) -> Result<Authority, String> {
    let name = |host: &str| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() { Err("names no host".to_owned()) } else { Ok(bare.to_owned()) }
    };
    let colon = if text.starts_with('[') { text.rfind("]:").map(|at| at + 1) } else { text.find(':') };
    let Some(colon) = colon else { return Ok(Authority { host: name(text)?, port: PORT_DEFAULT }) };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    match port.parse() {
        Ok(0) | Err(_) => Err(format!(
            "has no port from 1 to 65535 behind the colon: {port:?}; write an IPv6 address in brackets"
        )),
        Ok(port) => Ok(Authority { host: name(host)?, port }),
    }
}

/// tcp://HOST[:PORT]/NQN
pub(super) fn parse_remote(text: &str) -> Result<Remote, String> {
    let rest = text.strip_prefix(SCHEME).ok_or("does not begin with tcp://")?;
    let (authority, name) = rest.split_once('/').ok_or("has no subsystem; write tcp://HOST:PORT/NQN")?;
    Ok(Remote { authority: parse_authority(authority)?, subsystem: parse_nqn(name)? })
}

fn parse_nqn(text: &str) -> Result<Nqn, String> {
    Nqn::lenient(text).map_err(|problem| problem.to_string())
}

impl Authority {
    /// Tries `attempt` with one address after the other, until the target answers at one.
    pub(super) fn try_each<T, E: From<HostError>>(
        &self,
        mut attempt: impl FnMut(SocketAddr) -> Result<T, E>,
        is_unreachable: impl Fn(&E) -> bool,
    ) -> Result<(SocketAddr, T), E> {
        let mut last = None;
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        for address in addresses.map_err(HostError::System)? {
            match attempt(address) {
                Ok(found) => return Ok((address, found)),
                Err(error) if is_unreachable(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| HostError::System(io::Error::other("the name has no address")).into()))
    }
}

impl std::fmt::Display for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(out, "[{host}]:{port}") } else { write!(out, "{host}:{port}") }
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{SCHEME}{}/{}", self.authority, self.subsystem)
    }
}

/// Nobody answered there: another address may be better.
pub(super) fn is_unreachable(error: &HostError) -> bool {
    matches!(error, HostError::Unreachable { .. })
}

/// A message about a place on the network.
pub(super) fn refused(place: &dyn std::fmt::Display, error: &dyn std::error::Error) -> Failure {
    Failure::Refused(vec![format!("{place}: {}", super::chain(error))])
}
