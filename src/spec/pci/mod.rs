//! What an NVMe controller shows of itself on PCI: its address, and the words of its configuration space that a driver
//! needs (NVMe over PCIe transport 1.1, section 3.8).

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bitfield_struct::bitfield;
use serde::{Serialize, Serializer};

/// The largest device number of a bus.
const DEVICE_MAX: u8 = 0x1f;
/// The largest function number of a device.
const FUNCTION_MAX: u8 = 7;

/// Address of a PCI function: `DOMAIN:BUS:DEVICE.FUNCTION`, hexadecimal, such as `0000:00:05.0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Why a text is no [`PciAddress`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a PCI address; write it as lspci does, such as 0000:00:05.0 or 00:05.0")]
pub struct PciAddressError;

/// Where the words of the configuration space are that this driver reads, in bytes.
pub mod offset {
    /// CMD: command, 16 bits.
    pub const COMMAND: u16 = 0x04;
    /// STS: status, 16 bits.
    pub const STATUS: u16 = 0x06;
    /// RID and CC: revision and class code, 32 bits; all ones where there is no function.
    pub const CLASS: u16 = 0x08;
    /// CAP: offset of the first capability, 8 bits.
    pub const CAPABILITIES: u16 = 0x34;
}

/// CMD: what the function may do on the bus (section 3.8.1.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Command {
    __: bool,
    /// MSE: its memory space answers.
    pub memory_space: bool,
    /// BME: it may reach memory by itself.
    pub bus_master: bool,
    #[bits(13)]
    __: u16,
}

/// STS: the bits of it that say something lasting (section 3.8.1.3).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Status {
    #[bits(4)]
    __: u8,
    /// CL: there is a list of capabilities.
    pub capability_list: bool,
    #[bits(11)]
    __: u16,
}

/// RID and CC: what kind of function it is (section 3.8.1.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Class {
    /// Revision.
    pub revision: u8,
    /// Programming interface, subclass and base class in one: see [`Class::NVME`].
    #[bits(24)]
    pub code: u32,
}

impl Class {
    /// Mass storage, non-volatile memory, NVM Express I/O controller.
    pub const NVME: u32 = 0x01_08_02;

    /// Whether anything answered: a function that is not there reads as ones.
    pub const fn is_present(&self) -> bool {
        self.into_bits() != u32::MAX
    }
}

/// Head of a capability in the configuration space.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Capability {
    /// What it is; see [`Capability::MSIX`].
    pub id: u8,
    /// Offset of the next one; 0 in the last.
    pub next: u8,
}

impl Capability {
    /// MSI-X (section 3.8.3).
    pub const MSIX: u8 = 0x11;
    /// Capabilities that fit into the 192 bytes that may hold them: a longer list is a loop.
    pub const COUNT_MAX: usize = 48;
    /// Distance of MSI-X's [`MsixTable`] from its head, in bytes.
    pub const MSIX_TABLE: u16 = 4;
}

/// MTAB: where the table of MSI-X vectors lies (section 3.8.3.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct MsixTable {
    /// TBIR: the BAR that holds it.
    #[bits(3)]
    pub bar: u8,
    /// TO: bits 31 to 3 of its offset; see [`MsixTable::offset`].
    #[bits(29)]
    pub offset_eighths: u32,
}

impl MsixTable {
    /// TO widened: where in the BAR the table begins, in bytes.
    pub const fn offset(&self) -> u64 {
        self.offset_eighths() as u64 * 8
    }
}

impl FromStr for PciAddress {
    type Err = PciAddressError;

    /// Takes `0000:00:05.0`, and `00:05.0` for the same in domain 0. Domains may have up to 8 digits.
    fn from_str(text: &str) -> Result<Self, PciAddressError> {
        let (front, function) = text.rsplit_once('.').ok_or(PciAddressError)?;
        let (front, device) = front.rsplit_once(':').ok_or(PciAddressError)?;
        let (domain, bus) = front.rsplit_once(':').unwrap_or(("0000", front));
        let address = Self {
            domain: number(domain, 4..=8)?,
            bus: small(bus, 2)?,
            device: small(device, 2)?,
            function: small(function, 1)?,
        };
        if address.device > DEVICE_MAX || address.function > FUNCTION_MAX {
            return Err(PciAddressError);
        }
        Ok(address)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(formatter, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl Serialize for PciAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Hexadecimal digits only: the standard parser would take a sign.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Result<u32, PciAddressError> {
    if !digits.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(PciAddressError);
    }
    u32::from_str_radix(text, 16).map_err(|_| PciAddressError)
}

fn small(text: &str, digits: usize) -> Result<u8, PciAddressError> {
    u8::try_from(number(text, digits..=digits)?).map_err(|_| PciAddressError)
}
