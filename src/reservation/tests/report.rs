//! Reservation Report.

use super::*;
use crate::reservation::report::{decode, encode};

fn report_command(numd: u32, cdw11: u32) -> Sqe {
    let mut sqe = Sqe::of(NvmOpcode::RESERVATION_REPORT.0, 1, 1);
    sqe.cdw10.set(numd);
    sqe.cdw11.set(cdw11);
    sqe
}

/// A has controllers, B and C have none.
fn controller(host: HostId) -> Option<u16> {
    (host == id(A)).then_some(0x1234)
}

/// RCSTS of each registrant.
fn statuses(rig: &Rig) -> Vec<u8> {
    let report = encode(&rig.state, u64::MAX, controller);
    report[64..].chunks_exact(64).map(|entry| entry[2]).collect()
}

#[test]
fn a_report_without_the_extended_structure_is_refused() {
    let refusal = Err(Status::HOST_ID_INCONSISTENT.with_dnr());
    assert_eq!(decode(&report_command(0, 0b00)), refusal);
    assert_eq!(decode(&report_command(0, 0b10)), refusal);
    assert_eq!(decode(&report_command(0, 0xffff_fffe)), refusal);
}

#[test]
fn numd_is_widened() {
    let rows = [(0, 4), (15, 64), (1023, 4096), (0xffff_ffff, 1 << 34)];
    for (numd, bytes) in rows {
        assert_eq!(decode(&report_command(numd, 1)), Ok(bytes));
    }
    assert_eq!(decode(&Sqe::of(NvmOpcode::READ.0, 1, 1)), Err(Status::INVALID_OPCODE.with_dnr()));
}

#[test]
fn a_report_is_laid_out_as_the_specification_says() {
    let mut rig = Rig::held(3);
    rig.ok(A, &register(KEY_A).cptpl(0b11));
    let report = encode(&rig.state, u64::MAX, controller);
    let mut expected = vec![0; 64 * 4];
    expected[..10].copy_from_slice(&[4, 0, 0, 0, 3, 3, 0, 0, 0, 1]);
    let rows = [(A, KEY_A, 0x1234u16, 1), (B, KEY_B, 0xffff, 0), (C, KEY_C, 0xffff, 0)];
    for (entry, (host, key, cntlid, rcsts)) in expected[64..].chunks_exact_mut(64).zip(rows) {
        entry[..2].copy_from_slice(&cntlid.to_le_bytes());
        entry[2] = rcsts;
        entry[8..16].copy_from_slice(&key.to_le_bytes());
        entry[16..32].fill(host);
    }
    assert_eq!(report, expected);
}

#[test]
fn a_report_of_nobody_is_a_header() {
    assert_eq!(encode(&State::new(), u64::MAX, controller), [0; 64]);
}

#[test]
fn a_short_report_is_the_beginning_of_the_whole_one() {
    let rig = Rig::held(5);
    let whole = encode(&rig.state, u64::MAX, controller);
    assert_eq!(whole.len(), 256);
    for bytes in 0..300 {
        let short = encode(&rig.state, bytes as u64, controller);
        assert_eq!(short, whole[..bytes.min(256)]);
        // The count is that of all registrants, also when they are cut off.
        assert!(bytes < 7 || short[5..7] == [3, 0]);
    }
}

#[test]
fn controllers_are_looked_up_only_for_what_is_sent() {
    let asked = std::cell::Cell::new(0);
    let lookup = |_| {
        asked.set(asked.get() + 1);
        None
    };
    let rig = Rig::registered();
    for (bytes, expected) in [(4, 0), (64, 0), (68, 1), (128, 1), (192, 2), (1 << 34, 3)] {
        asked.set(0);
        encode(&rig.state, bytes, lookup);
        assert_eq!(asked.get(), expected, "{bytes}");
    }
}

#[test]
fn only_the_holder_holds_where_there_is_one() {
    for rtype in ONE_HOLDER {
        assert_eq!(statuses(&Rig::held(rtype)), [1, 0, 0], "{rtype}");
    }
    assert_eq!(statuses(&Rig::registered()), [0, 0, 0]);
}

#[test]
fn every_registrant_holds_where_all_registrants_do() {
    for rtype in ALL_REGISTRANTS {
        assert_eq!(statuses(&Rig::held(rtype)), [1, 1, 1], "{rtype}");
    }
}
