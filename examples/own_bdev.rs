//! A block device of one's own under the target: a disk that is computed. Every block holds its own number, over and over,
//! and cannot be written. A host in the same process reads it over TCP.
//!
//! What a device has to do: [`Bdev`] says what it looks like and opens a [`Channel`] for each reactor; a channel carries
//! commands out at once, as here, or later and in any order through [`Channel::poll`]. It runs inside a reactor's turn, so it
//! never blocks.

use std::error::Error;
use std::sync::Arc;

use corelane::app::{Builder, Options};
use corelane::bdev::{
    Access, Bdev, BdevError, Channel, Command, Features, Geometry, Home, Memory, OpenError, Submitted, Tag,
};
use corelane::config::{self, namespace_uuid};
use corelane::initiator::blocking::{Host, HostOptions};
use corelane::mem;
use corelane::nvmf::namespace::Namespace;
use corelane::spec::nqn::Nqn;
use corelane_reactors::{cpu, poller::Wake};
use serde_json::json;

const NQN: &str = "nqn.2026-11.io.corelane:numbers";
const GEOMETRY: Geometry = Geometry {
    block_size: 512,
    blocks: 1 << 40, // Half a pebibyte.
    volatile_write_cache: false,
    survives_restart: true,
    atomicity: corelane::bdev::Atomicity::BLOCK,
    memory: Memory::Own,
    features: Features::NONE,
};

struct Numbers;

impl Bdev for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }

    fn geometry(&self) -> &Geometry {
        &GEOMETRY
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(Numbers))
    }
}

impl Channel for Numbers {
    fn submit(&mut self, _tag: Tag, command: &Command<'_>) -> Submitted {
        Submitted::Done(command.check(&GEOMETRY).and_then(|()| match *command {
            Command::Read { blocks, into } => {
                let mut numbers = (blocks.first..).flat_map(|block| [block; 64]).flat_map(u64::to_le_bytes);
                for segment in into {
                    let bytes: Vec<u8> = numbers.by_ref().take(segment.len()).collect();
                    mem::copy_in(&bytes, *segment);
                }
                Ok(())
            }
            Command::Write { .. } => Err(BdevError::Media { access: Access::Write }),
            _ => Err(BdevError::Unsupported),
        }))
    }

    fn poll(&mut self, _done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        0
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn wake(&self) -> Wake {
        Wake::Never
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let nqn = Nqn::parse(NQN)?;
    let document = json!({
        "bdevs": [],
        "subsystems": [{"nqn": NQN, "allow_any_host": true, "listeners": [{"address": "127.0.0.1", "port": 0}]}]
    });
    let accepted =
        config::parse(&document.to_string(), &cpu::allowed()).map_err(|findings| findings[0].to_string())?;
    let options = Options { config: accepted.config, state_directory: state.path().to_owned() };
    let namespace = Namespace { nsid: 1, uuid: namespace_uuid(&nqn, 1), bdev: Arc::new(Numbers) };
    let appliance = Builder::new(options).namespace(nqn.clone(), namespace).start()?;

    let mut host = Host::connect(appliance.addresses()[0], &HostOptions::new(nqn))?;
    let last = host.read(1, GEOMETRY.blocks - 1, 1)?;
    println!("the last block begins with {:?}", &last[..8]);
    assert_eq!(last, (GEOMETRY.blocks - 1).to_le_bytes().repeat(64));
    println!("a write: {}", host.write(1, 0, &[0; 512]).expect_err("the disk cannot be written"));

    appliance.stopper().stop();
    Ok(appliance.join()?)
}
