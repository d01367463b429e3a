//! Fuzz entry of the pages that a device answers with: a device may lie, too.

use super::identity::{CommandLimits, Identity};
use super::namespace::NamespaceInfo;
use super::reservation::ReservationReport;
use crate::spec::identify::IDENTIFY_BYTES;

/// Reads the bytes, filled up with zeros, as each page that the driver asks a device for.
///
/// # Panics
/// When what is read promises what it does not hold, which is a bug of this module.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut page = [0; IDENTIFY_BYTES];
    let given = bytes.len().min(IDENTIFY_BYTES);
    page[..given].copy_from_slice(&bytes[..given]);

    let identity = Identity::of(&page);
    assert!(identity.transfer_bytes() > 0);
    assert!(!identity.serial.contains(|character: char| character.is_control()));
    assert!(CommandLimits::of(&page).dataset_ranges > 0);

    let mut info = NamespaceInfo::of(1, &page);
    info.add_descriptors(&page);
    if info.refused.is_none() {
        assert!(info.shift().is_some_and(|shift| info.block_size == 1 << shift));
        assert!(info.blocks > 0 && info.blocks.checked_mul(info.block_size.into()).is_some());
    }
    assert!(info.copy.is_none_or(|copy| copy.range_blocks > 0 && copy.blocks > 0 && copy.ranges > 0));

    if let Some(report) = ReservationReport::decode(bytes) {
        assert!(ReservationReport::bytes(report.registrants.len()) <= bytes.len());
    }
}
