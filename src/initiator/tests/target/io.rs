//! What the target does with commands: it sorts them, and carries those of I/O queues out.

use std::ops::Range;
use std::sync::Arc;

use zerocopy::FromBytes;

use super::{Answer, BLOCK_BYTES, CNTLID, DONE, Misdeed, Queue, Shared, admin};
use crate::spec::ana::AnaState;
use crate::spec::nvm::{CopyRange, DatasetRange};
use crate::spec::opcode::{FabricsType, NvmOpcode};
use crate::spec::register::{Cc, Property, Shutdown};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

impl Queue {
    pub(super) fn execute(&mut self, sqe: &Sqe, data: &[u8]) -> Answer {
        let shared = Arc::clone(&self.shared);
        let shared = &mut *shared.lock().unwrap();
        match sqe.fabrics_type() {
            Some(FabricsType::CONNECT) => self.connect(shared, sqe),
            Some(FabricsType::PROPERTY_GET) => {
                admin::property_get(shared, Property(sqe.as_property_get().ofst.get()))
            }
            Some(FabricsType::PROPERTY_SET) => {
                let set = sqe.as_property_set();
                assert_eq!(set.ofst.get(), Property::CC.0);
                shared.cc = Cc::from_bits(u32::try_from(set.value.get()).unwrap());
                let is_shutdown = shared.cc.shn() == Shutdown::NORMAL;
                if is_shutdown && shared.script.misdeed == Misdeed::CloseOnShutdown {
                    return Answer::Close;
                }
                DONE
            }
            Some(_) => Answer::Complete(Status::INVALID_OPCODE, 0, 0),
            None if self.qid == 0 && admin::waits(shared, sqe) => {
                self.requests.push(sqe.cid.get());
                Answer::Nothing
            }
            None if self.qid == 0 => admin::execute(shared, sqe),
            None => self.io(shared, sqe, data),
        }
    }

    fn connect(&mut self, shared: &Shared, sqe: &Sqe) -> Answer {
        let connect = sqe.as_connect();
        self.flow_control = shared.script.keep_flow_control || !connect.attributes().flow_control_disabled();
        match shared.script.refuse {
            _ if self.qid > 0 && shared.script.misdeed == Misdeed::IgnoreConnect => Answer::Nothing,
            _ if self.qid > 0 && shared.script.misdeed == Misdeed::CloseOnConnect => Answer::Close,
            Some((qid, status, dw0)) if qid == self.qid => Answer::Complete(status, dw0, 0),
            _ => Answer::Complete(Status::SUCCESS, CNTLID.into(), 0),
        }
    }

    fn io(&mut self, shared: &mut Shared, sqe: &Sqe, data: &[u8]) -> Answer {
        if let Some((status, times)) = shared.script.fail.take() {
            shared.script.fail = (times > 1).then(|| (status, times - 1));
            return Answer::Complete(status, 0, 0);
        }
        match shared.script.ana {
            None | Some(AnaState::OPTIMIZED | AnaState::NON_OPTIMIZED) => {}
            Some(AnaState::CHANGE) => return Answer::Complete(Status::ANA_TRANSITION, 0, 0),
            Some(_) => return Answer::Complete(Status::ANA_INACCESSIBLE, 0, 0),
        }
        let (disk, unreadable) = &mut *shared.disk.lock().unwrap();
        if sqe.nvm_opcode() == NvmOpcode::DATASET_MANAGEMENT {
            for range in <[DatasetRange]>::ref_from_bytes(data).unwrap() {
                let bytes = bytes_of(range.starting_lba.get(), range.blocks.get());
                disk[bytes].fill(0);
                let end = range.starting_lba.get() + u64::from(range.blocks.get());
                unreadable.retain(|lba| !(range.starting_lba.get()..end).contains(lba));
            }
            return DONE;
        }
        if sqe.nvm_opcode() == NvmOpcode::FLUSH {
            return DONE;
        }
        if sqe.nvm_opcode() == NvmOpcode::COPY {
            let mut bytes = Vec::new();
            for range in <[CopyRange]>::ref_from_bytes(data).unwrap() {
                let (lba, blocks) = (range.starting_lba.get(), u32::from(range.blocks_z.get()) + 1);
                if unreadable.range(lba..lba + u64::from(blocks)).next().is_some() {
                    return Answer::Complete(Status::UNRECOVERED_READ_ERROR, 0, 0);
                }
                bytes.extend_from_slice(&disk[bytes_of(lba, blocks)]);
            }
            let blocks = u32::try_from(bytes.len() / BLOCK_BYTES).unwrap();
            disk[bytes_of(sqe.starting_lba(), blocks)].copy_from_slice(&bytes);
            let end = sqe.starting_lba() + u64::from(blocks);
            unreadable.retain(|lba| !(sqe.starting_lba()..end).contains(lba));
            return DONE;
        }
        if sqe.starting_lba() + u64::from(sqe.blocks()) > shared.script.blocks {
            return Answer::Complete(Status::LBA_OUT_OF_RANGE.with_dnr(), 0, 0);
        }
        let lbas = sqe.starting_lba()..sqe.starting_lba() + u64::from(sqe.blocks());
        match sqe.nvm_opcode() {
            NvmOpcode::WRITE | NvmOpcode::WRITE_ZEROES => unreadable.retain(|lba| !lbas.contains(lba)),
            NvmOpcode::WRITE_UNCORRECTABLE => {
                unreadable.extend(lbas);
                return DONE;
            }
            _ if unreadable.range(lbas).next().is_some() => {
                return Answer::Complete(Status::UNRECOVERED_READ_ERROR, 0, 0);
            }
            _ => {}
        }
        let place = &mut disk[bytes_of(sqe.starting_lba(), sqe.blocks())];
        match (sqe.nvm_opcode(), shared.script.misdeed) {
            (NvmOpcode::READ, Misdeed::CloseOnRead) => return Answer::Close,
            (NvmOpcode::READ, Misdeed::IgnoreReads) => return Answer::Nothing,
            (NvmOpcode::READ, Misdeed::ReadNothing) => {}
            (NvmOpcode::READ, Misdeed::SendGarbage) => return Answer::Garbage,
            (NvmOpcode::READ, misdeed) => {
                self.damage = misdeed == Misdeed::DamageReads;
                return Answer::Data(place.to_vec());
            }
            (NvmOpcode::WRITE, _) => place.copy_from_slice(data),
            (NvmOpcode::WRITE_ZEROES, _) => place.fill(0),
            (NvmOpcode::COMPARE, _) if place != data => {
                return Answer::Complete(Status::COMPARE_FAILURE, 0, 0);
            }
            (NvmOpcode::COMPARE | NvmOpcode::VERIFY, _) => {}
            _ => return Answer::Complete(Status::INVALID_OPCODE.with_dnr(), 0, 0),
        }
        DONE
    }
}

fn bytes_of(lba: u64, blocks: u32) -> Range<usize> {
    let start = usize::try_from(lba).unwrap() * BLOCK_BYTES;
    start..start + blocks as usize * BLOCK_BYTES
}
