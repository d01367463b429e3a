//! A host that lies to the target, or says the right thing at the wrong time.

use super::pair::{Blob, cqe, pattern, queued, sqe};
use super::wire;
use crate::connection::controller::{Connection, Event, Options};
use crate::pdu::{PduError, icreq};

const SEQUENCE: PduError = PduError::Sequence;
const RANGE: PduError = PduError::OutOfRange;
const LIMIT: PduError = PduError::LimitExceeded;

const fn at(offset: u8) -> PduError {
    PduError::HeaderField { offset }
}

fn request(digests: bool) -> Vec<u8> {
    wire::icreq(&icreq::Request { header_digest: digests, data_digest: digests, alignment: 4, r2t_max: 1 })
}

fn fresh() -> Connection<Blob> {
    Connection::new(&Options {
        entries: 4,
        capsule_bytes_max: 8192,
        h2c_data_bytes_max: 4096,
        ..Options::default()
    })
}

/// Open; waits for 8 KiB of command 5 under tag 1; has read 6 outstanding; nothing waits to be sent.
fn opened(digests: bool) -> Connection<Blob> {
    let mut connection = fresh();
    show(&mut connection, &request(digests)).unwrap();
    for cid in [5, 6] {
        show(&mut connection, &wire::capsule(&sqe(1, cid, 8192, false), &[], digests, digests)).unwrap();
    }
    connection.request_data(5, 1, 8192);
    connection.sent(queued(connection.outbox()).len(), drop);
    connection
}

/// Shows `bytes`; how many were taken before it wants more.
fn show(connection: &mut Connection<Blob>, bytes: &[u8]) -> Result<usize, PduError> {
    let mut from = 0;
    loop {
        match connection.next(&bytes[from..])? {
            (0, Event::Incomplete) => return Ok(from),
            (taken, _) => from += taken,
        }
    }
}

/// A PDU from its common header on.
fn raw(pdu_type: u8, flags: u8, hlen: u8, pdo: u8, plen: u32, rest: &[u8]) -> Vec<u8> {
    [&[pdu_type, flags, hlen, pdo], plen.to_le_bytes().as_slice(), rest].concat()
}

fn data(cid: u16, ttag: u16, offset: u32, bytes: usize, last: bool) -> Vec<u8> {
    wire::h2c_data(cid, ttag, offset, &vec![7; bytes], last, false, false)
}

fn patched(mut bytes: Vec<u8>, place: usize, with: &[u8]) -> Vec<u8> {
    bytes[place..place + with.len()].copy_from_slice(with);
    bytes
}

/// The C2HTermReq for `error`, quoting `header`.
fn term_req(error: PduError, header: &[u8]) -> Vec<u8> {
    let (fes, fei): (u8, u32) = match error {
        PduError::HeaderField { offset } => (1, offset.into()),
        PduError::Sequence | PduError::EarlySuccess => (2, 0),
        PduError::HeaderDigest { received } => (3, received),
        PduError::OutOfRange => (4, 0),
        PduError::LimitExceeded => (5, 0),
        PduError::Unsupported { offset } => (6, offset.into()),
    };
    let plen = 24 + u8::try_from(header.len()).unwrap();
    [&[3, 0, 24, 0, plen, 0, 0, 0, fes, 0], fei.to_le_bytes().as_slice(), &[0; 10], header].concat()
}

/// `bytes` end the connection with `error`; the host is told so, and then nothing more happens.
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
        let quoted = &bytes[..usize::from(bytes[2]).max(8).min(shown).min(128)];
        assert_eq!(queued(connection.outbox())[waiting..], term_req(error, quoted), "{name}");
        is_over(connection, name);
    }
}

fn is_over(mut connection: Connection<Blob>, name: &str) {
    let before = queued(connection.outbox());
    assert!(connection.is_ended() && !connection.is_open(), "{name}");
    for bytes in [request(false), data(5, 1, 0, 4096, false), vec![0xff; 300]] {
        assert!(matches!(connection.next(&bytes), Ok((0, Event::Incomplete))), "{name}");
    }
    assert_eq!(connection.wanted(), None, "{name}");
    connection.respond(&cqe(6));
    let data = pattern(6, 512);
    assert_eq!(connection.send_data(6, data.clone(), true), Some(data), "{name}");
    connection.request_data(6, 2, 512);
    assert_eq!(queued(connection.outbox()), before, "{name}: nothing is queued after the end");
}

