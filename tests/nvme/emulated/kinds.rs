//! The suite on controllers of every kind, without faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use corelane::nvme::emulated::{Emulated, NamespaceOptions, Options as DeviceOptions, ShadowDoorbells};
use corelane::nvme::{CopyLimits, Options};
use corelane_reactors::clock::Clock;

use super::world::{World, driver_options};
use crate::suite::{self, Subject};

fn conforms(device: DeviceOptions, driver: Options) {
    let mut world = World::new(&device);
    world.options = driver;
    world.with(suite::run);
    world.assert_obeyed();
}

fn blocks_of(block_size: u32) -> Vec<NamespaceOptions> {
    vec![NamespaceOptions { block_size, blocks: 32 << 10, ..NamespaceOptions::default() }]
}

#[test]
fn a_plain_controller() {
    conforms(DeviceOptions::default(), driver_options());
}

#[test]
fn a_controller_of_4096_byte_blocks_with_prps_alone() {
    let namespaces = blocks_of(4096);
    conforms(DeviceOptions { namespaces, sgls: false, ..DeviceOptions::default() }, driver_options());
}

#[test]
fn a_controller_that_takes_little_at_once_and_has_nothing_optional() {
    let options = DeviceOptions {
        mdts: 1,
        sgls: false,
        volatile_write_cache: false,
        optional_commands: false,
        ..DeviceOptions::default()
    };
    conforms(options, driver_options());
}

#[test]
fn a_controller_without_a_limit_whose_doorbells_lie_far_apart() {
    conforms(DeviceOptions { mdts: 0, dstrd: 4, ..DeviceOptions::default() }, driver_options());
}

#[test]
fn doorbells_in_memory() {
    for shadow_doorbells in [ShadowDoorbells::Rung, ShadowDoorbells::Polled] {
        conforms(DeviceOptions { shadow_doorbells, ..DeviceOptions::default() }, driver_options());
    }
}

#[test]
fn namespaces_that_take_little_of_a_copy_or_nothing() {
    for copy in [None, Some(CopyLimits { range_blocks: 3, blocks: 9, ranges: 4 })] {
        let namespaces = vec![NamespaceOptions { copy, ..NamespaceOptions::default() }];
        conforms(DeviceOptions { namespaces, ..DeviceOptions::default() }, driver_options());
    }
}

#[test]
fn queues_of_a_few_entries() {
    let device = DeviceOptions { queue_entries_max: 5, burst: 1, ..DeviceOptions::default() };
    // A transfer of many parts does not fit, so there is no limit to one.
    conforms(DeviceOptions { mdts: 0, ..device }, driver_options());
}

#[test]
fn a_driver_that_repeats_what_a_reset_caught() {
    conforms(DeviceOptions::default(), Options { replay: true, ..driver_options() });
}

#[test]
fn a_device_on_a_thread_of_its_own() {
    let device = Arc::new(Emulated::new("emulated", &DeviceOptions::default()).unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| device.run(&stop));
        // Stops the device's thread even if the suite panics.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            suite::run(&Subject {
                device: Arc::clone(&device),
                // Threads wait for each other, and for the machine: that is no fault.
                options: Options { timeout: Duration::from_secs(30), ..driver_options() },
                nsid: 1,
                clock: Clock::real(),
                progress: &thread::yield_now,
            });
        }));
        stop.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(device.violations(), []);
}
