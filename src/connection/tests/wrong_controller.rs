//! A target that lies to the host, or says the right thing at the wrong time.

use super::pair::{Blob, cqe, pattern, queued, sqe};
use super::wire;
use crate::connection::host::{Connection, Data, Event, Options};
use crate::pdu::PduError;
use crate::spec::cqe::Cqe;
use crate::spec::status::Status;

const SEQUENCE: PduError = PduError::Sequence;
const RANGE: PduError = PduError::OutOfRange;
const LIMIT: PduError = PduError::LimitExceeded;
const EARLY: PduError = PduError::EarlySuccess;

/// Outstanding: a read of 8 KiB, a write of 8 KiB, a write with its data in the capsule, a flush. 0 is idle.
const READ: u16 = 1;
const WRITE: u16 = 2;
const IN_CAPSULE: u16 = 3;
const FLUSH: u16 = 4;

const fn at(offset: u8) -> PduError {
    PduError::HeaderField { offset }
}

fn asking(header_digest: bool, data_digest: bool) -> Connection<Blob> {
    let options = Options { entries: 6, header_digest, data_digest, ..Options::default() };
    let mut connection = Connection::new(&options);
    connection.sent(128);
    connection
}

fn fresh() -> Connection<Blob> {
    asking(false, false)
}

fn opened(digests: bool) -> Connection<Blob> {
    let mut connection = asking(digests, digests);
    show(&mut connection, &wire::icresp(digests, digests, 4, 4096)).unwrap();
    connection.submit(&sqe(2, READ, 8192, false), Data::Read(8192));
    connection.submit(&sqe(1, WRITE, 8192, false), Data::OnRequest(pattern(WRITE, 8192)));
    connection.submit(&sqe(1, IN_CAPSULE, 512, false), Data::InCapsule(pattern(IN_CAPSULE, 512)));
    connection.submit(&sqe(0, FLUSH, 0, false), Data::None);
    connection.sent(queued(connection.outbox()).len());
    connection
}

fn show(connection: &mut Connection<Blob>, bytes: &[u8]) -> Result<usize, PduError> {
    let mut from = 0;
    loop {
        match connection.next(&bytes[from..])? {
            (0, Event::Incomplete) => return Ok(from),
            (taken, _) => from += taken,
        }
    }
}

fn raw(pdu_type: u8, flags: u8, hlen: u8, pdo: u8, plen: u32, rest: &[u8]) -> Vec<u8> {
    [&[pdu_type, flags, hlen, pdo], plen.to_le_bytes().as_slice(), rest].concat()
}

fn patched(mut bytes: Vec<u8>, place: usize, with: &[u8]) -> Vec<u8> {
    bytes[place..place + with.len()].copy_from_slice(with);
    bytes
}

fn data(cid: u16, offset: u32, bytes: usize, last: bool, success: bool) -> Vec<u8> {
    wire::c2h_data(cid, offset, &vec![7; bytes], last, success)
}

fn r2t(cid: u16, offset: u32, bytes: u32) -> Vec<u8> {
    wire::r2t(cid, 0x77, offset, bytes, false)
}

/// `bytes` end the connection with `error`; the target is told so, and then nothing more happens.
fn refused(name: &str, make: impl Fn() -> Connection<Blob>, before: &[&[u8]], bytes: &[u8], error: PduError) {
    for at_a_time in [usize::MAX, 1] {
        let mut connection = make();
        for good in before {
            assert_eq!(show(&mut connection, good), Ok(good.len()), "{name}");
        }
        let waiting = queued(connection.outbox()).len();
        let (mut shown, mut taken) = (0, 0);
        let got = loop {
            assert!(shown < bytes.len(), "{name}: nobody minds");
            shown = bytes.len().min(shown.saturating_add(at_a_time));
            match show(&mut connection, &bytes[taken..shown]) {
                Ok(more) => taken += more,
                Err(error) => break error,
            }
        };
        assert_eq!(got, error, "{name}");
        assert_eq!(taken, 0, "{name}: a wrong PDU has no effect");
        let told = queued(connection.outbox()).split_off(waiting);
        let (fes, fei) = error.wire();
        assert_eq!(told[..3], [2, 0, 24], "{name}");
        assert_eq!(told[8..14], [fes.0.to_le_bytes().as_slice(), &fei.to_le_bytes()].concat(), "{name}");
        let header = usize::from(bytes[2]).max(8).min(shown).min(128);
        assert_eq!(told[24..], bytes[..header], "{name}");
        is_over(connection, name);
    }
}

