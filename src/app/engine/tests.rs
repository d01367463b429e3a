//! What each name means, with io_uring and without.

use super::*;

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
    let accepted = crate::config::Embedded::default().config(&crate::config::Topology::flat(&[0])).unwrap();
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
