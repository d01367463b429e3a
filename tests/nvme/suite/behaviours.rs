//! The table of behaviours.

use std::time::Duration;

use corelane::mem::{self, Extent};
use corelane::nvme::{
    AdminCommand, AdminReply, BlockRange, Device, Failure, IoCommand, ReservationReport, SubmitError,
};
use corelane::spec::host::HostId;
use corelane::spec::reservation::{
    AcquireAction, PersistChange, RegisterAction, ReleaseAction, ReservationType,
};
use corelane::spec::status::Status;

use super::content::{Content, Random};
use super::load::Load;
use super::rig::{Rig, Shape};

type Behaviour<D> = fn(&mut Rig<'_, D>);

pub(crate) fn table<D: Device>() -> Vec<(&'static str, Behaviour<D>)> {
    vec![
        ("what was written is read, whatever its length", lengths),
        ("data may lie anywhere and be cut anywhere", shapes),
        ("memory that the device was not given is served too", foreign_memory),
        ("each command completes once, and many are announced at once", many),
        ("blocks beyond the end are refused by the controller", beyond),
        ("what does not add up is refused at once", nonsense),
        ("zeroes, deallocation, compare and verify", optional_commands),
        ("a copy is sent as the namespace takes it", copies),
        ("log pages are read", log_pages),
        ("reservations of one host", reservations),
        ("an abort ends a command at most once", aborts),
        ("a reset of a queue ends what is in flight, and no more", queue_reset),
        ("a reset of the controller ends what is in flight, and no more", controller_reset),
        ("a random load is stored and read", random_load),
    ]
}

fn data(version: u64, slba: u64, blocks: u32, block_size: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks as usize * block_size];
    for (lba, block) in (slba..).zip(bytes.chunks_mut(block_size)) {
        Content { version, lba }.fill(block);
    }
    bytes
}

fn lengths<D: Device>(rig: &mut Rig<'_, D>) {
    // Up to several times what most controllers take in one command.
    let most = u32::try_from((448 << 10) / rig.block_size).unwrap();
    for (version, blocks) in (1..).zip([1, 2, 7, 8, 9, 16, 17, 33, 64, 65, most / 2 + 1, most]) {
        let blocks = blocks.min(most);
        let bytes = data(version, version, blocks, rig.block_size);
        let queue = usize::from(version % 2 == 0);
        rig.write(queue, version, &bytes, &Shape::default()).unwrap();
        assert!(rig.read(1 - queue, version, blocks, &Shape::default()).unwrap() == bytes, "{blocks} blocks");
    }
}

fn shapes<D: Device>(rig: &mut Rig<'_, D>) {
    let blocks = u32::try_from((24 << 10) / rig.block_size).unwrap();
    let shapes = [
        Shape { offset: 0, cuts: vec![4096, 8192, 20480] },
        Shape { offset: 512, cuts: vec![] },
        Shape { offset: 4092, cuts: vec![] },
        Shape { offset: 2048, cuts: vec![2048, 6144] },
        Shape { offset: 8, cuts: vec![4, 8, 12, 5000] },
        Shape { offset: 0, cuts: vec![512, 1024, 1536] },
        Shape { offset: 1, cuts: vec![] },
        Shape { offset: 3, cuts: vec![0, 0, 1, 4095, 4097, 9000, 9000, 24575] },
        Shape { offset: 0, cuts: (1..96).map(|at| at * 256).collect() },
    ];
    for (version, shape) in (100..).zip(&shapes) {
        let bytes = data(version, 40, blocks, rig.block_size);
        rig.write(0, 40, &bytes, shape).unwrap();
        for other in [shape, &Shape::default()] {
            assert!(rig.read(1, 40, blocks, other).unwrap() == bytes, "{shape:?} read as {other:?}");
        }
    }
}

fn foreign_memory<D: Device>(rig: &mut Rig<'_, D>) {
    let extent = Extent::ordinary(64 << 10).unwrap();
    let blocks = u32::try_from((40 << 10) / rig.block_size).unwrap();
    let bytes = data(200, 9, blocks, rig.block_size);
    let memory = extent.segment_mut(100..100 + bytes.len());
    mem::copy_in(&bytes, memory);
    let (nsid, slba) = (rig.nsid, 9);
    let write = IoCommand::Write { nsid, slba, blocks, from: &[memory.read_only()], fua: true };
    rig.run(0, &write).unwrap();
    mem::zero(memory);
    rig.run(0, &IoCommand::Read { nsid, slba, blocks, into: &[memory] }).unwrap();
    let mut read = vec![0; bytes.len()];
    mem::copy_out(memory.read_only(), &mut read);
    assert!(read == bytes);
}

