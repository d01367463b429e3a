//! What is refused, and that nothing has happened then.

use std::io::Write;

use super::*;
use crate::ring::{
    flights::{Flights, Landed, Owner},
    setup::refusal,
};

#[test]
fn a_user_has_its_own_limit() {
    let ring = ring(&Options::default());
    let (small, other) = (ring.user(2).unwrap(), ring.user(1).unwrap());
    let (reader, mut writer) = pipe();
    let file = ring.add_file(&reader).unwrap();
    let into = memory(&[0; 1]);
    for token in [1, 2] {
        small.submit(token, &read(&file, into)).unwrap();
    }
    assert_eq!(small.submit(3, &read(&file, into)), Err(Full));
    other.submit(4, &read(&file, into)).unwrap();
    writer.write_all(b"123").unwrap();
    assert_eq!(next(&ring, &small).result, Ok(1));
    // One was taken, so there is room for one; its completion counts until it is taken too.
    small.submit(5, &read(&file, into)).unwrap();
    assert_eq!((small.submit(6, &read(&file, into)), small.outstanding()), (Err(Full), 2));
    assert_eq!(next(&ring, &other).token, 4);
}

#[test]
fn a_ring_has_the_operations_it_was_opened_for() {
    let options = Options { operations: 3, ..Options::default() };
    let ring = ring(&options);
    let user = ring.user(100).unwrap();
    let (reader, mut writer) = pipe();
    let file = ring.add_file(&reader).unwrap();
    let into = memory(&[0; 1]);
    // Rounded up to a power of two.
    let ids: Vec<_> = (0..4).map(|token| user.submit(token, &read(&file, into)).unwrap()).collect();
    assert_eq!(user.submit(4, &read(&file, into)), Err(Full));
    // The submission queue is full: not even a cancellation fits.
    assert!(!user.cancel(ids[0]));
    ring.submit();
    assert!(user.cancel(ids[0]));
    assert_eq!(next(&ring, &user), Completion { token: 0, result: Err(Errno::CANCELED), more: false });
    writer.write_all(b"12345").unwrap();
    user.submit(5, &read(&file, into)).unwrap();
    let mut tokens: Vec<_> = (0..4).map(|_| next(&ring, &user).token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2, 3, 5]);
}

#[test]
fn users_and_files_are_counted() {
    let ring = ring(&Options { files: 1, ..Options::default() });
    let users: Vec<_> = (0..USERS_MAX).map(|_| ring.user(1).unwrap()).collect();
    assert_eq!(ring.user(1).map(|_| ()), Err(RingError::Users));
    drop(users);
    ring.user(1).unwrap();
    let (reader, writer) = pipe();
    let one = ring.add_file(&reader).unwrap();
    assert_eq!(ring.add_file(&writer).map(|_| ()), Err(RingError::Files));
    drop(one);
    ring.add_file(&writer).unwrap();
}

#[test]
fn impossible_sizes_are_refused() {
    let rows = [
        Options { operations: 0, ..Options::default() },
        Options { operations: OPERATIONS_MAX + 1, ..Options::default() },
        Options { files: 0, ..Options::default() },
        Options { files: 32_769, ..Options::default() },
        Options { workers: 0, ..Options::default() },
        Options { worker_cpus: vec![5000], ..Options::default() },
    ];
    for options in rows {
        assert_eq!(Ring::open(&options).map(|_| ()), Err(RingError::Options), "{options:?}");
    }
    Ring::open(&Options { operations: OPERATIONS_MAX, ..Options::default() }).unwrap();
    Ring::open(&Options { worker_cpus: crate::cpu::allowed(), ..Options::default() }).unwrap();
}

#[test]
#[should_panic(expected = "is_of")]
fn a_file_of_another_ring_is_a_defect() {
    let (one, other) = (ring(&Options::default()), ring(&Options::default()));
    let file = other.add_file(&pipe().0).unwrap();
    let _ = one.user(1).unwrap().submit(0, &Operation::Sync { file: &file });
}

#[test]
fn refusals_of_the_kernel_are_told_apart() {
    let of = |errno: Errno| refusal(&errno.into());
    assert!(matches!(of(Errno::PERM), RingError::Forbidden { .. }));
    let rows = [
        (of(Errno::NOSYS), RingError::Absent, "no io_uring"),
        (of(Errno::INVAL), RingError::TooOld, "Linux 5.19"),
        (of(Errno::NOMEM), RingError::Memlock, "ulimit -l"),
        (of(Errno::MFILE), RingError::System(Errno::MFILE), "refuses"),
        (RingError::Forbidden { disabled: Some(2) }, RingError::Forbidden { disabled: Some(2) }, "sysctl"),
        (RingError::Forbidden { disabled: Some(0) }, RingError::Forbidden { disabled: Some(0) }, "seccomp"),
    ];
    for (error, expected, words) in rows {
        assert_eq!(error, expected);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_name_of_an_operation_is_not_that_of_the_next_one() {
    let mut flights = Flights::new(1);
    let owner = Owner { user: 3, token: u64::MAX };
    let first = flights.start(owner).unwrap();
    assert_eq!((flights.start(owner), flights.in_flight()), (None, 1));
    assert!(flights.may_cancel(first, 3) && !flights.may_cancel(first, 4));
    assert_eq!(flights.land(first.cancellation_user_data(), false), Some(Landed::Cancellation));
    assert_eq!(flights.land(first.user_data(), false), Some(Landed::Operation(owner, first.slot())));
    let second = flights.start(owner).unwrap();
    assert_ne!(first, second);
    assert_eq!(flights.land(first.user_data(), false), None, "it is stale");
    assert_eq!(flights.land(7, false), None, "there is no such slot");
    assert!(!flights.may_cancel(first, 3) && flights.may_cancel(second, 3));
    flights.cancelled(second);
    assert!(!flights.may_cancel(second, 3));
}
