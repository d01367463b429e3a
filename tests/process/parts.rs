//! The initiator's end against targets that want data aligned, in short PDUs, and in several parts at a time.

use std::sync::atomic::Ordering;

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;

use crate::harness::Server;
use crate::pattern;
use crate::picky::{Picky, Wish};
use crate::program::Program;
use crate::scene::{NQN, configuration};

/// What the initiator announces as MAXR2T.
const R2T_MAX: usize = 4;
const BLOCK_BYTES: usize = 512;

const WISHES: [Wish; 5] = [
    Wish { alignment: 4, h2c_data_bytes_max: 1 << 20, part_bytes: 4, success: false },
    Wish { alignment: 12, h2c_data_bytes_max: 4096, part_bytes: 4096, success: false },
    Wish { alignment: 64, h2c_data_bytes_max: 4100, part_bytes: 1 << 20, success: false },
    Wish { alignment: 128, h2c_data_bytes_max: 8192, part_bytes: 12, success: false },
    Wish { alignment: 72, h2c_data_bytes_max: 65_536, part_bytes: 20_000, success: false },
];

#[test]
fn a_host_gives_data_as_it_is_asked_for() {
    let server = Server::start(configuration());
    for wish in WISHES {
        let picky = Picky::start(server.listeners()[0], wish);
        let options = HostOptions::new(Nqn::parse(NQN).expect("a name"));
        let mut host = Host::connect(picky.address, &options).expect("a host");
        for (round, blocks) in (1..).zip([1, 3, 17, 40, 128, 256]) {
            let data = pattern::blocks(round, 5, blocks as usize * BLOCK_BYTES);
            host.write(1, 5, &data).unwrap_or_else(|error| panic!("{wish:?}, {blocks} blocks: {error}"));
            assert!(host.read(1, 5, blocks).expect("a read") == data, "{wish:?}, {blocks} blocks");
        }
        host.disconnect().expect("a disconnect");
        let seen = &picky.seen;
        assert_eq!(seen.wrong.load(Ordering::Relaxed), 0, "{wish:?}: {seen:?}");
        let together = seen.together.load(Ordering::Relaxed);
        // One part may be all of it.
        let wanted = if wish.part_bytes > 128 << 10 { 1 } else { R2T_MAX };
        assert_eq!(together, wanted, "{wish:?}: {seen:?}");
        assert!(seen.capsules.load(Ordering::Relaxed) > 0, "{wish:?}: {seen:?}");
        let (parts, pdus) = (seen.parts.load(Ordering::Relaxed), seen.pdus.load(Ordering::Relaxed));
        assert!(parts >= 4 && pdus >= parts, "{wish:?}: {seen:?}");
    }
    server.stop();
}

#[test]
fn success_for_a_host_that_keeps_flow_control_ends_the_connection() {
    let server = Server::start(configuration());
    let options = HostOptions { flow_control: true, ..HostOptions::new(Nqn::parse(NQN).expect("a name")) };
    for success in [false, true] {
        let picky = Picky::start(server.listeners()[0], Wish { success, ..Wish::default() });
        let connected = Host::connect(picky.address, &options);
        match connected {
            Ok(host) => {
                assert!(!success, "SUCCESS has no SQHD");
                host.disconnect().expect("a disconnect");
            }
            Err(error) => {
                assert!(success, "{error}");
                let error = format!("{error}: {:?}", std::error::Error::source(&error));
                assert!(error.contains("field at byte 1") || error.contains("offset: 1"), "{error}");
            }
        }
    }
    server.stop();
}

#[test]
fn a_load_gives_data_as_it_is_asked_for() {
    let server = Server::start(configuration());
    for wish in [WISHES[1], WISHES[4]] {
        let picky = Picky::start(server.listeners()[0], wish);
        let target = format!("tcp://{}/{NQN}", picky.address);
        let _one = crate::load::one_at_a_time();
        let load = Program::start(&[
            "perf",
            "--target",
            &target,
            "--verify",
            "--mix",
            "50",
            "--block-size",
            "32768",
            "--depth",
            "16",
            "--yes-overwrite",
            "--duration",
            "1s",
            "--warm-up",
            "50ms",
            "--json",
        ]);
        let finished = load.finish(std::time::Duration::from_secs(60));
        assert_eq!(finished.code, 0, "{wish:?}: {finished:?}");
        let seen = &picky.seen;
        assert_eq!(seen.wrong.load(Ordering::Relaxed), 0, "{wish:?}: {seen:?}");
        assert_eq!(seen.together.load(Ordering::Relaxed) > 1, wish.part_bytes < 32 << 10, "{seen:?}");
    }
    server.stop();
}
