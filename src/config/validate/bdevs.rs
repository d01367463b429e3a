//! Checks of the block devices.

use crate::config::document::{BdevEntry, BdevType};
use crate::config::finding::{Findings, Place};
use crate::config::size::{ByteSize, SizeText};
use crate::config::{Bdev, BdevKind};

use super::{BDEVS_MAX, Unique, count};

/// Longest name of a bdev in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Least logical block size, that of the oldest disks.
const BLOCK_SIZE_MIN: u64 = 512;
/// Greatest logical block size that Linux takes.
const BLOCK_SIZE_MAX: u64 = 65_536;
/// Logical block size when the file says nothing.
const BLOCK_SIZE_DEFAULT: u32 = 4096;
/// Greatest capacity: hosts and files count bytes in 63 bits.
const SIZE_MAX: ByteSize = ByteSize::new(1 << 62);

pub(super) fn check(entries: &[BdevEntry], place: &Place, findings: &mut Findings) -> Vec<Bdev> {
    count(entries.len(), BDEVS_MAX, place, findings);
    let mut names = Unique::new();
    let mut bdevs = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let place = place.entry(index);
        check_name(&entry.name, &place.key("name"), findings);
        if let Some(first) = names.insert(entry.name.as_str(), &place) {
            let message = format!("is {:?}, the name of {first} too; names must differ", entry.name);
            findings.error(place.key("name"), message);
        }
        let block_size = block_size(entry.block_size.as_ref(), &place.key("block_size"), findings);
        let size = size(&entry.size, block_size, &place.key("size"), findings);
        if let (Some(size), Some(block_size)) = (size, block_size) {
            let kind = match entry.kind {
                BdevType::Malloc => BdevKind::Malloc { size, block_size },
                BdevType::Null => BdevKind::Null { size, block_size },
            };
            bdevs.push(Bdev { name: entry.name.clone(), kind });
        }
    }
    bdevs
}

fn check_name(name: &str, place: &Place, findings: &mut Findings) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !starts || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        let message = format!(
            "is {name:?}; it must be 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores, \
             and start with a letter or digit"
        );
        findings.error(place.clone(), message);
    }
}

fn block_size(text: Option<&SizeText>, place: &Place, findings: &mut Findings) -> Option<u32> {
    let Some(text) = text else { return Some(BLOCK_SIZE_DEFAULT) };
    match text.resolve() {
        Ok(size) => {
            let bytes = size.bytes();
            let taken = bytes.is_power_of_two() && (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&bytes);
            let block_size = u32::try_from(bytes).ok().filter(|_| taken);
            if block_size.is_none() {
                findings.error(
                    place.clone(),
                    format!("is {text}; it must be a power of two from 512 to 65536 bytes"),
                );
            }
            block_size
        }
        Err(problem) => {
            findings.error(place.clone(), format!("{text} {problem}"));
            None
        }
    }
}

fn size(
    text: &SizeText,
    block_size: Option<u32>,
    place: &Place,
    findings: &mut Findings,
) -> Option<ByteSize> {
    let size = match text.resolve() {
        Ok(size) => size,
        Err(problem) => {
            findings.error(place.clone(), format!("{text} {problem}"));
            return None;
        }
    };
    let block = u64::from(block_size.unwrap_or(1));
    if size.bytes() == 0 {
        findings.error(place.clone(), "is 0; a bdev has at least one block");
    } else if size > SIZE_MAX {
        findings.error(place.clone(), format!("is {size}; at most {SIZE_MAX} are allowed"));
    } else if !size.bytes().is_multiple_of(block) {
        let near = size.bytes() / block * block;
        let near = ByteSize::new(if near == 0 { block } else { near });
        let message =
            format!("is {size}, not a multiple of the block size of {block} bytes; \"{near}\" is one");
        findings.error(place.clone(), message);
    } else {
        return Some(size);
    }
    None
}
