//! Reservation commands with too little data, reports of any length, and more registrants than others can count.

use corelane::initiator::command;
use corelane::initiator::command::reservation::{self, Report};
use corelane::spec::log_page::LogPageId;
use corelane::spec::reservation::{
    AcquireAction, PersistChange, RegisterAction, ReleaseAction, ReservationType,
};
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use zerocopy::IntoBytes;

use crate::peer::{Peer, by_transport, in_capsule};
use crate::scene::Scene;
use crate::session::Session;

/// More than the 16 that SPDK had room for (CVE-2025-57275), in both forms of the report.
const REGISTRANTS: u8 = 40;
/// Header of a report, and one registrant in it.
const HEADER_BYTES: u32 = 64;
const ENTRY_BYTES: u32 = 64;
const MDTS_BYTES: u32 = 128 << 10;

fn register(key: u64) -> (Sqe, Vec<u8>) {
    let (sqe, data) = reservation::register(1, RegisterAction::REGISTER, PersistChange::KEEP, 0, key);
    (sqe, data.as_bytes().to_vec())
}

#[test]
fn data_that_is_too_short_is_refused_and_changes_nothing() {
    let mut scene = Scene::start();
    let session = scene.script().start();
    let mut io = session.io(1);
    let kind = ReservationType::WRITE_EXCLUSIVE;
    let (acquire, acquire_data) = reservation::acquire(1, AcquireAction::ACQUIRE, kind, 0, 0);
    let (release, release_data) = reservation::release(1, ReleaseAction::RELEASE, kind, 0);
    let rows = [
        ("Register", register(7).0, register(7).1),
        ("Acquire", acquire, acquire_data.as_bytes().to_vec()),
        ("Release", release, release_data.as_bytes().to_vec()),
    ];
    for (name, sqe, data) in rows {
        for bytes in 0..data.len() {
            println!("{name}, {bytes} of {} bytes", data.len());
            let cqe = io.execute(&in_capsule(sqe, 1, bytes), &data[..bytes]);
            assert_eq!(cqe.status(), Status::DATA_SGL_LENGTH_INVALID.with_dnr(), "{name} in a capsule");
            let cqe = io.execute(&by_transport(sqe, 1, bytes), &[]);
            assert_eq!(cqe.status(), Status::DATA_SGL_LENGTH_INVALID.with_dnr(), "{name} by R2T");
        }
    }
    assert_eq!(report(&mut io, 1 << 12).header.regstrnt.get(), 0, "nobody is registered");
    scene.check();
    drop((io, session));
    scene.end();
}

/// The report, of which the host has room for `bytes`.
fn report(io: &mut Peer, bytes: u32) -> Report {
    io.command(&by_transport(reservation::report(1, bytes), 2, bytes as usize), &[]);
    let pdu = io.receive().expect("a report");
    let payload = pdu.payload();
    assert_eq!(payload.len(), bytes as usize);
    Report::decode(&[payload, &[0; HEADER_BYTES as usize]].concat()).expect("a header")
}

#[test]
fn more_registrants_than_sixteen_are_all_there_in_reports_of_any_length() {
    let mut scene = Scene::start();
    let mut sessions: Vec<(Session, Peer)> = Vec::new();
    for number in 0..REGISTRANTS {
        let mut script = scene.script();
        script.data.hostid = [number + 1; 16];
        let session = script.start();
        let mut io = session.io(1);
        let (sqe, data) = register(u64::from(number) + 1);
        let cqe = io.execute(&in_capsule(sqe, 1, data.len()), &data);
        assert!(cqe.status().is_success(), "registrant {number}: {:?}", cqe.status());
        sessions.push((session, io));
    }
    let io = &mut sessions[0].1;
    for bytes in [4, 8, 60, HEADER_BYTES, HEADER_BYTES + 4, 4096, MDTS_BYTES] {
        let report = report(io, bytes);
        if bytes >= 8 {
            assert_eq!(report.header.regstrnt.get(), u16::from(REGISTRANTS), "{bytes} bytes");
        }
        let whole = (bytes.saturating_sub(HEADER_BYTES) / ENTRY_BYTES).min(REGISTRANTS.into()) as usize;
        let there = report.registrants.iter().filter(|entry| entry.rkey.get() != 0).count();
        assert!(there >= whole, "{bytes} bytes: {there} of {whole} registrants");
    }
    scene.check();
    drop(sessions);
    scene.end();
}

#[test]
fn lengths_of_reports_and_log_pages_are_judged_by_what_the_host_has_room_for() {
    let mut scene = Scene::start();
    let mut session = scene.script().start();
    let mut io = session.io(1);
    let (invalid, length) = (Status::INVALID_FIELD.with_dnr(), Status::DATA_SGL_LENGTH_INVALID.with_dnr());
    // NUMD in dwords less one, room in bytes, status.
    let rows = [
        (0, 4, Status::SUCCESS),
        (0, 0, length),
        (1, 4, length),
        (15, 60, length),
        (MDTS_BYTES / 4 - 1, MDTS_BYTES, Status::SUCCESS),
        (MDTS_BYTES / 4 - 1, 64, length),
        (MDTS_BYTES / 4, MDTS_BYTES + 4, invalid),
        (MDTS_BYTES / 4, 64, invalid),
        (u32::MAX, 64, invalid),
        (u32::MAX, u32::MAX, invalid),
        (u32::MAX - 1, u32::MAX, invalid),
    ];
    for (numd_z, room, status) in rows {
        println!("NUMD {numd_z}, room for {room} bytes");
        let mut report = by_transport(reservation::report(1, 4), 1, room as usize);
        report.cdw10 = numd_z.into();
        assert_eq!(answer(&mut io, &report), status, "a report");
        let mut page = by_transport(command::log_page(LogPageId::ERROR, 0, 4), 1, room as usize);
        // NUMDL, and NUMDU.
        page.cdw10 = (page.cdw10.get() & 0xffff | numd_z << 16).into();
        page.cdw11 = (numd_z >> 16).into();
        assert_eq!(answer(&mut session.admin, &page), status, "a log page");
        scene.check();
    }
    drop((io, session));
    scene.end();
}

/// The status of a command, whose answer may be nothing but data.
fn answer(peer: &mut Peer, sqe: &Sqe) -> Status {
    peer.command(sqe, &[]);
    loop {
        let pdu = peer.receive().expect("an answer");
        let success = corelane::spec::tcp::flags::SUCCESS;
        if pdu.common.pdu_type == corelane::spec::tcp::PduType::CAPSULE_RESP {
            return pdu.cqe().status();
        }
        if pdu.common.flags & success != 0 {
            return Status::SUCCESS;
        }
    }
}
