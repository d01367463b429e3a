//! Bytes that come and go, and in what shape they may lie.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
};

use super::*;

#[test]
fn what_is_written_is_read() {
    in_every_mode(|ring| {
        let user = ring.user(4).unwrap();
        let plain = file(&[0; 8192]);
        let file = ring.add_file(&plain).unwrap();
        let from = [memory(b"abcdefgh").read_only()];
        for (offset, durable) in [(0, false), (4096, true)] {
            let write = Operation::Write { file: &file, offset, from: &from, durable };
            assert_eq!(run(ring, &user, &write), Ok(8));
            let into = memory(&[0; 8]);
            assert_eq!(run(ring, &user, &Operation::Read { file: &file, offset, into: &[into] }), Ok(8));
            assert_eq!(contents(into.read_only()), b"abcdefgh");
        }
        assert_eq!(run(ring, &user, &Operation::Sync { file: &file }), Ok(0));
    });
}

#[test]
fn lists_are_taken_in_order() {
    in_every_mode(|ring| {
        let user = ring.user(4).unwrap();
        let file = ring.add_file(&file(&[])).unwrap();
        let pieces: Vec<Vec<u8>> =
            (0..SEGMENTS_MAX).map(|n| vec![b'a' + u8::try_from(n).unwrap(); n]).collect();
        let from: Vec<Segment> = pieces.iter().map(|piece| memory(piece).read_only()).collect();
        let all = pieces.concat();
        let bytes = u32::try_from(all.len()).unwrap();
        let write = Operation::Write { file: &file, offset: 0, from: &from, durable: false };
        assert_eq!(run(ring, &user, &write), Ok(bytes));
        let into = memory(&vec![0; all.len()]);
        let backwards = [into.slice(7..all.len()), into.slice(0..7)];
        let read = Operation::Read { file: &file, offset: 0, into: &backwards };
        assert_eq!(run(ring, &user, &read), Ok(bytes));
        let turned = [&all[all.len() - 7..], &all[..all.len() - 7]].concat();
        assert_eq!(contents(into.read_only()), turned);
        let nothing = Operation::Read { file: &file, offset: 0, into: &[] };
        assert_eq!(run(ring, &user, &nothing), Ok(0));
    });
}

#[test]
fn lists_of_operations_in_flight_together_are_kept_apart() {
    let ring = ring(&Options::default());
    let user = ring.user(64).unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let file = ring.add_file(&file(&bytes)).unwrap();
    let mut pairs = Vec::new();
    for index in 0..64 {
        let pair = [memory(&[0; 2]), memory(&[0; 2])];
        user.submit(index, &Operation::Read { file: &file, offset: 4 * index, into: &pair }).unwrap();
        pairs.push(pair);
    }
    let mut tokens: Vec<u64> = (0..64).map(|_| next(&ring, &user)).map(|done| done.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..64).collect::<Vec<_>>());
    for (pair, expected) in pairs.iter().zip(bytes.chunks(4)) {
        let read = [contents(pair[0].read_only()), contents(pair[1].read_only())].concat();
        assert_eq!(read, expected);
    }
}

#[test]
fn the_end_of_a_file_and_what_it_refuses_are_told() {
    let ring = ring(&Options::default());
    let user = ring.user(4).unwrap();
    let file = ring.add_file(&file(b"12345")).unwrap();
    let into = [memory(&[0; 4])];
    let read = |offset| Operation::Read { file: &file, offset, into: &into };
    assert_eq!(run(&ring, &user, &read(0)), Ok(4));
    assert_eq!(run(&ring, &user, &read(3)), Ok(2));
    assert_eq!(run(&ring, &user, &read(5)), Ok(0));
    let (reader, _writer) = pipe();
    let one_way = ring.add_file(&reader).unwrap();
    let from = [into[0].read_only()];
    let write = Operation::Write { file: &one_way, offset: 0, from: &from, durable: false };
    assert_eq!(run(&ring, &user, &write), Err(Errno::BADF));
}

#[test]
fn holes_and_zeros_read_as_zeros_and_keep_the_size() {
    let ring = ring(&Options::default());
    let user = ring.user(4).unwrap();
    let plain = file(&[0xAA; 16384]);
    let file = ring.add_file(&plain).unwrap();
    for (offset, allocation) in
        [(4096, Allocation::Hole), (8192, Allocation::Zeros), (1 << 20, Allocation::Hole)]
    {
        let allocate = Operation::Allocate { file: &file, offset, length: 4096, allocation };
        match run(&ring, &user, &allocate) {
            Ok(0) => {}
            Err(Errno::OPNOTSUPP) if allocation == Allocation::Zeros => {
                plain.write_all_at(&[0; 4096], offset).unwrap()
            }
            other => panic!("{allocation:?}: {other:?}"),
        }
    }
    let mut bytes = Vec::new();
    let mut expected = [0xAA; 16384];
    expected[4096..12288].fill(0);
    (&plain).read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plain.metadata().unwrap().len(), 16384);
    let mut from_start = vec![0; 16384];
    plain.read_exact_at(&mut from_start, 0).unwrap();
    assert!(from_start == expected);
}

#[test]
fn pipes_and_sockets_complete_when_their_other_end_acts() {
    in_every_mode(|ring| {
        let user = ring.user(4).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let (reader, mut writer) = pipe();
        let (socket, pipe) = (ring.add_file(&far).unwrap(), ring.add_file(&reader).unwrap());
        let (from_socket, from_pipe) = (memory(&[0; 4]), memory(&[0; 4]));
        user.submit(1, &read(&socket, from_socket)).unwrap();
        user.submit(2, &read(&pipe, from_pipe)).unwrap();
        assert!(ring.submit());
        assert!(!ring.reap() && user.take().is_none());
        writer.write_all(b"pipe").unwrap();
        assert_eq!(next(ring, &user), Completion { token: 2, result: Ok(4), more: false });
        near.write_all(b"net").unwrap();
        assert_eq!(next(ring, &user), Completion { token: 1, result: Ok(3), more: false });
        assert_eq!(contents(from_pipe.read_only()), b"pipe");
        assert_eq!(contents(from_socket.read_only()), b"net\0");
    });
}

#[test]
fn pinned_memory_is_used_where_an_operation_lies_inside() {
    in_every_mode(|ring| {
        let user = ring.user(4).unwrap();
        let whole = memory(&[0; 12288]);
        // Again and again: it takes one place only.
        for _ in 0..100 {
            ring.pin_memory(whole.slice(4096..8192)).unwrap();
        }
        let file = ring.add_file(&file(&[0x5A; 4096])).unwrap();
        // Inside, across both borders, outside.
        for range in [4096..8192, 4000..4200, 8000..8300, 0..100] {
            let into = whole.slice(range.clone());
            let length = u32::try_from(range.len()).unwrap();
            assert_eq!(
                run(ring, &user, &Operation::Read { file: &file, offset: 0, into: &[into] }),
                Ok(length)
            );
            assert!(contents(into.read_only()).iter().all(|&byte| byte == 0x5A), "{range:?}");
        }
        let from = [whole.slice(4096..8192).read_only()];
        let write = Operation::Write { file: &file, offset: 4096, from: &from, durable: true };
        assert_eq!(run(ring, &user, &write), Ok(4096));
    });
}
