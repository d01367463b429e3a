//! What kind of controller is emulated.

use uuid::Uuid;

use crate::nvme::CopyLimits;

/// The controller's shape. The default is a plain one: SGLs, every optional command, a volatile write cache, one
/// namespace of 512-byte blocks.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its namespaces; the first has NSID 1.
    pub namespaces: Vec<NamespaceOptions>,
    /// Entries of the largest I/O queue: CAP.MQES + 1, 2 to 65,536.
    pub queue_entries_max: u32,
    /// I/O queue pairs that it grants, 1 to 128.
    pub queue_pairs_max: u16,
    /// DSTRD: doorbells lie `4 << dstrd` bytes apart, 0 to 8.
    pub dstrd: u8,
    /// MDTS: largest transfer, in pages of 4,096 bytes, as a power of two; 0 for no limit.
    pub mdts: u8,
    /// I/O commands may use SGLs.
    pub sgls: bool,
    /// There is a volatile write cache: writes that were not flushed or forced can be lost by
    /// [`super::Emulated::lose_power`].
    pub volatile_write_cache: bool,
    /// Compare, Write Zeroes, Dataset Management, Verify, Copy and reservations are supported.
    pub optional_commands: bool,
    /// Doorbell Buffer Config is supported.
    pub shadow_doorbells: ShadowDoorbells,
    /// Steps that it takes to become ready, and to stop.
    pub ready_steps: u32,
    /// CAP.TO: worst case time of either, in units of 500 ms.
    pub ready_timeout: u8,
    /// MPSMIN and MPSMAX: the only page size, as a power of two over 4,096; 0 or more.
    pub page_shift: u8,
    /// Commands that one step takes from each queue.
    pub burst: u32,
}

/// One namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceOptions {
    /// Bytes of a block: a power of two from 512.
    pub block_size: u32,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of metadata that each block has.
    pub metadata: u16,
    /// Its UUID; nil for none.
    pub uuid: Uuid,
    /// What one Copy may ask for; with `None`, it says 0 of everything and rejects each, though the controller offers
    /// Copy.
    pub copy: Option<CopyLimits>,
}

/// How a controller treats doorbells in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowDoorbells {
    /// It has none.
    None,
    /// It wants the real doorbell rung for whatever is new.
    Rung,
    /// It looks at memory all the time, and wants no doorbell rung.
    Polled,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: vec![NamespaceOptions::default()],
            queue_entries_max: 1024,
            queue_pairs_max: 8,
            dstrd: 0,
            mdts: 5,
            sgls: true,
            volatile_write_cache: true,
            optional_commands: true,
            shadow_doorbells: ShadowDoorbells::None,
            ready_steps: 2,
            ready_timeout: 20,
            page_shift: 0,
            burst: 64,
        }
    }
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        Self {
            block_size: 512,
            blocks: 64 << 10,
            metadata: 0,
            uuid: Uuid::from_u128(0x5eed_0001),
            copy: Some(CopyLimits { range_blocks: 256, blocks: 256, ranges: 16 }),
        }
    }
}
