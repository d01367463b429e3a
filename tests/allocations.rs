//! What a steady load costs the I/O reactor, and the NVMe driver, in allocations: nothing. Counted by an allocator of
//! this test, in the turns of that reactor, and in the calls of the driver, alone.
#![expect(unsafe_code, reason = "a global allocator can only be implemented with it")]

#[path = "../benches/nvme/device.rs"]
mod device;
#[path = "transport/host.rs"]
#[expect(dead_code, reason = "the tests of the transport need more of a host")]
mod host;
#[path = "transport/rig.rs"]
#[expect(dead_code, reason = "the tests of the transport need more of a rig")]
mod rig;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Delay, Delays};
use corelane::initiator::command;
use corelane::nvme::IoCommand;
use corelane_reactors::clock::Time;

use device::Instant;
use host::{Host, Wish};
use rig::{Rig, memory, settings};

const IO: usize = 1;
/// Commands that are always under way: a queue of 128 entries holds no more.
const DEPTH: u16 = 127;
/// Completions before the count begins, and while it lasts.
const WARM_UP: usize = 2_000;
const COUNTED: usize = 10_000;

/// Submits a command under a CID.
type Submit = fn(&mut Host, u16);

thread_local! {
    /// Allocations of this thread while they are counted.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The system's allocator, with a count.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note() {
    // A thread that is ending has no count any more.
    let _ = COUNT.try_with(|count| count.set(count.get().map(|count| count + 1)));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the promises of this method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the promises of this method.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of this method.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations that `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    work();
    COUNT.take().unwrap_or(0)
}

/// Keeps the queue full of what `submit` submits; returns the allocations of the I/O reactor's turns.
fn load(mut rig: Rig, submit: impl Fn(&mut Host, u16)) -> u64 {
    for cid in 0..DEPTH {
        submit(&mut rig.hosts[IO], cid);
    }
    let (mut completed, mut counted) = (0, 0);
    while completed < WARM_UP + COUNTED {
        rig.management_turn();
        let more = allocations(|| {
            rig.io_turn();
        });
        if completed >= WARM_UP {
            counted += more;
        }
        rig.pump();
        while let Some(cqe) = rig.hosts[IO].completions.pop_front() {
            assert!(cqe.status().is_success());
            completed += 1;
            submit(&mut rig.hosts[IO], cqe.cid.get());
        }
    }
    counted
}

fn reads(host: &mut Host, cid: u16) {
    host.read(cid, command::read(1, u64::from(cid) * 8, 8), 4096);
}

fn writes_in_capsules(host: &mut Host, cid: u16) {
    host.in_capsule(cid, command::write(1, u64::from(cid) * 8, 8, false), &[5; 4096]);
}

fn large_writes(host: &mut Host, cid: u16) {
    host.on_request(cid, command::write(1, u64::from(cid) * 32, 32, false), &[5; 16 << 10]);
}

#[test]
fn the_counter_counts() {
    let mut kept = Vec::new();
    assert_eq!(allocations(|| kept.push(1)), 1);
    assert_eq!(allocations(|| kept.clear()), 0);
}

#[test]
fn a_steady_load_allocates_nothing() {
    let loads: [(&str, Submit); 3] =
        [("reads", reads), ("writes in capsules", writes_in_capsules), ("large writes", large_writes)];
    for (name, submit) in loads {
        for digests in [false, true] {
            let wish = Wish { digests, ..Wish::default() };
            let rig = Rig::connected(&settings(), &wish, |_| memory());
            assert_eq!(load(rig, submit), 0, "{name}, digests: {digests}");
        }
    }
}

#[test]
fn a_steady_load_on_a_slow_device_allocates_nothing() {
    let delays = Delays { fixed: Duration::from_micros(150), ..Delays::default() };
    for (name, submit) in [("reads", reads as Submit), ("writes", writes_in_capsules)] {
        let rig = Rig::connected(&settings(), &Wish::default(), |clock| {
            Arc::new(Delay::new(memory(), clock.clone(), delays))
        });
        assert_eq!(load(rig, submit), 0, "{name}");
    }
}

#[test]
fn the_nvme_driver_allocates_nothing() {
    let (device, _controller, mut pair, mut rings, data) = Instant::ready();
    // One page, a list of pages, and a piece that pages cannot name, which is copied.
    let lists = [
        vec![data.segment_mut(0..4096)],
        vec![data.segment_mut(512..512 + 65_536)],
        vec![data.segment_mut(0..512), data.segment_mut(8192..8192 + 3584)],
    ];
    let (mut tags, mut completed) = (Vec::with_capacity(256), 0);
    tags.extend(0..96);
    while completed < WARM_UP + COUNTED {
        let more = allocations(|| {
            for tag in tags.drain(..) {
                let into = &lists[if tag < 4 { 2 } else { usize::from(tag % 2 == 0) }];
                let blocks = if tag >= 4 && tag % 2 == 0 { 16 } else { 1 };
                let read = IoCommand::Read { nsid: 1, slba: tag, blocks, into };
                pair.submit(tag, &read).expect("the queue has room");
            }
            pair.commit();
            pair.poll(Time::ORIGIN, &mut |tag, outcome| {
                assert!(outcome.is_ok());
                tags.push(tag);
            });
        });
        rings.complete(device.tail(1));
        completed += tags.len();
        assert_eq!(more, 0);
    }
    assert!(pair.counts().bounced > 100);
}