fn is_over(mut connection: Connection<Blob>, name: &str) {
    let before = queued(connection.outbox());
    assert!(connection.is_ended() && !connection.is_open() && !connection.has_room(), "{name}");
    for bytes in [wire::response(&cqe(FLUSH), false), r2t(WRITE, 0, 8192), vec![0xff; 300]] {
        assert!(matches!(connection.next(&bytes), Ok((0, Event::Incomplete))), "{name}");
    }
    assert_eq!(connection.wanted(), None, "{name}");
    connection.sent(before.len());
    assert!(connection.outbox().is_empty(), "{name}: nothing is queued after the end");
}

#[test]
fn before_and_instead_of_icresp() {
    let icresp = |place, with: &[u8]| patched(wire::icresp(false, false, 4, 4096), place, with);
    let rows = [
        ("a response", wire::response(&cqe(0), false), SEQUENCE),
        ("C2HData", data(0, 0, 512, true, true), SEQUENCE),
        ("R2T", r2t(0, 0, 4096), SEQUENCE),
        ("ICReq", raw(0, 0, 128, 0, 128, &[0; 120]), at(0)),
        ("HLEN", icresp(2, &[0]), at(2)),
        ("PLEN", icresp(4, &[129]), at(4)),
        ("PFV", icresp(8, &[1]), PduError::Unsupported { offset: 8 }),
        ("CPDA", icresp(10, &[32]), at(10)),
        ("header digest that nobody asked for", icresp(11, &[1]), at(11)),
        ("data digest that nobody asked for", icresp(11, &[2]), at(11)),
        ("MAXH2CDATA 0", icresp(12, &[0, 0]), at(12)),
        ("MAXH2CDATA below 4096", icresp(12, &[0xfc, 0x0f]), at(12)),
        ("MAXH2CDATA not in dwords", icresp(12, &[0x01, 0x10]), at(12)),
    ];
    for (name, bytes, error) in rows {
        refused(name, fresh, &[], &bytes, error);
    }
    for (header, data) in [(true, false), (false, true)] {
        let bytes = wire::icresp(!header, !data, 4, 4096);
        refused("the other digest", || asking(header, data), &[], &bytes, at(11));
    }
    let again = wire::icresp(false, false, 4, 4096);
    refused("ICResp again", || opened(false), &[], &again, SEQUENCE);
}

