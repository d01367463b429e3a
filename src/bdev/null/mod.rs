//! A block device that holds nothing: it reads as zeros and forgets what is written. For measuring what
//! stands above it.
//!
//! Every command is carried out inside `submit`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use corelane_reactors::{buffer::Segment, poller::Wake};

use super::{
    Atomicity, Bdev, BdevError, Blocks, Channel, Command, CreateError, Features, Geometry, Home, Memory,
    OpenError, Submitted, Tag,
};
use crate::mem::{self, Extent};

/// Bytes of zeros that can be lent and compared with at once.
const ZEROS_BYTES: usize = 1 << 20;

/// A block device of any size that uses no memory.
#[derive(Debug)]
pub struct Null {
    name: String,
    geometry: Geometry,
    zeros: Arc<Extent>,
}

impl Null {
    /// Makes a device of `size_bytes` bytes in blocks of `block_size` bytes.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: the geometry is impossible, or there is no address space for the zeros.
    pub fn new(name: &str, size_bytes: u64, block_size: u32) -> Result<Self, CreateError> {
        let geometry = Geometry {
            block_size,
            blocks: Geometry::divide(size_bytes, block_size)?,
            volatile_write_cache: false,
            survives_restart: false,
            atomicity: Atomicity::BLOCK,
            memory: Memory::Own,
            // It would forget which blocks shall not be read.
            features: Features { write_uncorrectable: false, ..Features::ALL },
        };
        Ok(Self { name: name.to_owned(), geometry, zeros: Arc::new(Extent::zeros(ZEROS_BYTES)?) })
    }
}

impl Bdev for Null {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(NullChannel { geometry: self.geometry, zeros: Arc::clone(&self.zeros) }))
    }
}

struct NullChannel {
    geometry: Geometry,
    zeros: Arc<Extent>,
}

impl NullChannel {
    fn execute(&self, command: &Command<'_>) -> Result<(), BdevError> {
        if matches!(command, Command::WriteUncorrectable { .. }) {
            return Err(BdevError::Unsupported);
        }
        command.check(&self.geometry)?;
        match *command {
            Command::Read { into, .. } => into.iter().for_each(|&segment| mem::zero(segment)),
            Command::Compare { with, .. } if !with.iter().all(|&segment| self.is_zero(segment)) => {
                return Err(BdevError::Miscompare);
            }
            Command::Compare { .. }
            | Command::Write { .. }
            | Command::Flush
            | Command::WriteZeroes { .. }
            | Command::Deallocate { .. }
            | Command::Verify { .. }
            | Command::Copy { .. } => {}
            Command::WriteUncorrectable { .. } => unreachable!("it was refused"),
        }
        Ok(())
    }

    fn is_zero(&self, segment: Segment) -> bool {
        (0..segment.len()).step_by(ZEROS_BYTES).all(|start| {
            let end = segment.len().min(start + ZEROS_BYTES);
            mem::difference(segment.slice(start..end), self.zeros.segment(0..end - start)).is_none()
        })
    }
}

impl Channel for NullChannel {
    fn submit(&mut self, _tag: Tag, command: &Command<'_>) -> Submitted {
        Submitted::Done(self.execute(command))
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

    fn lend(&self, blocks: Blocks) -> Option<Segment> {
        let bytes = blocks.bytes(&self.geometry).ok()?;
        let length = usize::try_from(bytes.end - bytes.start).ok()?;
        (length <= ZEROS_BYTES).then(|| self.zeros.segment(0..length))
    }
}
