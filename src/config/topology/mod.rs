//! The cores that a configuration may use, and what they share: comes in as a value, because this folder asks the
//! operating system nothing. Here is decided which cores `"auto"` takes.
//!
//! Invariant: `places` is ascending by core, and has each core once.

use super::cores;

/// Where a core is. What Linux calls a processor is a core here: one hardware thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its number, as the kernel counts.
    pub core: usize,
    /// What its hardware threads have in common: the number of the first of them.
    pub physical: usize,
    /// Its NUMA node; `None` if unknown.
    pub node: Option<usize>,
}

/// The cores that a process may use, and where they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    places: Vec<Place>,
}

impl Topology {
    /// Of these places; of two with the same core the first counts.
    #[must_use]
    pub fn new(mut places: Vec<Place>) -> Self {
        places.sort_by_key(|place| place.core);
        places.dedup_by_key(|place| place.core);
        Self { places }
    }

    /// Of cores of which nothing is known: each is taken for a physical core of its own, on no known node.
    #[must_use]
    pub fn flat(cores: &[usize]) -> Self {
        Self::new(cores.iter().map(|&core| Place { core, physical: core, node: None }).collect())
    }

    /// Every place, ascending by core.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Every core, ascending.
    #[must_use]
    pub fn cores(&self) -> Vec<usize> {
        self.places.iter().map(|place| place.core).collect()
    }

    /// Where a core is; `None` if it may not be used.
    #[must_use]
    pub fn place(&self, core: usize) -> Option<Place> {
        let at = self.places.binary_search_by_key(&core, |place| place.core).ok()?;
        Some(self.places[at])
    }

    /// The known NUMA nodes, ascending.
    #[must_use]
    pub fn nodes(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.places.iter().filter_map(|place| place.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Only the cores of one node.
    #[must_use]
    pub fn on_node(&self, node: usize) -> Self {
        self.only(|place| place.node == Some(node))
    }

    /// Only the places for which `keep` holds.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Place) -> bool) -> Self {
        Self { places: self.places.iter().copied().filter(keep).collect() }
    }

    /// The core for management beside these I/O cores: one that shares nothing with them, else one that none of them
    /// is, else the first. `None` without any core.
    #[must_use]
    pub fn management_beside(&self, io: &[usize]) -> Option<usize> {
        let physical: Vec<usize> = io.iter().filter_map(|&core| Some(self.place(core)?.physical)).collect();
        let mut places = self.places.iter();
        let apart = places.clone().find(|place| !physical.contains(&place.physical));
        let other = places.clone().find(|place| !io.contains(&place.core));
        apart.or(other).or(places.next()).map(|place| place.core)
    }

    /// The cores that `"auto"` takes for I/O, ascending, beside this management core. Without a `count` one on every
    /// physical core but that of management; where there is no other, one on its other thread, else on the same core.
    /// With a `count` so many, as far as there are cores: physical cores first, those of management's node first,
    /// then the other threads, and the management core last.
    #[must_use]
    pub fn io_beside(&self, management: usize, count: Option<usize>) -> Vec<usize> {
        let own = self.place(management);
        let mut seen = Vec::new();
        let mut ranked: Vec<(usize, bool, usize)> = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let rank = if place.core == management {
                3
            } else if own.is_some_and(|own| own.physical == place.physical) {
                1
            } else if seen.contains(&place.physical) {
                2
            } else {
                seen.push(place.physical);
                0
            };
            ranked.push((rank, own.is_some_and(|own| own.node != place.node), place.core));
        }
        ranked.sort_unstable();
        let apart = ranked.iter().filter(|(rank, ..)| *rank == 0).count();
        let mut cores: Vec<usize> =
            ranked.iter().take(count.unwrap_or(apart.max(1))).map(|(.., core)| *core).collect();
        cores.sort_unstable();
        cores
    }

    /// Two of these cores that are threads of one, and a core of their node whose threads all are free.
    #[must_use]
    pub fn needless_siblings(&self, used: &[usize]) -> Option<(usize, usize, usize)> {
        let places: Vec<Place> = used.iter().filter_map(|&core| self.place(core)).collect();
        let free = |place: &&Place| places.iter().all(|used| used.physical != place.physical);
        places.iter().enumerate().find_map(|(at, place)| {
            let sibling = places[..at].iter().find(|other| other.physical == place.physical)?;
            let free = self.places.iter().filter(free).find(|free| free.node == place.node)?;
            Some((sibling.core, place.core, free.core))
        })
    }
}

impl std::fmt::Display for Topology {
    /// `core 3`, or `cores 0-3,5`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let noun = if self.places.len() == 1 { "core" } else { "cores" };
        write!(formatter, "{noun} {}", cores::display(&self.cores()))
    }
}

#[cfg(test)]
mod tests;
