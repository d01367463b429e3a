//! Power loss and sudden death at every system call: the old record or the new one is found, and after an
//! acknowledgement the new one. And the proof that each synchronisation is needed.

use super::*;

/// What is done to a record.
#[derive(Clone, Copy, Debug)]
enum Act {
    Save(&'static [u8]),
    Remove,
    /// A save during which every call of this kind fails.
    FailSave(Call, &'static [u8]),
    /// A removal during which every call of this kind fails.
    FailRemoval(Call),
}

/// Acts, and all that may be found if the end comes before the last of them is acknowledged.
struct Case {
    before: Option<&'static [u8]>,
    acts: &'static [Act],
    found: &'static [Option<&'static [u8]>],
}

const CASES: [Case; 10] = [
    Case { before: None, acts: &[Act::Save(NEW)], found: &[None, Some(NEW)] },
    Case { before: Some(OLD), acts: &[Act::Save(NEW)], found: &[Some(OLD), Some(NEW)] },
    Case { before: Some(OLD), acts: &[Act::Remove], found: &[None, Some(OLD)] },
    Case {
        before: Some(OLD),
        acts: &[Act::Save(NEW), Act::Save(THIRD)],
        found: &[Some(THIRD), Some(OLD), Some(NEW)],
    },
    Case { before: Some(OLD), acts: &[Act::Remove, Act::Save(NEW)], found: &[None, Some(OLD), Some(NEW)] },
    // What held before is written again when nobody knows what the disk holds.
    Case {
        before: Some(OLD),
        acts: &[Act::FailSave(Call::SyncDirectory, NEW), Act::Save(THIRD)],
        found: &[Some(THIRD), Some(OLD), Some(NEW)],
    },
    Case {
        before: Some(OLD),
        acts: &[Act::FailSave(Call::SyncDirectory, NEW), Act::Remove],
        found: &[None, Some(OLD), Some(NEW)],
    },
    Case {
        before: Some(OLD),
        acts: &[Act::FailRemoval(Call::SyncDirectory), Act::Save(THIRD)],
        found: &[None, Some(THIRD), Some(OLD)],
    },
    Case {
        before: Some(OLD),
        acts: &[Act::FailRemoval(Call::SyncDirectory), Act::Save(THIRD), Act::Remove],
        found: &[None, Some(THIRD), Some(OLD)],
    },
    Case {
        before: Some(OLD),
        acts: &[Act::FailSave(Call::SyncFile, NEW), Act::Save(THIRD)],
        found: &[Some(THIRD), Some(OLD)],
    },
];

/// A synchronisation that is left out, to see whether that is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LeftOut {
    Nothing,
    /// This call of the acts, from 0.
    Call(usize),
    /// That of a store that is opened.
    AtOpen,
}

/// What has come of the acts until the process died.
struct Run {
    disk: Disk,
    /// What may be found now.
    allowed: Vec<Option<Vec<u8>>>,
    /// The calls of the acts.
    calls: Vec<Call>,
}

impl Case {
    /// Runs the acts on a new disk. The process dies before call `boundary` of them.
    fn run(&self, boundary: usize, left_out: LeftOut) -> Run {
        let disk = disk(self.before);
        let mut store = disk.store();
        let opening = disk.calls().len();
        if let LeftOut::Call(call) = left_out {
            disk.fault_at(opening + call, Fault::Lies);
        }
        disk.kill_at(opening + boundary);
        let mut allowed = vec![self.before.map(<[u8]>::to_vec)];
        for act in self.acts {
            let (result, target) = act.run(&disk, &mut store);
            match result.map_err(|error| error.stage) {
                Ok(()) => allowed = vec![target],
                Err(Stage::Before) => {}
                Err(Stage::Unknown) => allowed.push(target),
            }
            if disk.is_dead() {
                break;
            }
        }
        let calls = disk.calls().split_off(opening);
        Run { disk, allowed, calls }
    }

    /// The calls of all acts.
    fn calls(&self) -> Vec<Call> {
        self.run(1 << 20, LeftOut::Nothing).calls
    }

    /// The kind of call that fails on the way.
    fn failing(&self) -> Option<Call> {
        self.acts.iter().find_map(|act| match act {
            Act::FailSave(call, _) | Act::FailRemoval(call) => Some(*call),
            Act::Save(_) | Act::Remove => None,
        })
    }

