//! Addresses of PCI functions as operators and sysfs write them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The largest device number of a bus.
const DEVICE_MAX: u8 = 0x1f;
/// The largest function number of a device.
const FUNCTION_MAX: u8 = 7;

/// Address of a PCI function: `DOMAIN:BUS:DEVICE.FUNCTION`, hexadecimal, such as `0000:00:05.0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Why a text is no [`Address`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a PCI address; write it as lspci does, such as 0000:00:05.0 or 00:05.0")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    /// Takes `0000:00:05.0`, and `00:05.0` for the same in domain 0. Domains may have up to 8 digits.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (front, function) = text.rsplit_once('.').ok_or(AddressError)?;
        let (front, device) = front.rsplit_once(':').ok_or(AddressError)?;
        let (domain, bus) = front.rsplit_once(':').unwrap_or(("0000", front));
        let address = Self {
            domain: number(domain, 4..=8)?,
            bus: small(bus, 2)?,
            device: small(device, 2)?,
            function: small(function, 1)?,
        };
        if address.device > DEVICE_MAX || address.function > FUNCTION_MAX {
            return Err(AddressError);
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(formatter, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Hexadecimal digits only: the standard parser would take a sign.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Result<u32, AddressError> {
    if !digits.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(AddressError);
    }
    u32::from_str_radix(text, 16).map_err(|_| AddressError)
}

fn small(text: &str, digits: usize) -> Result<u8, AddressError> {
    u8::try_from(number(text, digits..=digits)?).map_err(|_| AddressError)
}
