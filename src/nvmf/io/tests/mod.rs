//! Commands of an I/O queue: how they are judged, and what becomes of them on a device.

mod handover;
mod judgement;

use std::sync::Arc;

use uuid::Uuid;

use crate::bdev::{Bdev, Channel, Features, Geometry, Home, Malloc, Memory, Null, OpenError};
use crate::nvmf::access::Access;
use crate::nvmf::io::{Channels, LaneCounts, Limits, Namespaces};
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::spec::opcode::NvmOpcode;
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;

/// 2,048 blocks of 512 bytes of memory.
const MEMORY: u32 = 1;
/// 2^40 blocks of 4,096 bytes of nothing.
const VOID: u32 = 3;
/// As [`MEMORY`], but without any optional command.
const BARE: u32 = 4;
/// 1,024 blocks of 4,096 bytes of memory.
const LARGE: u32 = 5;
/// NN of the table.
const NSID_MAX: u32 = 16;
const LIMITS: Limits = Limits { transfer_bytes_max: 128 << 10 };

/// A device that carries out nothing optional.
#[derive(Debug)]
struct Bare(Malloc, Geometry);

impl Bdev for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn geometry(&self) -> &Geometry {
        &self.1
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        self.0.open(home)
    }
}

fn memory() -> Malloc {
    Malloc::new("memory", 1 << 20, 512).unwrap().for_one_reactor()
}

fn bare() -> Bare {
    let memory = memory();
    let features = Features { flush: true, ..Features::NONE };
    let geometry = Geometry { features, memory: Memory::Own, ..*memory.geometry() };
    Bare(memory, geometry)
}

/// The namespaces, with `first` as [`MEMORY`].
fn namespaces(first: Arc<dyn Bdev>) -> (Channels, Namespaces) {
    let void = Null::new("void", 1 << 52, 4096).unwrap();
    let namespace = |nsid, bdev| Namespace { nsid, uuid: Uuid::from_u128(nsid.into()), bdev };
    let large = Malloc::new("large", 4 << 20, 4096).unwrap();
    let all = vec![
        namespace(MEMORY, first),
        namespace(VOID, Arc::new(void)),
        namespace(BARE, Arc::new(bare())),
        namespace(LARGE, Arc::new(large)),
    ];
    let mut channels = Channels::new(Home::default());
    let namespaces = Namespaces::open(
        &NamespaceTable::new(all, NSID_MAX),
        false,
        Arc::new(Access::open(NSID_MAX)),
        &mut channels,
        &LaneCounts::default(),
    )
    .unwrap();
    (channels, namespaces)
}

/// A command on `blocks` blocks from `lba` on, with an SGL for data of its own PDUs.
fn on_blocks(opcode: NvmOpcode, nsid: u32, lba: u64, blocks: u32) -> Sqe {
    let mut sqe = Sqe::of(opcode.0, 7, nsid);
    sqe.set_starting_lba(lba);
    sqe.cdw12.set(blocks - 1);
    sqe.dptr = SglDescriptor::transport(blocks * if matches!(nsid, VOID | LARGE) { 4096 } else { 512 });
    sqe
}
