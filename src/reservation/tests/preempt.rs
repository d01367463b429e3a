//! Reservation Acquire, RACQA 1 and 2.

use super::*;

const NOBODYS_KEY: u64 = 0xdead;

#[test]
fn preempt_needs_a_registration_and_its_key() {
    for rtype in [0, 1, 5] {
        let mut rig = if rtype == 0 { Rig::registered() } else { Rig::held(rtype) };
        for racqa in [1, 2] {
            for (host, key) in [(D, KEY_A), (D, 0), (B, KEY_A), (B, 0)] {
                assert_eq!(rig.refused(host, &acquire_command(racqa, 1, key, KEY_A)), CONFLICT);
            }
        }
    }
}

#[test]
fn without_a_reservation_preempt_unregisters_and_reserves_nothing() {
    for rtype in [0, 1, 6, 0xff] {
        let mut rig = Rig::registered();
        rig.ok(D, &register(KEY_B));
        rig.ok(A, &preempt(rtype, KEY_A, KEY_B));
        assert_eq!((rig.registrants(), rig.reservation()), (vec![A, C], (0, None)));
    }
}

#[test]
fn without_a_reservation_preempt_of_the_own_key_unregisters_the_issuer() {
    let mut rig = Rig::registered();
    rig.ok(D, &register(KEY_A));
    rig.ok(A, &preempt(1, KEY_A, KEY_A));
    assert_eq!((rig.registrants(), rig.reservation()), (vec![B, C], (0, None)));
}

#[test]
fn without_a_reservation_preempt_of_nobody_succeeds() {
    for victim in [NOBODYS_KEY, 0] {
        let mut rig = Rig::registered();
        rig.ok(A, &preempt(1, KEY_A, victim));
        assert_eq!(rig.registrants(), [A, B, C]);
    }
}

#[test]
fn preempt_of_the_holders_key_takes_the_reservation_over() {
    for held in ONE_HOLDER {
        for rtype in ALL_TYPES {
            let mut rig = Rig::held(held);
            rig.ok(D, &register(KEY_A));
            rig.ok(B, &preempt(rtype, KEY_B, KEY_A));
            let holder = ONE_HOLDER.contains(&rtype).then_some(B);
            assert_eq!((rig.registrants(), rig.reservation()), (vec![B, C], (rtype, holder)));
        }
    }
}

#[test]
fn an_issuer_with_the_holders_key_stays_registered() {
    let mut rig = Rig::held(1);
    rig.ok(D, &register(KEY_A));
    rig.ok(D, &preempt(2, KEY_A, KEY_A));
    assert_eq!((rig.registrants(), rig.reservation()), (vec![B, C, D], (2, Some(D))));
}

#[test]
fn a_holder_that_preempts_itself_stays_and_others_with_its_key_go() {
    for held in ONE_HOLDER {
        for rtype in ALL_TYPES {
            let mut rig = Rig::held(held);
            rig.ok(D, &register(KEY_A));
            rig.ok(A, &preempt(rtype, KEY_A, KEY_A));
            let holder = ONE_HOLDER.contains(&rtype).then_some(A);
            assert_eq!((rig.registrants(), rig.reservation()), (vec![A, B, C], (rtype, holder)));
        }
    }
}

#[test]
fn a_holder_evicts_a_registrant_and_keeps_its_reservation() {
    for held in ONE_HOLDER {
        for rtype in [0, 1, 2, 3, 4, 5, 6, 7] {
            let mut rig = Rig::held(held);
            rig.ok(A, &preempt(rtype, KEY_A, KEY_B));
            assert_eq!((rig.registrants(), rig.reservation()), (vec![A, C], (held, Some(A))));
        }
    }
}

#[test]
fn a_registrant_evicts_another_and_the_reservation_stays() {
    for held in ONE_HOLDER {
        let mut rig = Rig::held(held);
        rig.ok(B, &preempt(6, KEY_B, KEY_C));
        assert_eq!((rig.registrants(), rig.reservation()), (vec![A, B], (held, Some(A))));
        // Its own key is one like any other.
        rig.ok(B, &preempt(6, KEY_B, KEY_B));
        assert_eq!((rig.registrants(), rig.reservation()), (vec![A], (held, Some(A))));
    }
}

#[test]
fn with_one_holder_preempt_of_nobody_succeeds() {
    for held in ONE_HOLDER {
        let mut rig = Rig::held(held);
        rig.ok(B, &preempt(2, KEY_B, NOBODYS_KEY));
        assert_eq!((rig.registrants(), rig.reservation()), (vec![A, B, C], (held, Some(A))));
    }
}

#[test]
fn with_one_holder_preempt_of_key_zero_is_an_invalid_field() {
    for held in ONE_HOLDER {
        for host_and_key in [(A, KEY_A), (B, KEY_B)] {
            let (host, key) = host_and_key;
            assert_eq!(Rig::held(held).refused(host, &preempt(1, key, 0)), INVALID_FIELD);
        }
    }
}