    /// Everything that is found and should not be, at every end that the case can come to.
    fn violations(&self, left_out: LeftOut) -> Vec<String> {
        let calls = self.calls();
        let mut violations = Vec::new();
        for boundary in 0..=calls.len() {
            let Run { disk, allowed, .. } = self.run(boundary, left_out);
            assert_eq!(disk.is_dead(), boundary < calls.len());
            let mut check = |end: &str, found: &[Option<Vec<u8>>], allowed: &[Option<Vec<u8>>]| {
                for record in found.iter().filter(|record| !allowed.contains(record)) {
                    let (found, acts) = (texts(std::slice::from_ref(record)), self.acts);
                    violations.push(format!("{acts:?}, {end} at call {boundary} of {calls:?}: {found:?}"));
                }
            };
            check("power cut", &after_power_cut(&disk), &allowed);

            disk.restart();
            if left_out == LeftOut::AtOpen {
                disk.break_calls(Call::SyncDirectory, Fault::Lies);
            }
            let mut store = disk.store();
            disk.repair();
            let found = vec![store.load(&name()).unwrap()];
            assert!(disk.visible().iter().all(|name| name == NAME), "{:?}", disk.visible());
            check("killed", &found, &allowed);
            // The kernel may never bring to the disk what it once failed to bring there.
            if self.failing() != Some(Call::SyncDirectory) {
                check("killed, and a power cut after the start", &after_power_cut(&disk), &found);
            }
            store.save(&name(), b"hereafter").unwrap();
            check("saved afterwards", &after_power_cut(&disk), &[Some(b"hereafter".to_vec())]);
            assert_eq!(disk.handles(), 0);
        }
        violations
    }
}

impl Act {
    /// What came of it, and what it should have made of the record.
    fn run(self, disk: &Disk, store: &mut Store<Disk>) -> (Result<(), SaveError>, Option<Vec<u8>>) {
        match self {
            Self::Save(bytes) => (store.save(&name(), bytes), Some(bytes.to_vec())),
            Self::Remove => (store.remove(&name()), None),
            Self::FailSave(call, _) | Self::FailRemoval(call) => {
                disk.break_calls(call, Fault::Fails(Errno::IO));
                let act = if let Self::FailSave(_, bytes) = self { Self::Save(bytes) } else { Self::Remove };
                let (result, target) = act.run(disk, store);
                assert!(result.is_err());
                disk.state().broken.clear();
                (result, target)
            }
        }
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_old_record_or_the_new_one() {
    for case in &CASES {
        assert_eq!(case.violations(LeftOut::Nothing), [""; 0]);
    }
}

#[test]
fn every_record_that_may_be_found_is_found() {
    // A store that does nothing, or a disk that loses nothing, would pass the test above.
    for case in &CASES {
        let boundaries = 0..case.calls().len();
        let ends = boundaries.map(|boundary| case.run(boundary, LeftOut::Nothing).disk);
        let mut found: Vec<_> = ends.flat_map(|disk| after_power_cut(&disk)).collect();
        found.sort();
        found.dedup();
        let expected: Vec<_> = case.found.iter().map(|record| record.map(<[u8]>::to_vec)).collect();
        assert_eq!(texts(&found), texts(&expected), "{:?}", case.acts);
    }
}

#[test]
fn every_synchronisation_of_a_save_or_a_removal_is_needed() {
    for case in &CASES {
        let calls = case.calls();
        // One that fails does nothing that could be left out.
        let failing = case.failing().and_then(|failing| calls.iter().position(|call| *call == failing));
        let is_sync = |at: usize| matches!(calls[at], Call::SyncFile | Call::SyncDirectory);
        let syncs: Vec<usize> = (0..calls.len()).filter(|at| is_sync(*at) && Some(*at) != failing).collect();
        assert!(!syncs.is_empty());
        for at in syncs {
            let violations = case.violations(LeftOut::Call(at));
            assert!(!violations.is_empty(), "{:?}: call {at} of {calls:?} is not needed", case.acts);
        }
    }
}

#[test]
fn the_synchronisation_of_a_store_that_is_opened_is_needed() {
    for case in CASES.iter().filter(|case| case.failing() != Some(Call::SyncDirectory)) {
        assert!(!case.violations(LeftOut::AtOpen).is_empty(), "{:?}", case.acts);
    }
}
