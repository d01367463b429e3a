//! Commands on their way to the device: checked, split where they are too long, their memory named, written into the
//! ring.

use zerocopy::little_endian::{U16, U32, U64};

use super::data::{Cursor, Data, Runs};
use super::slots::NO_BOUNCE;
use super::{Mode, QueuePair};
use crate::nvme::memory::PAGE_BYTES;
use crate::nvme::prp::{self, ListPage, Run, Unnamed};
use crate::nvme::{BlockRange, Device, IoCommand, SubmitError};
use crate::spec::nvm::{
    BlockCount, COPY_RANGES_MAX, CopyDword, CopyRange, DATASET_RANGES_MAX, DatasetAttributes, DatasetRange,
};
use crate::spec::opcode::NvmOpcode;
use crate::spec::prp::PrpPair;
use crate::spec::reservation::{AcquireDword, RegisterDword, ReleaseDword, ReportDword};
use crate::spec::sqe::{Psdt, Sqe};

/// Blocks of one command (NVM command set 1.0, section 3.2.4: NLB).
const BLOCKS_MAX: u64 = 1 << 16;

/// A command without data has no more parts than the slots divided by this: others have room beside it.
const PARTS_SHARE: usize = 4;

/// A command that names one range of blocks.
#[derive(Clone, Copy)]
struct Span {
    opcode: NvmOpcode,
    nsid: u32,
    slba: u64,
    blocks: u32,
    /// CDW12 but for NLB.
    flags: BlockCount,
}

impl Span {
    /// The command for the `blocks` blocks that begin `first` blocks into the range.
    #[inline]
    fn part(&self, cid: u16, first: u32, blocks: u32) -> Sqe {
        let mut sqe = Sqe::with_prps(self.opcode.0, cid, self.nsid);
        sqe.set_starting_lba(self.slba.wrapping_add(first.into()));
        let blocks_z = u16::try_from(blocks - 1).expect("a part has 65,536 blocks at most");
        sqe.cdw12 = U32::new(self.flags.with_blocks_z(blocks_z).into_bits());
        sqe
    }
}

impl<D: Device> QueuePair<D> {
    /// Takes a command, under a tag that no outstanding command has. The device learns of it at the next
    /// [`QueuePair::commit`]. A command with more data than the controller takes at once is split, and completes once.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]: nothing was started.
    #[inline]
    pub fn submit(&mut self, tag: u64, command: &IoCommand<'_>) -> Result<(), SubmitError> {
        if self.mode != Mode::Live {
            self.wake_up()?;
        }
        let flags = BlockCount::new();
        match *command {
            IoCommand::Read { nsid, slba, blocks, into } => {
                let span = Span { opcode: NvmOpcode::READ, nsid, slba, blocks, flags };
                self.transfer(tag, &span, Data::Into(into))
            }
            IoCommand::Write { nsid, slba, blocks, from, fua } => {
                let span = Span { opcode: NvmOpcode::WRITE, nsid, slba, blocks, flags: flags.with_fua(fua) };
                self.transfer(tag, &span, Data::From(from))
            }
            _ => self.submit_other(tag, command),
        }
    }

