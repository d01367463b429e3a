//! What two well-behaved ends do with each other, whatever the network does to the boundaries between bytes.

use super::pair::{Completion, Flow, Pair, Random, TARGET, Written, pattern};
use crate::connection::{controller, host};

const DIGESTS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];
const FLOWS: [Flow; 6] = [
    Flow::Bytes(1),
    Flow::Bytes(7),
    Flow::Bytes(4096),
    Flow::Bytes(1 << 24),
    Flow::Random(64),
    Flow::Random(9000),
];

/// One of each kind of command.
fn one_of_each(pair: &mut Pair) {
    pair.read(0, 4096, false);
    pair.read(1, 512, true);
    pair.write(2, 4096, true);
    pair.write(3, 4096, false);
    pair.write(4, 13_000, false);
    pair.flush(5);
    pair.read(6, 70_000, true);
    pair.write(7, 8192, true);
    pair.run();
}

fn check(pair: &mut Pair) {
    pair.completions.sort_by_key(|completion| completion.cid);
    pair.written.sort_by_key(|written| written.cid);
    let read = |cid, bytes| Completion { cid, intact: true, data: pattern(cid, bytes).0.to_vec() };
    let other = |cid| Completion { cid, intact: true, data: Vec::new() };
    let expected =
        [read(0, 4096), read(1, 512), other(2), other(3), other(4), other(5), read(6, 70_000), other(7)];
    assert_eq!(pair.completions, expected);
    let written = |cid, bytes| Written { cid, intact: true, data: pattern(cid, bytes).0.to_vec() };
    assert_eq!(pair.written, [written(2, 4096), written(3, 4096), written(4, 13_000), written(7, 8192)]);
    assert!(pair.host.outbox().is_empty() && pair.controller.outbox().is_empty());
    assert!(!pair.host.is_ended() && !pair.controller.is_ended());
}

#[test]
fn every_command_survives_every_chunking() {
    for (header_digest, data_digest) in DIGESTS {
        for flow in FLOWS {
            for direct in [false, true] {
                println!("{header_digest} {data_digest} {flow:?} {direct}");
                let mut pair = Pair::open(header_digest, data_digest, flow, 0x5eed);
                pair.direct = direct;
                one_of_each(&mut pair);
                check(&mut pair);
            }
        }
    }
}

