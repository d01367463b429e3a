//! Checks of the block devices.

use std::path::PathBuf;

use crate::config::document::{BdevEntry, BdevType};
use crate::config::finding::{Findings, Place};
use crate::config::size::{ByteSize, SizeText};
use crate::config::{Bdev, BdevKind};

use super::devices::Devices;
use super::{BDEVS_MAX, Unique, count, remotes};

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
    let mut devices = Devices::default();
    let mut bdevs = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let place = place.entry(index);
        check_name(&entry.name, &place.key("name"), findings);
        if let Some(first) = names.insert(entry.name.as_str(), &place) {
            let message = format!("is {:?}, the name of {first} too; names must differ", entry.name);
            findings.error(place.key("name"), message);
        }
        if entry.kind != BdevType::Malloc {
            refuse_keys(&[("atomic_writes", entry.atomic_writes.is_some())], "malloc", &place, findings);
        }
        let kind = match entry.kind {
            BdevType::Malloc | BdevType::Null | BdevType::FileBacked => {
                refuse_keys(&of_devices(entry), "nvme", &place, findings);
                refuse_keys(&remotes::keys(entry), "nvmf", &place, findings);
                let block_size = block_size(entry.block_size.as_ref(), &place.key("block_size"), findings);
                kind(entry, block_size, &place, findings)
            }
            BdevType::Nvme => {
                refuse_keys(&of_files(entry), "file", &place, findings);
                refuse_keys(&remotes::keys(entry), "nvmf", &place, findings);
                devices.check(entry, &place, findings)
            }
            BdevType::Nvmf => {
                refuse_keys(&of_files(entry), "file", &place, findings);
                let remote = remotes::check(entry, &place, findings);
                remote.map(|remote| BdevKind::Nvmf(Box::new(remote)))
            }
        };
        bdevs.extend(kind.map(|kind| Bdev { name: entry.name.clone(), kind }));
    }
    check_paths(entries, place, findings);
    bdevs
}

fn kind(
    entry: &BdevEntry,
    block_size: Option<u32>,
    place: &Place,
    findings: &mut Findings,
) -> Option<BdevKind> {
    let size_place = place.key("size");
    let size = entry.size.as_ref().map(|text| size(text, block_size, &size_place, findings));
    if entry.kind == BdevType::FileBacked {
        let path = path(entry.path.as_deref(), &place.key("path"), findings);
        let preallocate = entry.preallocate.unwrap_or(false);
        if preallocate && size.is_none() {
            findings.error(
                place.key("preallocate"),
                "is true, but there is no \"size\" to set storage aside for",
            );
        }
        let wrong = size == Some(None);
        let size = size.flatten();
        let kind = BdevKind::FileBacked { path: path?, block_size: block_size?, size, preallocate };
        return (!wrong).then_some(kind);
    }
    refuse_keys(&of_files(entry), "file", place, findings);
    if size.is_none() {
        findings.error(size_place, "is missing: a bdev of this type has no size of its own");
    }
    let (size, block_size) = (size.flatten()?, block_size?);
    Some(match entry.kind {
        BdevType::Null => BdevKind::Null { size, block_size },
        BdevType::Malloc | BdevType::FileBacked | BdevType::Nvme | BdevType::Nvmf => {
            BdevKind::Malloc { size, block_size, atomic_writes: entry.atomic_writes.unwrap_or(false) }
        }
    })
}

/// The keys that only files have, and whether they are there.
fn of_files(entry: &BdevEntry) -> [(&'static str, bool); 2] {
    [("path", entry.path.is_some()), ("preallocate", entry.preallocate.is_some())]
}

/// The keys that only devices have, and whether they are there.
fn of_devices(entry: &BdevEntry) -> [(&'static str, bool); 2] {
    [("address", entry.address.is_some()), ("namespace", entry.namespace.is_some())]
}

/// Finds fault with keys of another type.
fn refuse_keys(keys: &[(&str, bool)], kind: &str, place: &Place, findings: &mut Findings) {
    for (key, _) in keys.iter().filter(|(_, given)| *given) {
        findings.error(place.key(key), format!("is for bdevs of the type \"{kind}\"; leave it out"));
    }
}

fn path(text: Option<&str>, place: &Place, findings: &mut Findings) -> Option<PathBuf> {
    let Some(text) = text else {
        findings.error(place.clone(), "is missing: a bdev of the type \"file\" lies in one");
        return None;
    };
    if !text.starts_with('/') || text.contains('\0') {
        findings.error(place.clone(), format!("is {text:?}; it must be an absolute path"));
        return None;
    }
    Some(text.into())
}

/// Two bdevs in one file would destroy each other's contents. What is the same by links is found when it is opened.
fn check_paths(entries: &[BdevEntry], place: &Place, findings: &mut Findings) {
    let mut paths = Unique::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(path) = entry.path.as_deref() else { continue };
        let place = place.entry(index);
        if let Some(first) = paths.insert(path, &place) {
            findings
                .error(place.key("path"), format!("is {path:?}, the path of {first} too; paths must differ"));
        }
    }
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
