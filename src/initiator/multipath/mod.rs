//! Several ways to one namespace, and commands that survive the loss of all but one, or of all for a while.
//!
//! ```text
//!   management reactor            any thread               I/O reactors
//!   Keeper -------- publishes --> Board (atomics) <-- reads ----- Lane: an I/O queue on each path
//!     an admin queue on each path     <------------ complains ---   sends each command on the best path that works
//! ```
//!
//! The [`Keeper`] has one association without I/O queues for each path: it keeps it alive, makes it anew, listens to its
//! asynchronous events, and learns from Identify and from the ANA log what the path is good for. A [`Lane`] has an I/O
//! queue of its own to the controller of each path. It sends a command on the optimized paths in turn; where there is
//! none, on the non-optimized ones; and where there is none of these either, the command waits.
//!
//! What must hold:
//!
//! - A command that was not answered before its connection ended is sent again, unchanged, on whichever path works first.
//!   Its memory belongs to the lane until it has ended, so that the same bytes are sent. Nobody above was told of its end,
//!   so nobody counts on what was in those blocks before.
//! - The namespace behind a path is used only while it is the one that was found in the beginning: the same identifiers,
//!   the same block size, at least as many blocks.
//! - A command that finds no path fails after a time limit, and not sooner.
//!
//! A target that carries out the first sending of a write after it has answered the second could undo what was written
//! later. Targets that end what a connection brought before they take the host back do not; NVMe has no other answer than
//! to wait (base 2.2, section 9.6), and this host does not wait.

mod ana;
mod board;
mod cause;
mod fuzz;
mod keeper;
mod lane;
mod look;
mod namespace;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use crate::spec::cause::Cause;
pub use cause::Failed;
pub(super) use fuzz::fuzz;
pub use keeper::{Keeper, KeeperPoller, SharedKeeper};
pub use lane::{COMMANDS_MAX, Full, Lane, Request};
pub use look::{Found, LookError, look};
pub use namespace::{Copies, FormatError, Identifiers, Space, lacks_descriptors};

pub use board::Access;

use crate::initiator::{Backoff, Identity};
use board::Board;

/// Paths of one namespace at most.
pub const PATHS_MAX: usize = 8;

/// What to connect to, as whom, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the controllers are, 1 to [`PATHS_MAX`].
    pub paths: Vec<SocketAddr>,
    /// Who, and to what.
    pub identity: Identity,
    /// Lanes: I/O queues on each path, at least 1.
    pub lanes: u16,
    /// Commands that may be on the wire on each of a lane's queues, 1 to 65,534; a controller may allow fewer.
    pub depth: u16,
    /// Ask for header digests.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// KATO; zero for none.
    pub keep_alive: Duration,
    /// Time limit of connecting a queue, and of each command once it was sent.
    pub timeout: Duration,
    /// How long a command waits for a path.
    pub no_path_timeout: Duration,
    /// Between two attempts to connect: at first, and at most. Attempts never end.
    pub backoff: Backoff,
    /// The most data of one command, in bytes; MDTS may be less.
    pub transfer_bytes_max: u32,
}

/// A namespace with its paths: what lanes are opened on, from any thread. Clones share it.
#[derive(Clone, Debug)]
pub struct Paths(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    found: Found,
    board: Board,
}

impl Paths {
    /// The paths to what was found. Nothing is connected before a [`Keeper`] of them is polled.
    ///
    /// # Panics
    /// If there is no path, or more than [`PATHS_MAX`]; if the depth is 0 or 65,535.
    pub fn new(options: Options, found: Found) -> Self {
        assert!(!options.paths.is_empty());
        assert!(options.paths.len() <= PATHS_MAX);
        assert!(options.depth > 0);
        assert!(options.depth < u16::MAX);
        let board = Board::new(options.paths.len(), options.lanes);
        Self(Arc::new(Inner { options, found, board }))
    }

    /// What was found in the beginning.
    pub fn found(&self) -> &Found {
        &self.0.found
    }

    /// What each path is good for now, in their order.
    pub fn access(&self) -> Vec<Access> {
        self.0.board.paths().iter().map(|path| path.standing().access).collect()
    }
}
