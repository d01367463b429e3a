//! Padding before data: every alignment that a peer can announce, with and without digests, in both roles. Where data is
//! expected to begin is worked out here, from the text of the specification (TCP transport 1.0, section 3.3).

use super::pair::{Blob, Flow, Pair, Random, TARGET, cqe, pattern, queued, sqe};
use super::wire;
use crate::connection::{controller, host};
use crate::pdu::digest;
use crate::pdu::{PduError, icreq};

const DIGESTS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];
const BYTES: usize = 512;
/// HLEN of CapsuleCmd and of data PDUs.
const CAPSULE_HLEN: usize = 72;
const DATA_HLEN: usize = 24;
const PDO: PduError = PduError::HeaderField { offset: 3 };

/// Every alignment, 4 to 128 bytes, with every choice of digests.
fn all() -> impl Iterator<Item = (usize, bool, bool)> {
    (1..=32).flat_map(|dwords| DIGESTS.map(|(header, data)| (dwords * 4, header, data)))
}

/// The first multiple of `alignment` behind a header of `hlen` bytes and its digest.
fn data_start(hlen: usize, header_digest: bool, alignment: usize) -> usize {
    let end = hlen + if header_digest { 4 } else { 0 };
    (0..).map(|count| count * alignment).find(|&start| start >= end).unwrap()
}

/// A PDU with `data` in it has its parts where they belong, and nothing else.
fn check(pdu: &[u8], hlen: usize, data: &[u8], (alignment, header_digest, data_digest): (usize, bool, bool)) {
    let start = data_start(hlen, header_digest, alignment);
    let end = start + data.len();
    let plen = end + if data_digest { 4 } else { 0 };
    assert_eq!((usize::from(pdu[2]), usize::from(pdu[3])), (hlen, start), "HLEN and PDO");
    assert_eq!(pdu[4..8], u32::try_from(plen).unwrap().to_le_bytes(), "PLEN");
    assert_eq!(pdu.len(), plen);
    let header_end = if header_digest { hlen + 4 } else { hlen };
    if header_digest {
        assert_eq!(pdu[hlen..header_end], digest::header(&pdu[..hlen]), "HDGST");
    }
    assert!(pdu[header_end..start].iter().all(|&byte| byte == 0), "padding is zeros");
    assert_eq!(&pdu[start..end], data);
    if data_digest {
        assert_eq!(pdu[end..], digest::data(digest::append(0, data)), "DDGST does not cover padding");
    }
}

/// A target that has got this ICReq, and commands 5 (a write) and 6 (a read).
fn target(request: &icreq::Request, cpda: usize) -> controller::Connection<Blob> {
    let options = controller::Options { entries: 8, alignment: cpda, ..TARGET };
    let mut connection = controller::Connection::new(&options);
    let (taken, _) = connection.next(&wire::icreq(request)).unwrap();
    assert_eq!(taken, 128);
    let icresp = queued(connection.outbox());
    assert_eq!(usize::from(icresp[10]), cpda / 4 - 1, "CPDA");
    for cid in [5, 6] {
        let bytes = wire::capsule(&sqe(1, cid, 512, false), &[], request.header_digest, request.data_digest);
        connection.next(&bytes).unwrap();
    }
    connection.request_data(5, 1, 512);
    connection.sent(queued(connection.outbox()).len(), drop);
    connection
}

/// A host that got this ICResp, with a read (2) of 512 bytes outstanding.
fn initiator(hpda: usize, cpda: usize, header_digest: bool, data_digest: bool) -> host::Connection<Blob> {
    let options =
        host::Options { entries: 6, header_digest, data_digest, alignment: hpda, ..host::Options::default() };
    let mut connection = host::Connection::new(&options);
    assert_eq!(usize::from(queued(connection.outbox())[10]), hpda / 4 - 1, "HPDA");
    connection.sent(128);
    connection.next(&wire::icresp(header_digest, data_digest, cpda, 4096)).unwrap();
    connection.submit(&sqe(2, 2, 512, false), host::Data::Read(512));
    connection.sent(queued(connection.outbox()).len());
    connection
}

