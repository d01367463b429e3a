//! The two tables: groups of commands, and rights of hosts.

use super::*;
use crate::reservation::Group::{Always, Copy, Read, Reservation, Write};
use crate::reservation::{Rights, admin_group, judge, nvm_group, rights};
use crate::spec::opcode::{AdminCommand, AdminOpcode, NvmCommand};

const RW: Rights = Rights::ALL;
const R: Rights = Rights::READ;
const NO: Rights = Rights::NONE;

#[test]
fn rights_are_those_of_the_table() {
    let rows = [
        // type, holder, registrant, other host
        (1, RW, R, R),
        (2, RW, NO, NO),
        (3, RW, RW, R),
        (4, RW, RW, NO),
        (5, RW, RW, R),
        (6, RW, RW, NO),
    ];
    for (rtype, holder, registrant, other) in rows {
        let state = Rig::held(rtype).state;
        let found = [A, B, D].map(|host| rights(&state, id(host)));
        assert_eq!(found, [holder, registrant, other], "{rtype}");
        assert_eq!(Rights::of_others(&state), other);
    }
}

#[test]
fn without_a_reservation_everybody_may_do_everything() {
    for state in [State::new(), Rig::registered().state] {
        assert_eq!([A, D].map(|host| rights(&state, id(host))), [RW, RW]);
        assert_eq!(Rights::of_others(&state), RW);
    }
}

#[test]
fn each_known_io_command_has_its_group() {
    let rows = [
        (Write, &[0x00, 0x01, 0x04, 0x08, 0x09, 0x79, 0x7d][..]),
        (Read, &[0x02, 0x05, 0x0c, 0x7a]),
        (Copy, &[0x19]),
        (Always, &[0x0d, 0x0e, 0x12, 0x18, 0x1d, 0x7f]),
        (Reservation, &[0x11, 0x15]),
    ];
    let mut named = 0;
    for (group, opcodes) in rows {
        named += opcodes.len();
        for &opcode in opcodes {
            assert_eq!(nvm_group(NvmOpcode(opcode)), Some(group), "{opcode:x}h");
        }
    }
    assert_eq!(named, NvmCommand::ALL.len());
}

#[test]
fn each_known_admin_command_has_its_group() {
    let (write, read) = ([0x0d, 0x15, 0x20, 0x80, 0x81, 0x84], [0x82]);
    for command in AdminCommand::ALL {
        let opcode = command.opcode();
        let group = match opcode.0 {
            opcode if write.contains(&opcode) => Write,
            opcode if read.contains(&opcode) => Read,
            _ => Always,
        };
        assert_eq!(admin_group(opcode), Some(group), "{opcode:?}");
    }
}

#[test]
fn vendor_specific_commands_are_taken_to_write() {
    assert!((0x80..=0xff).all(|opcode| nvm_group(NvmOpcode(opcode)) == Some(Write)));
    assert!((0xc0..=0xff).all(|opcode| admin_group(AdminOpcode(opcode)) == Some(Write)));
}

#[test]
fn unknown_opcodes_have_no_group() {
    for opcode in [0x03, 0x06, 0x0a, 0x10, 0x20, 0x7e] {
        assert_eq!(nvm_group(NvmOpcode(opcode)), None, "{opcode:x}h");
    }
    for opcode in [0x03, 0x0b, 0x25, 0x83, 0xbf] {
        assert_eq!(admin_group(AdminOpcode(opcode)), None, "{opcode:x}h");
    }
}

#[test]
fn groups_need_the_rights_that_they_name() {
    let rows = [
        (Read, [true, true, false]),
        (Write, [true, false, false]),
        (Copy, [true, false, false]),
        (Always, [true, true, true]),
        (Reservation, [true, true, true]),
    ];
    for (group, expected) in rows {
        assert_eq!([RW, R, NO].map(|rights| rights.allow(group)), expected, "{group:?}");
    }
}

#[test]
fn one_conflict_refuses_a_command_that_touches_several_namespaces() {
    assert_eq!(judge(Write, [RW, RW, RW]), Ok(()));
    assert_eq!(judge(Write, [RW, R, RW]), Err(CONFLICT));
    assert_eq!(judge(Read, [RW, R, RW]), Ok(()));
    assert_eq!(judge(Read, [RW, R, NO]), Err(CONFLICT));
    assert_eq!(judge(Write, []), Ok(()));
}

#[test]
fn the_halves_of_a_fused_command_are_judged_by_themselves() {
    let failed = Status::FAILED_FUSED.with_dnr();
    let rows = [(RW, None, None), (R, None, Some(CONFLICT)), (NO, Some(CONFLICT), Some(failed))];
    for (rights, compare, write) in rows {
        let fused = rights.fused();
        assert_eq!((fused.compare, fused.write), (compare, write), "{rights:?}");
    }
}

#[test]
fn a_change_of_rights_is_said_and_nothing_else_is() {
    let rows = [
        ("a first registration", Rig::new(), A, register(KEY_A), false),
        ("another registration under type 1", Rig::held(1), D, register(7), false),
        ("another registration under type 3", Rig::held(3), D, register(7), true),
        ("another registration under type 5", Rig::held(5), D, register(7), true),
        ("an unregistration without reservation", Rig::registered(), A, unregister(KEY_A), false),
        ("an unregistration under type 2", Rig::held(2), B, unregister(KEY_B), false),
        ("an unregistration under type 4", Rig::held(4), B, unregister(KEY_B), true),
        ("a new key", Rig::held(4), B, replace(KEY_B, 7), false),
        ("an acquisition", Rig::registered(), A, acquire(1, KEY_A), true),
        ("a release", Rig::held(1), A, release(1, KEY_A), true),
        ("a release by another", Rig::held(1), B, release(1, KEY_B), false),
        ("a clear without reservation", Rig::registered(), A, clear(KEY_A), false),
        ("a clear", Rig::held(6), A, clear(KEY_A), true),
        ("a preemption of the holder", Rig::held(1), B, preempt(1, KEY_B, KEY_A), true),
        ("a preemption of itself, same rights", Rig::held(5), A, preempt(5, KEY_A, KEY_A), true),
        ("a preemption of nobody", Rig::held(3), A, preempt(1, KEY_A, 99), false),
    ];
    for (name, mut rig, host, command, expected) in rows {
        assert_eq!(rig.ok(host, &command).rights_changed, expected, "{name}");
    }
}
