//! I/O commands of the NVM command set, carried out (NVM command set 1.0, section 3.2; reservations: NVMe base 2.1,
//! section 7).

use std::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::controller::{Answer, Controller};
use super::namespace::Namespace;
use crate::mem;
use crate::spec::NSID_ALL;
use crate::spec::nvm::{COPY_RANGES_MAX, CopyRange, DATASET_RANGES_MAX, DatasetRange};
use crate::spec::opcode::NvmOpcode;
use crate::spec::reservation::{AcquireData, RegisterData, ReleaseData};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

impl Controller {
    pub(super) fn io(&mut self, sqid: u16, sqe: &Sqe) -> Answer {
        match self.carry_out(sqid, sqe) {
            Ok(()) => Answer::SUCCESS,
            Err(status) => {
                self.admin.errors.note(sqid, sqe, status);
                Answer::of(status)
            }
        }
    }

    fn carry_out(&mut self, sqid: u16, sqe: &Sqe) -> Result<(), Status> {
        let opcode = sqe.nvm_opcode();
        if opcode == NvmOpcode::FLUSH {
            return self.flush(sqe.nsid.get());
        }
        let optional = opcode != NvmOpcode::READ && opcode != NvmOpcode::WRITE;
        if optional && !self.options.optional_commands {
            return Err(Status::INVALID_OPCODE.with_dnr());
        }
        let host = self.admin.host;
        if !self.namespace(sqe.nsid.get())?.reservations.allows(host, opcode) && !is_reservation(opcode) {
            return Err(Status::RESERVATION_CONFLICT.with_dnr());
        }
        match opcode {
            NvmOpcode::READ | NvmOpcode::COMPARE => self.read(sqid, sqe, opcode == NvmOpcode::COMPARE),
            NvmOpcode::WRITE => self.write(sqid, sqe),
            NvmOpcode::WRITE_ZEROES => self.write_zeroes(sqe),
            NvmOpcode::VERIFY => self.readable(sqe).map(drop),
            NvmOpcode::WRITE_UNCORRECTABLE => {
                let blocks = self.blocks(sqe)?;
                self.namespace(sqe.nsid.get())?.medium.spoil(blocks);
                Ok(())
            }
            NvmOpcode::DATASET_MANAGEMENT => self.dataset_management(sqid, sqe),
            NvmOpcode::COPY => self.copy(sqid, sqe),
            NvmOpcode::RESERVATION_REPORT => self.report(sqid, sqe),
            _ if is_reservation(opcode) => self.reserve(sqid, sqe),
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }

    fn flush(&mut self, nsid: u32) -> Result<(), Status> {
        if nsid == NSID_ALL {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        self.namespace(nsid)?.medium.flush();
        Ok(())
    }

    /// The blocks of a command, if they exist and none of them fails.
    fn blocks(&mut self, sqe: &Sqe) -> Result<Range<u64>, Status> {
        let range = range(self.namespace(sqe.nsid.get())?, sqe.starting_lba(), sqe.blocks())?;
        self.faults.of_blocks(&range).map_or(Ok(range), Err)
    }

    /// The blocks of a command, if they can be read, too.
    fn readable(&mut self, sqe: &Sqe) -> Result<Range<u64>, Status> {
        let blocks = self.blocks(sqe)?;
        let readable = self.namespace(sqe.nsid.get())?.medium.is_readable(&blocks);
        if readable { Ok(blocks) } else { Err(Status::UNRECOVERED_READ_ERROR) }
    }

    /// The blocks of a command, with its memory located.
    fn located(&mut self, sqid: u16, sqe: &Sqe) -> Result<Range<u64>, Status> {
        let block_size = self.namespace(sqe.nsid.get())?.block_size as usize;
        let bytes = sqe.blocks() as usize * block_size;
        let rules = self.rules();
        self.data.locate(&mut self.memory, rules, (sqid, sqe), bytes)?;
        self.blocks(sqe)
    }

    fn read(&mut self, sqid: u16, sqe: &Sqe, compares: bool) -> Result<(), Status> {
        self.located(sqid, sqe)?;
        let blocks = self.readable(sqe)?;
        let bytes = self.namespace(sqe.nsid.get())?.medium.read(&blocks);
        if !compares {
            self.data.fill(&mut self.memory, bytes);
        } else if !self.data.equals(&mut self.memory, bytes) {
            return Err(Status::COMPARE_FAILURE.with_dnr());
        }
        Ok(())
    }

    fn write(&mut self, sqid: u16, sqe: &Sqe) -> Result<(), Status> {
        let blocks = self.located(sqid, sqe)?;
        let durable = sqe.force_unit_access();
        let into = self.namespace(sqe.nsid.get())?.medium.write(&blocks, durable);
        self.data.take(&mut self.memory, into);
        Ok(())
    }

    fn write_zeroes(&mut self, sqe: &Sqe) -> Result<(), Status> {
        let blocks = self.blocks(sqe)?;
        self.namespace(sqe.nsid.get())?.medium.clear(&blocks, sqe.force_unit_access());
        Ok(())
    }

    fn dataset_management(&mut self, sqid: u16, sqe: &Sqe) -> Result<(), Status> {
        let mut list = [0; DATASET_RANGES_MAX * size_of::<DatasetRange>()];
        let list = &mut list[..sqe.dataset_ranges() * size_of::<DatasetRange>()];
        let rules = self.rules();
        self.data.locate(&mut self.memory, rules, (sqid, sqe), list.len())?;
        self.data.get(&mut self.memory, list);
        let list = <[DatasetRange]>::ref_from_bytes(list).expect("whole ranges");
        if !sqe.dataset_attributes().ad() {
            return Ok(());
        }
        for entry in list {
            let range = range(self.namespace(sqe.nsid.get())?, entry.starting_lba.get(), entry.blocks.get())?;
            self.faults.of_blocks(&range).map_or(Ok(()), Err)?;
        }
        for entry in list {
            let namespace = self.namespace(sqe.nsid.get())?;
            let range = range(namespace, entry.starting_lba.get(), entry.blocks.get())?;
            namespace.medium.clear(&range, false);
        }
        Ok(())
    }

    fn copy(&mut self, sqid: u16, sqe: &Sqe) -> Result<(), Status> {
        let count = usize::from(sqe.copy_dword().ranges_z()) + 1;
        if sqe.copy_dword().format() != 0 {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let limits = self.namespace(sqe.nsid.get())?.copy_limits();
        let limits = limits.ok_or(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr())?;
        if count > usize::from(limits.ranges).min(COPY_RANGES_MAX) {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let mut list = [0; COPY_RANGES_MAX * size_of::<CopyRange>()];
        let list = &mut list[..count * size_of::<CopyRange>()];
        let rules = self.rules();
        self.data.locate(&mut self.memory, rules, (sqid, sqe), list.len())?;
        self.data.get(&mut self.memory, list);
        let list = <[CopyRange]>::ref_from_bytes(list).expect("whole ranges");
        let blocks = || list.iter().map(|entry| u32::from(entry.blocks_z.get()) + 1);
        let total: u32 = blocks().sum();
        if total > limits.blocks || blocks().any(|blocks| blocks > u32::from(limits.range_blocks)) {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let target = range(self.namespace(sqe.nsid.get())?, sqe.starting_lba(), total)?;
        let mut sources = Vec::new();
        for entry in list {
            let blocks = u32::from(entry.blocks_z.get()) + 1;
            let source = range(self.namespace(sqe.nsid.get())?, entry.starting_lba.get(), blocks)?;
            let touched = [&source, &target];
            touched.into_iter().find_map(|range| self.faults.of_blocks(range)).map_or(Ok(()), Err)?;
            if !self.namespace(sqe.nsid.get())?.medium.is_readable(&source) {
                return Err(Status::UNRECOVERED_READ_ERROR);
            }
            sources.push(source);
        }
        let medium = &mut self.namespace(sqe.nsid.get())?.medium;
        let mut bytes = Vec::new();
        for source in &sources {
            let from = medium.read(source);
            let at = bytes.len();
            bytes.resize(at + from.len(), 0);
            mem::copy_out(from, &mut bytes[at..]);
        }
        mem::copy_in(&bytes, medium.write(&target, sqe.copy_dword().fua()));
        Ok(())
    }

    fn report(&mut self, sqid: u16, sqe: &Sqe) -> Result<(), Status> {
        if !sqe.reservation_report().eds() {
            return Err(Status::HOST_ID_INCONSISTENT.with_dnr());
        }
        let cntlid = self.admin.cntlid();
        let mut report = self.namespace(sqe.nsid.get())?.reservations.report(cntlid);
        let bytes = usize::try_from(sqe.reservation_report_bytes()).unwrap_or(usize::MAX);
        let rules = self.rules();
        self.data.locate(&mut self.memory, rules, (sqid, sqe), bytes)?;
        report.resize(bytes, 0);
        self.data.put(&mut self.memory, &report);
        Ok(())
    }

    fn reserve(&mut self, sqid: u16, sqe: &Sqe) -> Result<(), Status> {
        let host = self.admin.host;
        if host.is_zero() {
            return Err(Status::COMMAND_SEQUENCE_ERROR.with_dnr());
        }
        match sqe.nvm_opcode() {
            NvmOpcode::RESERVATION_REGISTER => {
                let data: RegisterData = self.parameters(sqid, sqe)?;
                self.namespace(sqe.nsid.get())?.reservations.register(host, sqe.reservation_register(), &data)
            }
            NvmOpcode::RESERVATION_ACQUIRE => {
                let data: AcquireData = self.parameters(sqid, sqe)?;
                self.namespace(sqe.nsid.get())?.reservations.acquire(host, sqe.reservation_acquire(), &data)
            }
            _ => {
                let data: ReleaseData = self.parameters(sqid, sqe)?;
                self.namespace(sqe.nsid.get())?.reservations.release(host, sqe.reservation_release(), &data)
            }
        }
    }

    fn parameters<T: FromBytes + IntoBytes>(&mut self, sqid: u16, sqe: &Sqe) -> Result<T, Status> {
        let mut parameters = T::new_zeroed();
        let rules = self.rules();
        self.data.locate(&mut self.memory, rules, (sqid, sqe), size_of::<T>())?;
        self.data.get(&mut self.memory, parameters.as_mut_bytes());
        Ok(parameters)
    }
}

fn range(namespace: &Namespace, first: u64, blocks: u32) -> Result<Range<u64>, Status> {
    let end = first.checked_add(u64::from(blocks)).filter(|&end| end <= namespace.blocks);
    end.map(|end| first..end).ok_or(Status::LBA_OUT_OF_RANGE.with_dnr())
}

fn is_reservation(opcode: NvmOpcode) -> bool {
    [
        NvmOpcode::RESERVATION_REGISTER,
        NvmOpcode::RESERVATION_REPORT,
        NvmOpcode::RESERVATION_ACQUIRE,
        NvmOpcode::RESERVATION_RELEASE,
    ]
    .contains(&opcode)
}
