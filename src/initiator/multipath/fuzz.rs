//! Fuzz entry of what a path says of the namespace behind it.

use super::ana;
use super::namespace::{Identifiers, Space};
use crate::spec::identify::IDENTIFY_BYTES;

/// Reads the bytes as an ANA log, and, filled up with zeros, as what Identify says of a namespace.
pub(in crate::initiator) fn fuzz(bytes: &[u8]) {
    for group in [0, 1, u32::MAX] {
        let _ = ana::access_of(ana::state_of(group, bytes));
    }
    let mut page = [0; IDENTIFY_BYTES];
    let given = bytes.len().min(IDENTIFY_BYTES);
    page[..given].copy_from_slice(&bytes[..given]);
    if let Ok(space) = Space::of(&page) {
        assert!(space.block_size.is_power_of_two() && (512..=65_536).contains(&space.block_size));
        assert!(space.blocks > 0 && space.blocks.checked_mul(space.block_size.into()).is_some());
    }
    let _ = Identifiers::of(&page).add(&page);
}
