//! Placement among the holes of real IOMMUs.

use proptest::prelude::*;

use super::{LOWEST, Ranges};

const SMALL: u64 = 4096;
const LARGE: u64 = 2 << 20;

/// What Type1 says on an Intel machine: a hole for the messages of interrupts, 39 bits.
fn intel() -> Ranges {
    Ranges::new(vec![0xfef0_0000..=0x7f_ffff_ffff, 0..=0xfedf_ffff], 0x4020_1000)
}

#[test]
fn nothing_is_placed_at_the_bottom() {
    assert_eq!(intel().take(0, SMALL), Some(LOWEST));
}

#[test]
fn large_memory_lies_to_large_pages_as_its_addresses_do() {
    let mut ranges = intel();
    let iova = ranges.take(5 * LARGE + 3 * SMALL, 4 * LARGE).unwrap();
    assert_eq!(iova % LARGE, 3 * SMALL);
    let second = ranges.take(0, LARGE).unwrap();
    assert_eq!(second % LARGE, 0);
    assert!(second >= iova + 4 * LARGE);
}

#[test]
fn the_window_of_interrupt_messages_stays_free() {
    let (mut ranges, len) = (intel(), 0x3000_0000);
    let taken: Vec<u64> = (0..40).map(|_| ranges.take(0, len).unwrap()).collect();
    assert!(taken.iter().all(|first| first + len - 1 < 0xfee0_0000 || *first >= 0xfef0_0000));
    assert!(taken.iter().any(|first| *first < 0xfee0_0000) && taken.iter().any(|first| *first > 0xfef0_0000));
}

#[test]
fn what_is_given_back_is_taken_again() {
    let mut ranges = Ranges::new(vec![0..=LOWEST + 2 * SMALL - 1], SMALL);
    let first = ranges.take(0, SMALL).unwrap();
    let second = ranges.take(0, SMALL).unwrap();
    assert_eq!(ranges.take(0, SMALL), None);
    ranges.give_back(first);
    assert_eq!(ranges.take(0, SMALL), Some(first));
    ranges.give_back(second);
    assert_eq!(ranges.take(0, 2 * SMALL), None);
    ranges.give_back(0xdead_0000);
}

#[test]
fn the_last_address_of_all_can_be_used() {
    let mut ranges = Ranges::new(vec![u64::MAX - 0xfff..=u64::MAX], SMALL);
    assert_eq!(ranges.take(0, SMALL), Some(u64::MAX - 0xfff));
    assert_eq!(ranges.take(0, SMALL), None);
}

#[test]
fn an_iommu_without_ranges_has_no_room() {
    let mut ranges = Ranges::new(Vec::new(), 0);
    assert_eq!(ranges.page(), 4096);
    assert_eq!(ranges.take(0, SMALL), None);
}

proptest! {
    #[test]
    fn ranges_stay_inside_and_apart(
        holes in prop::collection::vec(0_u64..64, 1..6),
        steps in prop::collection::vec((any::<bool>(), 1_u64..1200, 0_u64..2000), 1..60),
    ) {
        let mut usable = Vec::new();
        let mut at = 0;
        for hole in holes {
            at += hole * SMALL * 17;
            usable.push(at..=at + 900 * SMALL - 1);
            at += 900 * SMALL;
        }
        let mut ranges = Ranges::new(usable.clone(), SMALL);
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for (take, pages, place) in steps {
            if !take && !taken.is_empty() {
                let (first, _) = taken.swap_remove(usize::try_from(place).unwrap() % taken.len());
                ranges.give_back(first);
                continue;
            }
            let (len, address) = (pages * SMALL, place * SMALL);
            let Some(first) = ranges.take(address, len) else { continue };
            let last = first + len - 1;
            prop_assert!(usable.iter().any(|range| range.contains(&first) && range.contains(&last)));
            prop_assert!(taken.iter().all(|&(other, bytes)| last < other || first > other + bytes - 1));
            prop_assert!(first % SMALL == address % SMALL && first >= LOWEST);
            taken.push((first, len));
        }
    }
}
