//! Commands of a connected host, one at a time.

use zerocopy::{FromZeros, IntoBytes};

use crate::initiator::CommandError;
use crate::initiator::blocking::drive::{Answer, Exchange};
use crate::initiator::blocking::{Host, HostError};
use crate::initiator::command::{self, BLOCKS_MAX};
use crate::initiator::multipath::Space;
use crate::spec::cqe::Cqe;
use crate::spec::identify::{Cns, IDENTIFY_BYTES};
use crate::spec::nvm::DatasetRange;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// The size of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a block: a power of two from 512 to 65,536.
    pub block_size: u32,
    /// Number of blocks, at least 1.
    pub blocks: u64,
}

impl Host {
    /// Executes an admin command as it stands; CID and data pointer are filled in.
    ///
    /// # Errors
    /// [`HostError::Command`] with the status, or what ended the host; so do all commands.
    pub fn admin(&mut self, sqe: &Sqe, exchange: Exchange<'_>) -> Result<Answer, HostError> {
        self.keep_alive_in_time()?;
        self.drive.execute(self.admin, sqe, exchange)
    }

    /// Executes an I/O command as it stands, on the next of the I/O queues in turn.
    ///
    /// # Errors
    /// As [`Host::admin`]; [`HostError::Closed`] without I/O queues.
    pub fn io(&mut self, sqe: &Sqe, exchange: Exchange<'_>) -> Result<Answer, HostError> {
        self.keep_alive_in_time()?;
        let queue = *self.io.get(self.next).ok_or(HostError::Closed)?;
        self.next = (self.next + 1) % self.io.len();
        self.drive.execute(queue, sqe, exchange)
    }

    /// Executes two I/O commands that send data, one right behind the other on one queue.
    fn io_pair(&mut self, commands: [(&Sqe, &[u8]); 2]) -> Result<[Result<Cqe, CommandError>; 2], HostError> {
        self.keep_alive_in_time()?;
        let queue = *self.io.get(self.next).ok_or(HostError::Closed)?;
        self.next = (self.next + 1) % self.io.len();
        self.drive.execute_pair(queue, commands)
    }

    /// The NSIDs of the active namespaces, in order; at most 1,024.
    ///
    /// # Errors
    /// As [`Host::admin`].
    pub fn namespaces(&mut self) -> Result<Vec<u32>, HostError> {
        let list = self.identify(Cns::ACTIVE_NAMESPACES, 0)?;
        let (words, _) = list.as_chunks::<4>();
        Ok(words.iter().map(|&word| u32::from_le_bytes(word)).take_while(|&nsid| nsid != 0).collect())
    }

    /// Identify: 4,096 bytes.
    ///
    /// # Errors
    /// As [`Host::admin`].
    pub fn identify(&mut self, cns: Cns, nsid: u32) -> Result<Vec<u8>, HostError> {
        Ok(self.admin(&command::identify(cns, nsid), Exchange::Receive(IDENTIFY_BYTES))?.data)
    }

    /// The size of a namespace; asked for once.
    ///
    /// # Errors
    /// As [`Host::admin`]; [`HostError::Format`] where there are no blocks, or such that carry more than data.
    pub fn geometry(&mut self, nsid: u32) -> Result<Geometry, HostError> {
        if let Some(known) = self.geometries.get(&nsid) {
            return Ok(*known);
        }
        let data = self.identify(Cns::NAMESPACE, nsid)?;
        let page = data.first_chunk().ok_or(HostError::Nonsense("the namespace"))?;
        let space = Space::of(page).map_err(|error| HostError::Format { nsid, error })?;
        let geometry = Geometry { block_size: space.block_size, blocks: space.blocks };
        self.geometries.insert(nsid, geometry);
        Ok(geometry)
    }

    /// Reads `blocks` blocks from `lba` on, with as many commands as that takes.
    ///
    /// # Errors
    /// As [`Host::admin`].
    pub fn read(&mut self, nsid: u32, lba: u64, blocks: u32) -> Result<Vec<u8>, HostError> {
        let geometry = self.geometry(nsid)?;
        let block_size = geometry.block_size as usize;
        let mut data = Vec::with_capacity(blocks as usize * block_size);
        let mut read = 0;
        while read < blocks {
            let count = (blocks - read).min(self.blocks_per_command(geometry));
            let sqe = command::read(nsid, lba + u64::from(read), count);
            data.extend(self.io(&sqe, Exchange::Receive(count as usize * block_size))?.data);
            read += count;
        }
        Ok(data)
    }

    /// Writes `data`, a whole number of blocks, from `lba` on, with as many commands as that takes.
    ///
    /// # Errors
    /// As [`Host::admin`]; [`HostError::Length`]. Where one of several commands fails, the ones before are done.
    pub fn write(&mut self, nsid: u32, lba: u64, data: &[u8]) -> Result<(), HostError> {
        self.send(nsid, lba, data, |lba, blocks| command::write(nsid, lba, blocks, false))
    }

    /// Compares `data`, a whole number of blocks, with the blocks from `lba` on.
    ///
    /// # Errors
    /// As [`Host::write`]; a difference is the status Compare Failure.
    pub fn compare(&mut self, nsid: u32, lba: u64, data: &[u8]) -> Result<(), HostError> {
        self.send(nsid, lba, data, |lba, blocks| command::compare(nsid, lba, blocks))
    }

