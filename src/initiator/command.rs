//! Submission queue entries, ready but for CID and data pointer, which the queue pair fills in.

use std::mem::offset_of;

use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32, U64};

use crate::spec::ana::GROUPS_ONLY;
use crate::spec::fabrics::{
    Connect, ConnectAttributes, FabricsHeader, PropertyGet, PropertySet, PropertySize,
};
use crate::spec::feature::{
    AsyncEventConfiguration, FeatureId, NumberOfQueues, SetFeatures, WriteProtection, WriteProtectionState,
};
use crate::spec::identify::{Cns, Identify};
use crate::spec::log_page::{LogPage, LogPageId, LogPageUpper};
use crate::spec::nvm::{
    BlockCount, COPY_RANGES_MAX, CopyDword, CopyRange, DATASET_RANGES_MAX, DatasetAttributes, DatasetRange,
};
use crate::spec::opcode::{AdminOpcode, FabricsType, NvmOpcode};
use crate::spec::register::Property;
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::{Fused, Sqe};

pub mod reservation;

/// Bytes of one range of [`deallocate`].
pub const DATASET_RANGE_BYTES: usize = size_of::<DatasetRange>();

/// Bytes of one range of [`copy`].
pub const COPY_RANGE_BYTES: usize = size_of::<CopyRange>();

/// The most blocks of one Read, Write, Compare or Write Zeroes command.
pub const BLOCKS_MAX: u32 = 1 << 16;

/// Read; its data goes to the host.
///
/// # Panics
/// If `blocks` is not 1 to [`BLOCKS_MAX`]; so do the other commands that take it.
pub fn read(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    blocks_command(NvmOpcode::READ, nsid, lba, count(blocks))
}

/// Write; its data goes to the controller. With `force_unit_access` it completes when the data is durable.
pub fn write(nsid: u32, lba: u64, blocks: u32, force_unit_access: bool) -> Sqe {
    blocks_command(NvmOpcode::WRITE, nsid, lba, count(blocks).with_fua(force_unit_access))
}

/// Compare; the data to compare with goes to the controller.
pub fn compare(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    blocks_command(NvmOpcode::COMPARE, nsid, lba, count(blocks))
}

/// Write Zeroes; with `deallocate` the blocks may be deallocated.
pub fn write_zeroes(nsid: u32, lba: u64, blocks: u32, deallocate: bool) -> Sqe {
    blocks_command(NvmOpcode::WRITE_ZEROES, nsid, lba, count(blocks).with_deac(deallocate))
}

/// Write Zeroes that completes when the zeros are durable.
pub fn write_zeroes_through(nsid: u32, lba: u64, blocks: u32, deallocate: bool) -> Sqe {
    let count = count(blocks).with_deac(deallocate).with_fua(true);
    blocks_command(NvmOpcode::WRITE_ZEROES, nsid, lba, count)
}

/// Verify: the blocks are read and go nowhere.
pub fn verify(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    blocks_command(NvmOpcode::VERIFY, nsid, lba, count(blocks))
}

/// Write Uncorrectable: the blocks cannot be read until they are written.
pub fn write_uncorrectable(nsid: u32, lba: u64, blocks: u32) -> Sqe {
    blocks_command(NvmOpcode::WRITE_UNCORRECTABLE, nsid, lba, count(blocks))
}

/// Copy of `ranges` ranges, 1 to [`COPY_RANGES_MAX`], which are its data, to `lba` and what follows it.
///
/// # Panics
/// If there are fewer or more ranges.
pub fn copy(nsid: u32, lba: u64, ranges: usize, force_unit_access: bool) -> Sqe {
    assert!((1..=COPY_RANGES_MAX).contains(&ranges));
    let ranges_z = u8::try_from(ranges - 1).expect("128 at most");
    let dword = CopyDword::new().with_ranges_z(ranges_z).with_fua(force_unit_access);
    let mut sqe = Sqe::of(NvmOpcode::COPY.0, 0, nsid);
    sqe.set_starting_lba(lba);
    sqe.cdw12 = U32::new(dword.into_bits());
    sqe
}

