//! Reservation Release.

use super::*;

#[test]
fn release_and_clear_need_a_registration_and_its_key() {
    for mut rig in [Rig::registered(), Rig::held(1), Rig::held(5)] {
        for (host, key) in [(D, KEY_A), (D, 0), (A, KEY_B), (A, 0)] {
            assert_eq!(rig.refused(host, &release(1, key)), CONFLICT);
            assert_eq!(rig.refused(host, &clear(key)), CONFLICT);
        }
    }
}

#[test]
fn release_and_clear_with_iekey_are_invalid_fields() {
    for command in [release(1, KEY_A), clear(KEY_A)] {
        assert_eq!(Rig::held(1).refused(A, &command.clone().ignoring_key()), INVALID_FIELD);
        assert_eq!(Rig::held(1).refused(D, &command.ignoring_key()), INVALID_FIELD);
    }
}

#[test]
fn a_holder_releases_and_everybody_stays_registered() {
    for rtype in ALL_TYPES {
        let mut rig = Rig::held(rtype);
        let before = rig.state.generation();
        rig.ok(A, &release(rtype, KEY_A));
        assert_eq!((rig.reservation(), rig.registrants()), ((0, None), vec![A, B, C]));
        assert_eq!(rig.state.generation(), before);
    }
}

#[test]
fn any_registrant_releases_what_all_registrants_hold() {
    for rtype in ALL_REGISTRANTS {
        let mut rig = Rig::held(rtype);
        rig.ok(C, &release(rtype, KEY_C));
        assert_eq!(rig.reservation(), (0, None));
    }
}

#[test]
fn release_without_a_reservation_does_nothing_whatever_the_type() {
    for rtype in 0..=0xff {
        Rig::registered().nothing(A, &release(rtype, KEY_A));
    }
}

#[test]
fn release_by_who_is_no_holder_does_nothing_whatever_the_type() {
    for held in ONE_HOLDER {
        for rtype in 0..=0xff {
            Rig::held(held).nothing(B, &release(rtype, KEY_B));
        }
    }
}

#[test]
fn a_holder_that_releases_another_type_names_an_invalid_field() {
    for held in ALL_TYPES {
        for rtype in (0..=0xff).filter(|&rtype| rtype != held) {
            assert_eq!(Rig::held(held).refused(A, &release(rtype, KEY_A)), INVALID_FIELD);
        }
    }
    for held in ALL_REGISTRANTS {
        assert_eq!(Rig::held(held).refused(B, &release(1, KEY_B)), INVALID_FIELD);
    }
}

#[test]
fn clear_removes_reservation_and_registrations() {
    for held in [0, 1, 2, 3, 4, 5, 6] {
        for (host, key) in [(A, KEY_A), (B, KEY_B)] {
            for rtype in [0, held, 9] {
                let mut rig = if held == 0 { Rig::registered() } else { Rig::held(held) };
                let before = rig.state.generation();
                rig.ok(host, &release_command(1, rtype, key));
                assert_eq!((rig.reservation(), rig.registrants()), ((0, None), vec![]));
                assert_eq!(rig.state.generation(), before + 1);
            }
        }
    }
}

#[test]
fn clear_keeps_persistence() {
    let mut rig = Rig::held(1);
    rig.ok(A, &register(KEY_A).cptpl(0b11));
    let effects = rig.ok(B, &clear(KEY_B));
    assert!(rig.state.ptpl());
    assert_eq!(effects.persist, crate::reservation::Persist::Write);
}
