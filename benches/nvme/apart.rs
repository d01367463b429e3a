//! The side of the device on a thread of its own, on another core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use corelane::mem::Extent;
use corelane::nvme::emulated::{Emulated, NamespaceOptions, Options as Shape};
use corelane::nvme::{Controller, Options, QueuePair};
use corelane_reactors::clock::Clock;
use corelane_reactors::cpu;

use crate::device::ENTRIES;

/// Sets its flag however its scope ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Carries `work` out on the first core, and meanwhile `device`, until the flag is set, on the second; says so and does
/// nothing where there is but one. This thread stays on the first one.
pub(crate) fn beside(cores: &[usize], device: impl FnOnce(&AtomicBool) + Send, work: impl FnOnce()) {
    let [own, other, ..] = *cores else { return println!("there is no other core for the device") };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            cpu::pin(other, cores).expect("a core");
            device(&stop);
        });
        let _stop = Stop(&stop);
        cpu::pin(own, cores).expect("a core");
        work();
    });
}

/// The emulated controller that the tests have, with blocks of 4 KiB.
pub(crate) fn emulated() -> Arc<Emulated> {
    let namespace = NamespaceOptions { block_size: 4096, blocks: 4096, ..NamespaceOptions::default() };
    let shape = Shape { namespaces: vec![namespace], ..Shape::default() };
    Arc::new(Emulated::new("emulated", &shape).expect("memory for the medium"))
}

/// Brings it up, once its side runs; with a queue pair of its own, and memory for data.
pub(crate) fn ready(device: &Arc<Emulated>) -> (Controller<Emulated>, QueuePair<Emulated>, Arc<Extent>) {
    let options = Options { entries: ENTRIES, ..Options::default() };
    let mut controller = Controller::new(Arc::clone(device), &options).expect("a controller");
    controller.start(&Clock::real()).expect("a controller that is ready");
    let data = Arc::new(Extent::ordinary(1 << 20).expect("memory"));
    controller.map(&data).expect("an extent");
    let pair = controller.take_queue_pair().expect("a queue pair");
    (controller, pair, data)
}
