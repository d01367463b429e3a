//! What the driver must do with any controller, emulated or real: a table of behaviours, and a random load with
//! verification. Uses what the crate makes public, and nothing else.
//!
//! The first [`BLOCKS_MIN`] blocks of the namespace are overwritten.

mod behaviours;
mod buffers;
mod content;
mod load;
mod rig;

use corelane::nvme::Device;

pub(crate) use behaviours::report;
pub(crate) use load::Load;
pub(crate) use rig::{Rig, Shape, Subject};

/// Blocks that the suite needs.
pub(crate) const BLOCKS_MIN: u64 = 4096;

/// Runs every behaviour on the controller, each from a fresh start of the driver; prints their names.
///
/// # Panics
/// If one does not hold.
pub(crate) fn run<D: Device>(subject: &Subject<'_, D>) {
    for (name, behaviour) in behaviours::table() {
        println!("behaviour: {name}");
        let mut rig = Rig::new(subject);
        assert!(rig.blocks >= BLOCKS_MIN && rig.queues.len() >= usize::from(rig::QUEUES));
        behaviour(&mut rig);
        rig.settle();
        rig.buffers.check();
        let now = rig.now();
        rig.controller.shutdown(now);
        rig.until("shut down", |rig| rig.controller.fault().is_some());
    }
}
