//! Reservation Acquire, RACQA 0.

use super::*;

#[test]
fn acquire_makes_the_issuer_the_holder() {
    for rtype in ONE_HOLDER {
        assert_eq!(Rig::held(rtype).reservation(), (rtype, Some(A)));
    }
    for rtype in ALL_REGISTRANTS {
        let rig = Rig::held(rtype);
        assert_eq!((rig.reservation(), rig.holders()), ((rtype, None), vec![A, B, C]));
    }
}

#[test]
fn acquire_needs_a_registration_and_its_key() {
    let mut rig = Rig::registered();
    for (host, key) in [(D, KEY_A), (D, 0), (A, KEY_B), (A, 0), (A, KEY_A + 1)] {
        assert_eq!(rig.refused(host, &acquire(1, key)), CONFLICT, "{host:x} {key:x}");
    }
}

#[test]
fn acquire_with_iekey_is_an_invalid_field() {
    for racqa in 0..3 {
        let command = acquire_command(racqa, 1, KEY_A, KEY_B).ignoring_key();
        assert_eq!(Rig::registered().refused(A, &command), INVALID_FIELD);
        assert_eq!(Rig::registered().refused(D, &command), INVALID_FIELD);
    }
}

#[test]
fn acquire_of_type_zero_changes_nothing() {
    let mut rig = Rig::registered();
    assert_eq!(rig.refused(A, &acquire(0, KEY_A)), INVALID_FIELD);
    // Nobody holds anything: the next one can.
    rig.ok(B, &acquire(1, KEY_B));
}

#[test]
fn acquire_of_a_reserved_type_is_an_invalid_field() {
    for rtype in (0..=0xff).filter(|rtype| !ALL_TYPES.contains(rtype)) {
        assert_eq!(Rig::registered().refused(A, &acquire(rtype, KEY_A)), INVALID_FIELD, "{rtype}");
    }
}

#[test]
fn a_holder_may_acquire_the_same_type_again() {
    for rtype in ALL_TYPES {
        Rig::held(rtype).nothing(A, &acquire(rtype, KEY_A));
    }
    for rtype in ALL_REGISTRANTS {
        Rig::held(rtype).nothing(B, &acquire(rtype, KEY_B));
    }
}

#[test]
fn a_holder_may_not_acquire_another_type() {
    for held in ALL_TYPES {
        for other in ALL_TYPES.into_iter().filter(|&other| other != held) {
            assert_eq!(Rig::held(held).refused(A, &acquire(other, KEY_A)), CONFLICT);
        }
    }
}

#[test]
fn a_registrant_that_is_no_holder_may_not_acquire() {
    for held in ONE_HOLDER {
        for rtype in ALL_TYPES {
            assert_eq!(Rig::held(held).refused(B, &acquire(rtype, KEY_B)), CONFLICT);
        }
    }
    for held in ALL_REGISTRANTS {
        for rtype in ALL_TYPES.into_iter().filter(|&rtype| rtype != held) {
            assert_eq!(Rig::held(held).refused(B, &acquire(rtype, KEY_B)), CONFLICT);
        }
    }
}

#[test]
fn acquire_counts_no_generation() {
    let mut rig = Rig::registered();
    let before = rig.state.generation();
    rig.ok(A, &acquire(1, KEY_A));
    rig.ok(A, &acquire(1, KEY_A));
    assert_eq!(rig.state.generation(), before);
}

#[test]
fn acquire_ignores_the_preempt_key() {
    let mut rig = Rig::registered();
    rig.ok(A, &acquire_command(0, 1, KEY_A, KEY_B));
    assert_eq!(rig.registrants(), [A, B, C]);
}

#[test]
fn acquire_tells_nobody_and_drains_nobody() {
    for rtype in ALL_TYPES {
        let effects = Rig::registered().ok(A, &acquire(rtype, KEY_A));
        assert_eq!((effects.notices, effects.drain, effects.unregistered), (vec![], vec![], vec![]));
        assert!(effects.rights_changed);
    }
}
