//! What a namespace is like, before the jobs that use it begin.

use corelane::initiator::blocking::{Host, HostError, HostOptions};

use crate::pcie::{self, PcieError};
use crate::target::Target;

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) nsid: u32,
    /// Bytes of a block.
    pub(crate) block_size: u32,
    pub(crate) bytes: u64,
    /// The most data of one I/O, in bytes.
    pub(crate) transfer_bytes_max: u64,
}

/// Why a namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Pcie(#[from] PcieError),
    #[error("there is no active namespace")]
    None,
    #[error("there is no active namespace {nsid}; active are {active:?}")]
    Other { nsid: u32, active: Vec<u32> },
    #[error("{0}")]
    Format(corelane::nvme::FormatError),
    #[error("namespace {0} has more bytes than can be counted")]
    Size(u32),
}

/// Looks at namespace `nsid`, or at the first one where it is 0.
pub(crate) fn survey(target: &Target, nsid: u32) -> Result<Geometry, SurveyError> {
    match target {
        Target::Tcp { address, options } => {
            let options = HostOptions { io_queues: 0, ..(**options).clone() };
            let mut host = Host::connect(*address, &options)?;
            let nsid = choose(nsid, host.namespaces()?)?;
            let geometry = host.geometry(nsid)?;
            let limit = host.controller().transfer_bytes_max().unwrap_or(u32::MAX);
            let transfer_bytes_max = u64::from(limit.min(options.transfer_bytes_max));
            // What it had to say is known.
            let _ = host.disconnect();
            found(nsid, geometry.block_size, geometry.blocks, transfer_bytes_max)
        }
        Target::Pcie { address, depth, timeout } => {
            let namespaces = pcie::survey(*address, *depth, *timeout)?;
            let nsid = choose(nsid, namespaces.iter().map(|info| info.nsid).collect())?;
            let info = namespaces.iter().find(|info| info.nsid == nsid).ok_or(SurveyError::None)?;
            if let Some(refused) = info.refused {
                return Err(SurveyError::Format(refused));
            }
            // The driver splits what is too long for one command.
            found(nsid, info.block_size, info.blocks, u64::MAX)
        }
    }
}

fn choose(nsid: u32, active: Vec<u32>) -> Result<u32, SurveyError> {
    match nsid {
        0 => active.first().copied().ok_or(SurveyError::None),
        nsid if active.contains(&nsid) => Ok(nsid),
        nsid => Err(SurveyError::Other { nsid, active }),
    }
}

fn found(nsid: u32, block_size: u32, blocks: u64, transfer_bytes_max: u64) -> Result<Geometry, SurveyError> {
    let bytes = blocks.checked_mul(block_size.into()).ok_or(SurveyError::Size(nsid))?;
    Ok(Geometry { nsid, block_size, bytes, transfer_bytes_max })
}

#[cfg(test)]
mod tests;
