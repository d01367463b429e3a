//! What there is at the end of the paths, before anything depends on it. Waits for each answer.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::initiator::blocking::{Exchange, Host, HostError, HostOptions};
use crate::initiator::command;
use crate::initiator::multipath::{FormatError, Identifiers, Options, Space, lacks_descriptors};
use crate::spec::feature::NumberOfQueues;
use crate::spec::identify::controller::{Oncs, Vwc};
use crate::spec::identify::{Cns, IDENTIFY_BYTES};

/// Between two rounds through all paths.
const PAUSE: Duration = Duration::from_millis(200);

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The namespace.
    pub nsid: u32,
    /// Its size.
    pub space: Space,
    /// What tells it from others.
    pub identifiers: Identifiers,
    /// The controller has a volatile write cache.
    pub volatile_write_cache: bool,
    /// The controller has Compare.
    pub compare: bool,
    /// The controller has Write Zeroes.
    pub write_zeroes: bool,
    /// The controller has Dataset Management.
    pub deallocate: bool,
    /// The controller has Verify.
    pub verify: bool,
    /// The controller has Write Uncorrectable.
    pub write_uncorrectable: bool,
    /// The controller has Copy.
    pub copy: bool,
}

/// Why the namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Connecting, or one of the questions, failed.
    #[error("{address}: {error}")]
    Host {
        /// Where.
        address: SocketAddr,
        /// How.
        error: HostError,
    },
    /// It is not clear which namespace is meant, or there is none of that number.
    #[error("{address}: the subsystem has {}", which(*.wanted, .active))]
    Namespace {
        /// Where.
        address: SocketAddr,
        /// What was asked for.
        wanted: Option<u32>,
        /// NSIDs of the active ones.
        active: Vec<u32>,
    },
    /// The namespace is one that cannot be used.
    #[error("{address}, namespace {nsid}: {error}")]
    Format {
        /// Where.
        address: SocketAddr,
        /// The namespace.
        nsid: u32,
        /// Why.
        error: FormatError,
    },
    /// There are too few I/O queues.
    #[error(
        "{address}: the controller gives {given} I/O queues, and {wanted} are needed, one for each I/O reactor"
    )]
    Queues {
        /// Where.
        address: SocketAddr,
        /// What it gives.
        given: u16,
        /// What is needed.
        wanted: u16,
    },
}

impl LookError {
    /// Nobody answered there: it may be different later, or elsewhere.
    fn is_passing(&self) -> bool {
        match self {
            Self::Host { error, .. } => {
                !error.status().is_some_and(crate::spec::status::Status::dnr)
                    && !matches!(error, HostError::Memory(_) | HostError::System(_))
            }
            Self::Namespace { .. } | Self::Format { .. } | Self::Queues { .. } => false,
        }
    }
}

/// Asks one path after the other for namespace `nsid`, or for the only one there is, until one answers, but not for
/// longer than `patience` and one attempt.
///
/// # Errors
/// [`LookError`]: of the last path that was asked.
pub fn look(options: &Options, nsid: Option<u32>, patience: Duration) -> Result<Found, LookError> {
    let end = Instant::now() + patience;
    loop {
        let mut last = None;
        for &address in &options.paths {
            match look_at(address, options, nsid) {
                Ok(found) => return Ok(found),
                Err(error) if error.is_passing() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let Some(error) = last else { unreachable!("there is a path") };
        if Instant::now() + PAUSE >= end {
            return Err(error);
        }
        tracing::info!(%error, "waits for a remote namespace");
        // Nobody wakes this thread; it is no reactor's.
        thread::park_timeout(PAUSE);
    }
}

fn look_at(address: SocketAddr, options: &Options, nsid: Option<u32>) -> Result<Found, LookError> {
    let failed = |error| LookError::Host { address, error };
    let host_options = HostOptions {
        identity: options.identity.clone(),
        io_queues: 0,
        header_digest: options.header_digest,
        data_digest: options.data_digest,
        timeout: options.timeout,
        ..HostOptions::new(options.identity.subsystem.clone())
    };
    let mut host = Host::connect(address, &host_options).map_err(failed)?;
    let active = host.namespaces().map_err(failed)?;
    let nsid = match (nsid, &active[..]) {
        (Some(nsid), _) if active.contains(&nsid) => nsid,
        (None, &[nsid]) => nsid,
        _ => return Err(LookError::Namespace { address, wanted: nsid, active }),
    };
    let refused = |error| LookError::Format { address, nsid, error };
    let page = host.identify(Cns::NAMESPACE, nsid).map_err(failed)?;
    let page = page_of(&page).ok_or(failed(HostError::Nonsense("the namespace")))?;
    let space = Space::of(page).map_err(refused)?;
    let mut identifiers = Identifiers::of(page);
    match host.identify(Cns::NAMESPACE_DESCRIPTORS, nsid) {
        Ok(list) => {
            let list = page_of(&list).ok_or(failed(HostError::Nonsense("the namespace")))?;
            identifiers.add(list).map_err(refused)?;
        }
        Err(error) if error.status().is_some_and(lacks_descriptors) => {}
        // Without what it says the namespace would be taken for another one, by every later look.
        Err(error) => return Err(failed(error)),
    }
    let given = host.admin(&command::number_of_queues(options.lanes), Exchange::None).map_err(failed)?;
    let given = NumberOfQueues::from_bits(given.cqe.dw0.get());
    let given = given.submission_z().min(given.completion_z()).saturating_add(1);
    if given < options.lanes {
        return Err(LookError::Queues { address, given, wanted: options.lanes });
    }
    let identify = &host.controller().identify;
    let oncs = Oncs::from_bits(identify.oncs.get());
    let found = Found {
        nsid,
        space,
        identifiers,
        volatile_write_cache: Vwc::from_bits(identify.vwc).present(),
        compare: oncs.compare(),
        write_zeroes: oncs.write_zeroes(),
        deallocate: oncs.dataset_management(),
        verify: oncs.verify(),
        write_uncorrectable: oncs.write_uncorrectable(),
        copy: oncs.copy(),
    };
    host.leave();
    Ok(found)
}

fn page_of(bytes: &[u8]) -> Option<&[u8; IDENTIFY_BYTES]> {
    bytes.first_chunk()
}

fn which(wanted: Option<u32>, active: &[u32]) -> String {
    let list: Vec<String> = active.iter().map(u32::to_string).collect();
    match (wanted, active) {
        (_, []) => "no active namespace".to_owned(),
        (Some(nsid), _) => format!("no active namespace {nsid}; it has {}", list.join(", ")),
        (None, _) => format!("the namespaces {}: say which with \"namespace\"", list.join(", ")),
    }
}
