//! Connects to a running target, writes random bytes over the last blocks of its first namespace, reads them back and
//! compares. What was there before is written again afterwards.
//!
//! `cargo run --release` in one terminal, `cargo run --release --example read_write` in another. Arguments: the address
//! of the target (127.0.0.1:4420), and the NQN of the subsystem (the first that is discovered).

use std::error::Error;
use std::net::SocketAddr;

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::discovery::SubsystemType;
use corelane::spec::nqn::Nqn;
use uuid::Uuid;

const BYTES: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:4420").parse()?;
    let subsystem = match arguments.next() {
        Some(nqn) => nqn,
        None => first_subsystem(address)?,
    };

    let mut host = Host::connect(address, &HostOptions::new(Nqn::parse(&subsystem)?))?;
    let nsid = *host.namespaces()?.first().ok_or("the subsystem has no namespace")?;
    let geometry = host.geometry(nsid)?;
    println!("{subsystem}, namespace {nsid}: {} blocks of {} bytes", geometry.blocks, geometry.block_size);

    let blocks = u32::try_from(BYTES)? / geometry.block_size;
    let lba = geometry.blocks.checked_sub(u64::from(blocks)).ok_or("the namespace is too small")?;
    let before = host.read(nsid, lba, blocks)?;
    let random: Vec<u8> = (0..BYTES / 16).flat_map(|_| Uuid::new_v4().into_bytes()).collect();
    host.write(nsid, lba, &random)?;
    let read = host.read(nsid, lba, blocks)?;
    // The target can compare, too.
    host.compare(nsid, lba, &random)?;
    host.write(nsid, lba, &before)?;
    host.flush(nsid)?;
    host.disconnect()?;

    if read != random {
        return Err("what was read is not what was written".into());
    }
    println!("wrote {BYTES} bytes at block {lba}, read them back: the same");
    Ok(())
}

fn first_subsystem(address: SocketAddr) -> Result<String, Box<dyn Error>> {
    let found = Host::discover(address)?;
    let mut subsystems = found.into_iter().filter(|found| found.entry.subtype == SubsystemType::NVM);
    Ok(subsystems.next().ok_or("the target has no subsystem")?.subsystem)
}
