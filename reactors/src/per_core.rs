//! One value per reactor, each on cache lines of its own.
//!
//! The reactor writes its own value without contention; anybody may read all of them, to add them
//! up. The values are shared, so what changes in them are atomics, for instance
//! [`crate::stats::Counter`].

use std::fmt;

use crossbeam::utils::CachePadded;

use crate::reactor::Turn;

/// An array by reactor index. See [`crate::group::Group::per_core`].
pub struct PerCore<T> {
    values: Box<[CachePadded<T>]>,
}

impl<T> PerCore<T> {
    /// One value for each of `reactors`, made from the index.
    pub fn new(reactors: usize, make: impl FnMut(usize) -> T) -> Self {
        PerCore { values: (0..reactors).map(make).map(CachePadded::new).collect() }
    }

    /// The value of the reactor whose turn this is.
    ///
    /// # Panics
    ///
    /// When the array was made for fewer reactors than the turn's group has.
    pub fn own(&self, turn: &Turn<'_>) -> &T {
        &self.values[turn.reactor()]
    }

    /// All values, in order of the reactors' indices; for reading.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().map(|value| &**value)
    }
}

impl<T: fmt::Debug> fmt::Debug for PerCore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