#[test]
fn before_icreq() {
    let bad = |place, with: &[u8]| patched(request(false), place, with);
    let rows = [
        ("a capsule", wire::capsule(&sqe(0, 0, 0, false), &[], false, false), SEQUENCE),
        ("a capsule with data", wire::capsule(&sqe(1, 0, 0, false), &[1; 1024], false, false), SEQUENCE),
        ("a capsule with a digest", wire::capsule(&sqe(1, 0, 0, false), &[], true, false), at(1)),
        ("H2CData", data(0, 0, 0, 4096, true), SEQUENCE),
        ("ICResp", raw(1, 0, 128, 0, 128, &[0; 120]), at(0)),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), at(0)),
        ("a TLS hello", raw(0x16, 3, 1, 2, 0x0100, &[0; 64]), at(0)),
        ("HLEN", bad(2, &[127]), at(2)),
        ("PLEN", bad(4, &[0, 1]), at(4)),
        ("PLEN 0", bad(4, &[0]), at(4)),
        ("PFV", bad(8, &[0, 1]), PduError::Unsupported { offset: 8 }),
        ("HPDA", bad(10, &[32]), at(10)),
    ];
    for (name, bytes, error) in rows {
        refused(name, fresh, &[], &bytes, error);
    }
}

/// Name, PDUs that are taken first, the PDU that is not, why.
type Row<'a> = (&'a str, &'a [&'a [u8]], Vec<u8>, PduError);

