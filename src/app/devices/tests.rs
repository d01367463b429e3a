//! Inside the virtual machine: a namespace of a PCI function passes the suite of block devices.

use std::sync::{Mutex, MutexGuard};
use std::thread;

use super::*;
use crate::bdev::conformance::{Subject, conformance_of};

/// Bytes of the memory of one channel, and of how many.
const CHANNEL_BYTES: usize = 64 << 20;
const CHANNELS: usize = 2;

/// A controller that was brought up for one part of the suite.
struct Machine {
    controller: Controller<VfioDevice>,
    memory: Vec<Arc<Extent>>,
}

#[test]
fn a_namespace_behind_vfio_conforms() {
    // Elsewhere there is no such function. The script looks for the line: a test that had nothing to do would pass, too.
    let Ok(address) = std::env::var("CORELANE_GUEST_ADDRESS") else { return };
    println!("tested on {address}");
    let address: PciAddress = address.parse().unwrap();
    let (clock, machine) = (Clock::real(), Mutex::new(None::<Machine>));
    let current = || -> MutexGuard<'_, Option<Machine>> { machine.lock().unwrap() };
    let make = || -> Arc<dyn Bdev> {
        // A function is one process's, and one value's.
        *current() = None;
        let extent = |_| Arc::new(Extent::best(CHANNEL_BYTES).unwrap());
        let memory: Vec<_> = (0..CHANNELS).map(extent).collect();
        let mut controller = start(address, CHANNELS, &memory, &clock).unwrap();
        let queues = Queues::take(&mut controller);
        let bdev = attach(address, "ssd0", None, &controller, &queues, &clock).unwrap();
        *current() = Some(Machine { controller, memory });
        Arc::new(bdev)
    };
    let idle = |_| {
        if let Some(machine) = &mut *current() {
            machine.controller.poll(clock.now());
        }
        thread::yield_now();
    };
    let memory = |bytes| {
        let extent = current().as_mut().unwrap().memory.pop().unwrap();
        assert_eq!(extent.len(), bytes);
        extent
    };
    conformance_of(&Subject { idle: &idle, memory: &memory, ..Subject::plain(&make) });
}