#[test]
fn a_target_pads_its_data_as_the_host_asked() {
    for row @ (alignment, header_digest, data_digest) in all() {
        for success in [false, true] {
            let request = icreq::Request { header_digest, data_digest, alignment, r2t_max: 1 };
            let mut connection = target(&request, 4);
            let data = pattern(6, u32::try_from(BYTES).unwrap());
            assert!(connection.send_data(6, data.clone(), success).is_none());
            check(&queued(connection.outbox()), DATA_HLEN, &data.0, row);
        }
    }
}

#[test]
fn a_host_pads_its_data_as_the_target_asked() {
    for row @ (alignment, header_digest, data_digest) in all() {
        let mut connection = initiator(4, alignment, header_digest, data_digest);
        let data = pattern(3, u32::try_from(BYTES).unwrap());
        connection.submit(&sqe(1, 3, 512, false), host::Data::InCapsule(data.clone()));
        let capsule = queued(connection.outbox());
        check(&capsule, CAPSULE_HLEN, &data.0, row);
        connection.sent(capsule.len());
        connection.submit(&sqe(1, 4, 512, false), host::Data::OnRequest(data.clone()));
        connection.sent(queued(connection.outbox()).len());
        connection.next(&wire::r2t(4, 9, 0, 512, header_digest)).unwrap();
        check(&queued(connection.outbox()), DATA_HLEN, &data.0, row);
    }
}

