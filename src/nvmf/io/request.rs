//! From a submission queue entry to a request that is right in itself (NVM command set 1.0, section 3.2).
//!
//! Invariants of a [`Request`]: its range lies inside the namespace; its transfer length is what the operation needs, at
//! most what the SGL says, and at most MDTS.

use crate::bdev::Blocks;
use crate::nvmf::io::{Attached, Namespaces, copy_limits};
use crate::reservation;
use crate::spec::NSID_ALL;
use crate::spec::nvm::{CopyRange, DatasetRange};
use crate::spec::opcode::NvmOpcode;
use crate::spec::sqe::{Fused, Psdt, Sqe};
use crate::spec::status::Status;

/// What a queue pair allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest data transfer of one command in bytes (MDTS).
    pub transfer_bytes_max: u32,
}

/// What is to be done on a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read blocks.
    Read(Blocks),
    /// Write blocks.
    Write {
        /// Which.
        blocks: Blocks,
        /// Durable before it completes.
        force_unit_access: bool,
    },
    /// Compare blocks with the host's data.
    Compare(Blocks),
    /// Make blocks read as zeros.
    WriteZeroes {
        /// Which.
        blocks: Blocks,
        /// The storage may be given back.
        deallocate: bool,
        /// Durable before it completes.
        force_unit_access: bool,
    },
    /// Deallocate the ranges that the host's data lists: how many.
    Deallocate(usize),
    /// Read blocks, and hand them to nobody.
    Verify(Blocks),
    /// Make blocks unreadable until they are written.
    WriteUncorrectable(Blocks),
    /// Copy the ranges that the host's data lists.
    Copy {
        /// How many.
        ranges: usize,
        /// The blocks of all of them; 0 until the list was read, at the hand-over.
        blocks: u32,
        /// The first block to write.
        to: u64,
        /// Durable before it completes.
        force_unit_access: bool,
    },
    /// A hint that is taken note of and needs nothing done.
    Hint,
    /// Make earlier writes durable.
    Flush,
    /// A reservation command: carried out on the management reactor, on no bdev.
    Reservation {
        /// Which.
        opcode: NvmOpcode,
        /// CDW10 of the command.
        cdw10: u32,
        /// CDW11 of the command.
        cdw11: u32,
    },
}

impl Operation {
    /// The opcode of the command that it came of; hints and deallocations are both Dataset Management.
    pub fn opcode(self) -> NvmOpcode {
        match self {
            Self::Read(_) => NvmOpcode::READ,
            Self::Write { .. } => NvmOpcode::WRITE,
            Self::Compare(_) => NvmOpcode::COMPARE,
            Self::WriteZeroes { .. } => NvmOpcode::WRITE_ZEROES,
            Self::Deallocate(_) | Self::Hint => NvmOpcode::DATASET_MANAGEMENT,
            Self::Flush => NvmOpcode::FLUSH,
            Self::Verify(_) => NvmOpcode::VERIFY,
            Self::WriteUncorrectable(_) => NvmOpcode::WRITE_UNCORRECTABLE,
            Self::Copy { .. } => NvmOpcode::COPY,
            Self::Reservation { opcode, .. } => opcode,
        }
    }

    /// The first block that it is about; 0 where it names none by itself.
    pub fn first_block(self) -> u64 {
        match self {
            Self::Read(blocks)
            | Self::Write { blocks, .. }
            | Self::Compare(blocks)
            | Self::WriteZeroes { blocks, .. }
            | Self::Verify(blocks)
            | Self::WriteUncorrectable(blocks) => blocks.first,
            Self::Copy { to, .. } => to,
            Self::Deallocate(_) | Self::Hint | Self::Flush | Self::Reservation { .. } => 0,
        }
    }

