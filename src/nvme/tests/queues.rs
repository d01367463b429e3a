//! Queue pairs: what they send, what they take for an answer, and who ends what when nothing is answered.

use super::*;
use crate::mem;
use crate::nvme::{BlockRange, COMPLETIONS_MAX, SubmitError};
use crate::spec::cqe::Cqe;
use crate::spec::nvm::DatasetRange;
use crate::spec::opcode::{AdminOpcode, NvmOpcode};
use crate::spec::reservation::{AcquireAction, ReservationType};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use zerocopy::FromBytes;

/// A rig whose device holds I/O commands, and a queue pair.
fn holding(device: Arc<Fake>, options: &Options) -> (Rig, QueuePair<Fake>) {
    let mut rig = Rig::ready(device, options);
    let pair = rig.controller.take_queue_pair().unwrap();
    rig.device.inside().holds = true;
    (rig, pair)
}

/// The commands that the device holds.
fn held(rig: &Rig) -> Vec<Sqe> {
    rig.device.inside().held.iter().map(|(_, sqe)| *sqe).collect()
}

#[test]
fn completions_that_nobody_waits_for_are_rejected() {
    let (mut rig, mut pair) = holding(Fake::new(), &options());
    pair.submit(7, &rig.read(0, 8)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    let cid = held(&rig)[0].cid.get();
    // Made up: another slot, an index beyond all slots, another generation, what the error log calls none.
    for wrong in [cid ^ 1, cid | 0xf, cid ^ 0x10, 0xffff] {
        rig.device.post(1, Cqe::of(wrong, Status::SUCCESS));
    }
    assert_eq!(rig.run_with(&mut pair, MOMENT), []);
    rig.device.answer(0, Status::SUCCESS);
    rig.device.post(1, Cqe::of(cid, Status::SUCCESS));
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(7, Ok(0))]);
    // The slot is used again, and the old completion does not complete the new command.
    pair.submit(8, &rig.read(0, 8)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    rig.device.post(1, Cqe::of(cid, Status::SUCCESS));
    assert_eq!(rig.run_with(&mut pair, MOMENT), []);
    assert_eq!((pair.counts().strays, pair.outstanding()), (6, 1));
    assert_eq!(held(&rig)[0].cid.get() & 0xf, cid & 0xf, "not the same slot");
}

#[test]
fn every_entry_of_the_ring_is_used_round_after_round() {
    let mut rig = Rig::ready(Fake::new(), &options());
    let mut pair = rig.controller.take_queue_pair().unwrap();
    for round in 0..100 {
        for tag in 0..15 {
            pair.submit(tag, &rig.read(round * 15 + tag, 1)).unwrap();
        }
        assert_eq!(pair.submit(99, &rig.read(0, 1)), Err(SubmitError::Full));
        let before = pair.counts();
        pair.commit();
        pair.commit();
        rig.device.step();
        let mut tags = Vec::new();
        pair.poll(rig.now, &mut |tag, outcome| tags.push((tag, outcome)));
        assert_eq!(tags, (0..15).map(|tag| (tag, Ok(0))).collect::<Vec<_>>());
        let after = pair.counts();
        assert_eq!(after.submission_doorbells - before.submission_doorbells, 1);
        assert_eq!(after.completion_doorbells - before.completion_doorbells, 1);
    }
    let done: Vec<u64> = rig.device.inside().done.iter().map(Sqe::starting_lba).collect();
    assert_eq!(done, (0..1500).collect::<Vec<_>>());
}

#[test]
fn a_poll_takes_one_batch() {
    let many = Options { entries: 256, ..options() };
    let mut rig = Rig::ready(Fake::new(), &many);
    let mut pair = rig.controller.take_queue_pair().unwrap();
    for tag in 0..200 {
        pair.submit(tag, &rig.read(0, 1)).unwrap();
    }
    pair.commit();
    rig.device.step();
    let batches: Vec<usize> = (0..5).map(|_| pair.poll(rig.now, &mut |_, _| {})).collect();
    assert_eq!(batches, [COMPLETIONS_MAX, COMPLETIONS_MAX, COMPLETIONS_MAX, 200 - 3 * COMPLETIONS_MAX, 0]);
}

