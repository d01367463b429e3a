//! Wrong commands get the status that the specification names, and in which order; right ones become requests.

use std::sync::Arc;

use super::{BARE, LARGE, LIMITS, MEMORY, NSID_MAX, VOID, memory, namespaces, on_blocks};
use crate::bdev::Blocks;
use crate::nvmf::io::{Operation, Request, Transfer, decode};
use crate::reservation::{self, Rights};
use crate::spec::NSID_ALL;
use crate::spec::opcode::NvmOpcode;
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

fn judge(sqe: &Sqe, in_capsule: usize) -> Result<Request, Status> {
    decode(sqe, in_capsule, &namespaces(Arc::new(memory())).1, &LIMITS)
}

fn changed(mut sqe: Sqe, change: impl FnOnce(&mut Sqe)) -> Sqe {
    change(&mut sqe);
    sqe
}

fn read(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    on_blocks(NvmOpcode::READ, nsid, lba, blocks)
}

fn write(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    on_blocks(NvmOpcode::WRITE, nsid, lba, blocks)
}

fn flush(nsid: u32) -> Sqe {
    Sqe::of(NvmOpcode::FLUSH.0, 7, nsid)
}

/// Dataset Management with `ranges` ranges; deallocates with `attributes` 4.
fn dataset(nsid: u32, ranges: u32, attributes: u32) -> Sqe {
    changed(Sqe::of(NvmOpcode::DATASET_MANAGEMENT.0, 7, nsid), |sqe| {
        sqe.cdw10.set(ranges - 1);
        sqe.cdw11.set(attributes);
        sqe.dptr = SglDescriptor::transport(ranges * 16);
    })
}

const VERIFY: NvmOpcode = NvmOpcode::VERIFY;
const UNCORRECTABLE: NvmOpcode = NvmOpcode::WRITE_UNCORRECTABLE;

/// Copy of `ranges` ranges to block 5.
fn copy(nsid: u32, ranges: u32) -> Sqe {
    changed(Sqe::of(NvmOpcode::COPY.0, 7, nsid), |sqe| {
        sqe.set_starting_lba(5);
        sqe.cdw12.set(ranges - 1);
        sqe.dptr = SglDescriptor::transport(ranges * 32);
    })
}

fn copy_format(format: u32) -> Sqe {
    changed(copy(MEMORY, 1), |sqe| sqe.cdw12.set(format << 8))
}

fn zeroes(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    on_blocks(NvmOpcode::WRITE_ZEROES, nsid, lba, blocks)
}

fn sgl(sqe: Sqe, dptr: SglDescriptor) -> Sqe {
    changed(sqe, |sqe| sqe.dptr = dptr)
}

fn flags(sqe: Sqe, flags: u8) -> Sqe {
    changed(sqe, |sqe| sqe.flags = flags)
}

