//! Doorbells in memory, and when the real one is wanted.

use super::*;
use crate::mem::Extent;
use crate::nvme::Iova;
use crate::nvme::tests::fake::Fake;

#[test]
fn an_index_passes_an_event_once() {
    let rows = [
        // event, old, new: rings
        (0, 0, 1, true),
        (0, 1, 2, false),
        (5, 3, 6, true),
        (6, 3, 6, false),
        (2, 3, 6, false),
        (u16::MAX, u16::MAX, 3, true),
        (3, 3, 3, false),
        // Around the end of a ring the numbers fall, and the distance is taken as on a ring of 65,536: it rings too often,
        // never too rarely.
        (1, 14, 2, true),
    ];
    for (event, old, new, rings) in rows {
        assert_eq!(is_passed(event, old, new), rings, "{event} {old} {new}");
    }
}

/// Rings of four entries whose doorbells are shadowed, and what the device sees of the shadow.
fn shadowed() -> (Rings<Fake>, Shadow) {
    let extent = Arc::new(Extent::ordinary(5 * 4096).unwrap());
    let page = |index: usize| Shared::new(Arc::clone(&extent), index * 4096..(index + 1) * 4096);
    let part = |index| Part { words: page(index), iova: Iova(0) };
    let shadow = Shadow { values: page(2), events: page(3), submission: 8, completion: 12 };
    let doorbells = Doorbells::of(1, 0);
    let memory = RingMemory {
        entries: 4,
        submission: part(0),
        completion: part(1),
        doorbells,
        shadow: shadow.clone(),
    };
    let mut rings = Rings::new(Fake::new(), memory);
    rings.set_shadowed(true);
    (rings, shadow)
}

#[test]
fn a_shadowed_doorbell_is_rung_only_when_the_device_asks() {
    let (mut rings, shadow) = shadowed();
    let mut counts = Counts::default();
    let mut push = |rings: &mut Rings<Fake>| {
        rings.push(&[0; 8]);
        rings.ring_submission(&mut counts);
        (counts.submission_doorbells, counts.shadow_doorbells)
    };
    // The device sleeps at index 0: the first entry wakes it, later ones do not.
    assert_eq!(push(&mut rings), (1, 1));
    assert_eq!(push(&mut rings), (1, 2));
    assert_eq!(shadow.values.load_u32(shadow.submission), 2);
    // It has fetched both and sleeps again.
    shadow.events.store_u32(shadow.submission, 2);
    assert_eq!(push(&mut rings), (2, 3));
    // New queues begin with nothing in the shadow.
    rings.clear();
    assert_eq!(shadow.values.load_u32(shadow.submission), 0);
    assert_eq!(shadow.events.load_u32(shadow.submission), 0);
}