#[test]
fn a_long_command_is_split_and_completes_once_with_the_worst() {
    let device = Fake::new();
    device.inside().mdts = 2;
    let (mut rig, mut pair) = holding(device, &options());
    assert_eq!(pair.transfer_bytes(), 16 << 10);
    pair.submit(7, &rig.read(100, 80)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    let parts: Vec<(u64, u32)> = held(&rig).iter().map(|sqe| (sqe.starting_lba(), sqe.blocks())).collect();
    assert_eq!(parts, [(100, 32), (132, 32), (164, 16)]);
    let base = held(&rig)[0].prps().prp1.get();
    for (index, sqe) in held(&rig).iter().enumerate() {
        let bytes = u64::from(sqe.blocks()) * 512;
        let pages: Vec<u64> =
            rig.device.inside().pages(sqe, bytes).iter().map(|page| page.0 - base).collect();
        let first = index as u64 * 16384;
        assert_eq!(pages, (first..first + bytes).step_by(4096).collect::<Vec<_>>());
    }
    rig.device.answer(1, Status::UNRECOVERED_READ_ERROR);
    rig.device.answer(0, Status::SUCCESS);
    assert_eq!(rig.run_with(&mut pair, MOMENT), []);
    rig.device.answer(0, Status::SUCCESS);
    let expected = Err(Failure::Status(Status::UNRECOVERED_READ_ERROR));
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(7, expected)]);
    assert_eq!(pair.outstanding(), 0);
    // All parts or none: two slots are left, three are needed.
    for tag in 0..13 {
        pair.submit(tag, &rig.read(0, 8)).unwrap();
    }
    assert_eq!(pair.submit(20, &rig.read(0, 80)), Err(SubmitError::Full));
    assert_eq!(pair.submit(21, &rig.read(0, 16 * 32)), Err(SubmitError::TooLong));
    pair.submit(22, &rig.read(0, 64)).unwrap();
    assert_eq!(pair.outstanding(), 15);
}

#[test]
fn what_moves_no_data_is_split_as_the_controller_recommends_and_into_a_few_parts_at_most() {
    // 64 KiB.
    let device = Fake::new();
    device.inside().wzsl = 4;
    let (mut rig, mut pair) = holding(device, &options());
    let parts =
        |rig: &Rig| held(rig).iter().map(|sqe| (sqe.starting_lba(), sqe.blocks())).collect::<Vec<_>>();
    for (blocks, expected) in [
        (300, vec![(100, 128), (228, 128), (356, 44)]),
        // A quarter of 15 slots.
        (1 << 16, vec![(100, 21_846), (21_946, 21_846), (43_792, 21_844)]),
    ] {
        let zeroes = IoCommand::WriteZeroes { nsid: 1, slba: 100, blocks, deallocate: false, fua: false };
        pair.submit(7, &zeroes).unwrap();
        pair.commit();
        rig.run(MOMENT);
        assert_eq!(parts(&rig), expected);
        while !held(&rig).is_empty() {
            rig.device.answer(0, Status::SUCCESS);
        }
        assert_eq!(rig.run_with(&mut pair, MOMENT), [(7, Ok(0))]);
    }
}

#[test]
fn lengths_that_do_not_fit_the_blocks_are_refused() {
    let (rig, mut pair) = holding(Fake::new(), &options());
    let into = [rig.memory.segment_mut(0..4096)];
    for (blocks, nsid, error) in
        [(7, 1, SubmitError::Length), (9, 1, SubmitError::Length), (8, 2, SubmitError::Namespace)]
    {
        let read = IoCommand::Read { nsid, slba: 0, blocks, into: &into };
        assert_eq!(pair.submit(1, &read), Err(error));
    }
    let none = IoCommand::Read { nsid: 1, slba: 0, blocks: 0, into: &[] };
    assert_eq!(pair.submit(1, &none), Err(SubmitError::Length));
    assert_eq!(pair.outstanding(), 0);
}

