//! What each name means, with io_uring and without; where threads of the kernel work.

use super::*;
use crate::config::{CorePlace, Embedded};

const REFUSED: RingError = RingError::Forbidden { disabled: Some(2) };

#[test]
fn auto_falls_back_and_what_is_demanded_does_not() {
    use EngineName::{Auto, Epoll, IoUring};
    let rows = [
        // asked for, auto tries io_uring, the kernel's answer, what serves, whether the kernel was asked
        (Epoll, true, Ok(()), Ok(SocketEngine::Epoll), false),
        (IoUring, false, Ok(()), Ok(SocketEngine::IoUring), true),
        (IoUring, false, Err(REFUSED), Err(REFUSED), true),
        (Auto, true, Ok(()), Ok(SocketEngine::IoUring), true),
        (Auto, true, Err(REFUSED), Ok(SocketEngine::EpollInstead(REFUSED)), true),
        (Auto, false, Ok(()), Ok(SocketEngine::Epoll), false),
    ];
    for (asked_for, tries, answer, serves, asks) in rows {
        let mut asked = false;
        let chosen = choose(asked_for, tries, || {
            asked = true;
            answer
        });
        assert_eq!((chosen, asked), (serves, asks), "{asked_for:?}, {tries}, {answer:?}");
    }
}

#[test]
fn a_fall_back_says_why() {
    let said = SocketEngine::EpollInstead(REFUSED).to_string();
    assert!(said.starts_with("epoll (") && said.contains("kernel.io_uring_disabled=0"), "{said}");
    assert_eq!(SocketEngine::Epoll.to_string(), "epoll");
    assert_eq!(SocketEngine::IoUring.to_string(), "io_uring");
}

#[test]
fn a_ring_has_room_for_every_socket() {
    let accepted = Embedded::default().config(&Topology::flat(&[0])).unwrap();
    let mut config = accepted.config;
    assert!(RingUse::of(&config, &[0], SocketEngine::Epoll).is_none());
    config.limits.connections_max = 1000;
    let used = RingUse::of(&config, &[0, 1], SocketEngine::IoUring).unwrap();
    assert_eq!(used.options.operations, ring::Options::default().operations + 2000);
    assert_eq!(used.options.worker_cpus, [1], "not where a reactor spins");
    // Most connections that a configuration can ask for are too many: no socket may wait for another to end.
    config.limits.connections_max = 65_536;
    config.reactors.engine = EngineName::IoUring;
    let refused = socket_engine(&config, &[0]).unwrap_err();
    assert_eq!(refused, RingError::Operations(ring::Options::default().operations + 131_072));
    assert!(refused.to_string().contains("at most 16384"), "{refused}");
}

#[test]
fn threads_of_the_kernel_keep_away_from_physical_cores_with_a_reactor() {
    // Four physical cores with two threads: 0-3 are the first, 4-7 the others.
    let place = |core| CorePlace { core, physical: core % 4, node: None };
    let machine = Topology::new((0..8).map(place).collect());
    let all: Vec<usize> = (0..8).collect();
    let rows: [(&[usize], &[usize], &[usize]); 5] = [
        // I/O on,     allowed,          the kernel's threads on
        (&[1, 2], &all, &[0, 3, 4, 7]),
        (&[1, 2], &[0, 1, 2, 5, 6], &[0]),
        // Nothing but the other threads of cores that are taken is left.
        (&[1, 2, 3], &[1, 2, 3, 5, 6], &[5, 6]),
        (&[0, 1, 2, 3], &all, &[4, 5, 6, 7]),
        // Nothing at all is left but management.
        (&[0, 1], &[0, 1], &[0]),
    ];
    let reactors = Embedded::default().config(&Topology::flat(&[0])).unwrap().config.reactors;
    for (io, allowed, expected) in rows {
        let reactors = Reactors { io: io.to_vec(), ..reactors.clone() };
        assert_eq!(worker_cpus(&reactors, allowed, &machine), expected, "{io:?} of {allowed:?}");
    }
}
