//! Users, files and rings that end while operations are in flight.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use super::*;

#[test]
fn a_cancelled_operation_completes_once() {
    in_every_mode(|ring| {
        let (user, stranger) = (ring.user(4).unwrap(), ring.user(4).unwrap());
        let (reader, mut writer) = pipe();
        let file = ring.add_file(&reader).unwrap();
        let into = memory(&[0; 4]);
        let id = user.submit(1, &read(&file, into)).unwrap();
        ring.submit();
        assert!(!stranger.cancel(id));
        assert!(user.cancel(id));
        assert!(!user.cancel(id), "once is enough");
        assert_eq!(next(ring, &user), Completion { token: 1, result: Err(Errno::CANCELED), more: false });
        assert!(!user.cancel(id), "it has completed");
        // What was cancelled took nothing.
        writer.write_all(b"kept").unwrap();
        assert_eq!(run(ring, &user, &read(&file, into)), Ok(4));
        assert_eq!((ring.in_flight(), user.outstanding()), (0, 0));
        // Cancelled in the same hand-over.
        let id = user.submit(2, &read(&file, into)).unwrap();
        assert!(user.cancel(id));
        assert_eq!(next(ring, &user), Completion { token: 2, result: Err(Errno::CANCELED), more: false });
    });
}

#[test]
fn completions_go_to_whom_they_belong() {
    let ring = ring(&Options::default());
    let users: Vec<_> = (0..5).map(|_| ring.user(8).unwrap()).collect();
    let file = ring.add_file(&file(b"0123456789")).unwrap();
    let into = memory(&[0; 16]);
    for (index, user) in (0..).zip(&users) {
        for length in 1..=index {
            let into = [into.slice(0..length)];
            let token = u64::try_from(10 * index + length).unwrap();
            user.submit(token, &Operation::Read { file: &file, offset: 0, into: &into }).unwrap();
        }
    }
    for (index, user) in (0..).zip(&users) {
        for _ in 1..=index {
            let Completion { token, result, .. } = next(&ring, user);
            assert_eq!((token / 10, u64::from(result.unwrap())), (index, token % 10));
        }
        assert!(!user.has_completion() && user.outstanding() == 0);
    }
}

#[test]
fn what_completes_for_a_user_that_is_gone_is_forgotten() {
    in_every_mode(|ring| {
        let (reader, mut writer) = pipe();
        let file = ring.add_file(&reader).unwrap();
        let into = memory(&[0; 1]);
        let gone = ring.user(2).unwrap();
        for token in 0..2 {
            gone.submit(token, &read(&file, into)).unwrap();
        }
        writer.write_all(b"1").unwrap();
        while !gone.has_completion() {
            ring.submit();
            ring.reap();
        }
        drop(gone);
        // Its place is not taken before its last operation is back.
        let next_user = ring.user(1).unwrap();
        next_user.submit(7, &read(&file, into)).unwrap();
        writer.write_all(b"23").unwrap();
        assert_eq!(next(ring, &next_user), Completion { token: 7, result: Ok(1), more: false });
        assert!(!ring.reap() && ring.in_flight() == 0);
    });
}

#[test]
fn a_file_that_is_removed_finishes_what_it_began() {
    in_every_mode(|ring| {
        let user = ring.user(4).unwrap();
        let (reader, mut writer) = pipe();
        let into = memory(&[0; 5]);
        let old = ring.add_file(&reader).unwrap();
        user.submit(1, &read(&old, into)).unwrap();
        // Not handed over yet; the next file gets the same place.
        drop(old);
        drop(reader);
        let new = ring.add_file(&file(b"other")).unwrap();
        assert!(user.take().is_none());
        writer.write_all(b"first").unwrap();
        assert_eq!(next(ring, &user), Completion { token: 1, result: Ok(5), more: false });
        assert_eq!(contents(into.read_only()), b"first");
        assert_eq!(run(ring, &user, &read(&new, into)), Ok(5));
        assert_eq!(contents(into.read_only()), b"other");
    });
}

#[test]
fn a_ring_that_ends_cancels_what_waits_for_ever() {
    for mode in Mode::ALL {
        let ring = ring_as(&Options { operations: 4, ..Options::default() }, mode);
        let user = ring.user(4).unwrap();
        let (reader, _writer) = pipe();
        let file = ring.add_file(&reader).unwrap();
        let into = memory(&[0; 1]);
        // Some were handed over, and the submission queue is full of others.
        for token in 0..2 {
            user.submit(token, &read(&file, into)).unwrap();
        }
        ring.submit();
        for token in 2..4 {
            user.submit(token, &read(&file, into)).unwrap();
        }
        let begun = Instant::now();
        drop((user, file, ring));
        assert!(begun.elapsed() < Ring::CLOSE_WAIT, "{mode:?}: the end of the ring waited in vain");
    }
}

