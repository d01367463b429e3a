//! The delay in virtual time.

use std::sync::Mutex;

use corelane_reactors::clock::VirtualClock;

use super::*;
use crate::{
    bdev::{
        Blocks, Malloc,
        conformance::{Subject, conformance_of},
    },
    mem::{self, Extent},
};

struct Rig {
    delay: Delay,
    channel: Box<dyn Channel>,
    clock: VirtualClock,
    memory: Extent,
}

fn rig(fixed_us: u64, jitter_us: u64, seed: u64) -> Rig {
    let (clock, hand) = Clock::simulated();
    let delays =
        Delays { fixed: Duration::from_micros(fixed_us), jitter: Duration::from_micros(jitter_us), seed };
    let delay =
        Delay::new(Arc::new(Malloc::new("ram", 1 << 20, 512).unwrap().for_one_reactor()), clock, delays);
    let channel = delay.open(&Home::default()).unwrap();
    Rig { delay, channel, clock: hand, memory: Extent::ordinary(4096).unwrap() }
}

impl Rig {
    fn write(&mut self, tag: u64, fill: u8) {
        mem::copy_in(&[fill; 512], self.memory.segment_mut(0..512));
        let from = [self.memory.segment(0..512)];
        let blocks = Blocks { first: 0, count: 1 };
        let command = Command::Write { blocks, from: &from, force_unit_access: false };
        assert_eq!(self.channel.submit(Tag(tag), &command), Submitted::Pending);
    }

    fn poll(&mut self) -> Vec<(u64, Result<(), BdevError>)> {
        let mut completed = Vec::new();
        let count = self.channel.poll(&mut |Tag(tag), result| completed.push((tag, result)));
        assert_eq!(count, completed.len());
        completed
    }

    fn first_byte(&self) -> u8 {
        let inner = self.delay.inner.open(&Home::default()).unwrap();
        let mut byte = [0];
        mem::copy_out(inner.lend(Blocks { first: 0, count: 1 }).unwrap().slice(0..1), &mut byte);
        byte[0]
    }

    fn advance(&mut self, us: u64) {
        self.clock.advance(Duration::from_micros(us));
    }
}

#[test]
fn conforms_in_virtual_time() {
    let hands = Mutex::new(Vec::<VirtualClock>::new());
    for jitter in [0, 300] {
        let make = || -> Arc<dyn Bdev> {
            let (clock, hand) = Clock::simulated();
            hands.lock().unwrap().push(hand);
            let delays =
                Delays { fixed: Duration::from_micros(50), jitter: Duration::from_micros(jitter), seed: 1 };
            Arc::new(Delay::new(Arc::new(Malloc::new("ram", 48 << 20, 512).unwrap()), clock, delays))
        };
        let idle = |_| {
            let hands = hands.lock().unwrap();
            hands.last().unwrap().advance(Duration::from_micros(10));
        };
        conformance_of(&Subject { idle: &idle, ..Subject::plain(&make) });
    }
}

#[test]
fn a_command_waits_for_its_time_and_not_longer() {
    let mut rig = rig(100, 0, 0);
    let start = rig.delay.clock.now();
    rig.write(7, 0x55);
    assert_eq!(rig.channel.wake(), Wake::At(start + Duration::from_micros(100)));
    rig.advance(99);
    assert_eq!(rig.poll(), []);
    assert_eq!(rig.first_byte(), 0);
    rig.advance(1);
    assert_eq!(rig.poll(), [(7, Ok(()))]);
    assert_eq!(rig.first_byte(), 0x55);
    assert_eq!((rig.channel.outstanding(), rig.channel.wake()), (0, Wake::Never));
}

#[test]
fn equal_delays_keep_the_order_and_jitter_does_not() {
    let order = |jitter_us, seed| {
        let mut rig = rig(10, jitter_us, seed);
        (0..20).for_each(|tag| rig.write(tag, 1));
        let mut order = Vec::new();
        while rig.channel.outstanding() > 0 {
            rig.advance(1);
            order.extend(rig.poll().into_iter().map(|(tag, _)| tag));
        }
        order
    };
    assert_eq!(order(0, 1), (0..20).collect::<Vec<_>>());
    assert_ne!(order(1000, 1), (0..20).collect::<Vec<_>>());
    assert_eq!(order(1000, 1), order(1000, 1));
    assert_ne!(order(1000, 1), order(1000, 2));
}

