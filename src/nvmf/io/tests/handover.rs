//! Requests on devices: done at once, done later, and what the device's answers become.

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Clock;
use corelane_reactors::poller::Wake;
use zerocopy::IntoBytes;

use super::{BARE, LARGE, LIMITS, MEMORY, VOID, memory, namespaces, on_blocks};
use crate::bdev::{Access, Bdev, BdevError, Blocks, Delay, Delays, Home};
use crate::mem::{self, Extent, Segment, SegmentMut};
use crate::nvmf::io::{
    Attached, Channels, Counts, DATASET_RANGE_BYTES_MAX, Namespaces, Operation, Request, Transfer, decode,
    fault_of, kind_of, kind_of_refused, status_of,
};
use crate::nvmf::subsystem::{Counting, IoCounts};
use crate::spec::nvm::{CopyRange, DatasetRange};
use crate::spec::opcode::NvmOpcode;
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::trace::{Fault, Kind};

/// Channels, the namespaces, and memory for data.
struct Rig {
    channels: Channels,
    namespaces: Namespaces,
    data: Extent,
}

impl Rig {
    fn new() -> Self {
        let (channels, namespaces) = namespaces(Arc::new(memory()));
        Self { channels, namespaces, data: Extent::ordinary(1 << 20).unwrap() }
    }

    fn fill(&self, bytes: &[u8]) -> Segment {
        mem::copy_in(bytes, self.data.segment_mut(0..bytes.len()));
        self.data.segment(0..bytes.len())
    }

    fn submit(&mut self, sqe: &Sqe, from: Segment, into: SegmentMut) -> Option<Status> {
        let mut request = decode(sqe, from.len(), &self.namespaces, &LIMITS).unwrap();
        self.channels.submit(1, &mut request, from, into)
    }

    /// The first bytes of a namespace.
    fn read(&mut self, nsid: u32, bytes: usize) -> Vec<u8> {
        let blocks = u32::try_from(bytes / 512).unwrap();
        let into = self.data.segment_mut(4096..4096 + bytes);
        let status = self.submit(&on_blocks(NvmOpcode::READ, nsid, 0, blocks), Segment::empty(), into);
        assert_eq!(status, Some(Status::SUCCESS));
        let mut read = vec![0; bytes];
        mem::copy_out(self.data.segment(4096..4096 + bytes), &mut read);
        read
    }

    fn attached(&self, nsid: u32) -> Attached {
        *self.namespaces.find(nsid).unwrap()
    }
}

type Ranges = &'static [(u64, u32)];

fn ranges(list: &[(u64, u32)]) -> Vec<u8> {
    let ranges = list.iter().map(|&(lba, blocks)| DatasetRange {
        attributes: 0.into(),
        blocks: blocks.into(),
        starting_lba: lba.into(),
    });
    ranges.flat_map(|range| range.as_bytes().to_vec()).collect()
}

fn sources(list: &[(u64, u32)]) -> Vec<u8> {
    let ranges = list.iter().map(|&(lba, blocks)| CopyRange {
        starting_lba: lba.into(),
        blocks_z: u16::try_from(blocks - 1).unwrap().into(),
        ..CopyRange::default()
    });
    ranges.flat_map(|range| range.as_bytes().to_vec()).collect()
}

fn deallocate(nsid: u32, count: usize) -> Sqe {
    let mut sqe = Sqe::of(NvmOpcode::DATASET_MANAGEMENT.0, 7, nsid);
    sqe.cdw10.set(u32::try_from(count - 1).unwrap());
    sqe.cdw11.set(4);
    sqe.dptr = SglDescriptor::transport(u32::try_from(count * 16).unwrap());
    sqe
}