    /// It needs the right to write; others need the right to read, and reservation commands none. Copy needs both, on one
    /// namespace: whoever may write may read.
    pub fn writes(self) -> bool {
        match self {
            Self::Write { .. }
            | Self::WriteZeroes { .. }
            | Self::Deallocate(_)
            | Self::Hint
            | Self::WriteUncorrectable(_)
            | Self::Copy { .. }
            | Self::Flush => true,
            Self::Read(_) | Self::Compare(_) | Self::Verify(_) | Self::Reservation { .. } => false,
        }
    }

    /// It changes blocks, which nothing may do on a namespace that is write protected (base 2.1, section 8.1.16.2).
    pub fn changes(self) -> bool {
        match self {
            Self::Write { .. }
            | Self::WriteZeroes { .. }
            | Self::Deallocate(_)
            | Self::WriteUncorrectable(_)
            | Self::Copy { .. } => true,
            Self::Read(_)
            | Self::Compare(_)
            | Self::Verify(_)
            | Self::Hint
            | Self::Flush
            | Self::Reservation { .. } => false,
        }
    }
}

/// Data that moves with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// None.
    None,
    /// The capsule holds it: as many bytes, from its start.
    InCapsule(u32),
    /// The host has it ready: as many bytes.
    FromHost(u32),
    /// The host waits for it: as many bytes.
    ToHost(u32),
}

impl Transfer {
    /// Its length in bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::None => 0,
            Self::InCapsule(bytes) | Self::FromHost(bytes) | Self::ToHost(bytes) => bytes,
        }
    }
}

/// A command that can be carried out.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// On which namespace.
    pub namespace: Attached,
    /// What.
    pub operation: Operation,
    /// With which data.
    pub transfer: Transfer,
    /// What it reads is to be on the medium before (FUA of Read, Compare and Verify), and the device has a volatile cache.
    pub commits_first: bool,
}

// What is larger is copied by a function that is called, several times for each command.
const _: () = assert!(size_of::<Request>() <= 128);

impl Request {
    /// Bytes that the command moves between host and device, or has the device read or copy.
    #[inline]
    pub fn bytes(&self) -> u64 {
        match self.operation {
            Operation::Verify(Blocks { count, .. }) | Operation::Copy { blocks: count, .. } => {
                u64::from(count) * u64::from(self.namespace.geometry.block_size)
            }
            _ => self.transfer.bytes().into(),
        }
    }
}