#[test]
fn what_pages_cannot_name_goes_through_a_list_or_a_copy() {
    let memory = Arc::new(Extent::ordinary(1 << 20).unwrap());
    for (sgls, bounces) in [(1, 8), (2, 8), (0, 8), (0, 0)] {
        let device = Fake::new();
        device.inside().sgls = sgls;
        let (mut rig, mut pair) = holding(device, &Options { bounce_buffers: bounces, ..options() });
        let hole = [rig.memory.segment_mut(512..1024), rig.memory.segment_mut(8192..8704)];
        let read = IoCommand::Read { nsid: 1, slba: 0, blocks: 2, into: &hole };
        let strange = [memory.segment_mut(0..1024)];
        let unmapped = IoCommand::Read { nsid: 1, slba: 0, blocks: 2, into: &strange };
        if (sgls, bounces) == (0, 0) {
            assert_eq!(pair.submit(1, &read), Err(SubmitError::Hole));
            assert_eq!(pair.submit(1, &unmapped), Err(SubmitError::Unmapped));
            assert_eq!(pair.outstanding(), 0);
            continue;
        }
        pair.submit(1, &read).unwrap();
        pair.submit(2, &unmapped).unwrap();
        pair.commit();
        rig.run(MOMENT);
        let sqes = held(&rig);
        assert_eq!(sqes[0].psdt().0, u8::from(sgls > 0));
        assert_eq!(pair.counts().bounced, if sgls > 0 { 1 } else { 2 });
        let bounced = if sgls > 0 { 1 } else { 0 };
        for sqe in &sqes[bounced..] {
            rig.device.inside().write(sqe.prps().prp1.get(), &[0xa5; 1024]);
        }
        rig.device.answer(0, Status::SUCCESS);
        rig.device.answer(0, Status::SUCCESS);
        assert_eq!(rig.run_with(&mut pair, MOMENT), [(1, Ok(0)), (2, Ok(0))]);
        let mut bytes = [0; 1024];
        mem::copy_out(strange[0].read_only(), &mut bytes);
        assert_eq!(bytes, [0xa5; 1024]);
        mem::copy_out(hole[1].read_only(), &mut bytes[..512]);
        assert_eq!(bytes[..512], if sgls > 0 { [0; 512] } else { [0xa5; 512] });
    }
}

#[test]
fn what_is_written_from_strange_memory_is_copied_first() {
    let memory = Arc::new(Extent::ordinary(1 << 20).unwrap());
    let options = Options { bounce_bytes: 8192, bounce_buffers: 4, ..options() };
    let (mut rig, mut pair) = holding(Fake::new(), &options);
    let pattern: Vec<u8> = (0..20480u32).map(|byte| (byte % 251).to_le_bytes()[0]).collect();
    mem::copy_in(&pattern, memory.segment_mut(1..20481));
    let from = [memory.segment(1..5000), memory.segment(5000..20481)];
    let write = IoCommand::Write { nsid: 1, slba: 0, blocks: 40, from: &from, fua: true };
    pair.submit(1, &write).unwrap();
    assert_eq!((pair.outstanding(), pair.counts().bounced), (3, 3));
    // One buffer is left: a command that needs three is not begun.
    assert_eq!(pair.submit(2, &write), Err(SubmitError::Full));
    assert_eq!((pair.outstanding(), pair.counts().submitted), (3, 3));
    pair.commit();
    rig.run(MOMENT);
    let mut got = Vec::new();
    for sqe in held(&rig) {
        assert!(sqe.force_unit_access());
        let inside = rig.device.inside();
        for (page, bytes) in inside.pages(&sqe, u64::from(sqe.blocks()) * 512) {
            let mut part = vec![0; usize::try_from(bytes).unwrap()];
            inside.read(page, &mut part);
            got.extend(part);
        }
    }
    assert_eq!(got, pattern);
    assert_eq!(held(&rig).len(), 3);
}

