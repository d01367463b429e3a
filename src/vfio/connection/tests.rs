//! What may be mapped of a BAR.

use vfio_bindings::bindings::vfio::{VFIO_REGION_INFO_FLAG_MMAP, vfio_region_info};
use vfio_ioctls::{VfioRegionInfoCap, VfioRegionInfoCapSparseMmap, VfioRegionSparseMmapArea};

use super::mappable;

fn sparse(areas: &[(u64, u64)]) -> VfioRegionInfoCap {
    let areas = areas.iter().map(|&(offset, size)| VfioRegionSparseMmapArea { offset, size }).collect();
    VfioRegionInfoCap::SparseMmap(VfioRegionInfoCapSparseMmap { areas })
}

#[test]
fn no_page_is_mapped_that_the_kernel_keeps() {
    let rows = [
        // whether it can be mapped, capabilities, offset of the interrupt vectors, bytes
        (false, vec![VfioRegionInfoCap::MsixMappable], None, 0),
        (true, vec![], None, 0x4000),
        (true, vec![], Some(0x2000), 0x2000),
        (true, vec![], Some(0x1_0000), 0x4000),
        (true, vec![VfioRegionInfoCap::MsixMappable], Some(0x2000), 0x4000),
        (true, vec![sparse(&[(0x3000, 0x1000), (0, 0x2000)])], Some(0x2000), 0x2000),
        (true, vec![sparse(&[(0x3000, 0x1000)])], Some(0), 0),
        (true, vec![sparse(&[(0, 0x10_0000)])], None, 0x4000),
    ];
    for (can, capabilities, vectors, bytes) in rows {
        let flags = if can { VFIO_REGION_INFO_FLAG_MMAP } else { 0 };
        let region = vfio_region_info { flags, size: 0x4000, ..Default::default() };
        assert_eq!(mappable(&region, &capabilities, vectors), bytes, "{capabilities:?} {vectors:?}");
    }
}