fn many<D: Device>(rig: &mut Rig<'_, D>) {
    let before = rig.queues[0].counts();
    let depth = rig.queues[0].depth().min(40);
    let mut tags = Vec::new();
    for lba in 0..depth {
        let lba = u64::try_from(lba).unwrap();
        let bytes = data(300, lba, 1, rig.block_size);
        tags.push(rig.submit_write(0, lba, &bytes, &Shape::default()));
    }
    assert_eq!(rig.queues[0].outstanding(), depth);
    let mut done: Vec<_> = rig.settle().iter().map(|done| (done.tag, done.outcome.is_ok())).collect();
    done.sort_unstable_by_key(|(tag, _)| tags.iter().position(|other| other == tag));
    assert_eq!(done, tags.iter().map(|tag| (*tag, true)).collect::<Vec<_>>());
    let after = rig.queues[0].counts();
    assert_eq!(after.completed - before.completed, depth as u64);
    assert!(after.submission_doorbells - before.submission_doorbells <= 1, "{after:?}");
    for lba in 0..u64::try_from(depth).unwrap() {
        assert!(rig.read(1, lba, 1, &Shape::default()).unwrap() == data(300, lba, 1, rig.block_size));
    }
}

fn beyond<D: Device>(rig: &mut Rig<'_, D>) {
    let end = rig.blocks;
    for (slba, blocks) in [(end, 1), (end - 1, 2), (u64::MAX, 1)] {
        let outcome = rig.read(0, slba, blocks, &Shape::default());
        assert!(
            matches!(outcome, Err(Failure::Status(status)) if status.is(Status::LBA_OUT_OF_RANGE)),
            "{outcome:?}"
        );
    }
    assert!(rig.read(0, end - 1, 1, &Shape::default()).is_ok());
}

fn nonsense<D: Device>(rig: &mut Rig<'_, D>) {
    let buffer = rig.buffer(2 * rig.block_size, &Shape::default());
    let into = rig.cut(buffer, &Shape::default());
    let (nsid, slba) = (rig.nsid, 0);
    for blocks in [0, 1, 3] {
        let read = IoCommand::Read { nsid, slba, blocks, into: &into };
        assert_eq!(rig.queues[0].submit(7, &read), Err(SubmitError::Length), "{blocks}");
    }
    let read = IoCommand::Read { nsid: 0xfffe, slba, blocks: 2, into: &into };
    assert_eq!(rig.queues[0].submit(7, &read), Err(SubmitError::Namespace));
    assert_eq!(rig.queues[0].outstanding(), 0);
    rig.buffers.give_back(buffer);
}

fn copies<D: Device>(rig: &mut Rig<'_, D>) {
    let (nsid, slba, block_size) = (rig.nsid, 1024, rig.block_size);
    let Some(limits) = rig.copy else {
        let from = [BlockRange { slba: 0, blocks: 1 }];
        let refused = rig.queues[0].submit(7, &IoCommand::Copy { nsid, slba, from: &from, fua: false });
        assert_eq!(refused, Err(SubmitError::Unsupported));
        return;
    };
    let held = u32::try_from((256 << 10) / block_size).unwrap();
    let bytes = data(450, 64, held, block_size);
    rig.write(0, 64, &bytes, &Shape::default()).unwrap();
    let (ranges, range_blocks) = (u32::from(limits.ranges.min(128)), u32::from(limits.range_blocks));
    // Ranges out of order, and a single one: as long as can be, which is longer than one range may be by itself.
    let longest = limits.blocks.min(range_blocks.saturating_mul(ranges)).min(held);
    let rows = [
        vec![BlockRange { slba: 70, blocks: 2 }, BlockRange { slba: 65, blocks: 1 }],
        vec![BlockRange { slba: 64, blocks: longest }],
    ];
    for from in rows {
        rig.run(0, &IoCommand::Copy { nsid, slba, from: &from, fua: false }).unwrap();
        let expected = from.iter().flat_map(|range| {
            let start = usize::try_from(range.slba - 64).unwrap() * block_size;
            &bytes[start..start + range.blocks as usize * block_size]
        });
        let blocks = from.iter().map(|range| range.blocks).sum();
        let copied = rig.read(0, slba, blocks, &Shape::default()).unwrap();
        assert!(copied.iter().eq(expected), "{from:?}");
    }
    let most = usize::try_from(ranges).unwrap();
    let rows = [
        (vec![], SubmitError::Length),
        (vec![BlockRange { slba: 0, blocks: 0 }], SubmitError::Length),
        (vec![BlockRange { slba: 0, blocks: 1 }; most + 1], SubmitError::TooLong),
        (vec![BlockRange { slba: 0, blocks: limits.blocks.saturating_add(1) }], SubmitError::TooLong),
        (vec![BlockRange { slba: 0, blocks: u32::MAX }; most], SubmitError::TooLong),
    ];
    for (from, error) in rows {
        let refused = rig.queues[0].submit(7, &IoCommand::Copy { nsid, slba, from: &from, fua: false });
        assert_eq!(refused, Err(error), "{from:?}");
    }
    assert_eq!(rig.queues[0].outstanding(), 0);
}

