//! A namespace behind the scripted target of the initiator as a block device: the conformance suite, and what is its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;
use crate::bdev::conformance::{Subject, conformance_of};
use crate::initiator::multipath::{Options, look};
use crate::initiator::tests::multipath::options;
use crate::initiator::tests::target::{Misdeed, Script, Seen, Target};

/// I/O queues that the suite may need at a time.
const LANES: u16 = 8;

fn script() -> Script {
    Script { queues: LANES, ..Script::default() }
}

/// A thread that keeps the paths of a device up, for as long as this lives.
struct Kept {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Kept {
    fn new(paths: Paths) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let (mut keeper, clock) = (Keeper::new(paths).unwrap(), Clock::real());
            while !ends.load(Ordering::Acquire) {
                let _ = keeper.poll(clock.now());
                thread::yield_now();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let joined = self.thread.take().map_or(Ok(()), JoinHandle::join);
        assert!(joined.is_ok() || thread::panicking());
    }
}

fn device(options: Options) -> (Nvmf, Kept) {
    let options = Options { lanes: LANES, ..options };
    let found = look(&options, None, Duration::ZERO).unwrap();
    let paths = Paths::new(options, found);
    let kept = Kept::new(paths.clone());
    (Nvmf::new("far0", paths, Clock::real()), kept)
}

/// Runs the suite; each device has a target of its own.
fn conforms(start: impl Fn() -> Vec<Target>, change: impl Fn(Options) -> Options) {
    // In this order they are dropped: hosts before targets.
    let current = Mutex::new((Vec::<Kept>::new(), Vec::<Target>::new()));
    let make = || -> Arc<dyn Bdev> {
        let targets = start();
        let (device, kept) = device(change(options(&targets.iter().collect::<Vec<_>>())));
        let mut current = current.lock().unwrap();
        current.0.push(kept);
        current.1.extend(targets);
        Arc::new(device)
    };
    conformance_of(&Subject::plain(&make));
}

#[test]
fn conforms_over_one_path() {
    conforms(|| vec![Target::start(script())], |options| options);
}

#[test]
fn conforms_over_two_paths_with_digests_to_a_target_that_takes_little_at_once() {
    let start = || {
        let first = Target::start(Script { mdts: 1, ..script() });
        let second = first.beside(Script { mdts: 1, ..script() });
        vec![first, second]
    };
    conforms(start, |options| Options { header_digest: true, data_digest: true, depth: 3, ..options });
}

#[test]
fn the_geometry_is_that_of_the_namespace() {
    let target = Target::start(script());
    let (device, kept) = device(options(&[&target]));
    let geometry = *device.geometry();
    assert_eq!((geometry.block_size, geometry.blocks), (512, 4096));
    assert!(geometry.volatile_write_cache && geometry.survives_restart);
    assert_eq!(geometry.memory, Memory::Own);
    let copy = Some(CopyLimits { range_blocks: 16, blocks: 24, ranges: 4 });
    assert_eq!(geometry.features, Features { deallocated_reads_zeros: false, copy, ..Features::ALL });
    let channels: Vec<_> = (0..LANES).map(|_| device.open(&Home::default()).unwrap()).collect();
    assert!(matches!(device.open(&Home::default()), Err(OpenError::Exhausted)));
    drop((channels, kept));
}

#[test]
fn what_is_on_the_wire_is_not_taken_back() {
    let target = Target::start(Script { misdeed: Misdeed::IgnoreReads, ..script() });
    let (device, kept) = device(Options { timeout: Duration::from_millis(200), ..options(&[&target]) });
    let mut channel = device.open(&Home::default()).unwrap();
    let pool = Pool::new(1, 512).unwrap();
    let buffer = pool.take(512).unwrap();
    let blocks = Blocks { first: 0, count: 1 };
    let into = [buffer.segment_mut(0..512)];
    assert_eq!(channel.submit(Tag(7), &Command::Read { blocks, into: &into }), Submitted::Pending);
    let is_read = |seen: &Seen| seen.reads > 0;
    while !target.seen(is_read) {
        assert_eq!(channel.poll(&mut |_, _| panic!("nobody answers")), 0);
    }
    assert_eq!(channel.wake(), Wake::Soon);
    assert!(!channel.abort(Tag(7)) && !channel.reset() && !device.retire());
    target.change(|script| script.misdeed = Misdeed::None);
    let mut ended = None;
    while ended.is_none() {
        channel.poll(&mut |tag, outcome| ended = Some((tag, outcome)));
    }
    assert_eq!(ended, Some((Tag(7), Ok(()))), "it was sent again");
    drop((channel, kept));
}
