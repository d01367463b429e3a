//! The memory that data moves through: one arena for each I/O reactor, taken before block devices are made, so that
//! those can map it, and before reactors start, so that what is missing keeps the appliance from starting.

use std::sync::Arc;

use crate::app::ServeError;
use crate::config::{ByteSize, Config, HugepagesName, memory::BYTES_PER_REACTOR};
use crate::mem::{self, Arena, ArenaBacking, ArenaOptions, Extent, ExtentError, PageSize, PoolMemory};
use crate::transport::Settings;

/// The arenas of the I/O reactors.
pub(super) struct Memory {
    arenas: Vec<Arena>,
}

impl Memory {
    /// Takes an arena for each I/O reactor of the configuration, in its order.
    ///
    /// # Errors
    /// [`ServeError::Memory`].
    pub(super) fn take(config: &Config, settings: &Settings) -> Result<Self, ServeError> {
        let cores = &config.reactors.io;
        let all: Vec<_> =
            cores.iter().map(|&core| options(config, settings, mem::node_of_core(core))).collect();
        let mut arenas = Vec::with_capacity(cores.len());
        for (index, (&core, wanted)) in cores.iter().zip(&all).enumerate() {
            let failed = |source: ExtentError| {
                // What is missing is told for all reactors of the node at once.
                let same = |options: &&ArenaOptions| options.node == wanted.node;
                let bytes =
                    |options: &[ArenaOptions]| options.iter().filter(same).map(|options| options.bytes).sum();
                let source = source.among(bytes(&all[..index]), bytes(&all[index + 1..]));
                ServeError::Memory { core, source }
            };
            let arena = Arena::new(wanted).map_err(failed)?;
            tell(core, &arena, wanted);
            arenas.push(arena);
        }
        Ok(Self { arenas })
    }

    /// What devices map: every extent that commands' data can lie in.
    pub(super) fn extents(&self) -> Vec<Arc<Extent>> {
        self.arenas.iter().flat_map(Arena::extents).cloned().collect()
    }

    /// For each I/O reactor, the extents of its arena and the buffers of its queues.
    pub(super) fn carve(self, settings: &Settings) -> Vec<(Vec<Arc<Extent>>, PoolMemory)> {
        let lane = |mut arena: Arena| {
            let Some(pool) = settings.carve(&mut arena) else {
                unreachable!("the least memory that is taken is enough for the deepest queue")
            };
            (arena.extents().to_vec(), pool)
        };
        self.arenas.into_iter().map(lane).collect()
    }
}

fn options(config: &Config, settings: &Settings, node: u32) -> ArenaOptions {
    let memory = &config.memory;
    let whole = config.takes_memory_whole();
    let bytes = match memory.bytes_per_reactor {
        Some(bytes) => usize::try_from(bytes.bytes()).unwrap_or(usize::MAX),
        None if whole => usize::try_from(BYTES_PER_REACTOR.default.bytes()).unwrap_or(usize::MAX),
        None => settings.queue_bytes().saturating_mul(settings.connections_max),
    };
    let backing = match memory.hugepages {
        HugepagesName::Always => ArenaBacking::Hugepages,
        HugepagesName::Auto if whole => ArenaBacking::Best,
        HugepagesName::Auto | HugepagesName::Never => ArenaBacking::Ordinary,
    };
    let page_size = match memory.page_size.map(ByteSize::bytes) {
        None => PageSize::System,
        Some(bytes) if bytes == 1 << 30 => PageSize::Gib1,
        Some(_) => PageSize::Mib2,
    };
    ArenaOptions { bytes, backing, page_size, node: Some(node), populate: whole, lock: memory.populate }
}

/// Says what was taken, where it was taken whole.
fn tell(core: usize, arena: &Arena, wanted: &ArenaOptions) {
    let bytes = |bytes: usize| ByteSize::new(bytes as u64);
    if wanted.populate {
        let (all, huge) = (bytes(arena.bytes()), bytes(arena.hugepage_bytes()));
        let node = arena.extents()[0].node();
        tracing::info!(core, bytes = %all, in_hugepages = %huge, node, "took the memory of an I/O reactor");
    }
    if wanted.backing == ArenaBacking::Best && arena.hugepage_bytes() < arena.bytes() {
        tracing::info!(core, "too few huge pages are free: the reactor's memory is in ordinary pages");
    }
}

#[cfg(test)]
mod tests;