#[test]
fn a_stream_of_which_nobody_takes_anything_waits_in_the_kernel() {
    const BACKLOG: u32 = 4;
    in_every_mode(|ring| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nodelay(true).unwrap();
        let (far, _) = listener.accept().unwrap();
        let user = ring.stream_user(1, BACKLOG).unwrap();
        let into = memory(&[0; 128]);
        let mut window = ring.window().unwrap();
        window.offer(into);
        user.submit(1, &Operation::Receive { socket: far.as_fd(), window: &window }).unwrap();
        ring.submit();
        let bytes: Vec<u8> = (1..=64).collect();
        for byte in &bytes {
            near.write_all(&[*byte]).unwrap();
            ring.reap();
            assert!(user.outstanding() <= 1 + BACKLOG as usize, "{user:?}");
        }
        let mut received = 0;
        while received < bytes.len() {
            let completion = next(ring, &user);
            assert!(completion.more, "{completion:?}");
            received += completion.result.unwrap() as usize;
        }
        assert_eq!(contents(into.read_only())[..bytes.len()], bytes);
        drop(near);
        assert_eq!(next(ring, &user), Completion { token: 1, result: Ok(0), more: false });
    });
}

#[test]
fn a_stream_for_which_the_kernel_has_no_room_loses_nothing() {
    const MESSAGES: u8 = 40;
    for (mode, backlog) in Mode::ALL.into_iter().flat_map(|mode| [(mode, 1), (mode, 64)]) {
        // The kernel has room for two completions; what comes beyond goes on a list of its own, and ends the stream.
        let ring = ring_as(&Options { operations: 1, ..Options::default() }, mode);
        // Datagrams, so that each is a completion.
        let (near, far) = UnixDatagram::pair().unwrap();
        let user = ring.stream_user(1, backlog).unwrap();
        let into = memory(&[0; 128]);
        let mut window = ring.window().unwrap();
        window.offer(into);
        let mut sent = 0..MESSAGES;
        let (mut received, mut streams, mut begun) = (0, false, 0);
        while received < u32::from(MESSAGES) {
            if !streams {
                user.submit(1, &Operation::Receive { socket: far.as_fd(), window: &window }).unwrap();
                ring.submit();
                begun += 1;
            }
            for message in sent.by_ref().take(8) {
                near.send(&[message]).unwrap();
            }
            let Completion { result, more, .. } = next(&ring, &user);
            received += result.unwrap();
            streams = more;
        }
        assert!(begun > 1, "{mode:?} {backlog}: the kernel had room");
        let expected: Vec<_> = (0..MESSAGES).collect();
        assert_eq!(contents(into.read_only())[..expected.len()], expected, "{mode:?} {backlog}");
    }
}

#[test]
fn what_one_user_takes_is_no_room_for_another() {
    in_every_mode(|ring| {
        let [(near, far), (other_near, other_far)] =
            [UnixDatagram::pair().unwrap(), UnixDatagram::pair().unwrap()];
        let (user, other) = (ring.stream_user(1, 1).unwrap(), ring.stream_user(1, 8).unwrap());
        let mut windows = [ring.window().unwrap(), ring.window().unwrap()];
        windows.iter_mut().for_each(|window| window.offer(memory(&[0; 128])));
        user.submit(1, &Operation::Receive { socket: far.as_fd(), window: &windows[0] }).unwrap();
        other.submit(2, &Operation::Receive { socket: other_far.as_fd(), window: &windows[1] }).unwrap();
        ring.submit();
        let arrives = |ring: &Ring, whose: &User| {
            let has_come = (0..LOOKS_MAX).any(|_| {
                ring.reap();
                ring.submit();
                whose.has_completion()
            });
            assert!(has_come, "lost: {whose:?}");
        };
        for message in 0..4 {
            other_near.send(&[message]).unwrap();
        }
        arrives(ring, &other);
        for message in 0..4 {
            near.send(&[message]).unwrap();
        }
        arrives(ring, &user);
        assert_eq!(user.outstanding(), 2, "an operation in flight, and as much as there is room for");
        while other.take().is_some() {
            ring.reap();
            ring.submit();
            assert_eq!(user.outstanding(), 2, "nothing more, whatever the other takes");
        }
        for _ in 0..4 {
            assert_eq!(next(ring, &user).result, Ok(1));
        }
    });
}

#[test]
fn a_wait_ends_with_what_completes_or_with_its_time() {
    let (moment, long) = (Duration::from_millis(2), Duration::from_secs(20));
    in_every_mode(|ring| {
        let user = ring.user(1).unwrap();
        let (reader, mut writer) = pipe();
        let file = ring.add_file(&reader).unwrap();
        // The wait hands over what was submitted.
        user.submit(1, &read(&file, memory(&[0; 1]))).unwrap();
        let begun = Instant::now();
        ring.wait(moment);
        assert!(begun.elapsed() >= moment && user.take().is_none());
        writer.write_all(b"x").unwrap();
        let begun = Instant::now();
        ring.wait(long);
        assert!(begun.elapsed() < long);
        assert_eq!(user.take(), Some(Completion { token: 1, result: Ok(1), more: false }));
    });
}