#[test]
fn a_hung_write_lands_late_when_released() {
    let mut rig = rig(10, 0, 0);
    rig.write(1, 0x66);
    rig.delay.hang();
    rig.write(2, 0x77);
    rig.advance(1_000_000);
    assert_eq!(rig.poll(), []);
    assert_eq!((rig.channel.outstanding(), rig.first_byte()), (2, 0));
    assert!(matches!(rig.channel.wake(), Wake::At(time) if time > rig.delay.clock.now()));
    rig.delay.release();
    // Both name the same memory, which holds what was filled in last.
    assert_eq!(rig.poll(), [(1, Ok(())), (2, Ok(()))]);
    assert_eq!(rig.first_byte(), 0x77);
}

#[test]
fn an_aborted_command_is_never_carried_out() {
    let mut rig = rig(10, 0, 0);
    rig.delay.hang();
    rig.write(1, 0x66);
    rig.write(2, 0x66);
    assert!(rig.channel.abort(Tag(1)));
    assert!(!rig.channel.abort(Tag(1)));
    assert_eq!((rig.channel.outstanding(), rig.channel.wake()), (2, Wake::Soon));
    assert_eq!(rig.poll(), [(1, Err(BdevError::Aborted))]);
    assert!(rig.channel.abort(Tag(2)));
    assert_eq!(rig.poll(), [(2, Err(BdevError::Aborted))]);
    rig.delay.release();
    rig.advance(1_000_000);
    assert_eq!(rig.poll(), []);
    assert_eq!((rig.channel.outstanding(), rig.first_byte()), (0, 0));
}

#[test]
fn a_full_channel_is_busy_until_something_completes() {
    let mut rig = rig(10, 0, 0);
    for tag in 0..1024 {
        rig.write(tag, 1);
    }
    assert_eq!(rig.channel.submit(Tag(5000), &Command::Flush), Submitted::Done(Err(BdevError::Busy)));
    assert!(rig.channel.abort(Tag(3)));
    assert_eq!(rig.channel.submit(Tag(5000), &Command::Flush), Submitted::Done(Err(BdevError::Busy)));
    assert_eq!(rig.poll().len(), 1);
    assert_eq!(rig.channel.submit(Tag(5000), &Command::Flush), Submitted::Pending);
    rig.advance(10);
    assert_eq!(rig.poll().len(), 64);
}

#[test]
fn a_device_that_hangs_is_ended_by_no_gentler_means_than_it_was_told() {
    let ended = |means: Hang| {
        let mut rig = rig(10, 0, 0);
        rig.delay.hang_until(means);
        rig.write(1, 0x66);
        rig.write(2, 0x66);
        rig.advance(1_000_000);
        let followed = [rig.channel.abort(Tag(1)), rig.channel.reset(), rig.delay.retire()];
        assert_eq!(followed, [Hang::Abort, Hang::Reset, Hang::Retire].map(|used| used >= means));
        (rig.poll(), rig)
    };
    let aborted = [(1, Err(BdevError::Aborted)), (2, Err(BdevError::Aborted))];
    assert_eq!(ended(Hang::Abort).0, aborted);
    assert_eq!(ended(Hang::Reset).0, aborted);
    assert_eq!(ended(Hang::Retire).0, [(1, Err(BdevError::Gone)), (2, Err(BdevError::Gone))]);
    let (completed, mut rig) = ended(Hang::Nothing);
    assert_eq!((completed, rig.channel.outstanding()), (vec![], 2));
    rig.delay.release();
    assert_eq!(rig.poll(), [(1, Ok(())), (2, Ok(()))]);
}

#[test]
fn a_channel_that_was_reset_goes_on() {
    let mut rig = rig(10, 0, 0);
    rig.write(1, 0x66);
    assert!(rig.channel.reset());
    rig.write(2, 0x77);
    assert_eq!(rig.poll(), [(1, Err(BdevError::Aborted))]);
    rig.advance(10);
    assert_eq!(rig.poll(), [(2, Ok(()))]);
    assert_eq!(rig.first_byte(), 0x77);
}

#[test]
fn a_retired_device_takes_nothing_more_on_any_channel() {
    let mut rig = rig(10, 0, 0);
    let mut other = rig.delay.open(&Home::default()).unwrap();
    rig.write(1, 0x66);
    assert!(rig.delay.retire());
    assert!(rig.delay.retire(), "asking again changes nothing");
    assert_eq!(rig.channel.wake(), Wake::Soon);
    rig.advance(1_000_000);
    assert_eq!(rig.poll(), [(1, Err(BdevError::Gone))]);
    for channel in [&mut rig.channel, &mut other] {
        assert_eq!(channel.submit(Tag(2), &Command::Flush), Submitted::Done(Err(BdevError::Gone)));
    }
    assert_eq!((rig.channel.outstanding(), rig.first_byte()), (0, 0));
}
