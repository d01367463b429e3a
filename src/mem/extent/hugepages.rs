//! What the system says about its hugepages: how large they are, and how many there are.

use std::fs;

use super::ExtentError;
use super::error::MissingHugepages;

/// Which hugepages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageSize {
    /// Those of the system's default size.
    #[default]
    System,
    /// Those of 2 MiB.
    Mib2,
    /// Those of 1 GiB.
    Gib1,
}

/// Hugepages of one size, of the whole machine or of one NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hugepages {
    /// Bytes of one page: a power of two.
    pub(super) page_bytes: usize,
    /// Pages that there are, used ones included.
    pub(super) total: usize,
    /// Pages that are free and, as far as the system says, promised to nobody.
    pub(super) available: usize,
}

impl Hugepages {
    /// Asks the system about the pages of a size, on one node or on all.
    ///
    /// # Errors
    ///
    /// [`ExtentError::NoHugepages`], [`ExtentError::NoPageSize`].
    pub(super) fn read(page_size: PageSize, node: Option<u32>) -> Result<Self, ExtentError> {
        let meminfo = fs::read_to_string("/proc/meminfo").ok();
        let default = meminfo.and_then(|text| Self::parse(&text)).ok_or(ExtentError::NoHugepages)?;
        let page_bytes = page_size.bytes().unwrap_or(default.page_bytes);
        if page_bytes == default.page_bytes && node.is_none() {
            return Ok(default);
        }
        Self::of_folder(page_bytes, node).ok_or(ExtentError::NoPageSize { page_bytes })
    }

    /// Reads the text of `/proc/meminfo`: the pages of the default size. `None` when it names none.
    pub(super) fn parse(meminfo: &str) -> Option<Self> {
        let field = |name: &str| -> Option<usize> {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let page_bytes = field("Hugepagesize")?.checked_mul(1024)?;
        let available = field("HugePages_Free")?.saturating_sub(field("HugePages_Rsvd")?);
        let total = field("HugePages_Total")?;
        page_bytes.is_power_of_two().then_some(Self { page_bytes, total, available })
    }

    /// Reads the files that the kernel has for each size.
    fn of_folder(page_bytes: usize, node: Option<u32>) -> Option<Self> {
        let parent = match node {
            Some(node) => format!("/sys/devices/system/node/node{node}"),
            None => "/sys/kernel/mm".to_owned(),
        };
        let folder = format!("{parent}/hugepages/hugepages-{}kB", page_bytes / 1024);
        let number = |name| -> Option<usize> {
            fs::read_to_string(format!("{folder}/{name}")).ok()?.trim().parse().ok()
        };
        // What is promised is counted for the whole machine only.
        let promised = number("resv_hugepages").unwrap_or(0);
        let available = number("free_hugepages")?.saturating_sub(promised);
        Some(Self { page_bytes, total: number("nr_hugepages")?, available })
    }

    /// The error for `wanted` pages, if so many are not there.
    pub(super) fn missing(&self, wanted: usize, node: Option<u32>) -> Option<ExtentError> {
        let Self { page_bytes, total, available } = *self;
        let missing = wanted.checked_sub(available).filter(|&missing| missing > 0)?;
        let missing = MissingHugepages { wanted, missing, total, page_bytes, node };
        Some(ExtentError::Hugepages(missing))
    }
}

impl PageSize {
    /// Bytes of a page; `None` for the system's default.
    pub fn bytes(self) -> Option<usize> {
        match self {
            Self::System => None,
            Self::Mib2 => Some(2 << 20),
            Self::Gib1 => Some(1 << 30),
        }
    }
}
