//! Common headers with a wrong field, and PDUs at the wrong time (TCP transport 1.0, sections 3.5 and 3.6).

use corelane::initiator::command;
use corelane::pdu::header::Role;
use corelane::pdu::{PduError, term_req};
use corelane::spec::tcp::{PduType, flags};

use crate::hostile::{Case, Ends, SEQUENCE, Stage, field, play};
use crate::peer::wrong::raw;
use crate::peer::{Wrong, capsule, in_capsule, plain_icreq as icreq};
use crate::scene::Scene;

fn case(name: &'static str, at: Stage, bytes: Vec<u8>, ends: Ends) -> Case {
    Case { name, at, bytes, ends }
}

/// A Flush, which has no data.
fn flush() -> Vec<u8> {
    capsule(&command::flush(1), &[])
}

/// A Write of one block of 512 bytes in its capsule.
fn write() -> Vec<u8> {
    capsule(&in_capsule(command::write(1, 0, 1, false), 1, 512), &[0xee; 512])
}

#[test]
fn a_wrong_type_is_an_invalid_header_field() {
    let mut scene = Scene::start();
    let mut cases = Vec::new();
    for at in [Stage::Fresh, Stage::Opened, Stage::Admin, Stage::Io] {
        for unknown in [0x08, 0x0a, 0xff] {
            cases.push(case("an unknown type", at, raw(PduType(unknown), 0, 8, 0, 8, &[]), field(0)));
        }
        for (name, pdu_type, hlen) in [
            ("an ICResp", PduType::ICRESP, 128),
            ("a C2HTermReq", PduType::C2H_TERM_REQ, 24),
            ("a response", PduType::CAPSULE_RESP, 24),
            ("data for the host", PduType::C2H_DATA, 24),
            ("an R2T", PduType::R2T, 24),
        ] {
            let rest = vec![0; usize::from(hlen) - 8];
            cases.push(case(name, at, raw(pdu_type, 0, hlen, 0, hlen.into(), &rest), field(0)));
        }
    }
    play(&mut scene, &cases);
    scene.end();
}

#[test]
fn a_wrong_icreq_does_not_open_a_connection() {
    let mut scene = Scene::start();
    let wrong = |offset, bytes: &[u8]| icreq().field(offset, bytes);
    let mut cases = vec![
        case("another PDU format version", Stage::Fresh, wrong(8, &[1, 0]), Ends::Terminated(6, 8)),
        case("a PDU format version above 255", Stage::Fresh, wrong(8, &[0, 1]), Ends::Terminated(6, 8)),
        case("HPDA 32", Stage::Fresh, wrong(10, &[32]), field(10)),
        case("HPDA 255", Stage::Fresh, wrong(10, &[255]), field(10)),
    ];
    for hlen in [0, 8, 127, 129, 255] {
        cases.push(case("HLEN of an ICReq", Stage::Fresh, icreq().hlen(hlen), field(2)));
    }
    for plen in [0, 7, 127, 129, 132, u32::MAX] {
        cases.push(case("PLEN of an ICReq", Stage::Fresh, icreq().plen(plen), field(4)));
    }
    play(&mut scene, &cases);
    scene.end();
}

#[test]
fn a_pdu_at_the_wrong_time_is_a_sequence_error() {
    let mut scene = Scene::start();
    let data =
        raw(PduType::H2C_DATA, flags::LAST, 24, 24, 28, &[0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    let data = [data, vec![0; 4]].concat();
    play(
        &mut scene,
        &[
            case("a command before ICReq", Stage::Fresh, flush(), SEQUENCE),
            case("a command with data before ICReq", Stage::Fresh, write(), SEQUENCE),
            case("data before ICReq", Stage::Fresh, data, SEQUENCE),
            case("a second ICReq", Stage::Opened, icreq(), SEQUENCE),
            case("an ICReq on an admin queue", Stage::Admin, icreq(), SEQUENCE),
            case("an ICReq on an I/O queue", Stage::Io, icreq(), SEQUENCE),
            case("two ICReqs at once", Stage::Fresh, icreq().then(&icreq()), SEQUENCE),
        ],
    );
    scene.end();
}

#[test]
fn a_wrong_length_of_a_command_ends_its_connection() {
    let mut scene = Scene::start();
    let mut cases = Vec::new();
    for at in [Stage::Opened, Stage::Admin, Stage::Io] {
        for hlen in [0, 71, 73, 255] {
            cases.push(case("HLEN of a command", at, flush().hlen(hlen), field(2)));
        }
        for plen in [0, 7, 8, 71] {
            let bytes = flush().plen(plen);
            cases.push(case("PLEN below HLEN", at, bytes, field(4)));
        }
        for pdo in [0, 8, 71, 73, 74, 75] {
            cases.push(case("PDO inside the header, or unaligned", at, write().pdo(pdo), field(3)));
        }
        let short = write().plen(80).pdo(84);
        cases.push(case("PDO beyond PLEN", at, short.clone(), field(3)));
        cases.push(case("data of no bytes", at, short.pdo(80), field(4)));
        for plen in [72 + 8193, 1 << 20, u32::MAX] {
            let bytes = write().plen(plen);
            cases.push(case("more than fits a capsule", at, bytes, field(4)));
        }
        for flag in [flags::HEADER_DIGEST, flags::DATA_DIGEST] {
            cases.push(case("a digest not agreed on", at, write().flags(flag), field(1)));
        }
    }
    play(&mut scene, &cases);
    scene.end();
}

#[test]
fn a_terminate_request_is_not_answered() {
    let mut scene = Scene::start();
    let mut request = vec![0; term_req::BYTES_MAX];
    let length = term_req::encode(&mut request, Role::Host, PduError::Sequence, &flush());
    request.truncate(length);
    let mut cases = Vec::new();
    for at in [Stage::Fresh, Stage::Opened, Stage::Admin, Stage::Io] {
        cases.push(case("a terminate request", at, request.clone(), Ends::Closed));
        let unknown = request.clone().field(8, &[0xff, 0xff]);
        cases.push(case("one with an unknown reason", at, unknown, Ends::Closed));
        let short = request.clone().plen(23);
        cases.push(case("one that is too short", at, short, Ends::Closed));
        let long = request.clone().plen(24 + 129);
        cases.push(case("one that is too long", at, long, Ends::Closed));
    }
    play(&mut scene, &cases);
    scene.end();
}