    fn submit_other(&mut self, tag: u64, command: &IoCommand<'_>) -> Result<(), SubmitError> {
        let flags = BlockCount::new();
        let oncs = self.terms.oncs;
        match *command {
            IoCommand::Read { .. } | IoCommand::Write { .. } => Err(SubmitError::Unsupported),
            IoCommand::Flush { nsid } => {
                let sqe = Sqe::with_prps(NvmOpcode::FLUSH.0, 0, nsid);
                self.page(tag, sqe, true, &[])
            }
            IoCommand::Compare { nsid, slba, blocks, with } => {
                supported(oncs.compare())?;
                let span = Span { opcode: NvmOpcode::COMPARE, nsid, slba, blocks, flags };
                self.transfer(tag, &span, Data::From(with))
            }
            IoCommand::WriteZeroes { nsid, slba, blocks, deallocate, fua } => {
                supported(oncs.write_zeroes())?;
                let flags = flags.with_deac(deallocate).with_fua(fua);
                let span = Span { opcode: NvmOpcode::WRITE_ZEROES, nsid, slba, blocks, flags };
                self.blocks(tag, &span, self.terms.zeroes_bytes)
            }
            IoCommand::Verify { nsid, slba, blocks } => {
                supported(oncs.verify())?;
                let span = Span { opcode: NvmOpcode::VERIFY, nsid, slba, blocks, flags };
                self.blocks(tag, &span, self.terms.verify_bytes)
            }
            IoCommand::WriteUncorrectable { nsid, slba, blocks } => {
                supported(oncs.write_uncorrectable())?;
                let span = Span { opcode: NvmOpcode::WRITE_UNCORRECTABLE, nsid, slba, blocks, flags };
                self.blocks(tag, &span, self.terms.uncorrectable_bytes)
            }
            IoCommand::Deallocate { nsid, ranges } => {
                supported(oncs.dataset_management())?;
                self.deallocate(tag, nsid, ranges)
            }
            IoCommand::Copy { nsid, slba, from, fua } => {
                supported(oncs.copy())?;
                self.copy(tag, nsid, slba, from, fua)
            }
            IoCommand::ReservationRegister { .. }
            | IoCommand::ReservationAcquire { .. }
            | IoCommand::ReservationRelease { .. }
            | IoCommand::ReservationReport { .. } => {
                supported(oncs.reservations())?;
                self.reservation(tag, command)
            }
        }
    }

    /// A command that moves blocks.
    #[inline]
    fn transfer(&mut self, tag: u64, span: &Span, data: Data<'_>) -> Result<(), SubmitError> {
        let shift = self.formats.find(&mut self.format_hint, span.nsid).ok_or(SubmitError::Namespace)?;
        let bytes = u64::from(span.blocks) << shift;
        // The device goes by the blocks, so the segments must, too: a PRP says where memory begins, not where it ends.
        if bytes == 0 || u64::try_from(data.bytes()) != Ok(bytes) {
            return Err(SubmitError::Length);
        }
        if let Some((address, len)) = data.only()
            && len <= self.terms.transfer_bytes
            && let Some(iova) = self.translations.find(&mut self.translation_hint, address, len)
            && let Some(pair) = prp::short(Run { iova, bytes: len })
        {
            let index = self.slots.take(tag, self.tick).ok_or(SubmitError::Full)?;
            let mut sqe = span.part(self.slots.get(index).cid, 0, span.blocks);
            sqe.dptr = pair.into();
            self.push(index, &sqe, true);
            return Ok(());
        }
        self.transfer_long(tag, span, data, shift)
    }

    fn transfer_long(&mut self, tag: u64, span: &Span, data: Data<'_>, shift: u8) -> Result<(), SubmitError> {
        let per = |bytes: usize| u32::try_from(bytes >> shift).unwrap_or(u32::MAX).max(1);
        let direct = self.split(tag, span, per(self.terms.transfer_bytes), Some((data, shift)), false);
        match direct {
            Err(SubmitError::Unmapped | SubmitError::Hole)
                if self.bounces.exist() && self.bounces.bytes() >> shift > 0 =>
            {
                let bytes = self.bounces.bytes().min(self.terms.transfer_bytes);
                self.split(tag, span, per(bytes), Some((data, shift)), true)
            }
            direct => direct,
        }
    }

    /// A command without data that names blocks, in parts of at most `bytes_max` bytes.
    fn blocks(&mut self, tag: u64, span: &Span, bytes_max: u64) -> Result<(), SubmitError> {
        let shift = self.formats.find(&mut self.format_hint, span.nsid).ok_or(SubmitError::Namespace)?;
        if span.blocks == 0 {
            return Err(SubmitError::Length);
        }
        // The limit only recommends, since the command is supported: not many small parts that fill the queue.
        let parts_max = (self.slots.len() / PARTS_SHARE).max(1) as u64;
        let least = u64::from(span.blocks).div_ceil(parts_max);
        let per = (bytes_max >> shift).max(least).clamp(1, BLOCKS_MAX);
        self.split(tag, span, u32::try_from(per).unwrap_or(u32::MAX), None, false)
    }