#[test]
fn memory_is_written_compared_zeroed_and_lent() {
    let mut rig = Rig::new();
    let data = rig.fill(&[9; 1024]);
    let write = on_blocks(NvmOpcode::WRITE, MEMORY, 0, 2);
    assert_eq!(rig.submit(&write, data, SegmentMut::empty()), Some(Status::SUCCESS));
    assert_eq!(rig.read(MEMORY, 1024), [9; 1024]);
    let compare = on_blocks(NvmOpcode::COMPARE, MEMORY, 0, 2);
    assert_eq!(rig.submit(&compare, data, SegmentMut::empty()), Some(Status::SUCCESS));
    let zeroes = on_blocks(NvmOpcode::WRITE_ZEROES, MEMORY, 1, 1);
    assert_eq!(rig.submit(&zeroes, Segment::empty(), SegmentMut::empty()), Some(Status::SUCCESS));
    let failed = Some(Status::COMPARE_FAILURE.with_dnr());
    assert_eq!(rig.submit(&compare, data, SegmentMut::empty()), failed);

    let request = decode(&on_blocks(NvmOpcode::READ, MEMORY, 0, 2), 0, &rig.namespaces, &LIMITS).unwrap();
    let Operation::Read(blocks) = request.operation else { panic!("a read") };
    let lent = rig.channels.lend(&request.namespace, blocks).unwrap();
    let mut bytes = [1; 1024];
    mem::copy_out(lent, &mut bytes);
    assert_eq!((bytes[..512] == [9; 512], bytes[512..] == [0; 512]), (true, true));
}

#[test]
fn the_void_takes_everything_and_gives_zeros() {
    let mut rig = Rig::new();
    let data = rig.fill(&[9; 4096]);
    let write = on_blocks(NvmOpcode::WRITE, VOID, 1 << 39, 1);
    assert_eq!(rig.submit(&write, data, SegmentMut::empty()), Some(Status::SUCCESS));
    let compare = on_blocks(NvmOpcode::COMPARE, VOID, 1 << 39, 1);
    assert_eq!(rig.submit(&compare, data, SegmentMut::empty()), Some(Status::COMPARE_FAILURE.with_dnr()));
}

