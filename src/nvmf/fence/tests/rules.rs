//! What I/O reactors judge by.

use super::{PERSISTENT, acquire, host, id, register};
use crate::nvmf::fence::{HostSlots, Rules, Snapshot};
use crate::reservation::{Kind, State, transition};
use crate::spec::host::HostId;
use crate::spec::status::Status;

const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();
/// Slots of a rule's hosts: who acquired, who is registered, who is neither; and a slot that the rule does not know.
const HOLDER: u32 = 0;
const REGISTRANT: u32 = 1;
const OTHER: u32 = 2;
const BEYOND: u32 = 3;

/// Host 1 acquired, and hosts up to `registrants` are registered.
fn held(kind: Kind, registrants: u8) -> State {
    let mut state = State::new();
    for number in 1..=registrants {
        state = transition(&state, &host(number), &register(number, None), PERSISTENT).unwrap().next;
    }
    transition(&state, &host(1), &acquire(1, kind), PERSISTENT).unwrap().next
}

#[test]
fn rights_follow_the_type() {
    let rows = [
        // type, then read and write of the holder, of a registrant, of others.
        (Kind::WriteExclusive, [true, true], [true, false], [true, false]),
        (Kind::ExclusiveAccess, [true, true], [false, false], [false, false]),
        (Kind::WriteExclusiveRegistrantsOnly, [true, true], [true, true], [true, false]),
        (Kind::ExclusiveAccessRegistrantsOnly, [true, true], [true, true], [false, false]),
        (Kind::WriteExclusiveAllRegistrants, [true, true], [true, true], [true, false]),
        (Kind::ExclusiveAccessAllRegistrants, [true, true], [true, true], [false, false]),
    ];
    for (kind, holder, registrant, other) in rows {
        let rules = Rules::of(&held(kind, 2), false, &[id(1), id(2), id(3)]);
        let slots = [(HOLDER, holder), (REGISTRANT, registrant), (OTHER, other), (BEYOND, other)];
        for (slot, [read, write]) in slots.into_iter().chain([(u32::MAX, other)]) {
            for (writes, allowed) in [(false, read), (true, write)] {
                let expected = if allowed { Ok(()) } else { Err(CONFLICT) };
                assert_eq!(rules.judge(slot, writes), expected, "{kind:?}, slot {slot}, writes {writes}");
            }
        }
        assert!(!rules.is_fenced());
    }
}

#[test]
fn nobody_writes_to_a_namespace_that_is_write_protected_and_readers_are_not_disturbed() {
    const PROTECTED: Status = Status::WRITE_PROTECTED.with_dnr();
    let hosts = [id(1), id(2), id(3)];
    let mut states: Vec<_> = Kind::ALL.into_iter().map(|kind| held(kind, 2)).collect();
    states.push(State::new());
    for state in states {
        let (open, rules) = (Rules::of(&state, false, &hosts), Rules::of(&state, true, &hosts));
        for slot in [HOLDER, REGISTRANT, OTHER, BEYOND, u32::MAX] {
            assert_eq!(rules.judge(slot, false), open.judge(slot, false), "{:?}, slot {slot}", state.kind());
            assert_eq!(rules.judge(slot, true), Err(PROTECTED), "{:?}, slot {slot}", state.kind());
        }
        assert!(!rules.is_fenced());
    }
}

#[test]
fn many_slots_are_told_apart() {
    // Registered and other hosts by turns, over more than four words of the bitmaps.
    let mut slots = HostSlots::default();
    for number in 0..257u16 {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&(number + 1).to_le_bytes());
        assert_eq!(slots.take(HostId(bytes)), (u32::from(number), true));
    }
    let mut state = State::new();
    for slot in (0..257).step_by(2) {
        let mut registrant = host(1);
        registrant.id = slots.hosts()[slot];
        state = transition(&state, &registrant, &register(1, None), PERSISTENT).unwrap().next;
    }
    let mut holder = host(1);
    holder.id = slots.hosts()[256];
    let kind = Kind::ExclusiveAccessRegistrantsOnly;
    state = transition(&state, &holder, &acquire(1, kind), PERSISTENT).unwrap().next;
    let rules = Rules::of(&state, false, slots.hosts());
    for slot in 0..257 {
        let expected = if slot % 2 == 0 { Ok(()) } else { Err(CONFLICT) };
        assert_eq!(rules.judge(slot, true), expected, "{slot}");
        assert_eq!(rules.judge(slot, false), expected, "{slot}");
    }
    assert_eq!(rules.judge(257, false), Err(CONFLICT));
}