#[test]
fn data_that_was_not_asked_for() {
    let half = data(5, 1, 0, 4096, false);
    let rest = data(5, 1, 4096, 4096, true);
    //  name, PDUs before it, the PDU
    let rows: &[Row<'_>] = &[
        ("tag beyond the queue", &[], data(5, 4, 0, 4096, false), at(10)),
        ("tag 65535", &[], data(5, 0xffff, 0, 4096, false), at(10)),
        ("tag that is idle", &[], data(5, 0, 0, 4096, false), at(10)),
        ("data for a read", &[], data(6, 2, 0, 4096, true), at(10)),
        ("another command's tag", &[], data(6, 1, 0, 4096, false), at(8)),
        ("CID and tag unknown", &[], data(99, 3, 0, 4096, false), at(10)),
        ("after the transfer", &[&half, &rest], data(5, 1, 0, 4096, false), at(10)),
        ("last part twice", &[&half, &rest], rest.clone(), at(10)),
        ("first part twice", &[&half], half.clone(), SEQUENCE),
        ("a gap", &[], rest.clone(), SEQUENCE),
        ("a gap of a dword", &[], data(5, 1, 4, 4096, false), SEQUENCE),
        ("an overlap", &[&half], data(5, 1, 2048, 4096, false), SEQUENCE),
        ("behind the end", &[], data(5, 1, 8192, 4, true), RANGE),
        ("across the end", &[&half], data(5, 1, 4100, 4096, true), RANGE),
        ("around the end of 32 bits", &[], data(5, 1, u32::MAX - 3, 4, true), RANGE),
        ("far behind", &[], data(5, 1, u32::MAX - 7, 4, true), RANGE),
        ("larger than MAXH2CDATA", &[], data(5, 1, 0, 4100, false), LIMIT),
        ("all at once", &[], data(5, 1, 0, 8192, true), LIMIT),
        ("LAST_PDU too early", &[], data(5, 1, 0, 4096, true), at(1)),
        ("LAST_PDU missing", &[&half], data(5, 1, 4096, 4096, false), at(1)),
        ("DATAL 0", &[], patched(half.clone(), 16, &[0, 0]), at(16)),
        ("DATAL too small", &[], patched(half.clone(), 16, &[0xfc, 0x0f]), at(16)),
        ("DATAL too large", &[], patched(half.clone(), 16, &[0, 0, 1, 0]), at(16)),
        (
            "no data at all",
            &[],
            raw(6, 4, 24, 24, 24, &[5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            at(16),
        ),
    ];
    for (name, before, bytes, error) in rows {
        refused(name, || opened(false), before, bytes, *error);
    }
}

#[test]
fn wrong_pdus_on_an_open_connection() {
    let capsule = |data: &[u8]| wire::capsule(&sqe(1, 7, 0, false), data, false, false);
    let rows = [
        ("ICReq again", request(false), SEQUENCE),
        ("ICReq again, and wrong", patched(request(false), 8, &[1]), SEQUENCE),
        ("reserved type", raw(8, 0, 24, 0, 24, &[0; 16]), at(0)),
        ("R2T from a host", wire::r2t(5, 1, 0, 4096, false), at(0)),
        ("response from a host", wire::response(&cqe(5), false), at(0)),
        ("C2HData from a host", wire::c2h_data(6, 0, &[0; 512], true, true), at(0)),
        ("C2HTermReq from a host", raw(3, 0, 24, 0, 24, &[0; 16]), at(0)),
        ("digest flag", patched(capsule(&[]), 1, &[1]), at(1)),
        ("data digest flag", patched(capsule(&[1; 512]), 1, &[2]), at(1)),
        ("HLEN 0", patched(capsule(&[]), 2, &[0]), at(2)),
        ("HLEN 255", patched(capsule(&[1; 512]), 2, &[255]), at(2)),
        ("HLEN of H2CData", patched(data(5, 1, 0, 4096, false), 2, &[28]), at(2)),
        ("PDO below HLEN", patched(capsule(&[1; 512]), 3, &[71]), at(3)),
        ("PDO 0", patched(capsule(&[1; 512]), 3, &[0]), at(3)),
        ("PDO unaligned", patched(capsule(&[1; 512]), 3, &[73]), at(3)),
        ("PDO behind PLEN", patched(capsule(&[1; 8]), 3, &[84]), at(3)),
        ("PLEN 0", patched(capsule(&[]), 4, &[0]), at(4)),
        ("PLEN below HLEN", patched(capsule(&[]), 4, &[71]), at(4)),
        ("PLEN huge", patched(capsule(&[1; 8]), 4, &[0xff; 4]), at(4)),
        ("more than a capsule holds", capsule(&[1; 8196]), at(4)),
        ("H2CData with a huge PLEN", patched(data(5, 1, 0, 4096, false), 4, &[0xff; 4]), LIMIT),
    ];
    for (name, bytes, error) in rows {
        refused(name, || opened(false), &[], &bytes, error);
    }
}

#[test]
fn a_header_digest_error_is_fatal_and_quotes_the_digest() {
    let capsule = wire::capsule(&sqe(1, 7, 0, false), &[3; 512], true, true);
    let received = u32::from_le_bytes(capsule[72..76].try_into().unwrap());
    let error = PduError::HeaderDigest { received };
    refused("SQE", || opened(true), &[], &patched(capsule.clone(), 20, &[0xee]), error);
    let wrong = PduError::HeaderDigest { received: 0x0403_0201 };
    refused("digest", || opened(true), &[], &patched(capsule, 72, &[1, 2, 3, 4]), wrong);

    let data = wire::h2c_data(5, 1, 0, &[7; 4096], false, true, true);
    let received = u32::from_le_bytes(data[24..28].try_into().unwrap());
    // The digest is judged before the fields that it protects.
    refused("tag", || opened(true), &[], &patched(data, 10, &[3]), PduError::HeaderDigest { received });
}

#[test]
fn terminate_requests_end_the_connection_without_an_answer() {
    for make in [fresh, || opened(false), || opened(true)] {
        for quoted in [0, 8, 72, 128] {
            let plen = 24 + u32::try_from(quoted).unwrap();
            let rest = [&[2, 0, 1, 2, 3, 4], [0; 10].as_slice(), &vec![9; quoted]].concat();
            let bytes = raw(2, 0, 24, 0, plen, &rest);
            let mut connection = make();
            let before = queued(connection.outbox());
            let (taken, event) = connection.next(&bytes).unwrap();
            assert!(
                matches!(event, Event::Terminated(why) if why.status.0 == 2 && why.information == 0x0403_0201)
            );
            assert_eq!(taken, bytes.len());
            assert_eq!(queued(connection.outbox()), before);
            is_over(connection, "terminated");
        }
        // TCP transport 1.0, section 3.5: such a request is ignored, and the connection ends at once.
        for (plen, hlen, offset) in [(23, 24, 4), (0, 24, 4), (153, 24, 4), (u32::MAX, 24, 4), (24, 8, 2)] {
            let bytes = raw(2, 0, hlen, 0, plen, &[0; 200]);
            let mut connection = make();
            let before = queued(connection.outbox());
            assert_eq!(connection.next(&bytes).unwrap_err(), at(offset));
            assert_eq!(queued(connection.outbox()), before);
            is_over(connection, "malformed terminate request");
        }
    }
}

#[test]
fn writes_with_one_cid_are_told_apart_by_their_tags() {
    let mut connection = fresh();
    show(&mut connection, &request(false)).unwrap();
    for ttag in [1, 2] {
        show(&mut connection, &wire::capsule(&sqe(1, 5, 512, false), &[], false, false)).unwrap();
        connection.request_data(5, ttag, 512);
    }
    for expected in [2, 1] {
        let (bytes, mut from) = (data(5, expected, 0, 512, true), 0);
        let mut through = Vec::new();
        while from < bytes.len() || through.is_empty() {
            let (taken, event) = connection.next(&bytes[from..]).unwrap();
            from += taken;
            match event {
                Event::Data { ttag, .. } => assert_eq!(ttag, expected),
                Event::Transferred { ttag, intact: true } => through.push(ttag),
                other => assert!(matches!(other, Event::Taken), "{other:?}"),
            }
        }
        assert_eq!(through, [expected]);
        connection.respond(&cqe(5));
    }
    assert!(!connection.is_ended());
}

#[test]
fn abandoning_gives_back_payloads_and_ends() {
    let mut connection = opened(false);
    for bytes in [data(5, 1, 0, 4096, false), data(5, 1, 4096, 4096, true)] {
        // Header and data, but not the event that says that all has arrived.
        let (header, _) = connection.next(&bytes).unwrap();
        connection.next(&bytes[header..]).unwrap();
    }
    assert_eq!(connection.send_data(6, pattern(6, 512), false), None);
    let mut back = Vec::new();
    connection.abandon(|data| back.push(data));
    assert_eq!(back, [pattern(6, 512)]);
    is_over(connection, "abandoned");
}