#[test]
fn commands_without_data_of_their_own_are_sent_as_they_should_be() {
    let device = Fake::new();
    device.inside().oncs = crate::spec::identify::controller::Oncs::from_bits(0x1ff);
    let (mut rig, mut pair) = holding(device, &options());
    let ranges = [BlockRange { slba: 8, blocks: 16 }, BlockRange { slba: 100, blocks: 1 }];
    pair.submit(0, &IoCommand::Deallocate { nsid: 1, ranges: &ranges }).unwrap();
    pair.submit(1, &IoCommand::Copy { nsid: 1, slba: 500, from: &ranges, fua: false }).unwrap();
    let (action, kind) = (AcquireAction::PREEMPT, ReservationType::EXCLUSIVE_ACCESS);
    let acquire = IoCommand::ReservationAcquire { nsid: 1, action, kind, current: 0x11, preempt: 0x22 };
    pair.submit(2, &acquire).unwrap();
    let zeroes = IoCommand::WriteZeroes { nsid: 1, slba: 0, blocks: 65_537, deallocate: true, fua: false };
    pair.submit(3, &zeroes).unwrap();
    pair.commit();
    rig.run(MOMENT);
    let sqes = held(&rig);
    let opcodes: Vec<NvmOpcode> = sqes.iter().map(Sqe::nvm_opcode).collect();
    let zero = NvmOpcode::WRITE_ZEROES;
    assert_eq!(
        opcodes,
        [NvmOpcode::DATASET_MANAGEMENT, NvmOpcode::COPY, NvmOpcode::RESERVATION_ACQUIRE, zero, zero]
    );
    let page = |sqe: &Sqe| {
        let mut bytes = [0; 64];
        rig.device.inside().read(sqe.prps().prp1.get(), &mut bytes);
        bytes
    };
    let (first, _) = DatasetRange::read_from_prefix(&page(&sqes[0])).unwrap();
    assert_eq!((sqes[0].dataset_ranges(), sqes[0].dataset_attributes().ad()), (2, true));
    assert_eq!((first.starting_lba.get(), first.blocks.get()), (8, 16));
    let copied = page(&sqes[1]);
    assert_eq!((sqes[1].starting_lba(), sqes[1].copy_dword().ranges_z()), (500, 1));
    assert_eq!((copied[8], copied[16], copied[40], copied[48]), (8, 15, 100, 0));
    assert_eq!((page(&sqes[2])[0], page(&sqes[2])[8]), (0x11, 0x22));
    assert_eq!(sqes[2].reservation_acquire().rtype(), kind);
    assert_eq!((sqes[3].blocks(), sqes[4].starting_lba(), sqes[4].blocks()), (65_536, 65_536, 1));
    assert!(sqes[4].deallocate());
}

#[test]
fn a_copy_is_cut_into_ranges_that_the_namespace_takes() {
    let (mut rig, mut pair) = holding(Fake::new(), &options());
    let copy = |pair: &mut QueuePair<Fake>, from: &[(u64, u32)]| {
        let from: Vec<_> = from.iter().map(|&(slba, blocks)| BlockRange { slba, blocks }).collect();
        pair.submit(0, &IoCommand::Copy { nsid: 1, slba: 500, from: &from, fua: false })
    };
    // 4 ranges of 16 blocks at most, 32 blocks together.
    for (from, error) in [
        (&[(0, 33)][..], SubmitError::TooLong),
        (&[(0, 16), (0, 17)], SubmitError::TooLong),
        (&[(0, 1); 5], SubmitError::TooLong),
        (&[(0, 17), (0, 1), (0, 1), (0, 1)], SubmitError::TooLong),
        (&[(0, 1), (0, 0)], SubmitError::Length),
        (&[], SubmitError::Length),
    ] {
        assert_eq!(copy(&mut pair, from), Err(error), "{from:?}");
    }
    copy(&mut pair, &[(8, 17), (100, 15)]).unwrap();
    pair.commit();
    rig.run(MOMENT);
    let sqes = held(&rig);
    assert_eq!((sqes.len(), sqes[0].copy_dword().ranges_z()), (1, 2));
    let mut bytes = [0; 96];
    rig.device.inside().read(sqes[0].prps().prp1.get(), &mut bytes);
    let ranges = [0, 32, 64].map(|at| (bytes[at + 8], bytes[at + 16]));
    assert_eq!(ranges, [(8, 15), (24, 0), (100, 14)]);
}

