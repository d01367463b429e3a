//! Which cores are taken on which machine.

use super::*;

/// Two packages, each a node, of two physical cores with two threads: cores 0-3 are the first threads, 4-7 the others.
fn dual_socket() -> Topology {
    let place = |core| Place { core, physical: core % 4, node: Some(core % 4 / 2) };
    Topology::new((0..8).map(place).collect())
}

#[test]
fn auto_takes_one_thread_of_every_core_before_it_takes_a_second() {
    let rows = [
        //  management, count        I/O
        (0, None, vec![1, 2, 3]),
        (5, None, vec![0, 2, 3]),
        (0, Some(1), vec![1]),
        (2, Some(1), vec![3]),
        (0, Some(2), vec![1, 2]),
        (0, Some(4), vec![1, 2, 3, 4]),
        (0, Some(5), vec![1, 2, 3, 4, 5]),
        (0, Some(7), vec![1, 2, 3, 4, 5, 6, 7]),
        (0, Some(8), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (0, Some(9), vec![0, 1, 2, 3, 4, 5, 6, 7]),
    ];
    for (management, count, io) in rows {
        assert_eq!(dual_socket().io_beside(management, count), io, "{management} {count:?}");
    }
}

#[test]
fn auto_runs_on_whatever_there_is() {
    let node = dual_socket().on_node(1);
    assert_eq!(node.cores(), [2, 3, 6, 7]);
    assert_eq!(node.io_beside(2, None), [3]);
    let threads_of_one = dual_socket().only(|place| place.physical == 1);
    assert_eq!(threads_of_one.io_beside(1, None), [5]);
    assert_eq!(Topology::flat(&[3]).io_beside(3, None), [3]);
    assert_eq!(Topology::flat(&[0, 1, 2]).io_beside(1, None), [0, 2]);
}

#[test]
fn management_keeps_away_from_io() {
    let rows = [
        (dual_socket(), vec![0, 1], Some(2)),
        (dual_socket(), vec![0, 1, 2, 3], Some(4)),
        (dual_socket(), (0..8).collect(), Some(0)),
        (Topology::flat(&[4]), vec![4], Some(4)),
        (Topology::flat(&[]), vec![], None),
    ];
    for (topology, io, management) in rows {
        assert_eq!(topology.management_beside(&io), management, "{topology} {io:?}");
    }
}

#[test]
fn siblings_are_needless_while_a_core_of_their_node_is_free() {
    let rows = [
        (vec![0, 4], Some((0, 4, 1))),
        (vec![1, 2, 6], Some((2, 6, 3))),
        (vec![0, 1, 2], None),
        // Nothing is free on node 1, and node 0 is far away.
        (vec![2, 3, 6], None),
        ((0..8).collect(), None),
    ];
    for (used, needless) in rows {
        assert_eq!(dual_socket().needless_siblings(&used), needless, "{used:?}");
    }
    assert_eq!(Topology::flat(&[0, 1, 2]).needless_siblings(&[0, 1]), None);
}

#[test]
fn what_auto_takes_is_never_needlessly_on_siblings() {
    for management in 0..8 {
        for count in (1..=8).map(Some).chain([None]) {
            let mut used = dual_socket().io_beside(management, count);
            if !used.contains(&management) {
                used.push(management);
            }
            assert_eq!(dual_socket().needless_siblings(&used), None, "{management} {count:?} {used:?}");
        }
    }
}