#[test]
fn random_mixes_complete_exactly_once() {
    for seed in 0..24 {
        let mut random = Random(seed);
        let (header_digest, data_digest) = DIGESTS[random.below(4)];
        let flow = Flow::Random(1 + random.below(12_000));
        let mut pair = Pair::open(header_digest, data_digest, flow, seed);
        pair.direct = random.below(2) == 0;
        let mut expected = Vec::new();
        for round in 0..4 {
            for cid in 0..32 {
                while !pair.host.has_room() {
                    assert!(pair.turn(), "round {round}: no room, and nothing moves");
                }
                let bytes = u32::try_from(4 * (1 + random.below(3000))).unwrap();
                match random.below(4) {
                    0 => pair.flush(cid),
                    1 => pair.read(cid, bytes, random.below(2) == 0),
                    2 => pair.write(cid, bytes, false),
                    _ => pair.write(cid, bytes.min(8192), true),
                }
                expected.push(cid);
                for _ in 0..random.below(3) {
                    pair.turn();
                }
            }
            pair.run();
        }
        let mut completed: Vec<u16> = pair.completions.iter().map(|completion| completion.cid).collect();
        completed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(completed, expected);
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
fn digests_are_used_only_where_both_ends_want_them() {
    for (asks_header, asks_data) in DIGESTS {
        for (grants_header, grants_data) in DIGESTS {
            let mut pair = Pair::new(
                &host::Options {
                    entries: 2,
                    header_digest: asks_header,
                    data_digest: asks_data,
                    ..host::Options::default()
                },
                &controller::Options {
                    entries: 2,
                    capsule_bytes_max: 4096,
                    h2c_data_bytes_max: 4096,
                    header_digest: grants_header,
                    data_digest: grants_data,
                    ..controller::Options::default()
                },
                Flow::Bytes(100),
                1,
            );
            pair.run();
            let before = pair.host_position();
            pair.write(0, 512, true);
            let digests = usize::from(asks_header && grants_header) + usize::from(asks_data && grants_data);
            assert_eq!(pair.host_position() - before, 72 + 512 + 4 * digests);
            pair.run();
            assert_eq!(pair.completions, [Completion { cid: 0, intact: true, data: Vec::new() }]);
        }
    }
}

#[test]
fn a_connection_that_moves_keeps_what_was_agreed_on() {
    for (header_digest, data_digest) in DIGESTS {
        let mut pair = Pair::open(header_digest, data_digest, Flow::Bytes(5000), 7);
        pair.write(31, 8192, true);
        pair.run();
        let moved = pair.controller.moved().expect("nothing is under way");
        pair.controller = controller::Connection::resume(
            moved,
            &controller::Options { entries: 128, capsule_bytes_max: 16_384, ..TARGET },
        );
        assert!(pair.controller.is_open());
        pair.write(0, 16_384, true);
        pair.write(1, 16_384, false);
        pair.read(2, 8192, true);
        pair.run();
        assert_eq!(pair.completions.len(), 4);
        assert!(pair.completions.iter().all(|completion| completion.intact));
        assert_eq!(pair.written[1].data, *pattern(0, 16_384).0);
    }
}

#[test]
fn a_connection_moves_between_pdus_and_transfers_as_often_as_it_likes() {
    for data_digest in [false, true] {
        let mut pair = Pair::open(true, data_digest, Flow::Bytes(1), 7);
        let (mut asked, mut stays) = (0, 0);
        pair.write(0, 64, false);
        while pair.turn() {
            match pair.controller.moved() {
                Some(moved) => {
                    assert!(pair.controller.outbox().is_empty());
                    asked += usize::from(pair.transfer_under_way());
                    pair.controller = controller::Connection::resume(moved, &TARGET);
                }
                None => stays += 1,
            }
        }
        assert_eq!(pair.completions, [Completion { cid: 0, intact: true, data: Vec::new() }]);
        assert_eq!(pair.written[0].data, *pattern(0, 64).0);
        // The header of the data PDU went by, byte by byte, while it moved; not so the data and both digests.
        assert!(asked >= 24 && stays > 64 + 8, "{asked} {stays}");
    }
}

#[test]
fn a_flipped_data_bit_costs_its_command_only() {
    // From the start of the PDU: capsule header 76, data header 28; then the data, then its digest.
    let rows = [("data", 0), ("middle of the data", 300), ("last data byte", 511), ("the digest", 514)];
    for flow in [Flow::Bytes(1), Flow::Bytes(1 << 20), Flow::Random(200)] {
        for direct in [false, true] {
            for (name, place) in rows {
                let mut pair = Pair::open(true, true, flow, 3);
                pair.direct = direct;
                let position = pair.host_position() + 76 + place;
                pair.flip_from_host(position);
                pair.write(0, 512, true);
                pair.write(1, 512, true);
                pair.run();
                let intact: Vec<_> =
                    pair.written.iter().map(|written| (written.cid, written.intact)).collect();
                assert_eq!(intact, [(0, false), (1, true)], "in-capsule, {name}");

                let position = pair.host_position() + 76 + 28 + place;
                pair.flip_from_host(position);
                pair.write(2, 512, false);
                pair.run();
                pair.write(3, 512, false);
                pair.run();
                let intact: Vec<_> = pair.written[2..].iter().map(|written| written.intact).collect();
                assert_eq!(intact, [false, true], "H2CData, {name}");

                for success in [false, true] {
                    pair.completions.clear();
                    let position = pair.controller_position() + 28 + place;
                    pair.flip_from_controller(position);
                    pair.read(4, 512, success);
                    pair.run();
                    pair.read(5, 512, success);
                    pair.run();
                    let intact: Vec<_> =
                        pair.completions.iter().map(|completion| completion.intact).collect();
                    assert_eq!(intact, [false, true], "C2HData, {name}");
                }
            }
        }
    }
}

#[test]
fn a_bad_digest_in_the_middle_of_a_transfer_is_remembered() {
    for direct in [false, true] {
        let mut pair = Pair::open(false, true, Flow::Random(700), 11);
        pair.direct = direct;
        // 12 KiB in three H2CData PDUs of MAXH2CDATA; the bit is in the first.
        let position = pair.host_position() + 72 + 24 + 1000;
        pair.flip_from_host(position);
        pair.write(0, 12_288, false);
        pair.run();
        assert_eq!((pair.written[0].intact, pair.written[0].data.len()), (false, 12_288));
        assert_eq!(pair.completions.len(), 1);
    }
}
