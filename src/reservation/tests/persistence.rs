//! What survives a power loss, and what must be written for it.

use super::*;
use crate::reservation::{Persist, set_persistence};

const ON: Options = Options { ptpl: true };
const OFF: Options = Options { ptpl: false };

fn persistent() -> Rig {
    let mut rig = Rig::held(1);
    rig.ok(A, &register(KEY_A).cptpl(0b11));
    rig
}

#[test]
fn a_power_loss_clears_everything_where_ptpl_is_0() {
    assert_eq!(Rig::held(1).state.after_power_loss(), State::new());
}

#[test]
fn a_power_loss_clears_nothing_where_ptpl_is_1() {
    let state = persistent().state;
    assert_eq!(state.clone().after_power_loss(), state);
}

#[test]
fn nothing_is_written_where_ptpl_is_0() {
    for command in [register(KEY_A), unregister(KEY_A), release(1, KEY_A), clear(KEY_A), acquire(1, KEY_A)] {
        assert_eq!(Rig::held(1).ok(A, &command).persist, Persist::Keep);
    }
}

#[test]
fn every_change_is_written_where_ptpl_is_1() {
    let commands = [
        register(KEY_A),
        unregister(KEY_A),
        replace(KEY_A, 7),
        release(1, KEY_A),
        clear(KEY_A),
        preempt(1, KEY_A, KEY_B),
        preempt(1, KEY_A, 99),
        preempt(5, KEY_A, KEY_A),
    ];
    for command in commands {
        assert_eq!(persistent().ok(A, &command).persist, Persist::Write, "{command:?}");
    }
    // What changes nothing needs no writing.
    persistent().nothing(A, &acquire(1, KEY_A));
    persistent().nothing(B, &release(1, KEY_B));
}

#[test]
fn turning_ptpl_off_removes_the_record() {
    assert_eq!(persistent().ok(A, &register(KEY_A).cptpl(0b10)).persist, Persist::Remove);
    assert_eq!(persistent().ok(A, &unregister(KEY_A).cptpl(0b10)).persist, Persist::Remove);
}

#[test]
fn the_last_registrant_may_turn_ptpl_on_while_it_goes() {
    let mut rig = Rig::new();
    rig.ok(A, &register(KEY_A));
    let effects = rig.ok(A, &unregister(KEY_A).cptpl(0b11));
    assert!(rig.state.ptpl() && effects.persist == Persist::Write);
}

#[test]
fn the_feature_sets_ptpl_and_counts_no_generation() {
    let rows = [
        (false, true, Persist::Write),
        (true, true, Persist::Keep),
        (true, false, Persist::Remove),
        (false, false, Persist::Keep),
    ];
    for (before, after, persist) in rows {
        let state = if before { persistent().state } else { Rig::held(1).state };
        let outcome = set_persistence(&state, after, ON).unwrap();
        assert_eq!((outcome.next.ptpl(), outcome.effects.persist), (after, persist));
        assert_eq!(outcome.next.generation(), state.generation());
        assert_eq!(outcome.next.reservation(), state.reservation());
        assert!(!outcome.effects.rights_changed);
    }
}

#[test]
fn the_feature_is_refused_where_it_is_turned_off() {
    assert_eq!(set_persistence(&State::new(), true, OFF), Err(INVALID_FIELD));
    assert!(set_persistence(&State::new(), false, OFF).is_ok());
}

#[test]
fn the_generation_wraps() {
    let mut state = State::restore(u32::MAX, false, [], None, None).unwrap();
    run(&mut state, &host(A), &register(KEY_A)).unwrap();
    assert_eq!(state.generation(), 0);
}
