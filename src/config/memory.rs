//! The memory that data moves through: how much each I/O reactor has, of which pages, and since when.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Findings, Place};
use super::limits::Knob;
use super::size::{ByteSize, SizeText};

/// Range of `bytes_per_reactor`, and what it is where memory is taken whole at the start.
pub const BYTES_PER_REACTOR: Knob<ByteSize> = Knob {
    min: ByteSize::new(16 << 20),
    max: ByteSize::new(1 << 40),
    default: ByteSize::new(256 << 20),
    unit: "bytes",
};
/// Sizes of hugepages that can be asked for.
const PAGE_SIZES: [ByteSize; 2] = [ByteSize::new(2 << 20), ByteSize::new(1 << 30)];

/// The memory of the I/O reactors as the file has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object such as {\"hugepages\": \"always\"}")]
#[schemars(rename = "Memory")]
pub struct MemoryEntry {
    /// Memory of each I/O reactor for the data of its queues, from `"16MiB"` to `"1TiB"`: each queue takes up to 4 MiB when
    /// it connects, and is refused when too little is left. Default: `"256MiB"` where memory is taken whole at the start;
    /// elsewhere as much as `connections_max` queues take, because it is not used before it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_reactor: Option<SizeText>,
    /// Whether that memory lies in huge pages. Default `auto`.
    pub hugepages: HugepagesName,
    /// Size of the huge pages, `"2MiB"` or `"1GiB"`. Default: the system's default size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<SizeText>,
    /// Whether that memory is taken whole and locked at the start, so that no command ever waits for a page.
    /// Default false: it is taken when it is first written, unless huge pages or devices need all of it.
    pub populate: bool,
}

/// When memory lies in huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Hugepages")]
pub enum HugepagesName {
    /// Where memory is taken whole at the start and enough are free.
    #[default]
    Auto,
    /// Always; the target does not start when too few are free.
    Always,
    /// Never.
    Never,
}

/// The memory of the I/O reactors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Bytes for each I/O reactor; `None`: as much as it takes.
    pub bytes_per_reactor: Option<ByteSize>,
    /// When it lies in huge pages.
    pub hugepages: HugepagesName,
    /// Size of the huge pages: 2 MiB or 1 GiB; `None`: the system's default.
    pub page_size: Option<ByteSize>,
    /// Whether it is taken whole and locked at the start.
    pub populate: bool,
}

impl MemoryEntry {
    /// Checks every value against its range.
    pub(super) fn check(&self, place: &Place, findings: &mut Findings) -> Memory {
        let Self { hugepages, populate, .. } = *self;
        let bytes =
            size(self.bytes_per_reactor.as_ref(), &place.key("bytes_per_reactor"), findings, |size| {
                let Knob { min, max, .. } = BYTES_PER_REACTOR;
                let problem = format!("is {size}; it must be from {min} to {max}");
                if (min..=max).contains(&size) { Ok(()) } else { Err(problem) }
            });
        let page_size = place.key("page_size");
        if self.page_size.is_some() && hugepages == HugepagesName::Never {
            findings.error(
                page_size.clone(),
                "belongs to huge pages, and \"hugepages\" is \"never\"; leave one out",
            );
        }
        let page_size = size(self.page_size.as_ref(), &page_size, findings, |size| {
            let [small, large] = PAGE_SIZES;
            let problem = format!("is {size}; it must be {small} or {large}");
            if PAGE_SIZES.contains(&size) { Ok(()) } else { Err(problem) }
        });
        Memory { bytes_per_reactor: bytes, hugepages, page_size, populate }
    }
}

fn size(
    text: Option<&SizeText>,
    place: &Place,
    findings: &mut Findings,
    check: impl Fn(ByteSize) -> Result<(), String>,
) -> Option<ByteSize> {
    let text = text?;
    let size = text.resolve().map_err(|problem| format!("{text} {problem}"));
    match size.and_then(|size| check(size).map(|()| size)) {
        Ok(size) => Some(size),
        Err(problem) => {
            findings.error(place.clone(), problem);
            None
        }
    }
}

impl From<Memory> for MemoryEntry {
    fn from(memory: Memory) -> Self {
        Self {
            bytes_per_reactor: memory.bytes_per_reactor.map(Into::into),
            hugepages: memory.hugepages,
            page_size: memory.page_size.map(Into::into),
            populate: memory.populate,
        }
    }
}

impl fmt::Display for Memory {
    /// As `corelane check` shows it: `memory: 256MiB for each I/O reactor, always in huge pages of 1GiB`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes_per_reactor {
            Some(bytes) => write!(formatter, "memory: {bytes} for each I/O reactor")?,
            None => formatter.write_str("memory: as much as each I/O reactor needs")?,
        }
        match self.hugepages {
            HugepagesName::Auto => {}
            HugepagesName::Always => formatter.write_str(", always in huge pages")?,
            HugepagesName::Never => formatter.write_str(", never in huge pages")?,
        }
        match (self.page_size, self.hugepages) {
            (Some(size), HugepagesName::Auto) => write!(formatter, ", huge pages of {size}")?,
            (Some(size), _) => write!(formatter, " of {size}")?,
            (None, _) => {}
        }
        formatter.write_str(if self.populate { ", taken and locked at the start" } else { "" })
    }
}
