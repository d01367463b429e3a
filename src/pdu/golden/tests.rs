//! The codec against every recorded PDU: it accepts what Linux sent, and would have sent the same bytes.

use super::{ALL, Capture, Recorded, parse};
use crate::pdu::header::{Agreement, Layout, Role, check_digest, common, layout};
use crate::pdu::{capsule, data, digest, icreq, icresp, r2t};
use crate::spec::tcp::PduType;

/// What both ends agreed on in the first two PDUs, and more data than any PDU has.
fn agreement(pdus: &[Recorded]) -> Agreement {
    let request = icreq::decode(&pdus[0].bytes).expect("a host speaks first");
    Agreement {
        header_digest: request.header_digest,
        data_digest: request.data_digest,
        alignment: 4,
        capsule_bytes_max: 1 << 20,
        data_bytes_max: 1 << 20,
    }
}

/// Calls `judge` with each PDU after the first two, its layout and what was agreed; returns how many there were.
fn each(capture: &Capture, mut judge: impl FnMut(&Recorded, &Layout, &Agreement)) -> usize {
    let pdus = capture.pdus();
    let agreement = agreement(&pdus);
    for pdu in &pdus[2..] {
        let header = common(&pdu.bytes).expect("a header");
        let layout = layout(header, pdu.from, &agreement)
            .unwrap_or_else(|error| panic!("{}: {error:?} in {:02x?}", capture.name, &pdu.bytes[..8]));
        assert_eq!(layout.total, pdu.bytes.len(), "{}", capture.name);
        judge(pdu, &layout, &agreement);
    }
    pdus.len() - 2
}

fn data_digest_is_right(pdu: &Recorded, layout: &Layout) -> bool {
    let (data, digest) = pdu.bytes[layout.data_start..].split_at(layout.data_bytes);
    digest == digest::data(digest::append(0, data))
}

#[test]
fn every_recorded_digest_is_right_and_damage_is_noticed() {
    for capture in &ALL {
        let (mut headers, mut payloads) = (0, 0);
        each(capture, |pdu, layout, _| {
            check_digest(&pdu.bytes, layout).unwrap_or_else(|error| panic!("{}: {error:?}", capture.name));
            let mut damaged = pdu.clone();
            if layout.header_end > layout.hlen {
                headers += 1;
                damaged.bytes[layout.hlen - 1] ^= 1;
                assert!(check_digest(&damaged.bytes, layout).is_err(), "{}", capture.name);
            }
            if layout.data_digest {
                payloads += 1;
                assert!(data_digest_is_right(pdu, layout), "{}", capture.name);
                damaged.bytes[layout.data_start] ^= 1;
                assert!(!data_digest_is_right(&damaged, layout), "{}", capture.name);
            }
        });
        assert_eq!(headers > 0, capture.name.ends_with("digests"), "{}", capture.name);
        assert_eq!(
            payloads > 0,
            capture.name.ends_with("-digests") && !capture.name.contains("header"),
            "{}",
            capture.name
        );
    }
}

#[test]
fn what_is_decoded_and_encoded_again_is_what_linux_sent() {
    for capture in &ALL {
        let judged = each(capture, |pdu, layout, agreement| {
            let mut out = [0xff; 160];
            let bytes = &pdu.bytes;
            let length = match layout.pdu_type {
                PduType::CAPSULE_CMD => {
                    let sqe = capsule::decode_command(bytes).expect("a command");
                    capsule::encode_command(&mut out, sqe, layout.data_bytes, agreement)
                }
                PduType::CAPSULE_RESP => capsule::encode_response(
                    &mut out,
                    capsule::decode_response(bytes).expect("a response"),
                    agreement,
                ),
                PduType::H2C_DATA | PduType::C2H_DATA => {
                    data::encode(&mut out, pdu.from, &data::decode(bytes, layout).expect("data"), agreement)
                }
                PduType::R2T => r2t::encode(&mut out, &r2t::decode(bytes).expect("an R2T"), agreement),
                other => panic!("{}: {other:?} after the first two PDUs", capture.name),
            };
            assert_eq!(out[..length], bytes[..length], "{}", capture.name);
            assert_eq!(
                length,
                if layout.data_bytes > 0 { layout.data_start } else { layout.total },
                "{}",
                capture.name
            );
        });
        assert!(judged > 20, "{}: {judged}", capture.name);
    }
}

#[test]
fn connections_begin_with_the_request_and_its_answer() {
    for capture in &ALL {
        let pdus = capture.pdus();
        let (request, response) = (&pdus[0], &pdus[1]);
        assert_eq!((request.from, response.from), (Role::Host, Role::Controller), "{}", capture.name);
        let mut out = [0xff; 128];
        let asked = icreq::decode(&request.bytes).expect("an ICReq");
        assert_eq!(icreq::encode(&mut out, &asked), 128);
        assert_eq!(out[..], request.bytes[..], "{}", capture.name);
        let answered = icresp::decode(&response.bytes).expect("an ICResp");
        assert_eq!(icresp::encode(&mut out, &answered), 128);
        assert_eq!(out[..], response.bytes[..], "{}", capture.name);
        assert_eq!(answered.header_digest, asked.header_digest, "{}", capture.name);
        assert_eq!(answered.data_digest, asked.data_digest, "{}", capture.name);
    }
}

#[test]
fn lines_that_are_not_in_the_format_are_not_read() {
    for line in ["", ">", ">00", "= 00", "> ", "> 0", "> zz", "> 00*", "> 00*x", "> 00  00"] {
        assert!(parse(line).is_none(), "{line:?}");
    }
    assert_eq!(parse("< 01 02*3 0405").expect("a line").bytes, [1, 2, 2, 2, 4, 5]);
}
