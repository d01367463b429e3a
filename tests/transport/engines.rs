//! The same tests on the other engine of sockets, and what only matters where the kernel sends later.

use std::env;
use std::process::Command;
use std::sync::Arc;

use corelane::bdev::Memory;
use corelane::initiator::command;
use corelane::spec::register::Property;
use corelane::spec::status::Status;

use crate::host::{Host, Wish};
use crate::manual::Manual;
use crate::rig::{ENGINE, IO_URING, Rig, settings};
use crate::stall::Stall;

const ADMIN: usize = 0;
const TRANSFER_BYTES: usize = 128 << 10;
const BLOCKS: u32 = 256;
/// Far more than the sockets between host and target hold.
const READS: u16 = 120;
const OLD: u8 = 0xaa;
const NEW: u8 = 0xbb;

#[test]
fn everything_holds_on_io_uring() {
    if env::var_os(ENGINE).is_some() {
        println!("this is one engine of several");
        return;
    }
    let program = env::current_exe().expect("this program");
    let ran = Command::new(program).env(ENGINE, IO_URING).output().expect("starting this program again");
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{output}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(output.contains("test result: ok"), "{output}");
}

/// Reads into every buffer of a queue.
fn read_everywhere(rig: &mut Rig, host: usize, first_block: u64) {
    for cid in 0..READS {
        rig.hosts[host].read(cid, command::read(1, first_block, BLOCKS), TRANSFER_BYTES);
    }
}

fn completions(rig: &mut Rig, host: usize) {
    for _ in 0..READS {
        assert_eq!(rig.completion(host).1, Status::SUCCESS);
    }
}

/// A queue ends while the kernel has data of it that the socket did not take; its buffers go to the next queue. What
/// they hold then must never reach the first host.
#[test]
fn a_host_whose_queue_was_reset_gets_nothing_of_the_next_one() {
    let bdev = Stall::new(true);
    let wish = Wish::default();
    // Buffers for one queue.
    let mut rig = Rig::with_memory(&settings(), 1, |_| bdev);
    rig.associate(&wish);
    let first = rig.open_queue(1, &wish);
    for (block, byte) in [(0, OLD), (u64::from(BLOCKS), NEW)] {
        let data = vec![byte; TRANSFER_BYTES];
        rig.hosts[first].on_request(1, command::write(1, block, BLOCKS, false), &data);
        assert_eq!(rig.completion(first), (1, Status::SUCCESS));
    }
    rig.hosts[first].appetite = 0;
    read_everywhere(&mut rig, first, 0);
    rig.quiet();

    rig.hosts[ADMIN].plain(1, command::property_set(Property::CC, 0x0046_0000));
    assert_eq!(rig.completion(ADMIN), (1, Status::SUCCESS));
    rig.quiet();
    rig.hosts[ADMIN].plain(1, command::property_set(Property::CC, 0x0046_0001));
    assert_eq!(rig.completion(ADMIN), (1, Status::SUCCESS));
    let second = rig.open_queue(1, &wish);
    read_everywhere(&mut rig, second, BLOCKS.into());
    completions(&mut rig, second);
    assert!(rig.hosts[second].reads.values().all(|data| data.iter().all(|&byte| byte == NEW)));

    rig.hosts[first].appetite = usize::MAX;
    rig.until("the end of the first queue", |rig| rig.hosts[first].closed);
    let Host { reads, .. } = &rig.hosts[first];
    assert!(reads.values().any(|data| data[0] == OLD), "it got something before its end");
    assert!(reads.values().all(|data| data.iter().all(|&byte| byte == OLD || byte == 0)));
}

/// A queue ends while the kernel has data of it that the socket did not take, and its device has a command that it does not
/// give back: the socket is shut down, and stays. What was to be sent is given up only when the kernel no longer has it.
#[test]
fn what_a_dead_queue_gives_up_is_not_the_kernels_any_more() {
    let bdev = Manual::new(Memory::Callers { alignment: 4096 });
    let device = Arc::clone(&bdev);
    let wish = Wish::default();
    let mut rig = Rig::new(&settings(), |_| device);
    rig.associate(&wish);
    let io = rig.open_queue(1, &wish);
    rig.hosts[io].appetite = 0;
    read_everywhere(&mut rig, io, 0);
    rig.quiet();
    // All but one complete, until no buffer is left for the rest: what they brought cannot be sent.
    while bdev.held() > 1 {
        bdev.complete(bdev.held() - 1);
        rig.quiet();
    }
    assert!(bdev.submitted() < usize::from(READS), "the socket took everything");

    rig.hosts[ADMIN].plain(1, command::property_set(Property::CC, 0x0046_0000));
    rig.quiet();
    assert_eq!((bdev.aborts(), bdev.held()), (1, 1));
    rig.hosts[io].appetite = usize::MAX;
    rig.quiet();
    bdev.complete(1);
    rig.until("the end of the queue", |rig| rig.hosts[io].closed);
    assert_eq!(rig.completion(ADMIN), (1, Status::SUCCESS));
}