#[test]
fn data_that_belongs_nowhere() {
    let half = data(READ, 0, 4096, false, false);
    let rest = data(READ, 4096, 4096, true, false);
    let success = data(READ, 4096, 4096, true, true);
    let completion = wire::response(&cqe(READ), false);
    let rows: &[Row<'_>] = &[
        ("CID beyond the queue", &[], data(6, 0, 512, true, false), at(8)),
        ("CID 65535", &[], data(0xffff, 0, 512, true, false), at(8)),
        ("CID that is idle", &[], data(0, 0, 512, true, false), at(8)),
        ("data for a write", &[], data(WRITE, 0, 512, true, false), SEQUENCE),
        ("data for a write with data", &[], data(IN_CAPSULE, 0, 512, true, false), SEQUENCE),
        ("data for a flush", &[], data(FLUSH, 0, 512, true, true), SEQUENCE),
        ("a gap", &[], rest.clone(), SEQUENCE),
        ("the first part twice", &[&half], half.clone(), SEQUENCE),
        ("an overlap", &[&half], data(READ, 4092, 4096, false, false), SEQUENCE),
        ("behind the end", &[&half], data(READ, 8192, 4, true, false), RANGE),
        ("across the end", &[&half], data(READ, 4096, 4100, true, false), RANGE),
        ("too much at once", &[], data(READ, 0, 8196, true, false), RANGE),
        ("more than any command asks for", &[], data(READ, 0, (1 << 17) + 4, true, false), RANGE),
        ("around the end of 32 bits", &[], data(READ, u32::MAX - 3, 4, true, false), RANGE),
        ("after the last", &[&half, &rest], rest.clone(), SEQUENCE),
        ("more after the last", &[&half, &rest], data(READ, 8192, 4, true, false), SEQUENCE),
        ("after the response", &[&half, &rest, &completion], rest.clone(), at(8)),
        ("after SUCCESS", &[&half, &success], rest.clone(), at(8)),
        ("LAST_PDU too early", &[], data(READ, 0, 4096, true, false), at(1)),
        ("SUCCESS too early", &[], data(READ, 0, 4096, true, true), at(1)),
        ("LAST_PDU missing", &[&half], data(READ, 4096, 4096, false, false), at(1)),
        ("SUCCESS without LAST_PDU", &[&half], patched(success.clone(), 1, &[8]), at(1)),
        ("DATAL 0", &[], patched(half.clone(), 16, &[0, 0]), at(16)),
        ("DATAL too large", &[], patched(half.clone(), 16, &[4]), at(16)),
        ("DATAL huge", &[], patched(half.clone(), 16, &[0xff; 4]), at(16)),
        ("PDO below HLEN", &[], patched(half.clone(), 3, &[20]), at(3)),
        ("PDO unaligned", &[], patched(half.clone(), 3, &[26]), at(3)),
        ("PLEN 0", &[], patched(half.clone(), 4, &[0, 0]), at(4)),
        ("HLEN 255", &[], patched(half.clone(), 2, &[255]), at(2)),
        ("a digest flag", &[], patched(half.clone(), 1, &[2]), at(1)),
    ];
    for (name, before, bytes, error) in rows {
        refused(name, || opened(false), before, bytes, *error);
    }
}

/// Name, PDUs that are taken first, the PDU that is not, why.
type Row<'a> = (&'a str, &'a [&'a [u8]], Vec<u8>, PduError);

#[test]
fn requests_and_responses_that_belong_nowhere() {
    let all = r2t(WRITE, 0, 8192);
    let half = r2t(WRITE, 0, 4096);
    let completion = wire::response(&cqe(WRITE), false);
    let failure = wire::response(&Cqe::of(WRITE, Status::INTERNAL_ERROR), false);
    let rows: &[Row<'_>] = &[
        ("R2T for a CID beyond the queue", &[], r2t(6, 0, 512), at(8)),
        ("R2T for an idle CID", &[], r2t(0, 0, 512), at(8)),
        ("R2T for a read", &[], r2t(READ, 0, 512), SEQUENCE),
        ("R2T for data that is there", &[], r2t(IN_CAPSULE, 0, 512), SEQUENCE),
        ("R2T for a flush", &[], r2t(FLUSH, 0, 512), SEQUENCE),
        ("R2T for too much", &[], r2t(WRITE, 0, 8196), RANGE),
        ("R2T behind the end", &[], r2t(WRITE, 8192, 4), RANGE),
        ("R2T around the end of 32 bits", &[], r2t(WRITE, u32::MAX - 3, 4), RANGE),
        ("R2T with a gap", &[], r2t(WRITE, 4096, 4096), SEQUENCE),
        ("R2T for the same again", &[&all], all.clone(), SEQUENCE),
        ("R2T for a part again", &[&half], half.clone(), SEQUENCE),
        ("success instead of an R2T", &[], completion.clone(), EARLY),
        ("success after an R2T for half", &[&half], completion.clone(), EARLY),
        ("success before the data was sent", &[&all], completion.clone(), EARLY),
        ("R2T after the response", &[&failure], all.clone(), at(8)),
        ("R2T after the response, with data on its way", &[&half, &failure], all.clone(), at(8)),
        ("R2T for nothing", &[], patched(all.clone(), 16, &[0, 0]), at(16)),
        ("R2T with data", &[], patched(all.clone(), 4, &[28]), at(4)),
        ("response for a CID beyond the queue", &[], wire::response(&cqe(6), false), at(8)),
        ("response for an idle CID", &[], wire::response(&cqe(0), false), at(8)),
        ("response twice", &[&failure], completion.clone(), at(8)),
        ("response twice, with data on its way", &[&all, &failure], completion.clone(), at(8)),
        (
            "data on its way for a command that failed",
            &[&all, &failure],
            data(WRITE, 0, 512, true, false),
            at(8),
        ),
        ("reserved type", &[], raw(0x0a, 0, 24, 0, 24, &[0; 16]), at(0)),
        ("capsule from a target", &[], wire::capsule(&sqe(0, 0, 0, false), &[], false, false), at(0)),
        ("H2CTermReq from a target", &[], raw(2, 0, 24, 0, 24, &[0; 16]), at(0)),
    ];
    for (name, before, bytes, error) in rows {
        refused(name, || opened(false), before, bytes, *error);
    }
}