#[test]
fn with_all_registrants_key_zero_preempts_everybody_else() {
    for held in ALL_REGISTRANTS {
        for rtype in ALL_TYPES {
            let mut rig = Rig::held(held);
            rig.ok(B, &preempt(rtype, KEY_B, 0));
            let holder = ONE_HOLDER.contains(&rtype).then_some(B);
            assert_eq!((rig.registrants(), rig.reservation()), (vec![B], (rtype, holder)));
            assert_eq!(rig.holders(), [B]);
            // The type and the key are the new ones.
            assert_eq!(rig.state.holder_key().map(|key| key.0), holder.map(|_| KEY_B));
        }
    }
}

#[test]
fn with_all_registrants_a_key_preempts_those_that_have_it() {
    for held in ALL_REGISTRANTS {
        let mut rig = Rig::held(held);
        rig.ok(D, &register(KEY_A));
        rig.ok(B, &preempt(1, KEY_B, KEY_A));
        assert_eq!((rig.registrants(), rig.reservation()), (vec![B, C], (held, None)));
    }
}

#[test]
fn with_all_registrants_the_issuer_goes_too_if_it_is_its_key() {
    for held in ALL_REGISTRANTS {
        let mut rig = Rig::held(held);
        rig.ok(B, &preempt(1, KEY_B, KEY_B));
        assert_eq!((rig.registrants(), rig.reservation()), (vec![A, C], (held, None)));
        rig.ok(A, &preempt(1, KEY_A, KEY_C));
        rig.ok(A, &preempt(1, KEY_A, KEY_A));
        // The last one gone releases.
        assert_eq!((rig.registrants(), rig.reservation()), (vec![], (0, None)));
    }
}

#[test]
fn with_all_registrants_preempt_of_nobody_is_a_conflict() {
    for held in ALL_REGISTRANTS {
        assert_eq!(Rig::held(held).refused(B, &preempt(1, KEY_B, NOBODYS_KEY)), CONFLICT);
    }
}

#[test]
fn a_new_reservation_must_be_of_a_type_that_exists() {
    for rtype in [0, 7, 0xff] {
        assert_eq!(Rig::held(1).refused(B, &preempt(rtype, KEY_B, KEY_A)), INVALID_FIELD);
        assert_eq!(Rig::held(1).refused(A, &preempt(rtype, KEY_A, KEY_A)), INVALID_FIELD);
        assert_eq!(Rig::held(5).refused(B, &preempt(rtype, KEY_B, 0)), INVALID_FIELD);
    }
}

#[test]
fn preempt_counts_one_generation_however_many_go() {
    let rows = [
        ("none, two go", 0, KEY_B, 1),
        ("none, nobody goes", 0, NOBODYS_KEY, 1),
        ("one holder, two go", 1, KEY_B, 1),
        ("one holder, nobody goes", 1, NOBODYS_KEY, 1),
        ("one holder, itself", 1, KEY_A, 1),
        ("all, everybody else", 5, 0, 1),
        ("all, nobody: refused", 5, NOBODYS_KEY, 0),
    ];
    for (name, held, victim, counted) in rows {
        for racqa in [1, 2] {
            let mut rig = if held == 0 { Rig::registered() } else { Rig::held(held) };
            rig.ok(D, &register(KEY_B));
            let before = rig.state.generation();
            let done = run(&mut rig.state, &host(A), &acquire_command(racqa, 1, KEY_A, victim));
            assert_eq!(done.is_ok(), counted == 1, "{name}");
            assert_eq!(rig.state.generation(), before + counted, "{name}");
        }
    }
}

#[test]
fn preempt_and_abort_is_preempt_and_drains_those_who_were_unregistered() {
    type Row<'a> = (&'a str, u32, u8, u64, u64, &'a [u8]);
    let rows: [Row; 7] = [
        ("no reservation", 0, A, KEY_A, KEY_B, &[B, D]),
        ("no reservation, own key", 0, B, KEY_B, KEY_B, &[B, D]),
        ("the holder is preempted", 1, B, KEY_B, KEY_A, &[A]),
        ("the holder evicts", 1, A, KEY_A, KEY_B, &[B, D]),
        ("the holder preempts itself", 1, A, KEY_A, KEY_A, &[]),
        ("all registrants, everybody else", 5, A, KEY_A, 0, &[B, C, D]),
        ("nobody", 3, A, KEY_A, NOBODYS_KEY, &[]),
    ];
    for (name, held, issuer, key, victim, drained) in rows {
        let mut rig = if held == 0 { Rig::registered() } else { Rig::held(held) };
        rig.ok(D, &register(KEY_B));
        let mut plain = rig.clone();
        let effects = rig.ok(issuer, &acquire_command(2, 2, key, victim));
        assert_eq!(effects.drain, ids(drained), "{name}");
        assert_eq!(effects.unregistered, ids(drained), "{name}");
        let preempted = plain.ok(issuer, &acquire_command(1, 2, key, victim));
        assert_eq!(preempted, Effects { drain: vec![], ..effects }, "{name}");
        assert_eq!(plain.state, rig.state, "{name}");
    }
}

#[test]
fn only_preempt_and_abort_drains() {
    for command in [register(KEY_A), unregister(KEY_A), replace(KEY_A, 7), release(1, KEY_A), clear(KEY_A)] {
        assert_eq!(Rig::held(1).ok(A, &command).drain, vec![], "{command:?}");
    }
}
