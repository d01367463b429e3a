//! What a Type1 IOMMU says of itself, in the structures of `<linux/vfio.h>`.

#[cfg(test)]
mod tests;

use std::mem::{offset_of, size_of};
use std::ops::RangeInclusive;

use vfio_bindings::bindings::vfio::{
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_INFO_PGSIZES, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
    VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, vfio_info_cap_header, vfio_iommu_type1_info,
    vfio_iommu_type1_info_cap_iova_range, vfio_iommu_type1_info_dma_avail, vfio_iova_range,
};

/// Capabilities in one answer: the kernel knows three. A longer list is a loop.
const CAPABILITIES_MAX: usize = 64;
/// What an IOMMU can translate if it does not say (Linux before 5.4): below the window of interrupt messages on x86.
const USABLE_UNSAID: RangeInclusive<u64> = 0..=0xfedf_ffff;

/// What is known of an IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// Bit mask of page sizes; 0 if it does not say.
    pub(super) page_sizes: u64,
    /// Addresses that can be mapped: reserved windows are left out.
    pub(super) usable: Vec<RangeInclusive<u64>>,
    /// Mappings that can be made still.
    pub(super) mappings_left: Option<u32>,
}

impl Info {
    /// Reads the kernel's answer.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let flags = word(bytes, offset_of!(vfio_iommu_type1_info, flags)).unwrap_or(0);
        let sizes = double(bytes, offset_of!(vfio_iommu_type1_info, iova_pgsizes)).unwrap_or(0);
        let page_sizes = if flags & VFIO_IOMMU_INFO_PGSIZES == 0 { 0 } else { sizes };
        let mut info = Self { page_sizes, usable: vec![USABLE_UNSAID], mappings_left: None };
        if flags & VFIO_IOMMU_INFO_CAPS == 0 {
            return info;
        }
        let mut next = word(bytes, offset_of!(vfio_iommu_type1_info, cap_offset)).unwrap_or(0) as usize;
        for _ in 0..CAPABILITIES_MAX {
            // Offsets count from the beginning of the answer; 0 ends the list.
            let Some(capability) = bytes.get(next..).filter(|_| next >= size_of::<vfio_iommu_type1_info>())
            else {
                break;
            };
            match u32::from(half(capability, offset_of!(vfio_info_cap_header, id)).unwrap_or(0)) {
                VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE => info.usable = ranges(capability),
                VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL => {
                    info.mappings_left = word(capability, offset_of!(vfio_iommu_type1_info_dma_avail, avail));
                }
                _ => {}
            }
            next = word(capability, offset_of!(vfio_info_cap_header, next)).unwrap_or(0) as usize;
        }
        info
    }
}

/// The ranges of an IOVA range capability.
fn ranges(capability: &[u8]) -> Vec<RangeInclusive<u64>> {
    let count =
        word(capability, offset_of!(vfio_iommu_type1_info_cap_iova_range, nr_iovas)).unwrap_or(0) as usize;
    let list = capability.get(size_of::<vfio_iommu_type1_info_cap_iova_range>()..).unwrap_or(&[]);
    let entries = list.chunks_exact(size_of::<vfio_iova_range>()).take(count);
    entries
        .filter_map(|entry| {
            let start = double(entry, offset_of!(vfio_iova_range, start))?;
            Some(start..=double(entry, offset_of!(vfio_iova_range, end))?)
        })
        .collect()
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn double(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}
