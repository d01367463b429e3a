//! What the system says about its hugepages.

use std::fs;

/// Hugepages of the default size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hugepages {
    /// Bytes of one page: a power of two.
    pub(super) page_bytes: usize,
    /// Pages that are free and promised to nobody.
    pub(super) available: usize,
}

impl Hugepages {
    /// Asks the system; `None` when it has none or does not say.
    pub(super) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    /// Reads the text of `/proc/meminfo`.
    pub(super) fn parse(meminfo: &str) -> Option<Self> {
        let field = |name: &str| -> Option<usize> {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let page_bytes = field("Hugepagesize")?.checked_mul(1024)?;
        let available = field("HugePages_Free")?.saturating_sub(field("HugePages_Rsvd")?);
        page_bytes.is_power_of_two().then_some(Self { page_bytes, available })
    }
}
