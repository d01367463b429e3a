//! A block of a memory device is whole, whichever I/O reactors write and read it: real threads, real sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::Server;
use crate::scene::{NQN, configuration, connect};

const BLOCK: usize = 64 << 10;
/// Blocks of a command, which are as many as one may move.
const BLOCKS: u32 = 2;
/// Hosts that write, and as many that read; each I/O reactor serves half of them all.
const PAIRS: u8 = 2;
const LOOKS: u32 = 2000;
/// For a machine that is busy with other things.
const LOOKED: Duration = Duration::from_secs(20);

/// Hosts that fill the same blocks with their numbers, and others that read them, on `cores`.
fn look_while_hosts_meet(cores: &[usize], bdev: &serde_json::Value) {
    let mut configuration = configuration();
    configuration["reactors"]["io"] = json!(cores);
    configuration["bdevs"][0] = bdev.clone();
    let server = Server::start(configuration);
    let address = server.listeners()[0];
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 1..=PAIRS {
            let over = &over;
            scope.spawn(move || {
                let mut host = connect(address, NQN);
                let data = vec![number; BLOCKS as usize * BLOCK];
                while !over.load(Ordering::Relaxed) {
                    host.write(1, 0, &data).expect("a write");
                }
                host.disconnect().expect("a host disconnects");
            });
        }
        let reading = (0..PAIRS).map(|_| {
            scope.spawn(move || {
                let mut host = connect(address, NQN);
                let (began, mut looks, mut torn) = (Instant::now(), 0, 0);
                while looks < LOOKS && began.elapsed() < LOOKED {
                    let data = host.read(1, 0, BLOCKS).expect("a read");
                    torn +=
                        data.chunks(BLOCK).filter(|block| block.iter().any(|byte| *byte != block[0])).count();
                    looks += 1;
                }
                host.disconnect().expect("a host disconnects");
                (looks, torn)
            })
        });
        let reading: Vec<_> = reading.collect();
        let read: Vec<_> = reading.into_iter().map(|reader| reader.join()).collect();
        over.store(true, Ordering::Relaxed);
        for read in read {
            let (looks, torn) = read.expect("a host that reads");
            println!("{torn} blocks of {looks} reads were torn");
            assert_eq!(torn, 0);
        }
    });
    server.stop();
}

#[test]
fn no_block_is_torn_between_hosts_on_two_cores() {
    let cores: Vec<usize> = corelane_reactors::cpu::allowed().into_iter().take(2).collect();
    let bdev = json!({"name": "ram0", "type": "malloc", "size": "1MiB", "block_size": BLOCK});
    look_while_hosts_meet(&cores, &bdev);
    look_while_hosts_meet(&cores[..1], &bdev);
}