#[test]
fn a_host_keeps_its_slot() {
    let mut slots = HostSlots::default();
    assert_eq!(
        [1, 2, 1, 3, 2].map(|number| slots.take(id(number))),
        [(0, true), (1, true), (0, false), (2, true), (1, false)]
    );
    assert_eq!(slots.hosts(), [id(1), id(2), id(3)]);
}

#[test]
fn a_slot_is_free_after_the_last_queue_of_its_host_and_new_to_the_next() {
    let mut slots = HostSlots::default();
    assert_eq!([1, 1, 2].map(|number| slots.take(id(number))), [(0, true), (0, false), (1, true)]);
    slots.give_back(id(1));
    assert_eq!(slots.take(id(3)), (2, true), "one queue is left");
    slots.give_back(id(1));
    assert_eq!(slots.hosts(), [id(0), id(2), id(3)]);
    // Rules that still knew the host before must not be taken for those of the next.
    assert_eq!(slots.take(id(4)), (0, true));
    assert_eq!(slots.take(id(1)), (3, true));
    assert_eq!(slots.hosts(), [id(4), id(2), id(3), id(1)]);
}

#[test]
fn hosts_that_come_and_go_take_no_more_slots_than_at_a_time() {
    let mut slots = HostSlots::default();
    for number in 0..10_000_u16 {
        let host = |number: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&(number + 1).to_le_bytes());
            HostId(bytes)
        };
        assert!(slots.take(host(number)).1);
        if number >= 4 {
            slots.give_back(host(number - 4));
        }
    }
    assert_eq!(slots.hosts().len(), 5);
}

#[test]
fn a_free_slot_has_the_rights_of_those_who_are_not_registered() {
    let rules = Rules::of(&held(Kind::ExclusiveAccessAllRegistrants, 2), false, &[id(1), id(0), id(2)]);
    let judged = [0, 1, 2].map(|slot| rules.judge(slot, false));
    assert_eq!(judged, [Ok(()), Err(CONFLICT), Ok(())]);
}

#[test]
fn a_snapshot_judges_each_namespace_by_its_own_rules() {
    let closed = Rules::of(&held(Kind::WriteExclusive, 1), false, &[id(1), id(2)]);
    let snapshot = Snapshot::new([(4, Rules::fenced()), (1, Rules::open()), (2, closed)]);
    let fenced = Status::INTERNAL_ERROR.with_dnr();
    for slot in [0, 1, 2, 1_000_000] {
        for writes in [false, true] {
            assert_eq!(snapshot.judge(1, slot, writes), Ok(()), "open");
            assert_eq!(snapshot.judge(4, slot, writes), Err(fenced), "out of service");
            for nsid in [0, 3, 5, u32::MAX] {
                assert_eq!(snapshot.judge(nsid, slot, writes), Ok(()), "no rules");
            }
        }
    }
    assert_eq!((snapshot.judge(2, 0, true), snapshot.judge(2, 1, true)), (Ok(()), Err(CONFLICT)));
    assert!(snapshot.rules(4).unwrap().is_fenced() && !snapshot.rules(2).unwrap().is_fenced());
    assert!(snapshot.rules(3).is_none() && snapshot.rules(0).is_none());
}

#[test]
fn no_reservation_closes_nothing_to_anybody() {
    let mut state = State::new();
    state = transition(&state, &host(1), &register(1, None), PERSISTENT).unwrap().next;
    let rules = Rules::of(&state, false, &[id(1), id(2)]);
    for slot in 0..3 {
        assert_eq!((rules.judge(slot, false), rules.judge(slot, true)), (Ok(()), Ok(())));
    }
}
