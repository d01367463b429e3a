//! Truncated, arbitrary and damaged streams.

use proptest::prelude::*;

use super::pair::{Blob, cqe, pattern, queued, sqe};
use super::wire;
use crate::connection::{controller, host};
use crate::pdu::icreq;

/// Commands and data as a host would send them, for [`crate::connection::fuzz`] and its opcodes.
fn from_host(header: bool, data: bool) -> Vec<u8> {
    let mut stream = wire::capsule(&sqe(1, 1, 0, false), &[], header, data);
    stream.extend(wire::capsule(&sqe(2, 2, 0, false), &[], header, data));
    for offset in (0..65_536).step_by(4096) {
        stream.extend(wire::h2c_data(1, 0, offset, &[0x5a; 4096], offset == 61_440, header, data));
    }
    stream.extend(wire::capsule(&sqe(3, 3, 0, false), &[], header, data));
    stream.extend(wire::capsule(&sqe(0, 0, 0, false), &[0xa5; 512], header, data));
    stream
}

/// Answers as a target would send them to the commands of [`crate::connection::fuzz`].
fn from_controller(header: bool, data: bool) -> Vec<u8> {
    let mut stream = wire::r2t(1, 9, 0, 16_384, header);
    stream.extend(wire::c2h_data_digests(2, 0, &[7; 4096], (false, false), header, data));
    stream.extend(wire::response(&cqe(0), header));
    stream.extend(wire::c2h_data_digests(2, 4096, &[7; 4096], (true, false), header, data));
    stream.extend(wire::response(&cqe(2), header));
    stream.extend(wire::c2h_data_digests(2, 0, &[7; 8192], (true, true), header, data));
    stream.extend(wire::r2t(1, 8, 16_384, 49_152, header));
    stream.extend(wire::response(&cqe(1), header));
    stream.extend(wire::response(&cqe(3), header));
    stream
}

/// What the host saw of `stream`, shown up to each of `cuts` in turn; payload byte by byte.
fn host_story(digests: bool, cuts: &[usize], stream: &[u8]) -> Vec<String> {
    let options = host::Options {
        entries: 4,
        header_digest: digests,
        data_digest: digests,
        transfer_bytes_max: 1 << 16,
        ..host::Options::default()
    };
    let mut connection = host::Connection::<Blob>::new(&options);
    connection.next(&wire::icresp(digests, digests, 4, 4096)).unwrap();
    connection.submit(&sqe(0, 0, 0, false), host::Data::None);
    connection.submit(&sqe(1, 1, 0, false), host::Data::OnRequest(pattern(1, 4096)));
    connection.submit(&sqe(2, 2, 0, false), host::Data::Read(256));
    let (mut events, mut from) = (Vec::new(), 0);
    for &cut in cuts {
        loop {
            let (taken, event) = connection.next(&stream[from..cut]).unwrap();
            from += taken;
            match event {
                host::Event::Incomplete => break assert_eq!(taken, 0),
                host::Event::Taken => {}
                host::Event::Data { cid, offset, bytes } => {
                    let places = (offset..).zip(bytes);
                    events.extend(places.map(|(place, byte)| format!("{cid} {place} {byte}")));
                }
                other => events.push(format!("{other:?}")),
            }
        }
        connection.sent(queued(connection.outbox()).len());
        assert!(!connection.is_ended());
    }
    events
}

/// What the target saw of `stream`.
fn controller_story(digests: bool, cuts: &[usize], stream: &[u8]) -> Vec<String> {
    let options = controller::Options {
        entries: 4,
        capsule_bytes_max: 8192,
        h2c_data_bytes_max: 4096,
        header_digest: digests,
        data_digest: digests,
        ..controller::Options::default()
    };
    let mut connection = controller::Connection::<Blob>::new(&options);
    let request = icreq::Request { header_digest: digests, data_digest: digests, alignment: 4, r2t_max: 1 };
    connection.next(&wire::icreq(&request)).unwrap();
    let (mut events, mut from) = (Vec::new(), 0);
    for &cut in cuts {
        loop {
            let (taken, event) = connection.next(&stream[from..cut]).unwrap();
            from += taken;
            match event {
                controller::Event::Incomplete => break assert_eq!(taken, 0),
                controller::Event::Taken => {}
                controller::Event::Data { ttag, offset, bytes } => {
                    let places = (offset..).zip(bytes);
                    events.extend(places.map(|(place, byte)| format!("{ttag} {place} {byte}")));
                }
                controller::Event::Command { sqe, data, intact } => {
                    events.push(format!("{sqe:?} {data:?} {intact}"));
                    if sqe.opcode == 1 {
                        connection.request_data(1, 0, 128);
                    }
                }
                other => events.push(format!("{other:?}")),
            }
        }
        connection.sent(queued(connection.outbox()).len(), drop);
        assert!(!connection.is_ended());
    }
    events
}

#[test]
fn a_stream_cut_anywhere_tells_the_same_story_once() {
    for digests in [false, true] {
        let mut stream = wire::capsule(&sqe(1, 1, 0, false), &[], digests, digests);
        for offset in [0, 64] {
            let last = offset == 64;
            stream.extend(wire::h2c_data(1, 0, offset, &[0x5a; 64], last, digests, digests));
        }
        stream.extend(wire::capsule(&sqe(0, 0, 0, false), &[0xa5; 64], digests, digests));
        let whole = controller_story(digests, &[stream.len()], &stream);
        assert_eq!(whole.len(), 1 + 128 + 1 + 1);
        for cut in 0..stream.len() {
            assert_eq!(controller_story(digests, &[cut, cut, stream.len()], &stream), whole, "cut at {cut}");
            let part = controller_story(digests, &[cut], &stream);
            assert!(whole.starts_with(&part) && part.len() < whole.len(), "cut at {cut}");
        }

        let mut stream = wire::r2t(1, 9, 0, 4096, digests);
        for (offset, ends) in [(0, (false, false)), (128, (true, true))] {
            stream.extend(wire::c2h_data_digests(2, offset, &[7; 128], ends, digests, digests));
        }
        stream.extend(wire::response(&cqe(0), digests));
        let whole = host_story(digests, &[stream.len()], &stream);
        assert_eq!(whole.len(), 256 + 1 + 1);
        for cut in 0..stream.len() {
            assert_eq!(host_story(digests, &[cut, cut, stream.len()], &stream), whole, "cut at {cut}");
            let part = host_story(digests, &[cut], &stream);
            assert!(whole.starts_with(&part) && part.len() < whole.len(), "cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        crate::connection::fuzz(&bytes);
    }

    #[test]
    fn damaged_streams_never_panic(
        choice in 0u8..8, step in any::<u8>(), alignment in any::<u8>(), host in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        header_damage in prop::collection::vec((0usize..120, any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(), repeat in any::<bool>(),
    ) {
        let (header, data) = (choice & 1 != 0, choice & 2 != 0);
        let mut stream = if host { from_host(header, data) } else { from_controller(header, data) };
        for (place, value) in damage {
            let place = place.index(stream.len());
            stream[place] = value;
        }
        for (place, value) in header_damage {
            stream[place] = value;
        }
        if repeat {
            let from = cut.index(stream.len());
            stream.extend_from_within(from..);
        }
        let bytes = [&[choice, step, alignment], stream.as_slice()].concat();
        crate::connection::fuzz(&bytes);
    }
}