#[test]
fn a_second_request_before_the_first_is_served_exceeds_the_limit() {
    let mut connection = fresh();
    show(&mut connection, &wire::icresp(false, false, 4, 4096)).unwrap();
    // More H2CData PDUs than the outbox has room for, so that the first request stays open.
    connection.submit(&sqe(1, WRITE, 0, false), Data::OnRequest(pattern(WRITE, 400_000)));
    show(&mut connection, &r2t(WRITE, 0, 200_000)).unwrap();
    assert_eq!(connection.next(&r2t(WRITE, 200_000, 4)).unwrap_err(), LIMIT);
    is_over(connection, "two R2Ts");
}

#[test]
fn requests_one_after_the_other_are_served() {
    let mut connection = opened(false);
    for offset in [0, 4096] {
        show(&mut connection, &r2t(WRITE, offset, 4096)).unwrap();
        let bytes = queued(connection.outbox());
        let expected = &pattern(WRITE, 8192).0[offset as usize..][..4096];
        assert_eq!(bytes, wire::h2c_data(WRITE, 0x77, offset, expected, true, false, false));
        connection.sent(bytes.len());
    }
}

#[test]
fn a_response_before_all_data_came_is_not_intact() {
    for before in [0, 4096] {
        let mut connection = opened(false);
        if before > 0 {
            show(&mut connection, &data(READ, 0, before, false, false)).unwrap();
        }
        let bytes = wire::response(&cqe(READ), false);
        let (_, event) = connection.next(&bytes).unwrap();
        assert!(matches!(event, Event::Completed { intact: false, .. }));
        assert!(!connection.is_ended());
    }
}

#[test]
fn success_needs_all_of_the_data() {
    for sent in [0, 4096, 8192] {
        let mut connection = opened(false);
        if sent > 0 {
            show(&mut connection, &r2t(WRITE, 0, sent)).unwrap();
            connection.sent(queued(connection.outbox()).len());
        }
        let completion = wire::response(&cqe(WRITE), false);
        let outcome = connection.next(&completion).map(|(_, event)| matches!(event, Event::Completed { .. }));
        assert_eq!(outcome, if sent == 8192 { Ok(true) } else { Err(EARLY) }, "{sent} bytes were sent");
    }
    // Data that goes with the capsule, and is still here.
    let mut connection = opened(false);
    connection.submit(&sqe(1, 5, 512, false), Data::InCapsule(pattern(5, 512)));
    assert_eq!(connection.next(&wire::response(&cqe(5), false)).unwrap_err(), EARLY);
}

