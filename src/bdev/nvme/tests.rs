//! A namespace of the emulated controller as a block device: the conformance suite, and what is its own.

use std::time::Duration;

use corelane_reactors::clock::VirtualClock;

use super::*;
use crate::bdev::conformance::{Subject, conformance_of};
use crate::mem::{self, Extent};
use crate::nvme::emulated::{Emulated, Fault, NamespaceOptions, On, Options as DeviceOptions};
use crate::nvme::{FormatError, Options};

/// Bytes of each of the extents that the device is given.
const EXTENT_BYTES: usize = 64 << 20;

/// What passes with each step of the device.
const STEP: Duration = Duration::from_micros(100);

/// A controller with its device, in virtual time.
struct Machine {
    device: Arc<Emulated>,
    controller: Mutex<Controller<Emulated>>,
    clock: Clock,
    hand: VirtualClock,
    queues: Queues<Emulated>,
    extents: Mutex<Vec<Arc<Extent>>>,
}

impl Machine {
    fn new(device: &DeviceOptions, driver: &Options, extents: usize) -> Self {
        let (clock, hand) = Clock::simulated();
        let device = Arc::new(Emulated::new("emulated", device).unwrap());
        let mut controller = Controller::new(Arc::clone(&device), driver).unwrap();
        let extents: Vec<_> =
            (0..extents).map(|_| Arc::new(Extent::ordinary(EXTENT_BYTES).unwrap())).collect();
        extents.iter().for_each(|extent| controller.map(extent).unwrap());
        for _ in 0..100_000 {
            controller.poll(clock.now());
            device.step();
            hand.advance(STEP);
        }
        assert!(controller.is_ready(), "{:?}", controller.fault());
        let queues = Queues::take(&mut controller);
        Self { device, controller: Mutex::new(controller), clock, hand, queues, extents: Mutex::new(extents) }
    }

    fn plain() -> Self {
        Self::new(&DeviceOptions::default(), &driver_options(), 1)
    }

    fn bdev(&self) -> Result<Nvme<Emulated>, AttachError> {
        Nvme::attach("ssd0", &self.controller.lock().unwrap(), 1, &self.queues, self.clock.clone())
    }

    fn channel(&self) -> Box<dyn Channel> {
        self.bdev().unwrap().open(&Home::default()).unwrap()
    }

    /// Lets everybody but the channels work once.
    fn turn(&self) {
        self.device.step();
        self.hand.advance(STEP);
        self.controller.lock().unwrap().poll(self.clock.now());
    }

    fn memory(&self) -> Arc<Extent> {
        Arc::clone(&self.extents.lock().unwrap()[0])
    }

    /// Polls until nothing is outstanding.
    fn settle(&self, channel: &mut dyn Channel) -> Vec<(u64, Result<(), BdevError>)> {
        let mut done = Vec::new();
        channel.commit();
        for _ in 0..100_000 {
            if channel.outstanding() == 0 {
                assert_eq!(channel.wake(), Wake::Never);
                done.sort_unstable_by_key(|(tag, _)| *tag);
                return done;
            }
            assert_eq!(channel.wake(), Wake::Soon);
            self.turn();
            channel.poll(&mut |tag, result| done.push((tag.0, result)));
        }
        panic!("{} commands are never completed", channel.outstanding());
    }

    /// Submits a command, as soon as there is room for it: a queue pair that is being made anew has none.
    fn submit(&self, channel: &mut dyn Channel, tag: u64, command: &Command<'_>) {
        for _ in 0..10_000 {
            match channel.submit(Tag(tag), command) {
                Submitted::Pending => return,
                Submitted::Done(done) => assert_eq!(done, Err(BdevError::Busy)),
            }
            self.turn();
        }
        panic!("there is never room");
    }

    fn submit_write(&self, channel: &mut dyn Channel, tag: u64, first: u64, fill: u8) {
        let memory = self.memory().segment_mut(0..4096);
        mem::copy_in(&[fill; 4096], memory);
        let blocks = Blocks { first, count: 8 };
        let write = Command::Write { blocks, from: &[memory.read_only()], force_unit_access: false };
        self.submit(channel, tag, &write);
    }
}

fn driver_options() -> Options {
    Options { io_queue_pairs: 2, timeout: Duration::from_millis(50), ..Options::default() }
}

fn conforms(device: &DeviceOptions, driver: &Options) {
    let machine = Mutex::new(Arc::new(Machine::new(device, driver, 2)));
    let current = || Arc::clone(&machine.lock().unwrap());
    let make = || -> Arc<dyn Bdev> {
        assert_eq!(current().device.violations(), []);
        let fresh = Arc::new(Machine::new(device, driver, 2));
        *machine.lock().unwrap() = Arc::clone(&fresh);
        Arc::new(fresh.bdev().unwrap())
    };
    let idle = |_| current().turn();
    let memory = |bytes| {
        let extent = current().extents.lock().unwrap().pop().unwrap();
        assert!(extent.len() == bytes);
        extent
    };
    conformance_of(&Subject { idle: &idle, memory: &memory, ..Subject::plain(&make) });
    assert_eq!(current().device.violations(), []);
}

