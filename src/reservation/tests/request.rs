//! What is refused before the state is looked at.

use super::*;
use crate::reservation::{self, data_bytes};

#[test]
fn data_shorter_than_the_structure_is_refused() {
    let commands =
        [(register(KEY_A), 16), (acquire(1, KEY_A), 16), (release(1, KEY_A), 8), (clear(KEY_A), 8)];
    for (command, bytes) in commands {
        assert_eq!(data_bytes(command.sqe.nvm_opcode()), Some(bytes));
        for length in 0..bytes {
            let refused = Request::decode(&command.sqe, &vec![1; length]);
            assert_eq!(refused, Err(Status::DATA_SGL_LENGTH_INVALID.with_dnr()), "{command:?} {length}");
        }
    }
}

#[test]
fn data_longer_than_the_structure_is_accepted() {
    for mut command in [register(KEY_A), acquire(1, KEY_A), release(1, KEY_A), clear(KEY_A)] {
        let expected = Request::decode(&command.sqe, &command.data);
        for _ in 0..32 {
            command.data.push(0xff);
            assert_eq!(Request::decode(&command.sqe, &command.data), expected);
        }
    }
}

#[test]
fn reserved_actions_are_refused() {
    let mut rig = Rig::registered();
    for action in 3..8 {
        assert_eq!(rig.refused(A, &register_command(action, KEY_A, KEY_A)), INVALID_FIELD);
        assert_eq!(rig.refused(A, &acquire_command(action, 1, KEY_A, 0)), INVALID_FIELD);
    }
    for action in 2..8 {
        assert_eq!(rig.refused(A, &release_command(action, 1, KEY_A)), INVALID_FIELD);
    }
}

#[test]
fn reserved_bits_are_no_reason_to_refuse() {
    let reserved = [
        (register(KEY_A), 0x3fff_fff0),
        (unregister(KEY_A), 0x3fff_fff0),
        (replace(KEY_A, KEY_B), 0x3fff_fff0),
        (acquire(1, KEY_A), 0xffff_00f0),
        (preempt(1, KEY_A, KEY_B), 0xffff_00f0),
        (release(1, KEY_A), 0xffff_00f0),
        (clear(KEY_A), 0xffff_00f0),
    ];
    for (command, mask) in reserved {
        let expected = Request::decode(&command.sqe, &command.data);
        assert!(expected.is_ok());
        for bit in (0..32).map(|bit| 1 << bit).filter(|bit| mask & bit != 0) {
            let mut sqe = command.sqe;
            sqe.cdw10 |= bit;
            sqe.cdw11.set(0xffff_ffff);
            assert_eq!(Request::decode(&sqe, &command.data), expected, "{command:?} {bit:x}h");
        }
    }
}

#[test]
fn the_dispersed_namespace_bits_are_reserved_bits() {
    let mut rig = Rig::registered();
    let mut command = acquire(1, KEY_A);
    command.sqe.cdw10 |= 1 << 4;
    rig.ok(A, &command);
    let mut sqe = Sqe::of(NvmOpcode::RESERVATION_REPORT.0, 1, 1);
    sqe.cdw11.set(0b11);
    assert_eq!(reservation::report::decode(&sqe), Ok(4));
}

#[test]
fn an_nsid_is_refused_as_the_page_says() {
    let rows = [
        (0, true, Err(Status::INVALID_NAMESPACE.with_dnr())),
        (1, true, Ok(())),
        (1, false, Err(INVALID_FIELD)),
        (8, true, Ok(())),
        (9, true, Err(Status::INVALID_NAMESPACE.with_dnr())),
        (0xffff_fffe, false, Err(Status::INVALID_NAMESPACE.with_dnr())),
        (0xffff_ffff, true, Err(INVALID_FIELD)),
    ];
    for (nsid, active, expected) in rows {
        assert_eq!(reservation::judge_nsid(nsid, 8, active), expected, "{nsid:x}h");
    }
}

#[test]
fn other_commands_are_no_requests() {
    for opcode in (0..=0xff).map(NvmOpcode).filter(|&opcode| data_bytes(opcode).is_none()) {
        let refused = Request::decode(&Sqe::of(opcode.0, 1, 1), &[0; 16]);
        assert_eq!(refused, Err(Status::INVALID_OPCODE.with_dnr()));
    }
}

#[test]
fn every_conflict_tells_the_host_not_to_retry() {
    let mut rig = Rig::held(1);
    for command in [acquire(1, KEY_B), acquire(1, KEY_A), unregister(KEY_A), release(1, KEY_A), clear(KEY_A)]
    {
        let status = rig.refused(B, &command);
        assert_eq!(status.to_wire(), (1 << 14 | 0x83) << 1, "{command:?}");
    }
}

#[test]
#[should_panic(expected = "identifier 0")]
fn a_host_identifier_of_zeros_never_becomes_a_registrant() {
    let nobody = Host { id: HostId([0; 16]), ..host(A) };
    let _ = run(&mut State::new(), &nobody, &register(KEY_A));
}
