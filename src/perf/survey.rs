//! What there is at an address before a load is put on it. Waits for each answer.

use std::net::SocketAddr;

use crate::initiator::blocking::{Exchange, Host, HostError, HostOptions};
use crate::initiator::command;
use crate::perf::Space;
use crate::perf::stamp::Stamp;
use crate::spec::feature::NumberOfQueues;

/// Bytes at the beginning and at the end of a namespace that are looked at: partition tables and superblocks lie there.
const EDGE_BYTES: usize = 256 << 10;
/// The blocks between them that are looked at divide the namespace into so many parts.
const PLACES: u64 = 64;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The namespace.
    pub space: Space,
    /// I/O queues that the controller gives to one association, at most as many as were asked for.
    pub queues_max: u16,
    /// Commands that may be under way on an I/O queue.
    pub depth_max: u16,
}

/// Why a load cannot be put on what there is.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Connecting, or one of the questions, failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The subsystem has no namespace for this host.
    #[error("the subsystem has no active namespace")]
    NoNamespace,
    /// It has others.
    #[error("the subsystem has no active namespace {nsid}; it has {}", list(.active))]
    NoSuchNamespace {
        /// What was asked for.
        nsid: u32,
        /// What there is.
        active: Vec<u32>,
    },
}

/// Asks the controller at `address` for namespace `nsid`, or for its first one, and for `queues` I/O queues.
///
/// # Errors
/// [`SurveyError`].
///
/// # Panics
/// If `queues` is 0.
pub fn survey(
    address: SocketAddr,
    options: &HostOptions,
    nsid: Option<u32>,
    queues: u16,
) -> Result<Survey, SurveyError> {
    let options = HostOptions { io_queues: 0, ..options.clone() };
    let mut host = Host::connect(address, &options)?;
    let active = host.namespaces()?;
    let nsid = match nsid {
        None => *active.first().ok_or(SurveyError::NoNamespace)?,
        Some(nsid) if active.contains(&nsid) => nsid,
        Some(nsid) => return Err(SurveyError::NoSuchNamespace { nsid, active }),
    };
    let geometry = host.geometry(nsid)?;
    let given = host.admin(&command::number_of_queues(queues), Exchange::None)?.cqe.dw0.get();
    let given = NumberOfQueues::from_bits(given);
    let queues_max = given.submission_z().min(given.completion_z()).saturating_add(1).min(queues);
    let controller = host.controller();
    let survey = Survey {
        space: Space {
            nsid,
            block_size: geometry.block_size,
            blocks: geometry.blocks,
            transfer_bytes_max: controller.transfer_bytes_max().unwrap_or(u32::MAX),
        },
        queues_max,
        depth_max: controller.depth_max(),
    };
    host.leave();
    Ok(survey)
}

/// Looks whether somebody else has written to the namespace: at its beginning, at its end, and at some places between.
/// Returns the first block found that is neither zeros nor from a load generator.
///
/// # Errors
/// [`HostError`].
pub fn find_data(
    address: SocketAddr,
    options: &HostOptions,
    space: &Space,
) -> Result<Option<u64>, HostError> {
    let options = HostOptions { io_queues: 1, ..options.clone() };
    let mut host = Host::connect(address, &options)?;
    let block_size = space.block_size as usize;
    let edge = u32::try_from(EDGE_BYTES / block_size).unwrap_or(1).max(1);
    let edge = u32::try_from(space.blocks).map_or(edge, |blocks| edge.min(blocks));
    let between = (1..PLACES).map(|place| (space.blocks / PLACES * place, 1));
    let ranges = [(0, edge), (space.blocks - u64::from(edge), edge)].into_iter().chain(between);
    for (first, count) in ranges {
        let data = host.read(space.nsid, first, count)?;
        let foreign = (first..).zip(data.chunks_exact(block_size)).find(|(_, block)| !Stamp::is_ours(block));
        if let Some((lba, _)) = foreign {
            host.leave();
            return Ok(Some(lba));
        }
    }
    host.leave();
    Ok(None)
}

fn list(numbers: &[u32]) -> String {
    let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