fn namespace(block_size: u32, bytes: u64) -> Vec<NamespaceOptions> {
    let blocks = bytes / u64::from(block_size);
    vec![NamespaceOptions { block_size, blocks, ..NamespaceOptions::default() }]
}

#[test]
fn conforms_with_512_byte_blocks_and_sgls() {
    conforms(
        &DeviceOptions { namespaces: namespace(512, 48 << 20), ..DeviceOptions::default() },
        &driver_options(),
    );
}

#[test]
fn conforms_with_4096_byte_blocks_and_prps_alone() {
    let namespaces = namespace(4096, 48 << 20);
    conforms(&DeviceOptions { namespaces, sgls: false, ..DeviceOptions::default() }, &driver_options());
}

#[test]
fn conforms_on_a_device_that_takes_little_at_once_and_has_nothing_optional() {
    let namespaces = namespace(512, 4 << 20);
    let device = DeviceOptions {
        namespaces,
        mdts: 1,
        sgls: false,
        optional_commands: false,
        volatile_write_cache: false,
        ..DeviceOptions::default()
    };
    conforms(&device, &driver_options());
}

#[test]
fn conforms_while_completions_are_late_and_reordered() {
    let machine = Mutex::new(None::<Arc<Machine>>);
    let make = || -> Arc<dyn Bdev> {
        let device = DeviceOptions { namespaces: namespace(512, 4 << 20), ..DeviceOptions::default() };
        let fresh = Arc::new(Machine::new(&device, &driver_options(), 2));
        fresh.device.faults(|faults| {
            faults.at_random(7, &[(Fault::Late(1), 3), (Fault::Late(5), 5), (Fault::Twice, 9)])
        });
        let bdev = fresh.bdev().unwrap();
        *machine.lock().unwrap() = Some(fresh);
        Arc::new(bdev)
    };
    let current = || Arc::clone(machine.lock().unwrap().as_ref().unwrap());
    let idle = |_| current().turn();
    let memory = |_| current().extents.lock().unwrap().pop().unwrap();
    conformance_of(&Subject { idle: &idle, memory: &memory, ..Subject::plain(&make) });
}

#[test]
fn a_channel_takes_a_queue_pair_and_gives_it_back() {
    let machine = Machine::plain();
    let bdev = machine.bdev().unwrap();
    assert_eq!(machine.queues.left(), 2);
    let one = bdev.open(&Home::default()).unwrap();
    let other = bdev.open(&Home::default()).unwrap();
    assert!(matches!(bdev.open(&Home::default()), Err(OpenError::Exhausted)));
    drop(one);
    assert!(bdev.open(&Home::default()).is_ok());
    drop(other);
    assert_eq!(machine.queues.left(), 2);
}

#[test]
fn a_namespace_that_cannot_be_used_is_refused_with_the_reason() {
    let namespaces = vec![NamespaceOptions { metadata: 8, ..NamespaceOptions::default() }];
    let device = DeviceOptions { namespaces, ..DeviceOptions::default() };
    let machine = Machine::new(&device, &driver_options(), 1);
    let refused = machine.bdev().err();
    assert!(matches!(refused, Some(AttachError::Format(FormatError::Metadata { nsid: 1, bytes: 8 }))));
    let controller = machine.controller.lock().unwrap();
    let missing = Nvme::attach("x", &controller, 3, &machine.queues, machine.clock.clone()).err().unwrap();
    assert_eq!(missing.to_string(), "the controller has no active namespace 3; active are [1]");
}

#[test]
fn the_geometry_is_that_of_the_namespace() {
    let machine = Machine::plain();
    let geometry = *machine.bdev().unwrap().geometry();
    assert_eq!((geometry.block_size, geometry.blocks), (512, 64 << 10));
    assert!(geometry.volatile_write_cache && geometry.survives_restart);
    assert_eq!(geometry.memory, Memory::Callers { alignment: 4 });
    let copy = Some(CopyLimits { range_blocks: 256, blocks: 256, ranges: 16 });
    assert_eq!(geometry.features, Features { deallocated_reads_zeros: false, copy, ..Features::ALL });

    let device =
        DeviceOptions { optional_commands: false, volatile_write_cache: false, ..DeviceOptions::default() };
    let machine = Machine::new(&device, &driver_options(), 1);
    let geometry = *machine.bdev().unwrap().geometry();
    assert_eq!(geometry.features, Features { flush: true, ..Features::default() });
    let mut channel = machine.channel();
    assert_eq!(channel.submit(Tag(1), &Command::Flush), Submitted::Done(Ok(())));
}

