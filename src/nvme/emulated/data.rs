//! Where the data of a command lies: PRPs and SGLs taken apart (NVMe base 2.1, sections 4.3.1 and 4.3.2).
//!
//! Strict: a data pointer that breaks a rule is a violation of the driver's, whatever the controller answers.

use std::ops::Range;

use zerocopy::FromBytes;

use super::memory::{Memory, Violation};
use crate::mem::{self, Segment, SegmentMut};
use crate::spec::prp::{PRP_ALIGNMENT, PRP_BYTES};
use crate::spec::sgl::{SglDescriptor, SglSubtype, SglType};
use crate::spec::sqe::{Psdt, Sqe};
use crate::spec::status::Status;

/// Descriptors of one SGL.
const DESCRIPTORS_MAX: usize = 4096;

const DESCRIPTOR_BYTES: usize = size_of::<SglDescriptor>();

/// The memory of one command, in order. Kept from command to command, so that nothing is allocated.
#[derive(Default)]
pub(super) struct Data {
    /// Addresses and lengths, all of them mapped when they were located.
    pieces: Vec<(u64, usize)>,
    bytes: usize,
}

/// What the controller takes.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Bytes of a memory page.
    pub(super) page: usize,
    /// SGLs may be used.
    pub(super) sgls: bool,
    /// Bytes of the largest transfer.
    pub(super) max: usize,
}

