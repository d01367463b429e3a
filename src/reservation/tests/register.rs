//! Reservation Register.

use super::*;
use crate::reservation::Persist;

const SET: u32 = 0b11;
const CLEAR: u32 = 0b10;

#[test]
fn register_takes_any_key_but_zero() {
    for key in [1, KEY_A, u64::MAX] {
        let mut rig = Rig::new();
        rig.ok(A, &register(key));
        assert_eq!((rig.registrants(), rig.key(A)), (vec![A], Some(key)));
    }
    assert_eq!(Rig::new().refused(A, &register(0)), INVALID_FIELD);
}

#[test]
fn register_ignores_iekey_and_the_current_key() {
    let mut rig = Rig::new();
    rig.ok(A, &register_command(0, 99, KEY_A).ignoring_key());
    assert_eq!(rig.key(A), Some(KEY_A));
    assert_eq!(rig.refused(A, &register_command(0, KEY_A, KEY_B).ignoring_key()), CONFLICT);
}

#[test]
fn register_again_succeeds_with_the_same_key_only() {
    let mut rig = Rig::registered();
    rig.ok(A, &register(KEY_A));
    for other in [KEY_B, 0, KEY_A + 1] {
        assert_eq!(rig.refused(A, &register(other)), CONFLICT, "{other:x}");
    }
}

#[test]
fn hosts_may_share_a_key() {
    let mut rig = Rig::new();
    for host in [A, B, C] {
        rig.ok(host, &register(KEY_A));
    }
    assert_eq!(rig.registrants(), [A, B, C]);
}

#[test]
fn one_name_with_two_identifiers_is_two_registrants() {
    let mut state = State::new();
    for number in [A, B] {
        run(&mut state, &Host { id: id(number), ..host(D) }, &register(KEY_A)).unwrap();
    }
    assert_eq!(state.registrants().len(), 2);
}

#[test]
fn one_identifier_with_two_names_is_one_registrant() {
    let mut state = State::new();
    for number in [A, B] {
        run(&mut state, &Host { id: id(D), ..host(number) }, &register(KEY_A)).unwrap();
    }
    assert_eq!(state.registrants().len(), 1);
    assert_eq!(state.registrant(id(D)).unwrap().nqn, Some(host(B).nqn));
}

#[test]
fn unregister_needs_a_registration_and_its_key() {
    let rows = [
        (A, unregister(KEY_A), None),
        (A, unregister(KEY_B), Some(CONFLICT)),
        (A, unregister(0), Some(CONFLICT)),
        (A, unregister(KEY_B).ignoring_key(), None),
        (D, unregister(KEY_A), Some(CONFLICT)),
        (D, unregister(0), Some(CONFLICT)),
        (D, unregister(0).ignoring_key(), Some(CONFLICT)),
    ];
    for (host, command, refusal) in rows {
        let mut rig = Rig::registered();
        match refusal {
            Some(status) => assert_eq!(rig.refused(host, &command), status, "{command:?}"),
            None => {
                rig.ok(host, &command);
                assert_eq!(rig.registrants(), [B, C]);
            }
        }
    }
}

#[test]
fn a_holder_that_unregisters_releases_the_reservation() {
    for rtype in ONE_HOLDER {
        let mut rig = Rig::held(rtype);
        rig.ok(A, &unregister(KEY_A));
        assert_eq!(rig.reservation(), (0, None));
        assert_eq!(rig.registrants(), [B, C]);
    }
}

#[test]
fn a_registrant_that_unregisters_leaves_the_reservation() {
    for rtype in ONE_HOLDER {
        let mut rig = Rig::held(rtype);
        rig.ok(B, &unregister(KEY_B));
        assert_eq!(rig.reservation(), (rtype, Some(A)));
    }
}

#[test]
fn an_all_registrants_reservation_lives_until_its_last_registrant_goes() {
    for rtype in ALL_REGISTRANTS {
        let mut rig = Rig::held(rtype);
        for (host, key, left) in [(A, KEY_A, vec![B, C]), (B, KEY_B, vec![C])] {
            rig.ok(host, &unregister(key));
            assert_eq!((rig.reservation(), rig.holders()), ((rtype, None), left));
        }
        rig.ok(C, &unregister(KEY_C));
        assert_eq!(rig.reservation(), (0, None));
    }
}

#[test]
fn replace_needs_the_key_of_a_registrant_unless_it_is_ignored() {
    let rows = [
        (A, replace(KEY_A, 7), None),
        (A, replace(KEY_A, KEY_A), None),
        (A, replace(KEY_B, 7), Some(CONFLICT)),
        (A, replace(KEY_B, 7).ignoring_key(), None),
        (D, replace(0, 7), Some(CONFLICT)),
        (D, replace(KEY_A, 7), Some(CONFLICT)),
    ];
    for (host, command, refusal) in rows {
        let mut rig = Rig::registered();
        match refusal {
            Some(status) => assert_eq!(rig.refused(host, &command), status, "{command:?}"),
            None => {
                rig.ok(host, &command);
                assert!(rig.key(A) == Some(7) || rig.key(A) == Some(KEY_A));
                assert_eq!(rig.registrants(), [A, B, C]);
            }
        }
    }
}

