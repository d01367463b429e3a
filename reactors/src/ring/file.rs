//! A file in the table of a ring.

use std::{fmt, os::fd::BorrowedFd, rc::Rc};

use super::{RingError, shared::Shared};

/// A file that a ring holds open. Operations in flight keep it open beyond its drop.
pub struct FixedFile {
    ring: Rc<Shared>,
    /// A place in the table that this value alone has.
    index: u32,
}

impl FixedFile {
    pub(super) fn new(ring: Rc<Shared>, file: BorrowedFd<'_>) -> Result<Self, RingError> {
        let index = ring.add_file(file)?;
        Ok(Self { ring, index })
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn is_of(&self, ring: &Rc<Shared>) -> bool {
        Rc::ptr_eq(&self.ring, ring)
    }
}

impl Drop for FixedFile {
    fn drop(&mut self) {
        self.ring.remove_file(self.index);
    }
}

impl fmt::Debug for FixedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedFile").field("index", &self.index).finish_non_exhaustive()
    }
}