#[test]
fn many_commands_are_announced_with_one_doorbell() {
    let machine = Machine::plain();
    let mut channel = machine.channel();
    let before = machine.device.doorbells_rung();
    (0..32).for_each(|tag| machine.submit_write(&mut *channel, tag, tag * 8, 1));
    assert_eq!(machine.device.doorbells_rung(), before);
    channel.commit();
    channel.commit();
    assert_eq!(machine.device.doorbells_rung(), before + 1);
    assert_eq!(machine.settle(&mut *channel), (0..32).map(|tag| (tag, Ok(()))).collect::<Vec<_>>());
}

#[test]
fn a_reset_ends_what_hangs_and_the_channel_goes_on() {
    let machine = Machine::plain();
    let mut channel = machine.channel();
    machine.device.faults(|faults| faults.next(On::Io, Fault::Lost));
    machine.submit_write(&mut *channel, 1, 0, 0x11);
    machine.submit_write(&mut *channel, 2, 8, 0x11);
    channel.commit();
    machine.turn();
    assert!(channel.reset());
    assert_eq!(machine.settle(&mut *channel), [(1, Err(BdevError::Aborted)), (2, Ok(()))]);
    // Nothing of it lands any more.
    machine.submit_write(&mut *channel, 3, 0, 0x33);
    assert_eq!(machine.settle(&mut *channel), [(3, Ok(()))]);
    (0..100).for_each(|_| machine.turn());
    let into = machine.memory().segment_mut(0..4096);
    let read = Command::Read { blocks: Blocks { first: 0, count: 8 }, into: &[into] };
    assert_eq!(channel.submit(Tag(4), &read), Submitted::Pending);
    assert_eq!(machine.settle(&mut *channel), [(4, Ok(()))]);
    let mut bytes = [0; 4096];
    mem::copy_out(into.read_only(), &mut bytes);
    assert_eq!(bytes, [0x33; 4096]);
}

#[test]
fn a_retired_device_ends_everything_and_takes_nothing() {
    let machine = Machine::plain();
    let bdev = machine.bdev().unwrap();
    let mut channel = bdev.open(&Home::default()).unwrap();
    machine.device.faults(|faults| faults.next(On::Io, Fault::Lost));
    machine.submit_write(&mut *channel, 1, 0, 0x11);
    channel.commit();
    machine.turn();
    assert!(bdev.retire() && bdev.retire());
    assert_eq!(channel.submit(Tag(2), &Command::Flush), Submitted::Done(Err(BdevError::Gone)));
    assert_eq!(machine.settle(&mut *channel), [(1, Err(BdevError::Gone))]);
    assert_eq!(channel.submit(Tag(3), &Command::Flush), Submitted::Done(Err(BdevError::Gone)));
    assert!(matches!(bdev.open(&Home::default()), Err(OpenError::Gone)));
    assert_eq!(machine.device.violations(), []);
}

#[test]
fn a_device_that_vanishes_fails_what_is_in_flight_and_what_follows() {
    let machine = Machine::plain();
    let mut channel = machine.channel();
    (0..8).for_each(|tag| machine.submit_write(&mut *channel, tag, tag * 8, 1));
    machine.device.remove();
    assert_eq!(
        machine.settle(&mut *channel),
        (0..8).map(|tag| (tag, Err(BdevError::Gone))).collect::<Vec<_>>()
    );
    assert_eq!(channel.submit(Tag(9), &Command::Flush), Submitted::Done(Err(BdevError::Gone)));
}

#[test]
fn what_was_flushed_survives_a_loss_of_power() {
    for seed in 0..4 {
        let machine = Machine::plain();
        let mut channel = machine.channel();
        machine.submit_write(&mut *channel, 1, 0, 0x44);
        machine.settle(&mut *channel);
        assert_eq!(channel.submit(Tag(2), &Command::Flush), Submitted::Pending);
        assert_eq!(machine.settle(&mut *channel), [(2, Ok(()))]);
        machine.device.lose_power(seed);
        (0..1000).for_each(|_| machine.turn());
        let into = machine.memory().segment_mut(0..4096);
        mem::zero(into);
        let read = Command::Read { blocks: Blocks { first: 0, count: 8 }, into: &[into] };
        machine.submit(&mut *channel, 3, &read);
        assert_eq!(machine.settle(&mut *channel), [(3, Ok(()))]);
        let mut bytes = [0; 4096];
        mem::copy_out(into.read_only(), &mut bytes);
        assert_eq!(bytes, [0x44; 4096]);
    }
}