#[test]
fn replace_registers_a_host_where_the_key_is_ignored() {
    let mut rig = Rig::registered();
    rig.ok(D, &replace(99, 7).ignoring_key());
    assert_eq!((rig.registrants(), rig.key(D)), (vec![A, B, C, D], Some(7)));
}

#[test]
fn replace_by_key_zero_is_an_invalid_field() {
    let mut rig = Rig::registered();
    assert_eq!(rig.refused(A, &replace(KEY_A, 0)), INVALID_FIELD);
    assert_eq!(rig.refused(A, &replace(KEY_B, 0)), INVALID_FIELD);
    assert_eq!(rig.refused(D, &replace(0, 0).ignoring_key()), INVALID_FIELD);
}

#[test]
fn the_holders_new_key_is_the_reservations_key() {
    for rtype in ONE_HOLDER {
        let mut rig = Rig::held(rtype);
        rig.ok(A, &replace(KEY_A, 7));
        assert_eq!(rig.state.holder_key().map(|key| key.0), Some(7));
        rig.ok(B, &preempt(2, KEY_B, KEY_A));
        assert_eq!((rig.reservation(), rig.registrants()), ((rtype, Some(A)), vec![A, B, C]));
        rig.ok(B, &preempt(2, KEY_B, 7));
        assert_eq!((rig.reservation(), rig.registrants()), ((2, Some(B)), vec![B, C]));
    }
}

#[test]
fn cptpl_changes_persistence_as_it_says() {
    let rows = [(0b00, false, false), (0b00, true, true), (CLEAR, true, false), (SET, false, true)];
    for (cptpl, before, after) in rows {
        for command in [register(KEY_A), replace(KEY_A, 7), unregister(KEY_A)] {
            let mut rig = Rig::registered();
            rig.ok(B, &register(KEY_B).cptpl(if before { SET } else { CLEAR }));
            let effects = rig.ok(A, &command.cptpl(cptpl));
            assert_eq!(rig.state.ptpl(), after);
            let persist = match (before, after) {
                (_, true) => Persist::Write,
                (true, false) => Persist::Remove,
                (false, false) => Persist::Keep,
            };
            assert_eq!(effects.persist, persist);
        }
    }
}

#[test]
fn cptpl_01_is_an_invalid_field() {
    for command in [register(KEY_A), unregister(KEY_A), replace(KEY_A, 7)] {
        assert_eq!(Rig::registered().refused(A, &command.cptpl(0b01)), INVALID_FIELD);
    }
}

#[test]
fn a_refused_register_leaves_ptpl_unchanged() {
    for (before, cptpl) in [(SET, CLEAR), (CLEAR, SET)] {
        let mut rig = Rig::registered();
        rig.ok(B, &register(KEY_B).cptpl(before));
        let refused = [
            (A, register(KEY_B), CONFLICT),
            (A, unregister(KEY_B), CONFLICT),
            (A, replace(KEY_B, 7), CONFLICT),
            (A, replace(KEY_A, 0), INVALID_FIELD),
            (D, register(0), INVALID_FIELD),
            (D, unregister(0).ignoring_key(), CONFLICT),
        ];
        for (host, command, status) in refused {
            assert_eq!(rig.refused(host, &command.clone().cptpl(cptpl)), status, "{command:?}");
            assert_eq!(rig.state.ptpl(), before == SET);
        }
    }
}

#[test]
fn persistence_that_is_turned_off_cannot_be_asked_for() {
    let options = Options { ptpl: false };
    let send = |command: Command| {
        let request = Request::decode(&command.sqe, &command.data).unwrap();
        transition(&Rig::registered().state, &host(A), &request, options).map(|outcome| outcome.next.ptpl())
    };
    assert_eq!(send(register(KEY_A).cptpl(SET)), Err(INVALID_FIELD));
    // Said before the keys are looked at.
    assert_eq!(send(register(KEY_B).cptpl(SET)), Err(INVALID_FIELD));
    assert_eq!(send(register(KEY_A).cptpl(CLEAR)), Ok(false));
    assert_eq!(send(register(KEY_A)), Ok(false));
}

#[test]
fn every_successful_register_counts_one_generation() {
    let mut rig = Rig::new();
    let commands = [
        register(KEY_A),
        register(KEY_A),
        replace(KEY_A, 7),
        replace(7, 7),
        register(7).cptpl(SET),
        unregister(7),
    ];
    for (count, command) in (1..).zip(&commands) {
        rig.ok(A, command);
        assert_eq!(rig.state.generation(), count);
    }
}

#[test]
fn a_register_that_changes_nothing_else_still_writes_the_record() {
    let mut rig = Rig::registered();
    rig.ok(A, &register(KEY_A).cptpl(SET));
    for command in [register(KEY_A), replace(KEY_A, KEY_A), register(KEY_A).cptpl(SET)] {
        let effects = rig.ok(A, &command);
        assert_eq!((effects.persist, effects.rights_changed), (Persist::Write, false));
    }
}