    /// Writes `new` to the blocks from `lba` on if they hold `expected`, with the fused operation Compare and Write: nobody
    /// comes between. Both are as many whole blocks, at most half of what one command moves. Whether it was written.
    ///
    /// # Errors
    /// As [`Host::write`]; a difference is no error.
    pub fn compare_and_write(
        &mut self,
        nsid: u32,
        lba: u64,
        expected: &[u8],
        new: &[u8],
    ) -> Result<bool, HostError> {
        let block_size = self.geometry(nsid)?.block_size;
        let bytes = new.len();
        if new.is_empty() || !bytes.is_multiple_of(block_size as usize) || expected.len() != bytes {
            return Err(HostError::Length { bytes, block_size });
        }
        let blocks = u32::try_from(bytes / block_size as usize).unwrap_or(u32::MAX).min(BLOCKS_MAX);
        let mut compare = command::compare(nsid, lba, blocks);
        let mut write = command::write(nsid, lba, blocks, false);
        command::fuse(&mut compare, &mut write);
        let [compared, written] = self.io_pair([(&compare, expected), (&write, new)])?;
        match (compared, written) {
            (Ok(_), Ok(_)) => Ok(true),
            (Err(CommandError::Status { status, .. }), Err(_)) if status.is(Status::COMPARE_FAILURE) => {
                Ok(false)
            }
            (Err(error), _) | (_, Err(error)) => Err(HostError::Command(error)),
        }
    }

    /// Reads `blocks` blocks, 1 to 65,536, from `lba` on, without having them sent, with one command.
    ///
    /// # Errors
    /// As [`Host::admin`]; blocks that cannot be read are a status.
    ///
    /// # Panics
    /// If there are fewer or more blocks.
    pub fn verify(&mut self, nsid: u32, lba: u64, blocks: u32) -> Result<(), HostError> {
        self.io(&command::verify(nsid, lba, blocks), Exchange::None).map(drop)
    }

    /// Makes `blocks` blocks, 1 to 65,536, unreadable until they are written, with one command.
    ///
    /// # Errors
    /// As [`Host::admin`].
    ///
    /// # Panics
    /// If there are fewer or more blocks.
    pub fn write_uncorrectable(&mut self, nsid: u32, lba: u64, blocks: u32) -> Result<(), HostError> {
        self.io(&command::write_uncorrectable(nsid, lba, blocks), Exchange::None).map(drop)
    }

    /// Copies 1 to 128 ranges, each of them first block and number of blocks, 1 to 65,536, to `lba` and what follows it,
    /// with one command.
    ///
    /// # Errors
    /// As [`Host::admin`]; more than the namespace takes at once is a status.
    ///
    /// # Panics
    /// If there are fewer or more ranges, or blocks in one of them.
    pub fn copy(&mut self, nsid: u32, ranges: &[(u64, u32)], lba: u64) -> Result<(), HostError> {
        let list: Vec<u8> =
            ranges.iter().flat_map(|&(lba, blocks)| command::copy_range(lba, blocks)).collect();
        let sqe = command::copy(nsid, lba, ranges.len(), false);
        self.io(&sqe, Exchange::Send(&list)).map(drop)
    }

    /// Writes zeros to `blocks` blocks, 1 to 65,536, with one command.
    ///
    /// # Errors
    /// As [`Host::admin`].
    ///
    /// # Panics
    /// If there are fewer or more blocks.
    pub fn write_zeroes(
        &mut self,
        nsid: u32,
        lba: u64,
        blocks: u32,
        deallocate: bool,
    ) -> Result<(), HostError> {
        self.io(&command::write_zeroes(nsid, lba, blocks, deallocate), Exchange::None).map(drop)
    }

    /// Deallocates 1 to 256 ranges, each of them first block and number of blocks, with one command.
    ///
    /// # Errors
    /// As [`Host::admin`].
    ///
    /// # Panics
    /// If there are fewer or more ranges.
    pub fn deallocate(&mut self, nsid: u32, ranges: &[(u64, u32)]) -> Result<(), HostError> {
        let sqe = command::deallocate(nsid, ranges.len());
        let mut list = Vec::with_capacity(size_of_val(ranges));
        for &(lba, blocks) in ranges {
            let mut range = DatasetRange::new_zeroed();
            range.starting_lba = lba.into();
            range.blocks = blocks.into();
            list.extend_from_slice(range.as_bytes());
        }
        self.io(&sqe, Exchange::Send(&list)).map(drop)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As [`Host::admin`].
    pub fn flush(&mut self, nsid: u32) -> Result<(), HostError> {
        self.io(&command::flush(nsid), Exchange::None).map(drop)
    }

    fn send(
        &mut self,
        nsid: u32,
        lba: u64,
        data: &[u8],
        sqe: impl Fn(u64, u32) -> Sqe,
    ) -> Result<(), HostError> {
        let geometry = self.geometry(nsid)?;
        let block_size = geometry.block_size;
        let bytes = data.len();
        if data.is_empty() || !bytes.is_multiple_of(block_size as usize) {
            return Err(HostError::Length { bytes, block_size });
        }
        let mut lba = lba;
        for part in data.chunks(self.blocks_per_command(geometry) as usize * block_size as usize) {
            let blocks = u32::try_from(part.len() / block_size as usize).unwrap_or(BLOCKS_MAX);
            self.io(&sqe(lba, blocks), Exchange::Send(part))?;
            lba += u64::from(blocks);
        }
        Ok(())
    }

    fn blocks_per_command(&self, geometry: Geometry) -> u32 {
        (self.options.transfer_bytes_max / geometry.block_size).clamp(1, BLOCKS_MAX)
    }
}