fn optional_commands<D: Device>(rig: &mut Rig<'_, D>) {
    let (nsid, block_size) = (rig.nsid, rig.block_size);
    let oncs = rig.controller.identity().oncs;
    let bytes = data(400, 64, 32, block_size);
    rig.write(0, 64, &bytes, &Shape::default()).unwrap();
    rig.run(0, &IoCommand::Flush { nsid }).unwrap();
    if oncs.verify() {
        rig.run(0, &IoCommand::Verify { nsid, slba: 64, blocks: 32 }).unwrap();
    }
    if oncs.write_zeroes() {
        let zeroes = IoCommand::WriteZeroes { nsid, slba: 66, blocks: 4, deallocate: false, fua: false };
        rig.run(0, &zeroes).unwrap();
        let mut expected = bytes.clone();
        expected[2 * block_size..6 * block_size].fill(0);
        assert!(rig.read(0, 64, 32, &Shape::default()).unwrap() == expected);
        // More blocks than one command has room for.
        let blocks = u32::try_from((rig.blocks - 80).min(70_000)).unwrap();
        let zeroes = IoCommand::WriteZeroes { nsid, slba: 80, blocks, deallocate: true, fua: false };
        rig.run(1, &zeroes).unwrap();
        assert!(rig.read(0, 80, 16, &Shape::default()).unwrap().iter().all(|&byte| byte == 0));
    }
    if oncs.dataset_management() {
        let ranges = [BlockRange { slba: 64, blocks: 1 }, BlockRange { slba: 70, blocks: 3 }];
        rig.run(0, &IoCommand::Deallocate { nsid, ranges: &ranges }).unwrap();
        let kept = rig.read(0, 65, 1, &Shape::default()).unwrap();
        assert!(kept == bytes[block_size..2 * block_size], "a neighbour is untouched");
    }
}

fn log_pages<D: Device>(rig: &mut Rig<'_, D>) {
    match rig.ask(&AdminCommand::Smart) {
        // In kelvins.
        AdminReply::Smart(page) => {
            assert!((200..400).contains(&page.composite_temperature.get()), "{page:?}")
        }
        other => panic!("{other:?}"),
    }
    match rig.ask(&AdminCommand::Errors { entries: 64 }) {
        AdminReply::Errors(entries) => assert!(entries.iter().all(|entry| entry.error_count.get() > 0)),
        other => panic!("{other:?}"),
    }
}

fn reservations<D: Device>(rig: &mut Rig<'_, D>) {
    let (nsid, key) = (rig.nsid, 0x1234_5678);
    let info = rig.controller.namespaces().iter().find(|info| info.nsid == nsid);
    if !rig.controller.identity().oncs.reservations()
        || !info.is_some_and(|info| info.rescap.write_exclusive())
    {
        return;
    }
    rig.ask(&AdminCommand::SetHostIdentifier(HostId(*b"corelane's suite")));
    let (persist, kind) = (PersistChange::KEEP, ReservationType::WRITE_EXCLUSIVE);
    let action = RegisterAction::REGISTER;
    let register =
        IoCommand::ReservationRegister { nsid, action, ignore_key: false, persist, current: 0, new: key };
    rig.run(0, &register).unwrap();
    let acquire = |current, kind| IoCommand::ReservationAcquire {
        nsid,
        action: AcquireAction::ACQUIRE,
        kind,
        current,
        preempt: 0,
    };
    let conflict = rig.run(0, &acquire(key + 1, kind));
    assert!(matches!(conflict, Err(Failure::Status(status)) if status.is(Status::RESERVATION_CONFLICT)));
    rig.run(1, &acquire(key, kind)).unwrap();
    let report = report(rig);
    assert_eq!((report.kind, report.registered), (kind, 1));
    assert_eq!((report.registrants[0].key, report.registrants[0].holder), (key, true));
    let release = IoCommand::ReservationRelease { nsid, action: ReleaseAction::RELEASE, kind, current: key };
    rig.run(0, &release).unwrap();
    let clear = IoCommand::ReservationRelease { nsid, action: ReleaseAction::CLEAR, kind, current: key };
    rig.run(0, &clear).unwrap();
    assert_eq!(self::report(rig).registered, 0);
}