    /// Submits parts of at most `per` blocks each. Either all of them are in the ring afterwards, or none.
    fn split(
        &mut self,
        tag: u64,
        span: &Span,
        per: u32,
        data: Option<(Data<'_>, u8)>,
        bounce: bool,
    ) -> Result<(), SubmitError> {
        let parts = u16::try_from(span.blocks.div_ceil(per)).map_err(|_| SubmitError::TooLong)?;
        if usize::from(parts) > self.slots.len() {
            return Err(SubmitError::TooLong);
        }
        if usize::from(parts) > self.slots.free() {
            return Err(SubmitError::Full);
        }
        let mut cursor = Cursor::default();
        let mut parent = None;
        for part in 0..parts {
            let first = u32::from(part) * per;
            let blocks = per.min(span.blocks - first);
            let index = self.slots.take(tag, self.tick).ok_or(SubmitError::Full)?;
            let slot = self.slots.get_mut(index);
            let mut sqe = span.part(slot.cid, first, blocks);
            slot.parent = *parent.get_or_insert(index);
            slot.parts = if part == 0 { parts } else { 1 };
            if let Some((data, shift)) = data {
                // A part is no longer than the data: lossless.
                let bytes = (blocks as usize) << shift;
                if let Err(error) = self.name(index, &mut sqe, data, &mut cursor, bytes, bounce) {
                    self.undo(parent, part);
                    return Err(error);
                }
            }
            self.push(index, &sqe, true);
        }
        Ok(())
    }

    /// Puts the data pointer of the next `bytes` bytes into a command: PRPs where they do, SGL descriptors where the pieces
    /// are no pages; otherwise a copy, if `bounce`.
    fn name(
        &mut self,
        index: u16,
        sqe: &mut Sqe,
        data: Data<'_>,
        cursor: &mut Cursor,
        bytes: usize,
        bounce: bool,
    ) -> Result<(), SubmitError> {
        let start = *cursor;
        let offset = usize::from(index) * PAGE_BYTES;
        let page = ListPage { words: &self.pages.words, offset, iova: self.pages.iova.plus(offset).0 };
        let (translations, hint) = (&self.translations, &mut self.translation_hint);
        let named = prp::prps(Runs { data, cursor, left: bytes, translations, hint }, page);
        let error = match (named, self.terms.sgl_aligned) {
            (Ok(pair), _) => {
                sqe.dptr = pair.into();
                return Ok(());
            }
            (Err(Unnamed::Hole | Unnamed::TooLong), Some(aligned)) => {
                *cursor = start;
                match prp::sgl(Runs { data, cursor, left: bytes, translations, hint }, page, aligned) {
                    Ok(descriptor) => {
                        sqe.dptr = descriptor;
                        sqe.set_psdt(Psdt::SGL);
                        return Ok(());
                    }
                    Err(error) => error,
                }
            }
            (Err(error), _) => error,
        };
        *cursor = start;
        if !bounce {
            return Err(error.into());
        }
        let (buffer, run) = self.bounces.start(data, cursor, bytes).ok_or(SubmitError::Full)?;
        self.slots.get_mut(index).bounce = buffer;
        self.counts.bounced += 1;
        sqe.dptr = prp::prps([Ok(run)].into_iter(), page)?.into();
        Ok(())
    }

    /// Takes back the parts of a command that failed at its part number `part`, which has a slot and no entry.
    #[cold]
    fn undo(&mut self, parent: Option<u16>, part: u16) {
        let Some(parent) = parent else { return };
        for index in 0..self.depth_wire() {
            let slot = self.slots.get(index);
            if slot.parent == parent && slot.state == super::slots::State::Busy {
                if slot.bounce != NO_BOUNCE {
                    self.bounces.finish(slot.bounce, false);
                    self.slots.get_mut(index).bounce = NO_BOUNCE;
                }
                self.slots.release(index);
            }
        }
        self.rings.take_back(part);
        self.counts.submitted -= u64::from(part);
    }

    /// A command whose data, if it has any, fits the page of its slot.
    fn page(&mut self, tag: u64, mut sqe: Sqe, repeatable: bool, data: &[u64]) -> Result<(), SubmitError> {
        assert!(data.len() * 8 <= PAGE_BYTES);
        let index = self.slots.take(tag, self.tick).ok_or(SubmitError::Full)?;
        sqe.cid = U16::new(self.slots.get(index).cid);
        let offset = usize::from(index) * PAGE_BYTES;
        for (word, value) in data.iter().enumerate() {
            self.pages.words.store_u64(offset + word * 8, *value);
        }
        if !data.is_empty() {
            sqe.dptr = PrpPair::of(self.pages.iova.plus(offset).0, 0).into();
        }
        self.push(index, &sqe, repeatable);
        Ok(())
    }

    fn deallocate(&mut self, tag: u64, nsid: u32, ranges: &[BlockRange]) -> Result<(), SubmitError> {
        let last = ranges.len().checked_sub(1).ok_or(SubmitError::Length)?;
        if ranges.len() > self.terms.dataset_ranges.min(DATASET_RANGES_MAX) {
            return Err(SubmitError::TooLong);
        }
        let mut words = [0; DATASET_RANGES_MAX * 2];
        for (pair, range) in words.chunks_exact_mut(2).zip(ranges) {
            let range = DatasetRange {
                attributes: U32::new(0),
                blocks: U32::new(range.blocks),
                starting_lba: U64::new(range.slba),
            };
            pair.copy_from_slice(&range.double_words());
        }
        let mut sqe = Sqe::with_prps(NvmOpcode::DATASET_MANAGEMENT.0, 0, nsid);
        sqe.cdw10 = U32::new(u32::try_from(last).map_err(|_| SubmitError::TooLong)?);
        sqe.cdw11 = U32::new(DatasetAttributes::new().with_ad(true).into_bits());
        self.page(tag, sqe, true, &words[..ranges.len() * 2])
    }

    fn copy(
        &mut self,
        tag: u64,
        nsid: u32,
        slba: u64,
        from: &[BlockRange],
        fua: bool,
    ) -> Result<(), SubmitError> {
        self.formats.find(&mut self.format_hint, nsid).ok_or(SubmitError::Namespace)?;
        let limits = self.formats.copy(self.format_hint).ok_or(SubmitError::Unsupported)?;
        let ranges_max = usize::from(limits.ranges).min(COPY_RANGES_MAX);
        let mut words = [0; COPY_RANGES_MAX * 4];
        let mut places = words.chunks_exact_mut(4).take(ranges_max);
        let (mut ranges, mut total) = (0_u16, 0_u64);
        for &BlockRange { mut slba, mut blocks } in from {
            if blocks == 0 {
                return Err(SubmitError::Length);
            }
            total += u64::from(blocks);
            while blocks > 0 {
                let part = limits.range_blocks.min(u16::try_from(blocks).unwrap_or(u16::MAX));
                let range = CopyRange {
                    starting_lba: U64::new(slba),
                    blocks_z: U16::new(part - 1),
                    ..CopyRange::default()
                };
                places.next().ok_or(SubmitError::TooLong)?.copy_from_slice(&range.double_words());
                ranges += 1;
                blocks -= u32::from(part);
                slba = slba.wrapping_add(part.into());
            }
        }
        if total > limits.blocks.into() {
            return Err(SubmitError::TooLong);
        }
        let ranges_z = ranges.checked_sub(1).ok_or(SubmitError::Length)?;
        let mut sqe = Sqe::with_prps(NvmOpcode::COPY.0, 0, nsid);
        sqe.set_starting_lba(slba);
        let dword = CopyDword::new().with_ranges_z(u8::try_from(ranges_z).expect("at most 128 ranges"));
        let dword = dword.with_fua(fua);
        sqe.cdw12 = U32::new(dword.into_bits());
        // Ranges may overlap what is written, so a second time need not give the same.
        self.page(tag, sqe, false, &words[..usize::from(ranges) * 4])
    }

    fn reservation(&mut self, tag: u64, command: &IoCommand<'_>) -> Result<(), SubmitError> {
        match *command {
            IoCommand::ReservationRegister { nsid, action, ignore_key, persist, current, new } => {
                let dword =
                    RegisterDword::new().with_rrega(action).with_iekey(ignore_key).with_cptpl(persist);
                let sqe = reservation_sqe(NvmOpcode::RESERVATION_REGISTER, nsid, dword.into_bits());
                self.page(tag, sqe, false, &[current, new])
            }
            IoCommand::ReservationAcquire { nsid, action, kind, current, preempt } => {
                let dword = AcquireDword::new().with_racqa(action).with_rtype(kind);
                let sqe = reservation_sqe(NvmOpcode::RESERVATION_ACQUIRE, nsid, dword.into_bits());
                self.page(tag, sqe, false, &[current, preempt])
            }
            IoCommand::ReservationRelease { nsid, action, kind, current } => {
                let dword = ReleaseDword::new().with_rrela(action).with_rtype(kind);
                let sqe = reservation_sqe(NvmOpcode::RESERVATION_RELEASE, nsid, dword.into_bits());
                self.page(tag, sqe, false, &[current])
            }
            IoCommand::ReservationReport { nsid, into, extended } => {
                self.report(tag, nsid, Data::Into(into), extended)
            }
            _ => Err(SubmitError::Unsupported),
        }
    }

    fn report(&mut self, tag: u64, nsid: u32, data: Data<'_>, extended: bool) -> Result<(), SubmitError> {
        let bytes = data.bytes();
        if bytes == 0 || !bytes.is_multiple_of(4) {
            return Err(SubmitError::Length);
        }
        if bytes > self.terms.transfer_bytes {
            return Err(SubmitError::TooLong);
        }
        let dwords_z = u32::try_from(bytes / 4 - 1).map_err(|_| SubmitError::TooLong)?;
        let mut sqe = reservation_sqe(NvmOpcode::RESERVATION_REPORT, nsid, dwords_z);
        sqe.cdw11 = U32::new(ReportDword::new().with_eds(extended).into_bits());
        let bounce = self.bounces.exist() && bytes <= self.bounces.bytes();
        let index = self.slots.take(tag, self.tick).ok_or(SubmitError::Full)?;
        sqe.cid = U16::new(self.slots.get(index).cid);
        if let Err(error) = self.name(index, &mut sqe, data, &mut Cursor::default(), bytes, bounce) {
            self.undo(Some(index), 0);
            return Err(error);
        }
        self.push(index, &sqe, true);
        Ok(())
    }

    #[inline]
    fn push(&mut self, index: u16, sqe: &Sqe, repeatable: bool) {
        self.slots.get_mut(index).repeatable = repeatable;
        if let Some(copy) = self.copies.get_mut(usize::from(index)) {
            *copy = *sqe;
        }
        self.counts.submitted += 1;
        self.rings.push(&sqe.double_words());
    }
}

fn reservation_sqe(opcode: NvmOpcode, nsid: u32, cdw10: u32) -> Sqe {
    let mut sqe = Sqe::with_prps(opcode.0, 0, nsid);
    sqe.cdw10 = U32::new(cdw10);
    sqe
}

const fn supported(is: bool) -> Result<(), SubmitError> {
    if is { Ok(()) } else { Err(SubmitError::Unsupported) }
}

impl From<Unnamed> for SubmitError {
    fn from(unnamed: Unnamed) -> Self {
        match unnamed {
            Unnamed::Unmapped => Self::Unmapped,
            Unnamed::Hole => Self::Hole,
            Unnamed::TooLong => Self::TooLong,
        }
    }
}