#[test]
fn a_failure_ends_the_sending_of_its_data_and_is_told_when_nothing_of_it_is_left() {
    let status = Status::TRANSIENT_TRANSPORT_ERROR;
    let failure = wire::response(&Cqe::of(WRITE, status), false);
    let is_told =
        |event: &Event<'_>| matches!(event, Event::Completed { cqe, intact: true } if cqe.status() == status);
    // Before the data was asked for: at once.
    let mut connection = opened(false);
    assert!(is_told(&connection.next(&failure).unwrap().1));

    let mut connection = fresh();
    show(&mut connection, &wire::icresp(false, false, 4, 4096)).unwrap();
    connection.submit(&sqe(1, WRITE, 0, false), Data::OnRequest(pattern(WRITE, 400_000)));
    show(&mut connection, &r2t(WRITE, 0, 400_000)).unwrap();
    let queued_before = queued(connection.outbox()).len();
    assert!(queued_before < 400_000);
    assert!(matches!(connection.next(&failure), Ok((24, Event::Taken))));
    // What follows is taken, and is not in its way.
    connection.submit(&sqe(0, FLUSH, 0, false), Data::None);
    connection.sent(queued_before - 1);
    assert!(!connection.is_late() && matches!(connection.next(&[]), Ok((0, Event::Incomplete))));
    connection.sent(1);
    assert!(connection.is_late() && is_told(&connection.next(&[]).unwrap().1));
    assert!(!connection.is_late() && matches!(connection.next(&[]), Ok((0, Event::Incomplete))));
    // Nothing more of the data is sent, and its CID is free.
    assert_eq!(queued(connection.outbox()).len(), 72);
    connection.sent(72);
    connection.submit(&sqe(0, WRITE, 0, false), Data::None);
    assert!(connection.has_room() && !connection.is_ended());
}

#[test]
fn a_header_digest_error_is_fatal() {
    let response = patched(wire::response(&cqe(FLUSH), true), 9, &[0xee]);
    let received = u32::from_le_bytes(response[24..28].try_into().unwrap());
    refused("a response", || opened(true), &[], &response, PduError::HeaderDigest { received });
    let r2t = patched(wire::r2t(WRITE, 0, 0, 8192, true), 24, &[9, 9, 9, 9]);
    refused("R2T", || opened(true), &[], &r2t, PduError::HeaderDigest { received: 0x0909_0909 });
}

#[test]
fn a_wrong_header_length_is_judged_before_any_digest_is_looked_for() {
    // CVE-2025-21927: a host that believes HLEN looks for the digest behind its own buffer.
    let data = wire::c2h_data_digests(READ, 0, &[7; 512], (false, false), true, true);
    let response = wire::response(&cqe(FLUSH), true);
    for hlen in [0, 8, 23, 25, 28, 128, 255] {
        refused("data", || opened(true), &[], &patched(data.clone(), 2, &[hlen]), at(2));
        refused("a response", || opened(true), &[], &patched(response.clone(), 2, &[hlen]), at(2));
    }
    for plen in [0, 8, 24, 27] {
        refused("PLEN", || opened(true), &[], &patched(response.clone(), 4, &[plen]), at(4));
    }
}

#[test]
fn data_of_no_bytes_is_refused_where_data_is_expected() {
    let header = [READ.to_le_bytes().as_slice(), &[0; 14]].concat();
    for flags in [0, 4, 12] {
        refused("C2HData", || opened(false), &[], &raw(7, flags, 24, 24, 24, &header), at(16));
    }
}

#[test]
fn terminate_requests_end_the_connection_without_an_answer() {
    for make in [fresh, || opened(false), || opened(true)] {
        for quoted in [0, 72, 128] {
            let bytes = raw(3, 0, 24, 0, 24 + quoted, &[[1, 0, 8, 0].as_slice(), &[0; 140]].concat());
            let mut connection = make();
            let (taken, event) = connection.next(&bytes).unwrap();
            assert!(matches!(event, Event::Terminated(why) if why.status.0 == 1 && why.information == 8));
            assert_eq!(taken, 24 + quoted as usize);
            assert!(connection.outbox().is_empty());
            is_over(connection, "terminated");
        }
        for (plen, hlen, offset) in [(23, 24, 4), (153, 24, 4), (u32::MAX, 24, 4), (24, 23, 2)] {
            let mut connection = make();
            assert_eq!(connection.next(&raw(3, 0, hlen, 0, plen, &[0; 200])).unwrap_err(), at(offset));
            assert!(connection.outbox().is_empty());
            is_over(connection, "malformed terminate request");
        }
    }
}
