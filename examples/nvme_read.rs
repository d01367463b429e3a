//! Reads the first blocks of a local NVMe device, without the kernel's driver: one queue pair, polled.
//!
//! ```text
//! corelane setup bind 0000:00:05.0
//! cargo run --example nvme_read 0000:00:05.0
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::mem::{self, Extent};
use corelane::nvme::{Controller, IoCommand, NamespaceInfo, Options};
use corelane::spec::pci::PciAddress;
use corelane::vfio::VfioDevice;
use corelane_reactors::clock::Clock;

/// Blocks that are read, at once and one command each.
const BLOCKS: usize = 8;
/// Bytes of a block that are printed.
const SHOWN: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let address: PciAddress = std::env::args().nth(1).ok_or("usage: nvme_read ADDRESS")?.parse()?;
    let clock = Clock::real();

    // The controller stays on this thread; each queue pair could move to another.
    let device = Arc::new(VfioDevice::open(address).map_err(|error| error.to_string())?);
    let mut controller = Controller::new(device, &Options::default())?;
    controller.start(&clock)?;
    let identity = controller.identity();
    println!("{address}: {}, serial {}, firmware {}", identity.model, identity.serial, identity.firmware);
    for namespace in controller.namespaces() {
        println!(
            "namespace {}: {} blocks of {} bytes",
            namespace.nsid, namespace.blocks, namespace.block_size
        );
    }
    let usable = |namespace: &&NamespaceInfo| namespace.refused.is_none();
    let NamespaceInfo { nsid, block_size, .. } =
        *controller.namespaces().iter().find(usable).ok_or("there is no namespace that can be read")?;

    // What the device writes to must be memory that it was given, before the queue pair is taken.
    let block = usize::try_from(block_size)?;
    let memory = Arc::new(Extent::best(BLOCKS * block)?);
    controller.map(&memory)?;
    let mut queue = controller.take_queue_pair().ok_or("the controller gave no queue pair")?;

    for index in 0..BLOCKS {
        let into = [memory.segment_mut(index * block..(index + 1) * block)];
        let (tag, slba) = (index as u64, index as u64);
        queue.submit(tag, &IoCommand::Read { nsid, slba, blocks: 1, into: &into })?;
    }
    queue.commit();

    let mut left = BLOCKS;
    let mut failed = None;
    let until = Instant::now() + Duration::from_secs(60);
    while left > 0 && Instant::now() < until {
        // The controller sees to what takes too long, and to a device that is pulled out.
        controller.poll(clock.now());
        left -= queue.poll(clock.now(), &mut |tag, outcome| {
            if let Err(failure) = outcome {
                failed = Some(format!("block {tag} cannot be read: {failure}"));
            }
        });
    }
    if let Some(failed) = failed {
        return Err(failed.into());
    }

    for index in 0..BLOCKS {
        let mut bytes = [0; SHOWN];
        mem::copy_out(memory.segment(index * block..index * block + SHOWN), &mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("block {index}: {text}...");
    }
    let counts = queue.counts();
    println!(
        "{} commands, {} doorbells and {} shadow doorbells written",
        counts.completed,
        counts.doorbells(),
        counts.shadow_doorbells
    );
    drop(queue);
    controller.stop(&clock);
    Ok(())
}
