//! The configuration space of a function, through its file: every failure is told.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::spec::pci::{Capability, Class, Command, MsixTable, Status, offset};

/// A function's configuration space: `len` bytes of a file.
///
/// Invariant: `len` is at least 256.
#[derive(Debug)]
pub(super) struct Configuration {
    file: File,
    start: u64,
    len: u64,
}

impl Configuration {
    /// Shortest configuration space, in bytes.
    pub(super) const BYTES_LEAST: u64 = 256;

    /// The `len` bytes from `start` of `file`.
    ///
    /// # Panics
    /// If `len` is less than [`Configuration::BYTES_LEAST`].
    pub(super) fn new(file: File, start: u64, len: u64) -> Self {
        assert!(len >= Self::BYTES_LEAST);
        Self { file, start, len }
    }

    /// Whether the function answers. Its class is asked for: the kernel keeps a copy of its vendor, and gives that.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn is_present(&self) -> io::Result<bool> {
        Ok(self.class()?.is_present())
    }

    /// What kind of function it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn class(&self) -> io::Result<Class> {
        self.read_u32(offset::CLASS).map(Class::from_bits)
    }

    /// Lets its memory space answer and lets it reach memory, or takes the latter right from it; returns when it has
    /// followed, and nothing that it sent earlier is under way any more: a read's answer pushes it ahead.
    ///
    /// # Errors
    /// What the kernel says; also when the function does not follow.
    pub(super) fn set_bus_master(&self, bus_master: bool) -> io::Result<()> {
        let command = Command::from_bits(self.read_u16(offset::COMMAND)?);
        let wanted = command.with_memory_space(true).with_bus_master(bus_master);
        self.file.write_all_at(&wanted.into_bits().to_le_bytes(), self.start + u64::from(offset::COMMAND))?;
        let now = Command::from_bits(self.read_u16(offset::COMMAND)?);
        if now.bus_master() == bus_master && now.memory_space() {
            Ok(())
        } else {
            Err(io::Error::other("the function does not take what is written to its command register"))
        }
    }

    /// Where its table of MSI-X vectors lies; `None` if it has none.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn msix_table(&self) -> io::Result<Option<MsixTable>> {
        if !Status::from_bits(self.read_u16(offset::STATUS)?).capability_list() {
            return Ok(None);
        }
        let [mut at, _] = self.read_u16(offset::CAPABILITIES)?.to_le_bytes();
        for _ in 0..Capability::COUNT_MAX {
            // The two lowest bits are reserved, and no capability lies in the header.
            let place = u16::from(at & !3);
            if place < 0x40 {
                break;
            }
            let head = Capability::from_bits(self.read_u16(place)?);
            if head.id() == Capability::MSIX {
                return self
                    .read_u32(place + Capability::MSIX_TABLE)
                    .map(|bits| Some(MsixTable::from_bits(bits)));
            }
            at = head.next();
        }
        Ok(None)
    }

    fn read_u16(&self, offset: u16) -> io::Result<u16> {
        self.read(offset).map(u16::from_le_bytes)
    }

    fn read_u32(&self, offset: u16) -> io::Result<u32> {
        self.read(offset).map(u32::from_le_bytes)
    }

    fn read<const N: usize>(&self, offset: u16) -> io::Result<[u8; N]> {
        if u64::from(offset) + N as u64 > self.len {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a capability leaves the configuration space",
            ));
        }
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, self.start + u64::from(offset))?;
        Ok(bytes)
    }
}