#[test]
fn ranges_are_judged_before_any_is_touched() {
    const BEYOND_THE_LIMIT: [(u64, u32); 9] =
        [(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (2048, 1)];
    let rows: [(u32, Ranges, Status); 7] = [
        (MEMORY, &[(0, 1), (1, 1)], Status::SUCCESS),
        (MEMORY, &[(0, 0), (2048, 0)], Status::SUCCESS),
        (MEMORY, &[(0, 1), (2048, 1)], Status::LBA_OUT_OF_RANGE.with_dnr()),
        (MEMORY, &[(0, 1), (u64::MAX, u32::MAX)], Status::LBA_OUT_OF_RANGE.with_dnr()),
        (MEMORY, &BEYOND_THE_LIMIT, Status::LBA_OUT_OF_RANGE.with_dnr()),
        (VOID, &[(0, u32::MAX)], Status::SUCCESS),
        // Deallocation is advice: a device without it may keep the data.
        (BARE, &[(0, 1)], Status::SUCCESS),
    ];
    for (nsid, list, status) in rows {
        let mut rig = Rig::new();
        if nsid == MEMORY {
            let data = rig.fill(&[9; 512]);
            let write = on_blocks(NvmOpcode::WRITE, MEMORY, 0, 1);
            assert_eq!(rig.submit(&write, data, SegmentMut::empty()), Some(Status::SUCCESS));
        }
        let data = rig.fill(&ranges(list));
        let done = rig.submit(&deallocate(nsid, list.len()), data, SegmentMut::empty());
        assert_eq!(done, Some(status), "{list:?}");
        if nsid == MEMORY {
            let kept = !status.is_success() || list[0].1 == 0;
            assert_eq!(rig.read(MEMORY, 512), [if kept { 9 } else { 0 }; 512], "{list:?}");
        }
    }
}

#[test]
fn what_is_beyond_the_limits_of_a_deallocation_is_left_as_it_is() {
    assert_eq!(DATASET_RANGE_BYTES_MAX, 1024 * 4096);
    let mut rig = Rig::new();
    let data = rig.fill(&[9; 32 << 9]);
    for lba in (0..2048).step_by(32) {
        let write = on_blocks(NvmOpcode::WRITE, MEMORY, lba, 32);
        assert_eq!(rig.submit(&write, data, SegmentMut::empty()), Some(Status::SUCCESS));
    }
    // Eight ranges of 1,024 blocks, the largest block of the controller being 4,096 bytes.
    let mut list = vec![(2040, 1); 7];
    list.extend([(8, 1025), (0, 1)]);
    let data = rig.fill(&ranges(&list));
    let done = rig.submit(&deallocate(MEMORY, list.len()), data, SegmentMut::empty());
    assert_eq!(done, Some(Status::SUCCESS));
    for (lba, kept) in [(0, true), (7, true), (8, false), (1031, false), (1032, true), (2040, false)] {
        let with = rig.fill(&[if kept { 9 } else { 0 }; 512]);
        let compare = on_blocks(NvmOpcode::COMPARE, MEMORY, lba, 1);
        assert_eq!(rig.submit(&compare, with, SegmentMut::empty()), Some(Status::SUCCESS), "{lba}");
    }
}

#[test]
fn sources_are_judged_before_any_is_copied() {
    const LIMIT: Status = Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr();
    const BEYOND: Status = Status::LBA_OUT_OF_RANGE.with_dnr();
    // 1 MiB: 256 blocks of 4,096 bytes.
    let rows: [(u32, u64, Ranges, Status); 10] = [
        (MEMORY, 0, &[(9, 1), (10, 1)], Status::SUCCESS),
        (MEMORY, 0, &[(9, 1), (2047, 2)], BEYOND),
        (MEMORY, 0, &[(9, 1), (u64::MAX, 2)], BEYOND),
        (MEMORY, 2047, &[(9, 2)], BEYOND),
        (MEMORY, u64::MAX, &[(9, 2)], BEYOND),
        (LARGE, 512, &[(0, 256)], Status::SUCCESS),
        (LARGE, 512, &[(0, 1), (0, 255)], Status::SUCCESS),
        (LARGE, 512, &[(0, 257)], LIMIT),
        (LARGE, 512, &[(0, 256), (0, 1)], LIMIT),
        (LARGE, 2000, &[(0, 256), (0, 1)], LIMIT),
    ];
    for (nsid, to, list, status) in rows {
        let mut rig = Rig::new();
        let data = rig.fill(&[7; 1024]);
        if nsid == MEMORY {
            let write = on_blocks(NvmOpcode::WRITE, MEMORY, 9, 2);
            assert_eq!(rig.submit(&write, data, SegmentMut::empty()), Some(Status::SUCCESS));
        }
        let data = rig.fill(&sources(list));
        let mut sqe = Sqe::of(NvmOpcode::COPY.0, 7, nsid);
        sqe.set_starting_lba(to);
        sqe.cdw12.set(u32::try_from(list.len() - 1).unwrap());
        sqe.dptr = SglDescriptor::transport(u32::try_from(list.len() * 32).unwrap());
        assert_eq!(rig.submit(&sqe, data, SegmentMut::empty()), Some(status), "{list:?}");
        if nsid == MEMORY {
            let copied = if status.is_success() { 7 } else { 0 };
            assert_eq!(rig.read(MEMORY, 1024), [copied; 1024], "{list:?}");
        }
    }
}

#[test]
fn what_was_made_unreadable_fails_until_it_is_written() {
    let mut rig = Rig::new();
    let spoil = on_blocks(NvmOpcode::WRITE_UNCORRECTABLE, MEMORY, 4, 2);
    assert_eq!(rig.submit(&spoil, Segment::empty(), SegmentMut::empty()), Some(Status::SUCCESS));
    let attached = rig.attached(MEMORY);
    assert!(rig.channels.lend(&attached, Blocks { first: 5, count: 1 }).is_none());
    let data = rig.fill(&[0; 512]);
    let into = rig.data.segment_mut(4096..4608);
    let reads =
        [(NvmOpcode::READ, into), (NvmOpcode::COMPARE, SegmentMut::empty()), (NvmOpcode::VERIFY, into)];
    for (lba, status) in [(5, Status::UNRECOVERED_READ_ERROR), (6, Status::SUCCESS)] {
        for (opcode, into) in reads {
            let from = if opcode == NvmOpcode::COMPARE { data } else { Segment::empty() };
            assert_eq!(
                rig.submit(&on_blocks(opcode, MEMORY, lba, 1), from, into),
                Some(status),
                "{opcode:?}"
            );
        }
    }
    let write = on_blocks(NvmOpcode::WRITE, MEMORY, 5, 1);
    assert_eq!(rig.submit(&write, data, SegmentMut::empty()), Some(Status::SUCCESS));
    let verify = on_blocks(NvmOpcode::VERIFY, MEMORY, 5, 1);
    assert_eq!(rig.submit(&verify, Segment::empty(), SegmentMut::empty()), Some(Status::SUCCESS));
}

#[test]
fn a_pending_command_completes_under_its_tag() {
    let (clock, time) = Clock::simulated();
    let delays = Delays { fixed: Duration::from_millis(5), ..Delays::default() };
    let slow = Delay::new(Arc::new(memory()), clock.clone(), delays);
    let (mut channels, namespaces) = namespaces(Arc::new(slow));
    let attached = *namespaces.find(MEMORY).unwrap();
    assert!(channels.lend(&attached, Blocks { first: 0, count: 1 }).is_none());
    assert_eq!((channels.outstanding(), channels.wake()), (0, Wake::Never));
    for tag in [70_000, 70_001] {
        let none = (Segment::empty(), SegmentMut::empty());
        let (operation, transfer) = (Operation::Flush, Transfer::None);
        let mut flush = Request { namespace: attached, operation, transfer, commits_first: false };
        assert_eq!(channels.submit(tag, &mut flush, none.0, none.1), None);
    }
    assert_eq!(channels.outstanding(), 2);
    assert_eq!(channels.wake(), Wake::At(clock.now() + Duration::from_millis(5)));
    let mut done = Vec::new();
    assert_eq!(channels.poll(|tag, status| done.push((tag, status))), 0);
    assert!(channels.abort(&attached, 70_001));
    assert!(!channels.abort(&attached, 70_002));
    assert_eq!(channels.wake(), Wake::Soon, "an aborted command is to be fetched at once");
    channels.poll(|tag, status| done.push((tag, status)));
    time.advance(Duration::from_millis(5));
    channels.poll(|tag, status| done.push((tag, status)));
    assert_eq!(done, [(70_001, Status::ABORT_REQUESTED), (70_000, Status::SUCCESS)]);
    assert_eq!(channels.outstanding(), 0);
}

#[test]
fn namespaces_of_one_device_share_its_channel() {
    let bdev: Arc<dyn Bdev> = Arc::new(memory());
    let mut channels = Channels::new(Home::default());
    assert_eq!((channels.open(&bdev).unwrap(), channels.open(&bdev).unwrap()), (0, 0));
    let rig = Rig::new();
    assert_ne!(rig.attached(MEMORY).channel, rig.attached(VOID).channel);
}

#[test]
fn what_a_device_says_becomes_a_status() {
    let rows = [
        (Ok(()), Status::SUCCESS),
        (Err(BdevError::OutOfRange), Status::LBA_OUT_OF_RANGE.with_dnr()),
        (Err(BdevError::Length), Status::INTERNAL_ERROR.with_dnr()),
        (Err(BdevError::Unsupported), Status::INVALID_OPCODE.with_dnr()),
        (Err(BdevError::Miscompare), Status::COMPARE_FAILURE.with_dnr()),
        (Err(BdevError::Busy), Status::INTERRUPTED),
        (Err(BdevError::Media { access: Access::Read }), Status::UNRECOVERED_READ_ERROR),
        (Err(BdevError::Media { access: Access::Write }), Status::WRITE_FAULT),
        (Err(BdevError::WriteProtected), Status::WRITE_PROTECTED.with_dnr()),
        (Err(BdevError::NoSpace), Status::CAPACITY_EXCEEDED.with_dnr()),
        (Err(BdevError::Device { again: true }), Status::INTERNAL_ERROR),
        (Err(BdevError::Device { again: false }), Status::INTERNAL_ERROR.with_dnr()),
        (Err(BdevError::Aborted), Status::ABORT_REQUESTED),
        (Err(BdevError::Gone), Status::INTERNAL_ERROR.with_dnr()),
    ];
    for (result, status) in rows {
        assert_eq!(status_of(result), status, "{result:?}");
    }
}

#[test]
fn what_was_done_is_counted_by_lane_and_summed() {
    let counts = Counts::new(2, [7, 1]);
    assert!(Arc::ptr_eq(&counts.lane(0).namespace(7), &counts.lane(0).namespace(7)));
    counts.lane(0).namespace(1).succeeded(Kind::Read, 1, 512);
    counts.lane(1).namespace(7).succeeded(Kind::Read, 1, 512);
    counts.lane(0).namespace(1).succeeded(Kind::Compare, 1, 1024);
    counts.lane(0).namespace(1).succeeded(Kind::Write, 1, 4096);
    counts.lane(1).namespace(1).failed(Kind::Write, Fault::Media, 1);
    counts.lane(1).namespace(1).failed(Kind::Write, Fault::Other, 1);
    counts.lane(1).namespace(1).succeeded(Kind::Flush, 1, 0);
    counts.lane(0).namespace(1).failed(Kind::Compare, Fault::Other, 1);
    counts.lane(0).namespace(1).succeeded(Kind::Verify, 1, 1 << 20);
    counts.lane(0).namespace(7).succeeded(Kind::Copy, 1, 8192);
    counts.lane(1).namespace(7).failed(Kind::Copy, Fault::Other, 1);
    counts.lane(1).namespace(7).succeeded(Kind::WriteZeroes, 1, 0);
    // One that came later, and one that cannot have come.
    counts.lane(1).namespace(2).succeeded(Kind::Read, 1, 512);
    counts.lane(1).namespace(257).succeeded(Kind::Read, 1, 512);
    let expected = IoCounts {
        read_commands: 4 + 1 + 2,
        write_commands: 1 + 2 + 2,
        read_bytes: 2560 + (1 << 20),
        written_bytes: 4096 + 8192,
        media_errors: 1,
    };
    assert_eq!(counts.counts(), expected);
    let namespaces: Vec<_> =
        counts.namespaces().map(|(nsid, counts)| (nsid, counts.succeeded(Kind::Read))).collect();
    assert_eq!(namespaces, [(1, 1), (2, 1), (7, 1)]);
}

#[test]
fn statuses_are_faults_of_the_medium_or_not() {
    let rows = [
        (Status::SUCCESS, None),
        (Status::WRITE_FAULT, Some(Fault::Media)),
        (Status::UNRECOVERED_READ_ERROR, Some(Fault::Media)),
        (Status::COMPARE_FAILURE.with_dnr(), Some(Fault::Other)),
        (Status::LBA_OUT_OF_RANGE, Some(Fault::Other)),
        (Status::RESERVATION_CONFLICT.with_dnr(), Some(Fault::Other)),
    ];
    for (status, fault) in rows {
        assert_eq!(fault_of(status), fault, "{status}");
    }
}

#[test]
fn refused_commands_are_counted_as_what_they_would_have_been() {
    let blocks = Blocks { first: 0, count: 1 };
    let rows = [
        (NvmOpcode::READ, Operation::Read(blocks)),
        (NvmOpcode::WRITE, Operation::Write { blocks, force_unit_access: true }),
        (NvmOpcode::COMPARE, Operation::Compare(blocks)),
        (NvmOpcode::FLUSH, Operation::Flush),
        (NvmOpcode::DATASET_MANAGEMENT, Operation::Hint),
        (NvmOpcode::VERIFY, Operation::Verify(blocks)),
        (NvmOpcode::WRITE_UNCORRECTABLE, Operation::WriteUncorrectable(blocks)),
        (NvmOpcode::COPY, Operation::Copy { ranges: 1, blocks: 0, to: 0, force_unit_access: false }),
    ];
    for (opcode, operation) in rows {
        assert_eq!(kind_of_refused(opcode), kind_of(operation));
    }
    assert_eq!(kind_of_refused(NvmOpcode::FABRICS), Kind::Other);
}