/// A data PDU whose data begins at `pdo`, whatever that is; its digests match.
fn data_pdu(kind: u8, cid_and_tag: [u8; 4], pdo: u8, header_digest: bool, data_digest: bool) -> Vec<u8> {
    let digests = u8::from(header_digest) | u8::from(data_digest) << 1;
    let plen = u32::from(pdo) + 512 + if data_digest { 4 } else { 0 };
    let mut pdu = vec![kind, 4 | digests, 24, pdo];
    pdu.extend(plen.to_le_bytes());
    pdu.extend(cid_and_tag);
    pdu.extend([0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
    if header_digest {
        pdu.extend(digest::header(&pdu[..24]));
    }
    // Padding is reserved, and nobody looks at it.
    pdu.resize(usize::from(pdo).max(pdu.len()), 0xee);
    pdu.truncate(usize::from(pdo).max(24));
    pdu.extend([7; 512]);
    pdu.extend(digest::data(digest::append(0, &[7; 512])));
    pdu.truncate(plen.max(32) as usize);
    pdu
}

/// What is to come of data at `pdo`.
fn is_right(pdo: u8, header_digest: bool, alignment: usize) -> bool {
    let header_end = if header_digest { 28 } else { 24 };
    usize::from(pdo) >= header_end && usize::from(pdo).is_multiple_of(alignment)
}

#[test]
fn a_host_takes_data_where_it_may_be_and_nowhere_else() {
    for (alignment, header_digest, data_digest) in all() {
        for pdo in 0..=u8::MAX {
            let mut connection = initiator(alignment, 4, header_digest, data_digest);
            let pdu = data_pdu(7, [2, 0, 0, 0], pdo, header_digest, data_digest);
            let first = connection.next(&pdu).map(|(taken, _)| taken);
            if is_right(pdo, header_digest, alignment) {
                assert_eq!(first, Ok(usize::from(pdo)), "{alignment} {header_digest} {pdo}");
                let (taken, event) = connection.next(&pdu[usize::from(pdo)..]).unwrap();
                assert!(matches!(event, host::Event::Data { bytes, .. } if bytes == [7; 512]), "{event:?}");
                assert_eq!(taken, 512);
            } else {
                assert_eq!(first, Err(PDO), "{alignment} {header_digest} {pdo}");
                let told = queued(connection.outbox());
                assert_eq!(told[..3], [2, 0, 24], "H2CTermReq");
                assert_eq!(told[8..14], [1, 0, 3, 0, 0, 0], "FES and FEI");
            }
        }
    }
}

#[test]
fn a_target_takes_data_where_it_may_be_and_nowhere_else() {
    for (alignment, header_digest, data_digest) in all() {
        let request = icreq::Request { header_digest, data_digest, alignment: 4, r2t_max: 1 };
        for pdo in 0..=u8::MAX {
            let mut connection = target(&request, alignment);
            let pdu = data_pdu(6, [5, 0, 1, 0], pdo, header_digest, data_digest);
            let first = connection.next(&pdu).map(|(taken, _)| taken);
            if is_right(pdo, header_digest, alignment) {
                assert_eq!(first, Ok(usize::from(pdo)), "{alignment} {header_digest} {pdo}");
                let (taken, event) = connection.next(&pdu[usize::from(pdo)..]).unwrap();
                assert!(
                    matches!(event, controller::Event::Data { bytes, .. } if bytes == [7; 512]),
                    "{event:?}"
                );
                assert_eq!(taken, 512);
            } else {
                assert_eq!(first, Err(PDO), "{alignment} {header_digest} {pdo}");
                let told = queued(connection.outbox());
                assert_eq!(told[..3], [3, 0, 24], "C2HTermReq");
                assert_eq!(told[8..14], [1, 0, 3, 0, 0, 0], "FES and FEI");
            }
        }
    }
}

#[test]
fn in_capsule_data_is_found_behind_its_padding() {
    for (alignment, header_digest, data_digest) in all() {
        let request = icreq::Request { header_digest, data_digest, alignment: 4, r2t_max: 1 };
        let mut connection = target(&request, alignment);
        let mut sender = initiator(4, alignment, header_digest, data_digest);
        let data = pattern(3, u32::try_from(BYTES).unwrap());
        sender.submit(&sqe(1, 3, 512, false), host::Data::InCapsule(data.clone()));
        let capsule = queued(sender.outbox());
        let (taken, event) = connection.next(&capsule).unwrap();
        assert_eq!(taken, capsule.len());
        assert!(
            matches!(event, controller::Event::Command { data: got, intact: true, .. } if got == &data.0[..]),
            "{event:?}"
        );
    }
}

#[test]
fn ends_of_any_alignment_understand_each_other() {
    for seed in 0..64 {
        let mut random = Random(seed);
        let (header_digest, data_digest) = DIGESTS[random.below(4)];
        let (hpda, cpda) = (4 + 4 * random.below(32), 4 + 4 * random.below(32));
        let host = host::Options {
            entries: 32,
            header_digest,
            data_digest,
            transfer_bytes_max: 1 << 20,
            alignment: hpda,
            r2t_max: 1 + u16::try_from(random.below(8)).unwrap(),
            ..host::Options::default()
        };
        let target = controller::Options { alignment: cpda, ..TARGET };
        let mut pair = Pair::new(&host, &target, Flow::Random(1 + random.below(9000)), seed);
        pair.direct = random.below(2) == 0;
        pair.run();
        for cid in 0..32 {
            while !pair.host.has_room() {
                assert!(pair.turn(), "no room, and nothing moves");
            }
            let bytes = u32::try_from(4 * (1 + random.below(3000))).unwrap();
            match random.below(3) {
                0 => pair.read(cid, bytes, random.below(2) == 0),
                1 => pair.write(cid, bytes, false),
                _ => pair.write(cid, bytes.min(8192), true),
            }
        }
        pair.run();
        assert_eq!(pair.completions.len(), 32, "HPDA {hpda}, CPDA {cpda}");
        for completion in &pair.completions {
            let bytes = u32::try_from(completion.data.len()).unwrap();
            assert!(completion.intact);
            assert_eq!(completion.data, *pattern(completion.cid, bytes).0);
        }
        for written in &pair.written {
            let bytes = u32::try_from(written.data.len()).unwrap();
            assert!(written.intact);
            assert_eq!(written.data, *pattern(written.cid, bytes).0);
        }
    }
}

#[test]
fn padding_stays_where_a_connection_moves() {
    for (alignment, header_digest, data_digest) in all() {
        let request = icreq::Request { header_digest, data_digest, alignment, r2t_max: 1 };
        let before = target(&request, alignment);
        let moved = before.moved().expect("nothing is under way");
        let options = controller::Options { entries: 8, ..TARGET };
        let mut connection = controller::Connection::resume(moved, &options);
        let data = pattern(6, u32::try_from(BYTES).unwrap());
        assert!(connection.send_data(6, data.clone(), false).is_none());
        check(&queued(connection.outbox()), DATA_HLEN, &data.0, (alignment, header_digest, data_digest));
        connection.respond(&cqe(6));
        let wrong = data_pdu(6, [5, 0, 1, 0], 20, header_digest, data_digest);
        assert_eq!(connection.next(&wrong).map(|(taken, _)| taken), Err(PDO));
    }
}