/// Why a data pointer is not taken.
struct Bad(Status, &'static str);

impl Data {
    /// Finds the memory of `bytes` bytes.
    ///
    /// # Errors
    /// The status of the command; the violation is recorded.
    pub(super) fn locate(
        &mut self,
        memory: &mut Memory,
        rules: Rules,
        (sqid, sqe): (u16, &Sqe),
        bytes: usize,
    ) -> Result<(), Status> {
        self.pieces.clear();
        self.bytes = 0;
        let located = if bytes > rules.max {
            Err(Bad(Status::INVALID_FIELD, "longer than MDTS"))
        } else if sqe.psdt() == Psdt::PRP {
            self.prps(memory, rules.page, sqe, bytes)
        } else if sqe.psdt() == Psdt::SGL && rules.sgls {
            self.sgl(memory, sqe.dptr, bytes)
        } else {
            Err(Bad(Status::INVALID_FIELD, "PSDT is not supported"))
        };
        located.map_err(|Bad(status, reason)| {
            memory.violate(Violation::DataPointer { sqid, cid: sqe.cid.get(), reason });
            status.with_dnr()
        })?;
        assert!(self.bytes == bytes);
        Ok(())
    }

    /// Copies into the command's memory.
    pub(super) fn fill(&self, memory: &mut Memory, from: Segment) {
        assert!(from.len() == self.bytes);
        self.each(memory, |range, piece| mem::copy(from.slice(range), piece));
    }

    /// The same, for bytes of this process.
    pub(super) fn put(&self, memory: &mut Memory, from: &[u8]) {
        assert!(from.len() == self.bytes);
        self.each(memory, |range, piece| mem::copy_in(&from[range], piece));
    }

    /// Copies out of the command's memory.
    pub(super) fn take(&self, memory: &mut Memory, into: SegmentMut) {
        assert!(into.len() == self.bytes);
        self.each(memory, |range, piece| mem::copy(piece.read_only(), into.slice(range)));
    }

    /// The same, into bytes of this process.
    pub(super) fn get(&self, memory: &mut Memory, into: &mut [u8]) {
        assert!(into.len() == self.bytes);
        self.each(memory, |range, piece| mem::copy_out(piece.read_only(), &mut into[range]));
    }

    /// Whether the command's memory holds these bytes.
    pub(super) fn equals(&self, memory: &mut Memory, with: Segment) -> bool {
        assert!(with.len() == self.bytes);
        let mut equal = true;
        self.each(memory, |range, piece| {
            equal &= mem::difference(piece.read_only(), with.slice(range)).is_none();
        });
        equal
    }

    /// Goes over the memory: where each piece is in the data, and where it lies.
    fn each(&self, memory: &mut Memory, mut with: impl FnMut(Range<usize>, SegmentMut)) {
        let mut at = 0;
        for &(iova, bytes) in &self.pieces {
            if let Some(piece) = memory.reach(iova, bytes) {
                with(at..at + bytes, piece);
            }
            at += bytes;
        }
    }

    fn push(&mut self, memory: &mut Memory, iova: u64, bytes: usize) -> Result<(), Bad> {
        if !memory.holds(iova, bytes) {
            return Err(Bad(Status::DATA_TRANSFER_ERROR, "names memory that is not mapped"));
        }
        self.pieces.push((iova, bytes));
        self.bytes += bytes;
        Ok(())
    }

    fn prps(&mut self, memory: &mut Memory, page: usize, sqe: &Sqe, bytes: usize) -> Result<(), Bad> {
        let bad = |reason| Err(Bad(Status::PRP_OFFSET_INVALID, reason));
        if bytes == 0 {
            return Ok(());
        }
        let (prp1, prp2) = (sqe.prps().prp1.get(), sqe.prps().prp2.get());
        if !prp1.is_multiple_of(PRP_ALIGNMENT) {
            return bad("PRP1 is not a multiple of 4");
        }
        let first = bytes.min(page - offset_in(prp1, page));
        self.push(memory, prp1, first)?;
        let rest = bytes - first;
        if rest == 0 {
            return Ok(());
        }
        if rest <= page {
            if offset_in(prp2, page) != 0 {
                return bad("PRP2 is not the start of a page");
            }
            return self.push(memory, prp2, rest);
        }
        if !prp2.is_multiple_of(8) {
            return bad("the PRP list is not at a multiple of 8");
        }
        self.prp_list(memory, page, prp2, rest)
    }

    /// Walks the pages of a list. The last entry of a page of the list is the next page where more is to come (section
    /// 4.3.1).
    fn prp_list(
        &mut self,
        memory: &mut Memory,
        page: usize,
        mut at: u64,
        mut rest: usize,
    ) -> Result<(), Bad> {
        while rest > 0 {
            let last = offset_in(at, page) == page - PRP_BYTES;
            let Some(entry) = memory.reach(at, PRP_BYTES) else {
                return Err(Bad(Status::DATA_TRANSFER_ERROR, "the PRP list is not mapped"));
            };
            let mut bytes = [0; PRP_BYTES];
            mem::copy_out(entry.read_only(), &mut bytes);
            let entry = u64::from_le_bytes(bytes);
            if offset_in(entry, page) != 0 {
                return Err(Bad(Status::PRP_OFFSET_INVALID, "an entry of the PRP list is not a page"));
            }
            if last && rest > page {
                at = entry;
                continue;
            }
            let bytes = rest.min(page);
            self.push(memory, entry, bytes)?;
            rest -= bytes;
            at += 8;
        }
        Ok(())
    }

    fn sgl(&mut self, memory: &mut Memory, first: SglDescriptor, bytes: usize) -> Result<(), Bad> {
        let (mut next, mut seen) = (Some(first), 0);
        let mut segment: Option<(u64, usize, bool)> = None;
        loop {
            seen += 1;
            if seen > DESCRIPTORS_MAX {
                return Err(Bad(Status::INVALID_SGL_COUNT, "the SGL does not end"));
            }
            let descriptor = match (next.take(), segment.as_mut()) {
                (Some(descriptor), _) => descriptor,
                (None, Some((at, left, _))) if *left > 0 => {
                    let descriptor = read_descriptor(memory, *at)?;
                    *at += 16;
                    *left -= 1;
                    descriptor
                }
                (None, _) => break,
            };
            if descriptor.subtype() != SglSubtype::ADDRESS || descriptor.reserved != [0; 3] {
                return Err(Bad(Status::SGL_TYPE_INVALID, "a descriptor has a sub-type, or reserved bytes"));
            }
            let (address, length) = (descriptor.address.get(), descriptor.length.get() as usize);
            match descriptor.kind() {
                SglType::DATA_BLOCK if length > bytes - self.bytes => {
                    return Err(Bad(Status::DATA_SGL_LENGTH_INVALID, "the SGL is too long"));
                }
                SglType::DATA_BLOCK => self.push(memory, address, length)?,
                SglType::SEGMENT | SglType::LAST_SEGMENT => {
                    let is_last = descriptor.kind() == SglType::LAST_SEGMENT;
                    let misplaced = segment.is_some_and(|(_, left, last)| left > 0 || last);
                    if misplaced || length == 0 || !length.is_multiple_of(DESCRIPTOR_BYTES) {
                        return Err(Bad(Status::INVALID_SGL_SEGMENT, "a segment descriptor is misplaced"));
                    }
                    segment = Some((address, length / DESCRIPTOR_BYTES, is_last));
                }
                _ => return Err(Bad(Status::SGL_TYPE_INVALID, "a descriptor of an unsupported type")),
            }
        }
        if self.bytes != bytes {
            return Err(Bad(Status::DATA_SGL_LENGTH_INVALID, "the SGL is too short"));
        }
        Ok(())
    }
}

fn read_descriptor(memory: &mut Memory, at: u64) -> Result<SglDescriptor, Bad> {
    let segment = memory.reach(at, DESCRIPTOR_BYTES);
    let segment = segment.ok_or(Bad(Status::DATA_TRANSFER_ERROR, "the SGL segment is not mapped"))?;
    let mut bytes = [0; DESCRIPTOR_BYTES];
    mem::copy_out(segment.read_only(), &mut bytes);
    Ok(SglDescriptor::read_from_bytes(&bytes).expect("16 bytes are a descriptor"))
}

/// Offset of an address in its page.
fn offset_in(address: u64, page: usize) -> usize {
    let page = u64::try_from(page).expect("a page size is small");
    usize::try_from(address % page).expect("less than a page")
}