#[test]
fn commands_that_the_controller_does_not_have_are_refused() {
    let device = Fake::new();
    device.inside().oncs = crate::spec::identify::controller::Oncs::new();
    let (rig, mut pair) = holding(device, &options());
    let (nsid, slba, blocks) = (1, 0, 1);
    let range = [BlockRange { slba, blocks }];
    let with = [rig.memory.segment(0..512)];
    let (action, kind) = (AcquireAction::ACQUIRE, ReservationType::NONE);
    for command in [
        IoCommand::WriteZeroes { nsid, slba, blocks, deallocate: false, fua: false },
        IoCommand::Deallocate { nsid, ranges: &range },
        IoCommand::Compare { nsid, slba, blocks, with: &with },
        IoCommand::Verify { nsid, slba, blocks },
        IoCommand::Copy { nsid, slba, from: &range, fua: false },
        IoCommand::ReservationAcquire { nsid, action, kind, current: 0, preempt: 0 },
    ] {
        assert_eq!(pair.submit(1, &command), Err(SubmitError::Unsupported), "{command:?}");
    }
}

#[test]
fn a_command_that_is_not_answered_is_aborted_and_then_ended() {
    let (mut rig, mut pair) = holding(Fake::new(), &options());
    pair.submit(1, &rig.read(0, 8)).unwrap();
    pair.commit();
    let asked =
        |rig: &Rig, opcode| rig.device.inside().asked.iter().filter(|asked| **asked == opcode).count();
    assert_eq!(rig.run_with(&mut pair, SECOND), []);
    assert_eq!(asked(&rig, AdminOpcode::ABORT), 0, "too early");
    assert_eq!(rig.run_with(&mut pair, SECOND / 5), []);
    assert_eq!(asked(&rig, AdminOpcode::ABORT), 1);
    assert_eq!(asked(&rig, AdminOpcode::DELETE_SQ), 0);
    assert_eq!(rig.run_with(&mut pair, SECOND / 2), [aborted(1)]);
    let ended =
        [AdminOpcode::DELETE_SQ, AdminOpcode::DELETE_CQ, AdminOpcode::CREATE_CQ, AdminOpcode::CREATE_SQ];
    assert_eq!(rig.device.inside().asked.iter().rev().take(4).rev().copied().collect::<Vec<_>>(), ended);
    assert_eq!((pair.counts().timeouts, rig.controller.take_event()), (1, None));
    rig.device.inside().holds = false;
    pair.submit(2, &rig.read(0, 8)).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(2, Ok(0))]);
}

#[test]
fn queues_that_cannot_be_deleted_take_the_controller_with_them() {
    let (mut rig, mut pair) = holding(Fake::new(), &options());
    let mut other = rig.controller.take_queue_pair().unwrap();
    rig.device.inside().silent.push(AdminOpcode::DELETE_SQ);
    pair.submit(1, &rig.read(0, 8)).unwrap();
    other.submit(2, &rig.read(0, 8)).unwrap();
    pair.commit();
    other.commit();
    rig.run(MOMENT);
    assert!(pair.reset());
    // Not before the controller is disabled: it may still touch the memory.
    assert_eq!(rig.run_with(&mut pair, SECOND - MOMENT), []);
    assert_eq!(rig.run_with(&mut pair, SECOND / 2), [aborted(1)]);
    assert_eq!(rig.run_with(&mut other, MOMENT), [aborted(2)]);
    rig.run_with(&mut pair, MOMENT);
    assert!(rig.controller.is_ready());
}