/// One range of [`copy`], as it lies in its data: `blocks` is 1 to [`BLOCKS_MAX`].
///
/// # Panics
/// If `blocks` is not.
pub fn copy_range(lba: u64, blocks: u32) -> [u8; COPY_RANGE_BYTES] {
    let blocks_z = count(blocks).blocks_z().into();
    let range = CopyRange { starting_lba: lba.into(), blocks_z, ..CopyRange::default() };
    zerocopy::transmute!(range)
}

/// Makes two commands, Compare and Write, the fused operation Compare and Write (NVM command set 1.0, section 2.1.3.1):
/// they have to be submitted one right behind the other, to the same queue.
pub fn fuse(compare: &mut Sqe, write: &mut Sqe) {
    compare.set_fused(Fused::FIRST);
    write.set_fused(Fused::SECOND);
}

/// Flush.
pub fn flush(nsid: u32) -> Sqe {
    Sqe::of(NvmOpcode::FLUSH.0, 0, nsid)
}

/// Dataset Management that deallocates `ranges` ranges, 1 to 256, which are its data.
///
/// # Panics
/// If there are fewer or more ranges.
pub fn deallocate(nsid: u32, ranges: usize) -> Sqe {
    assert!((1..=DATASET_RANGES_MAX).contains(&ranges));
    let mut sqe = Sqe::of(NvmOpcode::DATASET_MANAGEMENT.0, 0, nsid);
    sqe.cdw10 = U32::new(u32::try_from(ranges - 1).expect("256 at most"));
    sqe.cdw11 = U32::new(DatasetAttributes::new().with_ad(true).into_bits());
    sqe
}

/// One range of [`deallocate`], as it lies in its data.
pub fn dataset_range(lba: u64, blocks: u32) -> [u8; DATASET_RANGE_BYTES] {
    let range = DatasetRange { attributes: U32::ZERO, blocks: blocks.into(), starting_lba: lba.into() };
    zerocopy::transmute!(range)
}

/// Identify; its 4,096 bytes go to the host.
pub fn identify(cns: Cns, nsid: u32) -> Sqe {
    let mut sqe = Sqe::of(AdminOpcode::IDENTIFY.0, 0, nsid);
    sqe.cdw10 = U32::new(Identify::new().with_cns(cns.0).into_bits());
    sqe
}

/// Set Features, Number of Queues: asks for `queues` I/O queue pairs, 1 and up. DW0 of the completion says how many
/// there are.
///
/// # Panics
/// If `queues` is 0.
pub fn number_of_queues(queues: u16) -> Sqe {
    assert!(queues > 0);
    let wanted = NumberOfQueues::new().with_submission_z(queues - 1).with_completion_z(queues - 1);
    let mut sqe = Sqe::of(AdminOpcode::SET_FEATURES.0, 0, 0);
    sqe.cdw10 = U32::new(SetFeatures::new().with_fid(FeatureId::NUMBER_OF_QUEUES.0).into_bits());
    sqe.cdw11 = U32::new(wanted.into_bits());
    sqe
}

/// Get Log Page: `bytes` from `offset` on go to the host.
///
/// # Panics
/// If `bytes` is 0 or not a multiple of 4.
pub fn log_page(page: LogPageId, offset: u64, bytes: u32) -> Sqe {
    assert!(bytes > 0);
    assert!(bytes.is_multiple_of(4));
    let [a, b, c, d] = (bytes / 4 - 1).to_le_bytes();
    let (low, high) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    let mut sqe = Sqe::of(AdminOpcode::GET_LOG_PAGE.0, 0, 0);
    sqe.cdw10 = U32::new(LogPage::new().with_lid(page.0).with_numdl(low).into_bits());
    sqe.cdw11 = U32::new(LogPageUpper::new().with_numdu(high).into_bits());
    let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
    sqe.cdw12 = U32::from_bytes([a, b, c, d]);
    sqe.cdw13 = U32::from_bytes([e, f, g, h]);
    sqe
}

