//! The poller of a keeper. Wakes by its sockets, and by time, so that a complaint of a lane does not wait for long.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use corelane_reactors::poller::{Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;

use super::Keeper;

/// A keeper that its poller shares with whoever else on the same thread asks it for something.
pub type SharedKeeper = Rc<RefCell<Keeper>>;

/// Polls a keeper.
pub struct KeeperPoller {
    keeper: SharedKeeper,
    descriptor: OwnedFd,
    name: String,
}

impl KeeperPoller {
    /// A poller for this keeper.
    ///
    /// # Errors
    /// What the system says about a second descriptor of its poll group.
    pub fn new(keeper: SharedKeeper) -> io::Result<Self> {
        let (descriptor, name) = {
            let borrowed = keeper.borrow();
            let subsystem = &borrowed.paths.0.options.identity.subsystem;
            (borrowed.group.descriptor().try_clone_to_owned()?, format!("paths {subsystem}"))
        };
        Ok(Self { keeper, descriptor, name })
    }
}

impl Poller for KeeperPoller {
    fn name(&self) -> &str {
        &self.name
    }

    /// One batch. A keeper that somebody is using in this moment has its turn later.
    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        match self.keeper.try_borrow_mut() {
            Ok(mut keeper) => keeper.poll(turn.now()),
            Err(_) => Poll::Idle(Wake::Soon),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.descriptor.as_fd())
    }
}