#[test]
fn what_may_be_repeated_is_sent_again_when_others_were_the_reason() {
    let replay = Options { replay: true, timeout: 60 * SECOND, ..options() };
    let (mut rig, mut pair) = holding(Fake::new(), &replay);
    let from = [BlockRange { slba: 0, blocks: 1 }];
    pair.submit(1, &rig.read(10, 8)).unwrap();
    pair.submit(2, &IoCommand::Copy { nsid: 1, slba: 9, from: &from, fua: false }).unwrap();
    pair.submit(3, &rig.read(30, 8)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    let before: Vec<u16> = held(&rig).iter().map(|sqe| sqe.cid.get()).collect();
    rig.device.inside().csts.set_cfs(true);
    assert_eq!(rig.run_with(&mut pair, 2 * MOMENT), [aborted(2)]);
    let again = held(&rig);
    assert_eq!(again.iter().map(Sqe::starting_lba).collect::<Vec<_>>(), [10, 30]);
    assert!(again.iter().all(|sqe| !before.contains(&sqe.cid.get())), "a late completion would be taken");
    rig.device.answer(1, Status::SUCCESS);
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(3, Ok(0))]);
    // But what its owner wants to end by force ends.
    assert!(pair.reset());
    assert_eq!(rig.run_with(&mut pair, MOMENT), [aborted(1)]);
    assert_eq!(pair.counts().repeated, 2);
}

#[test]
fn a_command_is_not_repeated_for_ever() {
    let replay = Options { replay: true, timeout: SECOND / 10, ..options() };
    let (mut rig, mut pair) = holding(Fake::new(), &replay);
    pair.submit(1, &rig.read(10, 8)).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, 3 * SECOND), [aborted(1)]);
    assert_eq!(pair.counts().repeated, 3);
}

#[test]
fn an_abort_reaches_the_device_with_the_commands_identifier() {
    let device = Fake::new();
    device.inside().mdts = 1;
    let (mut rig, mut pair) = holding(device, &options());
    pair.submit(1, &rig.read(0, 32)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    assert!(!pair.abort(2));
    assert!(pair.abort(1));
    rig.run(MOMENT);
    let aborts = rig.device.inside().asked.iter().filter(|asked| **asked == AdminOpcode::ABORT).count();
    assert_eq!(aborts, 2, "one for each part");
    rig.device.answer(0, Status::ABORT_REQUESTED);
    rig.device.answer(0, Status::SUCCESS);
    let expected = Err(Failure::Status(Status::ABORT_REQUESTED));
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(1, expected)]);
}

#[test]
fn a_queue_pair_that_was_dropped_can_be_taken_again() {
    let (mut rig, mut pair) = holding(Fake::new(), &options());
    rig.device.inside().holds = false;
    for tag in 0..5 {
        pair.submit(tag, &rig.read(0, 8)).unwrap();
    }
    pair.commit();
    rig.run_with(&mut pair, MOMENT);
    let _other = rig.controller.take_queue_pair().unwrap();
    assert!(rig.controller.take_queue_pair().is_none());
    drop(pair);
    rig.run(MOMENT);
    let mut pair = rig.controller.take_queue_pair().unwrap();
    assert_eq!(pair.qid(), 1);
    pair.submit(9, &rig.read(0, 8)).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(9, Ok(0))]);
}

#[test]
fn a_reset_is_followed_by_a_queue_pair_that_nobody_polls() {
    let mut rig = Rig::ready(Fake::new(), &options());
    let mut pair = rig.controller.take_queue_pair().unwrap();
    rig.device.inside().csts.set_cfs(true);
    rig.run(MOMENT);
    assert!(!rig.controller.is_ready());
    assert_eq!(pair.submit(1, &rig.read(0, 8)), Err(SubmitError::Resetting));
    rig.run(MOMENT);
    assert!(rig.controller.is_ready());
    pair.submit(1, &rig.read(0, 8)).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(1, Ok(0))]);
}

#[test]
fn a_pause_of_the_reactor_makes_nothing_late() {
    let (mut rig, mut pair) = holding(Fake::new(), &options());
    pair.submit(1, &rig.read(0, 8)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    rig.now = rig.now + 3600 * SECOND;
    rig.run_with(&mut pair, MOMENT);
    assert_eq!(pair.counts().timeouts, 0);
}