/// Judges a command of an I/O queue that came with `in_capsule` bytes of data.
///
/// # Errors
/// The status that the command completes with; nothing was done.
pub fn decode(
    sqe: &Sqe,
    in_capsule: usize,
    namespaces: &Namespaces,
    limits: &Limits,
) -> Result<Request, Status> {
    let opcode = sqe.nvm_opcode();
    if is_reservation(opcode) && namespaces.has_reservations() {
        return reservation(sqe, in_capsule, namespaces, limits);
    }
    let known = matches!(
        opcode,
        NvmOpcode::READ
            | NvmOpcode::WRITE
            | NvmOpcode::FLUSH
            | NvmOpcode::COMPARE
            | NvmOpcode::WRITE_ZEROES
            | NvmOpcode::DATASET_MANAGEMENT
            | NvmOpcode::VERIFY
            | NvmOpcode::WRITE_UNCORRECTABLE
            | NvmOpcode::COPY
    );
    if !known {
        return Err(Status::INVALID_OPCODE.with_dnr());
    }
    // Compare and Write is the only fused operation.
    let fused = match sqe.fused() {
        Fused::NORMAL => true,
        Fused::FIRST => opcode == NvmOpcode::COMPARE,
        Fused::SECOND => opcode == NvmOpcode::WRITE,
        _ => false,
    };
    if !has_sgl(sqe) || !fused {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let namespace = *find(sqe, namespaces)?;
    let (operation, bytes) = match opcode {
        NvmOpcode::FLUSH => (Operation::Flush, 0),
        NvmOpcode::DATASET_MANAGEMENT => dataset(sqe)?,
        NvmOpcode::WRITE_ZEROES | NvmOpcode::VERIFY | NvmOpcode::WRITE_UNCORRECTABLE => {
            (unmoved(sqe, &namespace)?, 0)
        }
        NvmOpcode::COPY => copy(sqe, &namespace)?,
        _ => blocks(sqe, &namespace, limits)?,
    };
    let transfer = match operation {
        Operation::Flush
        | Operation::WriteZeroes { .. }
        | Operation::Verify(_)
        | Operation::WriteUncorrectable(_) => Transfer::None,
        Operation::Read(_) => to_host(sqe, bytes)?,
        _ => from_host(sqe, bytes, in_capsule)?,
    };
    let reads = matches!(operation, Operation::Read(_) | Operation::Compare(_) | Operation::Verify(_));
    let commits_first = namespace.geometry.volatile_write_cache && sqe.force_unit_access() && reads;
    Ok(Request { namespace, operation, transfer, commits_first })
}

/// Transfers over fabrics are described by SGLs.
fn has_sgl(sqe: &Sqe) -> bool {
    matches!(sqe.psdt(), Psdt::SGL | Psdt::SGL_METADATA)
}

fn is_reservation(opcode: NvmOpcode) -> bool {
    opcode == NvmOpcode::RESERVATION_REPORT || reservation::data_bytes(opcode).is_some()
}

/// Judges what can be judged of a reservation command without the state of the namespace.
fn reservation(
    sqe: &Sqe,
    in_capsule: usize,
    namespaces: &Namespaces,
    limits: &Limits,
) -> Result<Request, Status> {
    if !has_sgl(sqe) || sqe.fused() != Fused::NORMAL {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let opcode = sqe.nvm_opcode();
    let namespace = *find(sqe, namespaces)?;
    let operation = Operation::Reservation { opcode, cdw10: sqe.cdw10.get(), cdw11: sqe.cdw11.get() };
    let transfer = match reservation::data_bytes(opcode) {
        Some(bytes) => from_host(sqe, u32::try_from(bytes).expect("16 bytes at most"), in_capsule)?,
        None => {
            let bytes = u32::try_from(reservation::report::decode(sqe)?).unwrap_or(u32::MAX);
            if bytes > limits.transfer_bytes_max {
                return Err(Status::INVALID_FIELD.with_dnr());
            }
            to_host(sqe, bytes)?
        }
    };
    Ok(Request { namespace, operation, transfer, commits_first: false })
}

/// The namespace of a command. None is for all namespaces at once, which is an invalid field (base 2.1, figure 92), but for
/// Flush, which has a status of its own (figure 312, VWC).
fn find<'a>(sqe: &Sqe, namespaces: &'a Namespaces) -> Result<&'a Attached, Status> {
    namespaces.find(sqe.nsid.get()).map_err(|status| {
        let broadcast = sqe.nsid.get() == NSID_ALL && sqe.nvm_opcode() != NvmOpcode::FLUSH;
        if broadcast { Status::INVALID_FIELD.with_dnr() } else { status }
    })
}

fn range(sqe: &Sqe, namespace: &Attached) -> Result<Blocks, Status> {
    let blocks = Blocks { first: sqe.starting_lba(), count: sqe.blocks() };
    match blocks.bytes(&namespace.geometry) {
        Ok(_) => Ok(blocks),
        Err(_) => Err(Status::LBA_OUT_OF_RANGE.with_dnr()),
    }
}

