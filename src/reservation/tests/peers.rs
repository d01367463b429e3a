//! What went wrong in other targets, and does not here.

use uuid::Uuid;

use super::*;
use crate::reservation::{Identity, Persist, Record, nvm_group, rights};

/// The record as it is after the power was off and on.
fn restarted(rig: &Rig) -> State {
    let identity = Identity { subsystem: Nqn::discovery(), nsid: 1, uuid: Uuid::from_u128(1) };
    let record = Record { identity, sequence: 1, write_protected: false, state: rig.state.clone() };
    Record::decode(&record.encode()).unwrap().state.after_power_loss()
}

fn persistent(rtype: u32) -> Rig {
    let mut rig = Rig::held(rtype);
    rig.ok(A, &register(KEY_A).cptpl(0b11));
    rig
}

#[test]
fn a_register_without_cptpl_writes_no_record() {
    let mut rig = Rig::new();
    assert_eq!(rig.ok(A, &register(KEY_A)).persist, Persist::Keep);
}

#[test]
fn a_record_survives_the_acquirer_of_an_all_registrants_reservation() {
    for rtype in ALL_REGISTRANTS {
        let mut rig = persistent(rtype);
        rig.ok(A, &unregister(KEY_A));
        assert_eq!(restarted(&rig), rig.state);
        assert_eq!(rig.holders(), [B, C]);
    }
}

#[test]
fn preempting_everybody_leaves_a_record_of_the_new_type() {
    for held in ALL_REGISTRANTS {
        for rtype in ALL_TYPES {
            let mut rig = persistent(held);
            rig.ok(B, &preempt(rtype, KEY_B, 0));
            assert_eq!(restarted(&rig), rig.state);
            assert_eq!(rig.reservation().0, rtype);
        }
    }
}

#[test]
fn ptpl_survives_a_clear() {
    let mut rig = persistent(1);
    rig.ok(B, &clear(KEY_B));
    let state = restarted(&rig);
    assert!(state.ptpl() && state.registrants().len() == 0);
    assert_eq!(state.generation(), 5);
}

#[test]
fn every_type_and_generation_survives_a_restart() {
    for rtype in ALL_TYPES {
        let rig = persistent(rtype);
        assert_eq!(restarted(&rig), rig.state);
        assert_eq!(restarted(&rig).generation(), 4);
    }
}

#[test]
fn copy_verify_and_zone_append_do_not_pass_the_fence() {
    let state = Rig::held(2).state;
    for opcode in [NvmOpcode::COPY, NvmOpcode::VERIFY, NvmOpcode::ZONE_APPEND, NvmOpcode(0x80)] {
        let group = nvm_group(opcode).unwrap();
        assert!(!rights(&state, id(B)).allow(group), "{opcode:?}");
        assert!(rights(&state, id(A)).allow(group), "{opcode:?}");
    }
}

#[test]
fn preempting_nobody_counts_and_preempting_many_counts_once() {
    let mut rig = Rig::registered();
    rig.ok(A, &preempt(1, KEY_A, 99));
    rig.ok(D, &register(KEY_B));
    rig.ok(A, &preempt(1, KEY_A, KEY_B));
    assert_eq!(rig.state.generation(), 6);
}
