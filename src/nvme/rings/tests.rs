//! Doorbells in memory, and when the real one is wanted.

use super::*;

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