/// Get Log Page of the ANA log from its beginning, without the namespaces of the groups; clears its event.
///
/// # Panics
/// As [`log_page`].
pub fn ana_log(bytes: u32) -> Sqe {
    let mut sqe = log_page(LogPageId::ANA, 0, bytes);
    sqe.cdw10 = U32::new(sqe.log_page().with_lsp(GROUPS_ONLY).into_bits());
    sqe
}

/// Set Features, Asynchronous Event Configuration: the events that the controller is to report.
pub fn event_configuration(events: AsyncEventConfiguration) -> Sqe {
    let mut sqe = Sqe::of(AdminOpcode::SET_FEATURES.0, 0, 0);
    sqe.cdw10 = U32::new(SetFeatures::new().with_fid(FeatureId::ASYNC_EVENT_CONFIGURATION.0).into_bits());
    sqe.cdw11 = U32::new(events.into_bits());
    sqe
}

/// Set Features, Namespace Write Protection Config: the state that a namespace is to be in.
pub fn write_protection(nsid: u32, state: WriteProtectionState) -> Sqe {
    let mut sqe = Sqe::of(AdminOpcode::SET_FEATURES.0, 0, nsid);
    sqe.cdw10 = U32::new(SetFeatures::new().with_fid(FeatureId::WRITE_PROTECTION.0).into_bits());
    sqe.cdw11 = U32::new(WriteProtection::new().with_wps(state).into_bits());
    sqe
}

/// Keep Alive.
pub fn keep_alive() -> Sqe {
    Sqe::of(AdminOpcode::KEEP_ALIVE.0, 0, 0)
}

/// Asynchronous Event Request.
pub fn async_event_request() -> Sqe {
    Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, 0)
}

/// Property Get; the value comes back in DW0 and DW1.
pub fn property_get(property: Property) -> Sqe {
    let mut command = PropertyGet::new_zeroed();
    command.header = fabrics(FabricsType::PROPERTY_GET);
    command.attrib = if property == Property::CAP { PropertySize::EIGHT } else { PropertySize::FOUR };
    command.ofst = U32::new(property.0);
    command.into()
}

/// Property Set of a property of 4 bytes.
pub fn property_set(property: Property, value: u32) -> Sqe {
    let mut command = PropertySet::new_zeroed();
    command.header = fabrics(FabricsType::PROPERTY_SET);
    command.attrib = PropertySize::FOUR;
    command.ofst = U32::new(property.0);
    command.value = U64::new(value.into());
    command.into()
}

/// Connect of queue `qid` with room for `depth` commands; its data goes to the controller.
pub(super) fn connect(qid: u16, depth: u16, flow_control: bool, keep_alive_ms: u32) -> Sqe {
    let mut command = Connect::new_zeroed();
    command.header = fabrics(FabricsType::CONNECT);
    command.qid = U16::new(qid);
    // One entry stays free, so that a full queue is not taken for an empty one: as a 0-based number of entries, the
    // depth is right as it is (base 2.1, section 3.3.1.5).
    command.sqsize_z = U16::new(depth);
    command.cattr = ConnectAttributes::new().with_flow_control_disabled(!flow_control).into_bits();
    command.kato = U32::new(keep_alive_ms);
    command.into()
}

const _: () = assert!(offset_of!(FabricsHeader, sgl1) == offset_of!(Sqe, dptr));

fn fabrics(kind: FabricsType) -> FabricsHeader {
    FabricsHeader::of(kind, 0, SglDescriptor::default())
}

fn count(blocks: u32) -> BlockCount {
    assert!((1..=BLOCKS_MAX).contains(&blocks));
    BlockCount::new().with_blocks_z(u16::try_from(blocks - 1).expect("65,536 at most"))
}

fn blocks_command(opcode: NvmOpcode, nsid: u32, lba: u64, count: BlockCount) -> Sqe {
    let mut sqe = Sqe::of(opcode.0, 0, nsid);
    sqe.set_starting_lba(lba);
    sqe.cdw12 = U32::new(count.into_bits());
    sqe
}