#[test]
fn wrong_commands_get_their_status() {
    let keyed = SglDescriptor { identifier: 0x40, ..SglDescriptor::transport(512) };
    let address = SglDescriptor { identifier: 0x00, ..SglDescriptor::transport(512) };
    let rows = [
        ("reserved opcode", Sqe::of(0x7e, 7, MEMORY), 0, Status::INVALID_OPCODE),
        ("zone append", on_blocks(NvmOpcode::ZONE_APPEND, MEMORY, 0, 1), 0, Status::INVALID_OPCODE),
        ("PRPs", flags(read(MEMORY, 0, 1), 0x00), 0, Status::INVALID_FIELD),
        ("reserved PSDT", flags(read(MEMORY, 0, 1), 0xc0), 0, Status::INVALID_FIELD),
        ("first of a fused pair", flags(read(MEMORY, 0, 1), 0x41), 0, Status::INVALID_FIELD),
        ("second of a fused pair", flags(read(MEMORY, 0, 1), 0x42), 0, Status::INVALID_FIELD),
        ("no namespace", read(0, 0, 1), 0, Status::INVALID_NAMESPACE),
        ("all namespaces", read(NSID_ALL, 0, 1), 0, Status::INVALID_FIELD),
        ("zeroes on all namespaces", zeroes(NSID_ALL, 0, 1), 0, Status::INVALID_FIELD),
        ("flush of all namespaces", flush(NSID_ALL), 0, Status::INVALID_NAMESPACE),
        ("beyond NN", read(NSID_MAX + 1, 0, 1), 0, Status::INVALID_NAMESPACE),
        ("inactive", read(2, 0, 1), 0, Status::INVALID_FIELD),
        ("inactive, last", flush(NSID_MAX), 0, Status::INVALID_FIELD),
        ("one block beyond", read(MEMORY, 2048, 1), 0, Status::LBA_OUT_OF_RANGE),
        ("last block and one more", write(MEMORY, 2047, 2), 0, Status::LBA_OUT_OF_RANGE),
        ("overflowing range", read(MEMORY, u64::MAX, 2), 0, Status::LBA_OUT_OF_RANGE),
        ("zeroes beyond", zeroes(MEMORY, 2048, 1), 0, Status::LBA_OUT_OF_RANGE),
        ("a block more than MDTS", read(MEMORY, 0, 257), 0, Status::INVALID_FIELD),
        ("4 KiB more than MDTS", write(VOID, 0, 33), 0, Status::INVALID_FIELD),
        ("65,536 blocks of 4 KiB", read(VOID, 0, 1 << 16), 0, Status::INVALID_FIELD),
        ("compare", on_blocks(NvmOpcode::COMPARE, BARE, 0, 1), 0, Status::INVALID_OPCODE),
        ("write zeroes", zeroes(BARE, 0, 1), 0, Status::INVALID_OPCODE),
        ("keyed SGL", sgl(read(MEMORY, 0, 1), keyed), 0, Status::SGL_TYPE_INVALID),
        ("address SGL", sgl(write(MEMORY, 0, 1), address), 0, Status::SGL_TYPE_INVALID),
        (
            "read into the capsule",
            sgl(read(MEMORY, 0, 1), SglDescriptor::in_capsule(0, 512)),
            0,
            Status::SGL_TYPE_INVALID,
        ),
        (
            "offset in the capsule",
            sgl(write(MEMORY, 0, 1), SglDescriptor::in_capsule(8, 512)),
            512,
            Status::SGL_OFFSET_INVALID,
        ),
        (
            "capsule without data",
            sgl(write(MEMORY, 0, 1), SglDescriptor::in_capsule(0, 512)),
            0,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "capsule with less data than it says",
            sgl(write(MEMORY, 0, 1), SglDescriptor::in_capsule(0, 512)),
            511,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "short SGL",
            sgl(read(MEMORY, 0, 2), SglDescriptor::transport(1023)),
            0,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "short SGL of ranges",
            sgl(dataset(MEMORY, 2, 4), SglDescriptor::transport(16)),
            0,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
    ];
    for (name, sqe, in_capsule, status) in rows {
        assert_eq!(judge(&sqe, in_capsule).unwrap_err(), status.with_dnr(), "{name}");
    }
}

#[test]
fn the_first_mistake_is_the_one_that_is_told() {
    // Each row has every mistake of the rows below it.
    let worst = flags(sgl(read(2, u64::MAX, 1 << 16), SglDescriptor::in_capsule(8, 0)), 0);
    let rows = [
        (changed(worst, |sqe| sqe.opcode = 0x7e), Status::INVALID_OPCODE),
        (changed(worst, |sqe| sqe.nsid.set(0)), Status::INVALID_FIELD),
        (flags(changed(worst, |sqe| sqe.nsid.set(0)), 0x40), Status::INVALID_NAMESPACE),
        (flags(changed(worst, |sqe| sqe.nsid.set(VOID)), 0x40), Status::LBA_OUT_OF_RANGE),
        (sgl(read(VOID, 0, 1 << 16), SglDescriptor::in_capsule(8, 0)), Status::INVALID_FIELD),
        (sgl(read(VOID, 0, 1), SglDescriptor::in_capsule(8, 0)), Status::SGL_TYPE_INVALID),
        (sgl(read(VOID, 0, 1), SglDescriptor::transport(0)), Status::DATA_SGL_LENGTH_INVALID),
    ];
    for (sqe, status) in rows {
        assert_eq!(judge(&sqe, 0).unwrap_err(), status.with_dnr(), "{sqe:?}");
    }
}

#[test]
fn right_commands_become_requests() {
    let blocks = |first, count| Blocks { first, count };
    let fua = |sqe: Sqe| changed(sqe, |sqe| sqe.cdw12.set(sqe.cdw12.get() | 1 << 30));
    let deac = |sqe: Sqe| changed(sqe, |sqe| sqe.cdw12.set(sqe.cdw12.get() | 1 << 25));
    let write_of = |blocks, force_unit_access| Operation::Write { blocks, force_unit_access };
    let zeroes_of = |blocks, deallocate, force_unit_access| Operation::WriteZeroes {
        blocks,
        deallocate,
        force_unit_access,
    };
    let in_capsule = |sqe: Sqe, bytes| sgl(sqe, SglDescriptor::in_capsule(0, bytes));
    let rows = [
        (read(MEMORY, 2047, 1), 0, Operation::Read(blocks(2047, 1)), Transfer::ToHost(512)),
        (read(VOID, 5, 32), 0, Operation::Read(blocks(5, 32)), Transfer::ToHost(128 << 10)),
        (write(MEMORY, 0, 2), 0, write_of(blocks(0, 2), false), Transfer::FromHost(1024)),
        (fua(write(MEMORY, 0, 2)), 0, write_of(blocks(0, 2), true), Transfer::FromHost(1024)),
        (
            in_capsule(write(MEMORY, 0, 2), 1024),
            1024,
            write_of(blocks(0, 2), false),
            Transfer::InCapsule(1024),
        ),
        // An SGL may describe more than the command moves.
        (
            in_capsule(write(MEMORY, 0, 1), 1024),
            1024,
            write_of(blocks(0, 1), false),
            Transfer::InCapsule(512),
        ),
        (
            sgl(read(MEMORY, 0, 1), SglDescriptor::transport(1 << 20)),
            0,
            Operation::Read(blocks(0, 1)),
            Transfer::ToHost(512),
        ),
        (
            on_blocks(NvmOpcode::COMPARE, MEMORY, 3, 1),
            0,
            Operation::Compare(blocks(3, 1)),
            Transfer::FromHost(512),
        ),
        (zeroes(VOID, 0, 256), 0, zeroes_of(blocks(0, 256), false, false), Transfer::None),
        (deac(fua(zeroes(MEMORY, 0, 1))), 0, zeroes_of(blocks(0, 1), true, true), Transfer::None),
        (flush(MEMORY), 0, Operation::Flush, Transfer::None),
        (dataset(MEMORY, 8, 4), 0, Operation::Deallocate(8), Transfer::FromHost(128)),
        (in_capsule(dataset(BARE, 1, 4), 16), 16, Operation::Deallocate(1), Transfer::InCapsule(16)),
        // Ranges beyond DMRL are no reason to refuse the others.
        (dataset(MEMORY, 256, 4), 0, Operation::Deallocate(256), Transfer::FromHost(4096)),
        (dataset(MEMORY, 256, 3), 0, Operation::Hint, Transfer::FromHost(4096)),
    ];
    for (sqe, bytes, operation, transfer) in rows {
        let request = judge(&sqe, bytes).unwrap();
        assert_eq!((request.operation, request.transfer), (operation, transfer));
        assert_eq!(request.namespace.nsid, sqe.nsid.get());
    }
}

#[test]
fn wrong_commands_without_data_of_the_host_get_their_status() {
    let rows = [
        ("verify", on_blocks(VERIFY, BARE, 0, 1), 0, Status::INVALID_OPCODE),
        ("write uncorrectable", on_blocks(UNCORRECTABLE, VOID, 0, 1), 0, Status::INVALID_OPCODE),
        ("copy", copy(BARE, 1), 0, Status::INVALID_OPCODE),
        ("verify beyond", on_blocks(VERIFY, MEMORY, 2047, 2), 0, Status::LBA_OUT_OF_RANGE),
        ("uncorrectable beyond", on_blocks(UNCORRECTABLE, MEMORY, 2048, 1), 0, Status::LBA_OUT_OF_RANGE),
        ("a range more than MSRC", copy(MEMORY, 17), 0, Status::COMMAND_SIZE_LIMIT_EXCEEDED),
        ("ranges of a format that is not there", copy_format(1), 0, Status::INVALID_FIELD),
        (
            "format before ranges",
            changed(copy(MEMORY, 17), |sqe| sqe.cdw12.set(0x110)),
            0,
            Status::INVALID_FIELD,
        ),
        (
            "short SGL of sources",
            sgl(copy(MEMORY, 2), SglDescriptor::transport(63)),
            0,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
    ];
    for (name, sqe, in_capsule, status) in rows {
        assert_eq!(judge(&sqe, in_capsule).unwrap_err(), status.with_dnr(), "{name}");
    }
}

#[test]
fn right_commands_without_data_of_the_host_become_requests() {
    let blocks = |first, count| Blocks { first, count };
    let rows = [
        (on_blocks(VERIFY, VOID, 7, 256), 0, Operation::Verify(blocks(7, 256)), Transfer::None),
        // More than VSL, WZSL and WUSL, which only recommend.
        (on_blocks(VERIFY, VOID, 7, 1 << 16), 0, Operation::Verify(blocks(7, 1 << 16)), Transfer::None),
        (
            zeroes(VOID, 7, 1 << 16),
            0,
            Operation::WriteZeroes {
                blocks: blocks(7, 1 << 16),
                deallocate: false,
                force_unit_access: false,
            },
            Transfer::None,
        ),
        (
            on_blocks(UNCORRECTABLE, LARGE, 0, 257),
            0,
            Operation::WriteUncorrectable(blocks(0, 257)),
            Transfer::None,
        ),
        (
            on_blocks(UNCORRECTABLE, MEMORY, 1, 2047),
            0,
            Operation::WriteUncorrectable(blocks(1, 2047)),
            Transfer::None,
        ),
        (
            changed(copy(MEMORY, 16), |sqe| sqe.cdw12.set(15 | 1 << 30)),
            0,
            Operation::Copy { ranges: 16, blocks: 0, to: 5, force_unit_access: true },
            Transfer::FromHost(512),
        ),
        (
            sgl(copy(VOID, 1), SglDescriptor::in_capsule(0, 32)),
            32,
            Operation::Copy { ranges: 1, blocks: 0, to: 5, force_unit_access: false },
            Transfer::InCapsule(32),
        ),
    ];
    for (sqe, bytes, operation, transfer) in rows {
        let request = judge(&sqe, bytes).unwrap();
        assert_eq!((request.operation, request.transfer), (operation, transfer));
    }
}

#[test]
fn the_right_that_an_operation_needs_is_that_of_its_command() {
    let blocks = Blocks { first: 0, count: 1 };
    let (deallocate, force_unit_access) = (false, false);
    let rows = [
        (NvmOpcode::READ, Operation::Read(blocks)),
        (NvmOpcode::COMPARE, Operation::Compare(blocks)),
        (NvmOpcode::VERIFY, Operation::Verify(blocks)),
        (NvmOpcode::WRITE, Operation::Write { blocks, force_unit_access }),
        (NvmOpcode::WRITE_ZEROES, Operation::WriteZeroes { blocks, deallocate, force_unit_access }),
        (NvmOpcode::WRITE_UNCORRECTABLE, Operation::WriteUncorrectable(blocks)),
        (NvmOpcode::DATASET_MANAGEMENT, Operation::Deallocate(1)),
        (NvmOpcode::DATASET_MANAGEMENT, Operation::Hint),
        (NvmOpcode::FLUSH, Operation::Flush),
        // Of its source it needs the right to read: it is on the same namespace, and whoever may write may read.
        (NvmOpcode::COPY, Operation::Copy { ranges: 1, blocks: 0, to: 0, force_unit_access }),
    ];
    for (opcode, operation) in rows {
        let group = reservation::nvm_group(opcode).unwrap();
        for rights in [Rights::ALL, Rights::READ, Rights::NONE] {
            let allowed = if operation.writes() { rights.write && rights.read } else { rights.read };
            assert_eq!(rights.allow(group), allowed, "{opcode:?}");
        }
        // Figure 623 of NVMe base 2.1: these commands are allowed on a namespace that is write protected.
        let harmless = matches!(operation, Operation::Hint | Operation::Flush);
        assert_eq!(operation.changes(), operation.writes() && !harmless, "{opcode:?}");
    }
}
