//! Limits of the target that hosts see. Every value here was checked by whoever made it; nothing below checks
//! again.

/// What the target offers, and to how many.
#[derive(Clone, Debug)]
pub struct Options {
    /// Controllers, of all subsystems and discovery together; one more is answered Controller Busy. At least
    /// 1.
    pub controllers_max: usize,
    /// Queues of one host, by its NQN, over all controllers; one more is answered Controller Busy. At least 2.
    pub connections_per_host_max: usize,
    /// I/O queues of one controller, 1 to 65,534.
    pub io_queues_max: u16,
    /// Entries of an I/O queue, 2 to 65,536; hosts see it as CAP.MQES + 1 and as MAXCMD.
    pub io_entries_max: u32,
    /// Entries of an admin queue, 32 to 4,096 (32 is the least that ASQSZ may say).
    pub admin_entries_max: u32,
    /// MDTS: the largest transfer of a command is 4,096 << MDTS bytes; 0 for no limit.
    pub mdts: u8,
    /// The shortest and the longest keep alive timeout in milliseconds: whole [`KAS`](super::controller::KAS) units; a
    /// shorter one is rounded up, a longer one refused.
    pub keep_alive_ms: (u32, u32),
    /// In-capsule data of an I/O queue in bytes, a multiple of 16; hosts see it in IOCCSZ.
    pub in_capsule_bytes: u32,
    /// FR: the firmware revision, at most 8 printable ASCII characters.
    pub firmware: String,
}

impl Default for Options {
    /// 1,024 controllers of 64 queues with 128 entries, transfers of 128 KiB, 8 KiB in a capsule.
    fn default() -> Self {
        Self {
            controllers_max: 1024,
            connections_per_host_max: 1024,
            io_queues_max: 64,
            io_entries_max: 128,
            admin_entries_max: 128,
            mdts: 5,
            keep_alive_ms: (1_000, 3_600_000),
            in_capsule_bytes: 8192,
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Options {
    /// The largest transfer of a command in bytes; `None` for no limit.
    pub fn transfer_bytes_max(&self) -> Option<u64> {
        (self.mdts != 0).then(|| 4096 << self.mdts)
    }

    /// Panics where a value is out of the range that its field names: configuration has checked it.
    pub(super) fn assert_ranges(&self) {
        assert!(self.controllers_max >= 1);
        assert!((1..=65_534).contains(&self.io_queues_max));
        assert!((2..=65_536).contains(&self.io_entries_max));
        assert!((32..=4_096).contains(&self.admin_entries_max));
        assert!(self.mdts < 32);
        assert!(self.keep_alive_ms.0 <= self.keep_alive_ms.1);
        assert!(self.in_capsule_bytes.is_multiple_of(16));
    }
}
