//! Single commands through the steps, one test for each thing that must not happen.

use super::{PERSISTENT, acquire, clear, host, id, preempt, register};
use crate::nvmf::fence::keeper::{Keeper, Save, SaveFailure, Step, WAITING_MAX, Wish};
use crate::reservation::{Kind, Request, State};
use crate::spec::status::Status;

fn keeper() -> Keeper<u32> {
    Keeper::new(State::new(), false, PERSISTENT)
}

fn submit(keeper: &mut Keeper<u32>, origin: u32, number: u8, request: Request) {
    keeper.submit(origin, Wish::Request(host(number), request));
}

fn completed(keeper: &mut Keeper<u32>) -> (u32, Status) {
    match keeper.next_step() {
        Some(Step::Complete(origin, status)) => (origin, status),
        other => panic!("{other:?} is no completion"),
    }
}

/// Hosts 1 and 2 registered, without persistence.
fn registered() -> Keeper<u32> {
    let mut keeper = keeper();
    for number in [1, 2] {
        submit(&mut keeper, 0, number, register(number, None));
        assert_eq!(completed(&mut keeper), (0, Status::SUCCESS));
    }
    keeper
}

#[test]
fn preempt_and_abort_is_complete_only_after_it_was_seen_and_drained() {
    let mut keeper = registered();
    submit(&mut keeper, 1, 1, acquire(1, Kind::WriteExclusiveRegistrantsOnly));
    assert!(matches!(keeper.next_step(), Some(Step::Publish)));
    keeper.observed();
    assert_eq!(completed(&mut keeper), (1, Status::SUCCESS));
    submit(&mut keeper, 2, 1, preempt(1, 2, Kind::WriteExclusiveRegistrantsOnly, true));
    assert!(matches!(keeper.next_step(), Some(Step::Publish)));
    assert!(keeper.next_step().is_none());
    keeper.observed();
    assert!(matches!(keeper.next_step(), Some(Step::Drain(hosts)) if hosts == [id(2)]));
    assert!(keeper.next_step().is_none());
    keeper.drained();
    assert!(matches!(keeper.next_step(), Some(Step::Notify(notices)) if notices[0].host == id(2)));
    assert_eq!(completed(&mut keeper), (2, Status::SUCCESS));
}

#[test]
fn refused_before_the_rename_leaves_the_state_and_ptpl_as_they_were() {
    let mut keeper = registered();
    let before = keeper.state().clone();
    submit(&mut keeper, 1, 1, register(1, Some(true)));
    assert!(matches!(keeper.next_step(), Some(Step::Save(Save::Write { state, .. })) if state.ptpl()));
    keeper.saved(Err(SaveFailure::Before));
    assert_eq!(completed(&mut keeper), (1, Status::INTERNAL_ERROR));
    assert_eq!(keeper.state(), &before);
    assert!(!keeper.is_degraded());
}

#[test]
fn an_answer_waits_until_the_old_record_is_back() {
    let mut keeper = registered();
    let before = keeper.state().clone();
    submit(&mut keeper, 1, 1, register(1, Some(true)));
    submit(&mut keeper, 2, 2, acquire(2, Kind::ExclusiveAccess));
    assert!(matches!(keeper.next_step(), Some(Step::Save(Save::Write { .. }))));
    keeper.saved(Err(SaveFailure::Unknown));
    // A removal might not reach what the disk holds, so the old state is written although it does not persist.
    assert!(matches!(keeper.next_step(), Some(Step::Save(Save::Write { state, .. })) if state == before));
    assert!(keeper.next_step().is_none());
    keeper.saved(Ok(()));
    assert_eq!(completed(&mut keeper), (1, Status::INTERNAL_ERROR));
    // What waited goes on from the old state.
    assert!(matches!(keeper.next_step(), Some(Step::Publish)));
    assert!(!keeper.state().ptpl());
    keeper.observed();
    assert_eq!(completed(&mut keeper), (2, Status::SUCCESS));
}

#[test]
fn a_degraded_namespace_refuses_every_command_until_the_disk_is_back() {
    let mut keeper = registered();
    submit(&mut keeper, 1, 1, register(1, Some(true)));
    assert!(matches!(keeper.next_step(), Some(Step::Save(_))));
    keeper.saved(Err(SaveFailure::Unknown));
    assert!(matches!(keeper.next_step(), Some(Step::Save(_))));
    keeper.saved(Err(SaveFailure::Before));
    assert_eq!(completed(&mut keeper), (1, Status::INTERNAL_ERROR));
    for origin in 2..5 {
        assert!(keeper.is_degraded());
        submit(&mut keeper, origin, 2, clear(2));
        assert!(matches!(keeper.next_step(), Some(Step::Save(Save::Write { .. }))));
        keeper.saved(Err(SaveFailure::Unknown));
        assert_eq!(completed(&mut keeper), (origin, Status::INTERNAL_ERROR));
    }
    submit(&mut keeper, 5, 2, clear(2));
    assert!(matches!(keeper.next_step(), Some(Step::Save(Save::Write { .. }))));
    keeper.saved(Ok(()));
    assert!(!keeper.is_degraded());
    assert!(matches!(keeper.next_step(), Some(Step::Notify(_))));
    assert_eq!(completed(&mut keeper), (5, Status::SUCCESS));
}

#[test]
fn commands_beyond_the_room_are_interrupted_and_the_others_keep_their_order() {
    let mut keeper = keeper();
    let waiting = u32::try_from(WAITING_MAX).unwrap();
    submit(&mut keeper, 0, 1, register(1, Some(true)));
    assert!(matches!(keeper.next_step(), Some(Step::Save(_))));
    for origin in 1..=waiting {
        submit(&mut keeper, origin, 2, acquire(2, Kind::WriteExclusive));
    }
    assert!(keeper.next_step().is_none());
    for origin in [waiting + 1, waiting + 2] {
        submit(&mut keeper, origin, 2, acquire(2, Kind::WriteExclusive));
        assert_eq!(completed(&mut keeper), (origin, Status::INTERRUPTED));
    }
    keeper.saved(Ok(()));
    assert_eq!(completed(&mut keeper), (0, Status::SUCCESS));
    for origin in 1..=waiting {
        assert_eq!(completed(&mut keeper), (origin, Status::RESERVATION_CONFLICT.with_dnr()));
    }
    assert!(keeper.next_step().is_none());
}

#[test]
fn a_fenced_namespace_refuses_every_command_at_once() {
    let mut keeper = Keeper::fenced(PERSISTENT);
    let wishes = [Wish::Request(host(1), register(1, None)), Wish::Persistence(true)];
    for (origin, wish) in (0..).zip(wishes) {
        keeper.submit(origin, wish);
        assert_eq!(completed(&mut keeper), (origin, Status::INTERNAL_ERROR.with_dnr()));
    }
    assert!(keeper.is_fenced() && keeper.next_step().is_none());
}
