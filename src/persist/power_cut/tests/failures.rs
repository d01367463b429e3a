//! Every call fails in every way: the error says what the disk holds, nothing leaks, and the next save works as
//! soon as the disk does.

use super::*;

/// What a full, failing, foreign or vanishing file system answers.
const ERRNOS: [(Errno, Reason); 6] = [
    (Errno::NOSPC, Reason::Full),
    (Errno::DQUOT, Reason::Quota),
    (Errno::IO, Reason::System(Errno::IO)),
    (Errno::ROFS, Reason::ReadOnly),
    (Errno::ACCESS, Reason::NoPermission),
    (Errno::MFILE, Reason::System(Errno::MFILE)),
];

/// What is done, over a record, and what it makes of it.
type Act = (fn(&mut Store<Disk>) -> Result<(), SaveError>, Option<&'static [u8]>);
const ACTS: [Act; 2] = [(|store| store.save(&name(), NEW), Some(NEW)), (|store| store.remove(&name()), None)];

/// The calls that the act makes when nothing fails.
fn calls_of(act: Act) -> Vec<Call> {
    let disk = disk(Some(OLD));
    let mut store = disk.store();
    let opening = disk.calls().len();
    act.0(&mut store).unwrap();
    disk.calls().split_off(opening)
}

/// The step that a call belongs to, and what is known when it has failed.
fn place(calls: &[Call], at: usize) -> (Step, Stage) {
    match calls[at] {
        Call::OpenDirectory => (Step::Prepare, Stage::Before),
        Call::Create => (Step::Create, Stage::Before),
        Call::Write => (Step::Write, Stage::Before),
        Call::SyncFile => (Step::Sync, Stage::Before),
        Call::Rename => (Step::Rename, Stage::Unknown),
        Call::Remove => (Step::Remove, Stage::Unknown),
        Call::SyncDirectory => (Step::SyncDirectory, Stage::Unknown),
        other => panic!("{other:?} is no call of a save or a removal"),
    }
}

fn check_after(disk: &Disk, store: &mut Store<Disk>, stage: Stage, target: Option<&[u8]>) {
    let mut allowed = vec![Some(OLD.to_vec())];
    if stage == Stage::Unknown {
        allowed.push(target.map(<[u8]>::to_vec));
    }
    let found = after_power_cut(disk);
    assert!(found.iter().all(|record| allowed.contains(record)), "{:?}", texts(&found));
    let loaded = store.load(&name()).unwrap();
    assert!(allowed.contains(&loaded), "{loaded:?}");
    assert_eq!(disk.handles(), 0);

    store.save(&name(), THIRD).unwrap();
    assert_eq!(texts(&after_power_cut(disk)), texts(&[Some(THIRD.to_vec())]));
    assert_eq!(disk.visible(), [NAME]);
    assert_eq!(disk.handles(), 0);
}

#[test]
fn a_call_that_fails_once_is_told_apart_by_what_the_disk_holds() {
    for act in ACTS {
        let calls = calls_of(act);
        for at in 0..calls.len() {
            for (errno, reason) in ERRNOS {
                for fault in [Fault::Fails(errno), Fault::MayReachDisk(errno), Fault::FailsAfterwards(errno)]
                {
                    let may_do_half = matches!(calls[at], Call::Rename | Call::Remove | Call::SyncDirectory);
                    if !may_do_half && fault != Fault::Fails(errno) {
                        continue;
                    }
                    let disk = disk(Some(OLD));
                    let mut store = disk.store();
                    disk.fault_at(disk.calls().len() + at, fault);
                    let error = act.0(&mut store).unwrap_err();
                    let (step, stage) = place(&calls, at);
                    assert_eq!((error.step, error.stage, error.reason), (step, stage, reason), "{error}");
                    assert!(disk.visible().iter().all(|name| name == NAME), "{:?}", disk.visible());
                    check_after(&disk, &mut store, stage, act.1);
                }
            }
        }
    }
}

#[test]
fn a_disk_that_fails_from_one_call_on_works_again_when_it_is_repaired() {
    for act in ACTS {
        let calls = calls_of(act);
        for at in 0..calls.len() {
            for (errno, _) in ERRNOS {
                let disk = disk(Some(OLD));
                let mut store = disk.store();
                let start = disk.calls().len();
                for number in start + at..start + 100 {
                    disk.fault_at(number, Fault::Fails(errno));
                }
                let (_, stage) = place(&calls, at);
                assert_eq!(act.0(&mut store).unwrap_err().stage, stage);
                // While the disk is broken, every further attempt fails before it touches the record.
                for _ in 0..3 {
                    assert_eq!(store.save(&name(), b"meanwhile").unwrap_err().stage, Stage::Before);
                }
                disk.repair();
                check_after(&disk, &mut store, stage, act.1);
            }
        }
    }
}

#[test]
fn temporary_files_that_cannot_be_removed_are_bounded_and_removed_later() {
    let disk = disk(Some(OLD));
    let mut store = disk.store();
    disk.break_calls(Call::Remove, Fault::Fails(Errno::IO));
    disk.break_calls(Call::SyncFile, Fault::Fails(Errno::IO));
    let steps: Vec<Step> = (0..20).map(|_| store.save(&name(), NEW).unwrap_err().step).collect();
    assert_eq!(steps[..8], [Step::Sync; 8]);
    assert_eq!(steps[8..], [Step::Prepare; 12]);
    assert_eq!(disk.visible().len(), 1 + 8);
    disk.repair();
    store.save(&name(), NEW).unwrap();
    assert_eq!(disk.visible(), [NAME]);
    assert_eq!(texts(&after_power_cut(&disk)), texts(&[Some(NEW.to_vec())]));
}

#[test]
fn one_temporary_file_that_cannot_be_removed_keeps_nothing_from_being_saved() {
    let disk = disk(Some(OLD));
    let mut store = disk.store();
    disk.break_calls(Call::Remove, Fault::Fails(Errno::IO));
    disk.break_calls(Call::SyncFile, Fault::Fails(Errno::IO));
    store.save(&name(), NEW).unwrap_err();
    disk.repair();
    disk.break_calls(Call::Remove, Fault::Fails(Errno::IO));
    store.save(&name(), THIRD).unwrap();
    assert_eq!(disk.visible().len(), 2);
    assert_eq!(texts(&after_power_cut(&disk)), texts(&[Some(THIRD.to_vec())]));
}

#[test]
fn writes_that_are_cut_short_are_continued() {
    for most in 1..=4 {
        let disk = disk(Some(OLD));
        let mut store = disk.store();
        disk.break_calls(Call::Write, Fault::Short(most));
        disk.break_calls(Call::Read, Fault::Short(most));
        store.save(&name(), NEW).unwrap();
        assert_eq!(store.load(&name()).unwrap().as_deref(), Some(NEW));
        assert_eq!(texts(&after_power_cut(&disk)), texts(&[Some(NEW.to_vec())]));
    }
}

#[test]
fn a_disk_that_takes_nothing_is_an_error_and_not_a_loop() {
    let disk = disk(Some(OLD));
    let mut store = disk.store();
    disk.break_calls(Call::Write, Fault::Short(0));
    let error = store.save(&name(), NEW).unwrap_err();
    assert_eq!((error.step, error.stage), (Step::Write, Stage::Before));
    assert_eq!(disk.visible(), [NAME]);
}

#[test]
fn a_directory_that_is_gone_is_an_error_of_every_operation() {
    let disk = disk(Some(OLD));
    let mut store = disk.store();
    disk.remove_directory();
    let error = store.save(&name(), NEW).unwrap_err();
    assert_eq!((error.stage, error.reason), (Stage::Before, Reason::Gone));
    let error = store.remove(&name()).unwrap_err();
    assert_eq!((error.stage, error.reason), (Stage::Before, Reason::Gone));
    assert_eq!(store.load(&name()).unwrap_err().reason, Reason::Gone);
    assert_eq!(store.reader().names().unwrap_err().reason, Reason::Gone);
    assert_eq!(disk.handles(), 0);
}

#[test]
fn a_removal_of_which_nobody_knows_what_came_is_not_repeated_before_a_save() {
    // Each row: what failed before, and whether there was a record.
    type Row = (Call, Fault, Option<&'static [u8]>, fn(&mut Store<Disk>) -> Result<(), SaveError>);
    let rows: [Row; 2] = [
        (Call::SyncDirectory, Fault::Fails(Errno::IO), Some(OLD), |store| store.remove(&name())),
        (Call::Rename, Fault::MayReachDisk(Errno::IO), None, |store| store.save(&name(), NEW)),
    ];
    for (call, fault, before, act) in rows {
        let disk = disk(before);
        let mut store = disk.store();
        disk.break_calls(call, fault);
        assert_eq!(act(&mut store).unwrap_err().stage, Stage::Unknown);
        disk.repair();
        for _ in 0..2 {
            let error = store.remove(&name()).unwrap_err();
            assert_eq!((error.stage, error.reason), (Stage::Unknown, Reason::Uncertain));
        }
        assert_eq!(after_power_cut(&disk).len(), 2, "the disk may hold either");
        store.save(&name(), THIRD).unwrap();
        store.remove(&name()).unwrap();
        assert_eq!(after_power_cut(&disk), [None]);
        // Certain again: a record that is not there can be removed.
        store.remove(&name()).unwrap();
    }
}

#[test]
fn a_store_is_not_opened_on_a_disk_that_fails() {
    let leftover = format!("{NAME}.3.new");
    let calls = [Call::OpenDirectory, Call::Names, Call::Remove, Call::SyncDirectory];
    for call in calls {
        let disk = Disk::holding(&Survivor::from([(leftover.clone(), b"half".to_vec())]));
        disk.break_calls(call, Fault::Fails(Errno::ROFS));
        let error = Store::open(disk.clone()).unwrap_err();
        assert_eq!(error.reason, Reason::ReadOnly, "{call:?}");
        assert_eq!(error.path.ends_with(&leftover), call == Call::Remove, "{error}");
        assert_eq!(disk.handles(), 0);
    }
}
