//! Which I/O reactors are near which cores, what depends on whether they share one, and whose memory is lent.

use super::*;

#[test]
fn the_same_core_is_nearer_than_its_other_thread_and_that_nearer_than_the_node() {
    // Two nodes of two physical cores with two threads: cores 0-3 are the first threads, 4-7 the others.
    let place = |core| CorePlace { core, physical: core % 4, node: Some(core % 4 / 2) };
    let machine = Topology::new((0..8).map(place).collect());
    let mut expected = Nearest::new(3);
    //  I/O on      1, 2 and 5: lanes 0, 1 and 2
    expected.set(0, vec![0, 2]);
    expected.set(1, vec![0]);
    expected.set(2, vec![1]);
    expected.set(3, vec![1]);
    expected.set(4, vec![0, 2]);
    expected.set(5, vec![2]);
    expected.set(6, vec![1]);
    expected.set(7, vec![1]);
    assert_eq!(nearest(&[1, 2, 5], &machine), expected);
}

#[test]
fn where_nothing_is_known_only_the_same_core_is_near() {
    let mut expected = Nearest::new(1);
    expected.set(1, vec![0]);
    assert_eq!(nearest(&[1], &Topology::flat(&[0, 1, 2])), expected);
}

#[test]
fn management_looks_at_its_sockets_in_each_turn_where_nobody_shares_its_core() {
    let pace = |io: &str| {
        let text =
            format!(r#"{{"reactors": {{"management": 0, "io": {io}}}, "bdevs": [], "subsystems": []}}"#);
        settings(&config::parse(&text, &[0, 1]).unwrap().config).management_pace
    };
    assert_eq!(pace("[1]"), Duration::ZERO);
    assert_eq!(pace("[0]"), Settings::default().management_pace);
    assert_eq!(pace("[0, 1]"), Settings::default().management_pace);
    assert!(!Settings::default().management_pace.is_zero());
}

#[test]
fn memory_is_lent_where_one_thread_uses_it_and_sends_at_once() {
    use crate::bdev::{Blocks, Home};
    use corelane_reactors::ring::RingError;

    let instead = SocketEngine::EpollInstead(RingError::Operations(0));
    let rows = [
        // I/O on      engine                   atomic  lends
        (vec![0], SocketEngine::Epoll, false, true),
        (vec![0], instead, false, true),
        (vec![0], SocketEngine::Epoll, true, false),
        (vec![0], SocketEngine::IoUring, false, false),
        (vec![0, 1], SocketEngine::Epoll, false, false),
        (vec![0, 1], SocketEngine::IoUring, true, false),
    ];
    for (io, engine, atomic, lends) in rows {
        let embedded = config::Embedded::default();
        let mut config = embedded.config(&Topology::flat(&[0, 1])).unwrap().config;
        config.reactors.io = io;
        let row = format!("{:?} {engine:?} {atomic}", config.reactors.io);
        if let BdevKind::Malloc { atomic_writes, .. } = &mut config.bdevs[0].kind {
            *atomic_writes = atomic;
        }
        let users = Users::of(&config, engine);
        let bdevs = bdevs(&config, users, Bdevs::new()).unwrap();
        let channel = bdevs[&config.bdevs[0].name].open(&Home::default()).unwrap();
        assert_eq!(channel.lend(Blocks { first: 0, count: 1 }).is_some(), lends, "{row}");
    }
}