#[inline]
fn blocks(sqe: &Sqe, namespace: &Attached, limits: &Limits) -> Result<(Operation, u32), Status> {
    let blocks = range(sqe, namespace)?;
    let bytes = u64::from(blocks.count) * u64::from(namespace.geometry.block_size);
    let bytes = match u32::try_from(bytes) {
        Ok(bytes) if bytes <= limits.transfer_bytes_max => bytes,
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    let operation = match sqe.nvm_opcode() {
        NvmOpcode::READ => Operation::Read(blocks),
        NvmOpcode::WRITE => Operation::Write { blocks, force_unit_access: sqe.force_unit_access() },
        _ if namespace.geometry.features.compare => Operation::Compare(blocks),
        _ => return Err(Status::INVALID_OPCODE.with_dnr()),
    };
    Ok((operation, bytes))
}

/// The commands that name blocks and move no data: as many blocks as a command can name. VSL, WZSL and WUSL only recommend
/// where the command is supported (NVM command set 1.0, sections 3.2.5, 3.2.7 and 3.2.8).
fn unmoved(sqe: &Sqe, namespace: &Attached) -> Result<Operation, Status> {
    let features = namespace.geometry.features;
    let supported = match sqe.nvm_opcode() {
        NvmOpcode::VERIFY => features.verify,
        NvmOpcode::WRITE_UNCORRECTABLE => features.write_uncorrectable,
        _ => features.write_zeroes,
    };
    if !supported {
        return Err(Status::INVALID_OPCODE.with_dnr());
    }
    let blocks = range(sqe, namespace)?;
    let (deallocate, force_unit_access) = (sqe.deallocate(), sqe.force_unit_access());
    Ok(match sqe.nvm_opcode() {
        NvmOpcode::VERIFY => Operation::Verify(blocks),
        NvmOpcode::WRITE_UNCORRECTABLE => Operation::WriteUncorrectable(blocks),
        _ => Operation::WriteZeroes { blocks, deallocate, force_unit_access },
    })
}

/// What can be judged of a Copy without its ranges, which are its data.
fn copy(sqe: &Sqe, namespace: &Attached) -> Result<(Operation, u32), Status> {
    let limits = copy_limits(&namespace.geometry).ok_or(Status::INVALID_OPCODE.with_dnr())?;
    let dword = sqe.copy_dword();
    if dword.format() != 0 {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let ranges = usize::from(dword.ranges_z()) + 1;
    if ranges > usize::from(limits.ranges) {
        return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
    }
    let bytes = u32::try_from(ranges * size_of::<CopyRange>()).expect("256 ranges of 32 bytes at most");
    Ok((Operation::Copy { ranges, blocks: 0, to: sqe.starting_lba(), force_unit_access: dword.fua() }, bytes))
}

fn dataset(sqe: &Sqe) -> Result<(Operation, u32), Status> {
    let ranges = sqe.dataset_ranges();
    let bytes = u32::try_from(ranges * size_of::<DatasetRange>()).expect("256 ranges of 16 bytes at most");
    if !sqe.dataset_attributes().ad() {
        return Ok((Operation::Hint, bytes));
    }
    Ok((Operation::Deallocate(ranges), bytes))
}

fn to_host(sqe: &Sqe, bytes: u32) -> Result<Transfer, Status> {
    if !sqe.dptr.is_transport() {
        return Err(Status::SGL_TYPE_INVALID.with_dnr());
    }
    check_length(sqe, bytes)?;
    Ok(Transfer::ToHost(bytes))
}

fn from_host(sqe: &Sqe, bytes: u32, in_capsule: usize) -> Result<Transfer, Status> {
    check_length(sqe, bytes)?;
    if sqe.dptr.is_transport() {
        return Ok(Transfer::FromHost(bytes));
    }
    if !sqe.dptr.is_in_capsule() {
        return Err(Status::SGL_TYPE_INVALID.with_dnr());
    }
    if sqe.dptr.address.get() != 0 {
        return Err(Status::SGL_OFFSET_INVALID.with_dnr());
    }
    if in_capsule != sqe.dptr.length.get() as usize {
        return Err(Status::DATA_SGL_LENGTH_INVALID.with_dnr());
    }
    Ok(Transfer::InCapsule(bytes))
}

/// The SGL may describe more than the command moves, as Linux does for Dataset Management; Identify says so (SGLS).
fn check_length(sqe: &Sqe, bytes: u32) -> Result<(), Status> {
    if sqe.dptr.length.get() >= bytes { Ok(()) } else { Err(Status::DATA_SGL_LENGTH_INVALID.with_dnr()) }
}
