//! Why memory could not be had, in words that say what to do.

use std::{fmt, io};

/// Bytes of the pages that `corelane setup hugepages` adds when no size is named.
const SETUP_PAGE_BYTES: usize = 2 << 20;

/// Why memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ExtentError {
    /// Nothing was asked for, or more than there are addresses.
    #[error("{bytes} bytes are not a possible amount of memory")]
    Size {
        /// The refused length.
        bytes: usize,
    },
    /// The kernel was built or booted without hugepages.
    #[error("this system has no hugepages: use ordinary memory")]
    NoHugepages,
    /// The processor or the kernel has no hugepages of this size.
    #[error("this system has no hugepages of {}: use another page size, or ordinary memory", Size(*page_bytes))]
    NoPageSize {
        /// Bytes of one page.
        page_bytes: usize,
    },
    /// Fewer hugepages are free than are needed.
    #[error("{0}")]
    Hugepages(MissingHugepages),
    /// The process may not lock so much memory.
    #[error(
        "{bytes} bytes of memory cannot be locked, because this process may lock {limit} bytes: raise that with \
         `ulimit -l` or LimitMEMLOCK= of the service, run as root, or ask for less"
    )]
    LockedMemory {
        /// Bytes asked for.
        bytes: usize,
        /// RLIMIT_MEMLOCK, in bytes.
        limit: u64,
    },
    /// The kernel refused.
    #[error(
        "the system refuses {bytes} bytes of memory ({reason}): ask for less, or raise what limits it \
         (ulimit -v, vm.overcommit_memory, vm.max_map_count)"
    )]
    Refused {
        /// Bytes asked for.
        bytes: usize,
        /// What the kernel says.
        reason: io::Error,
    },
}

/// Hugepages that are needed and not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingHugepages {
    /// Pages needed.
    pub wanted: usize,
    /// Pages that are not there.
    pub missing: usize,
    /// Pages that the system, or its node, has altogether, used ones included.
    pub total: usize,
    /// Bytes of one page.
    pub page_bytes: usize,
    /// The NUMA node that they were to come from, where the machine has several.
    pub node: Option<u32>,
}

impl ExtentError {
    /// The same for a larger whole, of which `had` bytes were there before and `left` bytes were not even tried.
    #[must_use]
    pub fn among(self, had: usize, left: usize) -> Self {
        let Self::Hugepages(missing) = self else { return self };
        let pages = |bytes: usize| bytes.div_ceil(missing.page_bytes);
        Self::Hugepages(MissingHugepages {
            wanted: missing.wanted.saturating_add(pages(had)).saturating_add(pages(left)),
            missing: missing.missing.saturating_add(pages(left)),
            ..missing
        })
    }
}

impl fmt::Display for MissingHugepages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, missing, total, page_bytes, node } = *self;
        let size = Size(page_bytes);
        write!(formatter, "{wanted} hugepages of {size} are needed, {missing} of them are missing")?;
        if let Some(node) = node {
            write!(formatter, " on node {node}")?;
        }
        write!(formatter, ": add them with `corelane setup hugepages {}", total.saturating_add(missing))?;
        if page_bytes != SETUP_PAGE_BYTES {
            write!(formatter, " --size {size}")?;
        }
        if let Some(node) = node {
            write!(formatter, " --node {node}")?;
        }
        formatter.write_str("`, ask for less, or use ordinary memory")
    }
}

/// The size of a page as operators write it.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(1 << 30) => write!(formatter, "{}GiB", bytes >> 30),
            bytes if bytes.is_multiple_of(1 << 20) => write!(formatter, "{}MiB", bytes >> 20),
            bytes => write!(formatter, "{}KiB", bytes >> 10),
        }
    }
}
