//! Fused Compare and Write, and the commands that move no data, with real threads: hosts on two cores of one process.

use std::thread;

use corelane::initiator::CommandError;
use corelane::initiator::blocking::{Host, HostError};
use corelane::spec::status::Status;
use serde_json::json;

use crate::harness::Server;
use crate::scene::{NQN, configuration, connect};

/// Hosts, of which each I/O reactor serves half.
const HOSTS: usize = 4;
/// How often each of them has to win.
const WINS: u64 = 200;
const BLOCK: usize = 512;

/// Two blocks that count: the number in each of their words.
fn counting(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(2 * BLOCK / 8)
}

/// Adds one, `WINS` times, whatever the others do.
fn count(host: &mut Host) -> u64 {
    let mut lost = 0;
    for _ in 0..WINS {
        loop {
            let now = host.read(1, 6, 2).expect("a read");
            let number = u64::from_le_bytes(now[..8].try_into().expect("eight bytes"));
            if host.compare_and_write(1, 6, &counting(number), &counting(number + 1)).expect("a pair") {
                break;
            }
            lost += 1;
        }
    }
    lost
}

#[test]
fn no_count_is_lost_between_hosts_on_two_cores() {
    let cores = corelane_reactors::cpu::allowed();
    let mut configuration = configuration();
    configuration["reactors"]["io"] = json!(cores.iter().take(2).collect::<Vec<_>>());
    let server = Server::start(configuration);
    let address = server.listeners()[0];
    let counters: Vec<_> = (0..HOSTS)
        .map(|_| {
            thread::spawn(move || {
                let mut host = connect(address, NQN);
                let lost = count(&mut host);
                host.disconnect().expect("a host disconnects");
                lost
            })
        })
        .collect();
    let lost: u64 = counters.into_iter().map(|counter| counter.join().expect("a host that counts")).sum();
    println!("{} won, {lost} lost", HOSTS as u64 * WINS);
    let mut host = connect(address, NQN);
    assert!(host.read(1, 6, 2).expect("a read") == counting(HOSTS as u64 * WINS));
    host.disconnect().expect("a host disconnects");
    server.stop();
}

fn status(result: Result<(), HostError>) -> Option<Status> {
    match result {
        Ok(()) => None,
        Err(HostError::Command(CommandError::Status { status, .. })) => Some(status),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn blocks_are_copied_verified_and_made_unreadable() {
    let server = Server::start(configuration());
    let mut host = connect(server.listeners()[0], NQN);
    let blocks: Vec<u8> = (0..4).flat_map(|value| [value; BLOCK]).collect();
    host.write(1, 100, &blocks).expect("a write");
    host.copy(1, &[(103, 1), (100, 2)], 200).expect("a copy");
    let expected: Vec<u8> = [3, 0, 1].into_iter().flat_map(|value| [value; BLOCK]).collect();
    assert!(host.read(1, 200, 3).expect("a read") == expected);
    let seventeen = vec![(100, 1); 17];
    let limit = Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr();
    assert_eq!(status(host.copy(1, &seventeen, 200)), Some(limit));
    assert_eq!(status(host.verify(1, 200, 3)), None);
    host.write_uncorrectable(1, 201, 1).expect("the command");
    for (lba, expected) in [(200, Some(Status::UNRECOVERED_READ_ERROR)), (202, None)] {
        assert_eq!(status(host.verify(1, lba, 2)), expected);
        assert_eq!(status(host.read(1, lba, 2).map(drop)), expected);
        assert_eq!(status(host.copy(1, &[(lba, 2)], 300)), expected);
    }
    host.write(1, 201, &[7; BLOCK]).expect("a write");
    assert_eq!(status(host.verify(1, 200, 3)), None);
    let void = Status::INVALID_OPCODE.with_dnr();
    assert_eq!(status(host.write_uncorrectable(2, 0, 1)), Some(void), "null forgets");
    host.disconnect().expect("a host disconnects");
    server.stop();
}