/// What is registered and reserved.
pub(crate) fn report<D: Device>(rig: &mut Rig<'_, D>) -> ReservationReport {
    let buffer = rig.buffer(ReservationReport::bytes(4), &Shape::default());
    let into = rig.cut(buffer, &Shape::default());
    let report = IoCommand::ReservationReport { nsid: rig.nsid, into: &into, extended: true };
    rig.submit(0, Some(buffer), &report);
    let done = rig.settle();
    done[0].outcome.unwrap();
    ReservationReport::decode(&done[0].bytes).unwrap()
}

fn aborts<D: Device>(rig: &mut Rig<'_, D>) {
    assert!(!rig.queues[0].abort(12345), "an unknown tag cannot be aborted");
    let bytes = data(500, 0, 8, rig.block_size);
    rig.write(0, 0, &bytes, &Shape::default()).unwrap();
    for round in 0..20 {
        let tag = rig.submit_read(0, 0, 8, &Shape::default());
        rig.commit();
        (0..round % 4).for_each(|_| rig.turn());
        let asked = rig.queues[0].abort(tag);
        let done = rig.settle();
        assert_eq!((done.len(), done[0].tag), (1, tag));
        match done[0].outcome {
            Ok(_) => assert!(done[0].bytes == bytes),
            Err(Failure::Status(status)) => assert!(asked && status.is(Status::ABORT_REQUESTED), "{status}"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Fills both queue pairs with writes and reads; returns how many commands that is.
fn fill<D: Device>(rig: &mut Rig<'_, D>, version: u64) -> usize {
    for lane in 0..16 {
        let bytes = data(version, lane * 16, 8, rig.block_size);
        rig.submit_write(usize::from(lane % 2 == 0), lane * 16, &bytes, &Shape::default());
        rig.submit_read(usize::from(lane % 2 == 1), lane * 16 + 8, 8, &Shape::default());
    }
    rig.commit();
    32
}

fn queue_reset<D: Device>(rig: &mut Rig<'_, D>) {
    for round in 0..6 {
        let flying = fill(rig, 600 + round);
        (0..round).for_each(|_| rig.turn());
        let other = rig.queues[1].counts();
        assert!(rig.queues[0].reset());
        let done = rig.settle();
        assert!(
            done.len() == flying
                && done.iter().all(|done| matches!(done.outcome, Ok(_) | Err(Failure::Aborted)))
        );
        assert!(rig.queues[1].counts().completed > other.completed || round > 0);
        rig.recover();
        works(rig, 650 + round);
    }
}

fn controller_reset<D: Device>(rig: &mut Rig<'_, D>) {
    for round in 0..4 {
        let flying = fill(rig, 700 + round);
        (0..round).for_each(|_| rig.turn());
        let now = rig.now();
        rig.controller.reset(now);
        let done = rig.settle();
        assert!(
            done.len() == flying
                && done.iter().all(|done| matches!(done.outcome, Ok(_) | Err(Failure::Aborted)))
        );
        rig.recover();
        works(rig, 750 + round);
    }
}

/// Writes and reads on both queue pairs succeed.
fn works<D: Device>(rig: &mut Rig<'_, D>, version: u64) {
    for queue in 0..2 {
        let bytes = data(version, 300, 16, rig.block_size);
        rig.write(queue, 300, &bytes, &Shape::default()).unwrap();
        assert!(rig.read(1 - queue, 300, 16, &Shape::default()).unwrap() == bytes);
    }
}

fn random_load<D: Device>(rig: &mut Rig<'_, D>) {
    let seed = std::env::var("CORELANE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed);
    println!("CORELANE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut load = Load::new(rig, random.next());
    for _ in 0..8 {
        load.run(rig, 400, &|_| false);
        load.end(rig, &|_| false);
        load.verify(rig);
        rig.pass(Duration::from_millis(1));
    }
}
