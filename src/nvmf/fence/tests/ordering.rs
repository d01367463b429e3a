//! The fences of a target, with the worker of a writer, over real and over failing files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use corelane_reactors::mailbox::Mailbox;
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;
use corelane_reactors::sim::Simulation;
use rustix::io::Errno;
use zerocopy::FromBytes;

use super::{PERSISTENT, acquire, host, id, identity, preempt, register};
use crate::nvmf::fence::keeper::Wish;
use crate::nvmf::fence::recover::{Recovered, record_name, recover};
use crate::nvmf::fence::{FenceAction, Fences, NamespaceKey, Origin, Snapshot};
use crate::persist::power_cut::{Call, Disk, Fault};
use crate::persist::{Answer, Files, StateDirectory, StateFiles, Store, Worker, Writer};
use crate::reservation::{Kind, Record, Request};
use crate::spec::reservation::{ReportEntry, ReportHeader};
use crate::spec::status::Status;

const ROOM: usize = 8;
const REPORT_BYTES: u64 = 4096;
const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();
const FAILED: Status = Status::INTERNAL_ERROR;
const OUT_OF_SERVICE: Status = Status::INTERNAL_ERROR.with_dnr();

/// Namespaces 1 and 2 of subsystem 0.
struct Stand<F: Files> {
    fences: Fences,
    worker: Worker<F>,
    answers: Mailbox<Answer>,
    answered: BTreeMap<u64, Status>,
    drains: Vec<FenceAction>,
    /// What was said last of the health of each namespace.
    health: BTreeMap<u32, bool>,
    number: u64,
}

fn on(nsid: u32) -> NamespaceKey {
    NamespaceKey { subsystem: 0, nsid }
}

impl<F: Files + Send + Sync + 'static> Stand<F> {
    fn new(store: Store<F>) -> Self {
        Self::on(&Simulation::new(1, 1).unwrap(), store)
    }

    fn on(simulation: &Simulation, store: Store<F>) -> Self {
        let (sender, answers) = simulation.group().mailbox(0, ROOM);
        let found = [1, 2].map(|nsid| {
            let recovered =
                recover(&store.reader(), &identity(nsid), PERSISTENT).unwrap_or(Recovered::Fenced);
            (identity(nsid), recovered, PERSISTENT)
        });
        let (writer, worker) = Writer::local(store, sender, ROOM);
        let mut fences = Fences::new(writer);
        fences.add(0, simulation.group().published(Arc::new(Snapshot::default())), found);
        assert_eq!(fences.admit(0, id(1)).unwrap().1, 0);
        assert_eq!(fences.admit(0, id(2)).unwrap().1, 1);
        let (answered, drains, health) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { fences, worker, answers, answered, drains, health, number: 0 }
    }

    /// Everything but drains is done; the number of the command.
    fn submit(&mut self, nsid: u32, number: u8, request: Request) -> u64 {
        self.number += 1;
        self.fences.submit(on(nsid), Origin::Io(self.number), Wish::Request(host(number), request));
        self.settle();
        self.number
    }

    /// A command that is over when everything is done; its status.
    fn run(&mut self, nsid: u32, number: u8, request: Request) -> Status {
        let number = self.submit(nsid, number, request);
        self.answered.remove(&number).expect("an answer")
    }

    /// Hosts protect the namespace, or do not any more; the status when everything is done.
    fn protect(&mut self, nsid: u32, protected: bool) -> Status {
        self.number += 1;
        self.fences.submit(on(nsid), Origin::Io(self.number), Wish::Protection(protected));
        self.settle();
        while let Some(FenceAction::Settle { key }) = self.drains.pop() {
            assert_eq!(self.answered.get(&self.number), None, "writes may be left");
            self.fences.drained(key);
            self.settle();
        }
        self.answered.remove(&self.number).expect("an answer")
    }

    /// What the host in the first slot is told about writing.
    fn may_write(&self, nsid: u32) -> Result<(), Status> {
        self.fences.published(on(nsid)).judge(0, true)
    }

    fn settle(&mut self) {
        loop {
            let mut any = self.worker.step();
            while let Some(answer) = self.answers.receive() {
                self.fences.saved(answer);
                any = true;
            }
            // What goes on because of it shows as an action; a grace that lasts is not waited for.
            self.fences.look();
            while let Some(action) = self.fences.next_action() {
                any = true;
                match action {
                    FenceAction::Answer(Origin::Io(number), status) => {
                        assert_eq!(self.answered.insert(number, status), None, "answered twice");
                    }
                    FenceAction::Health { key, sound } => drop(self.health.insert(key.nsid, sound)),
                    FenceAction::Drain { .. } | FenceAction::Settle { .. } => self.drains.push(action),
                    FenceAction::Answer(Origin::Admin(_) | Origin::Operator, _)
                    | FenceAction::Protection { .. }
                    | FenceAction::Notify { .. }
                    | FenceAction::Persistence { .. } => {}
                }
            }
            if !any {
                return;
            }
        }
    }

    fn report(&self, nsid: u32, cntlid: Option<u16>) -> Vec<u8> {
        self.fences.report(on(nsid), REPORT_BYTES, |_| cntlid).unwrap()
    }
}

fn reopened(directory: &tempfile::TempDir) -> Stand<StateFiles> {
    let state = StateDirectory::open(directory.path(), true).unwrap();
    Stand::new(Store::open(StateFiles::new(Arc::new(state))).unwrap())
}

/// A stand in a new directory.
fn stand() -> (tempfile::TempDir, Stand<StateFiles>) {
    let directory = tempfile::tempdir().unwrap();
    drop(StateDirectory::open(directory.path(), false).unwrap());
    let stand = reopened(&directory);
    (directory, stand)
}

#[test]
fn a_restart_gives_the_same_report_but_for_cntlid() {
    let (directory, mut stand) = stand();
    assert_eq!(stand.run(1, 1, register(1, Some(true))), Status::SUCCESS);
    assert_eq!(stand.run(1, 2, register(2, None)), Status::SUCCESS);
    assert_eq!(stand.run(1, 2, acquire(2, Kind::ExclusiveAccess)), Status::SUCCESS);
    assert_eq!(stand.run(2, 1, register(1, None)), Status::SUCCESS);
    let before = stand.report(1, Some(5));
    assert_eq!(stand.report(2, Some(5)).len(), 64 + 64);
    drop(stand);

    let mut stand = reopened(&directory);
    let mut after = stand.report(1, None);
    for start in [64, 128] {
        let entry = ReportEntry::ref_from_bytes(&after[start..start + 64]).unwrap();
        assert_eq!(entry.cntlid.get(), ReportEntry::NO_CONTROLLER);
        after[start..start + 2].copy_from_slice(&before[start..start + 2]);
    }
    assert_eq!(after, before);
    let header = ReportHeader::ref_from_bytes(&before[..64]).unwrap();
    assert_eq!((header.generation.get(), header.rtype.0, header.regstrnt.get(), header.ptpls), (2, 2, 2, 1));
    // Without persistence nothing is left, not even the generation.
    assert_eq!(stand.report(2, None), [0; 64]);
    // The rules hold before anybody connects again, and the next record has a higher number.
    assert_eq!(stand.run(1, 1, acquire(1, Kind::ExclusiveAccess)), CONFLICT);
    let path = directory.path().join(record_name(&identity(1)).as_str());
    let sequence = || Record::decode(&std::fs::read(&path).unwrap()).unwrap().sequence;
    let earlier = sequence();
    assert_eq!(stand.run(1, 1, register(1, None)), Status::SUCCESS);
    assert_eq!(sequence(), earlier + 1);
}

#[test]
fn turning_persistence_off_leaves_nothing_for_the_next_start() {
    let (directory, mut stand) = stand();
    assert_eq!(stand.run(1, 1, register(1, Some(true))), Status::SUCCESS);
    assert_eq!(stand.run(1, 1, register(1, Some(false))), Status::SUCCESS);
    drop(stand);
    assert_eq!(reopened(&directory).report(1, None), [0; 64]);
}

#[test]
fn preempt_and_abort_answers_after_its_drain_and_others_need_not_wait() {
    let (_directory, mut stand) = stand();
    for number in [1, 2] {
        assert_eq!(stand.run(1, number, register(number, Some(true))), Status::SUCCESS);
    }
    assert_eq!(stand.run(1, 1, acquire(1, Kind::WriteExclusive)), Status::SUCCESS);
    let preempting = stand.submit(1, 1, preempt(1, 2, Kind::WriteExclusive, true));
    assert_eq!(stand.drains, [FenceAction::Drain { key: on(1), hosts: vec![id(2)] }]);
    assert_eq!(stand.run(2, 2, register(2, None)), Status::SUCCESS, "another namespace");
    let behind = stand.submit(1, 2, register(2, None));
    assert_eq!(stand.answered.get(&preempting), None);
    assert_eq!(stand.answered.get(&behind), None);
    stand.fences.drained(on(1));
    stand.settle();
    assert_eq!(stand.answered.get(&preempting), Some(&Status::SUCCESS));
    assert_eq!(stand.answered.get(&behind), Some(&Status::SUCCESS));
}

/// Runs `act` inside each turn of its reactor.
struct InTurn<A>(A);

impl<A: FnMut(&Turn<'_>)> Poller for InTurn<A> {
    fn name(&self) -> &str {
        "in-turn"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        (self.0)(turn);
        Poll::Idle(Wake::Never)
    }
}

#[test]
fn no_answer_while_a_reactor_is_in_a_turn_that_began_with_the_old_rules() {
    for preempts in [false, true] {
        let disk = Disk::holding(&BTreeMap::new());
        let mut simulation = Simulation::new(2, 1).unwrap();
        let stand = Rc::new(RefCell::new(Stand::on(&simulation, disk.store())));
        for number in [1, 2] {
            assert_eq!(stand.borrow_mut().run(1, number, register(number, Some(true))), Status::SUCCESS);
        }
        let request = if preempts {
            preempt(1, 2, Kind::WriteExclusive, true)
        } else {
            acquire(1, Kind::WriteExclusive)
        };
        let (rules, slot) = stand.borrow_mut().fences.admit(0, id(2)).unwrap();
        let (inside, mut request) = (Rc::clone(&stand), Some(request));
        let judged = Rc::new(RefCell::new(Vec::new()));
        let judging = Rc::clone(&judged);
        let act = move |turn: &Turn<'_>| {
            judging.borrow_mut().push(rules.read(turn).judge(1, slot, true));
            if let Some(request) = request.take() {
                // The management reactor does all that it can while this turn goes on.
                let number = inside.borrow_mut().submit(1, 1, request);
                assert_eq!(inside.borrow().answered.get(&number), None);
                assert!(inside.borrow().drains.is_empty(), "a drain may miss what this turn hands over");
            }
        };
        simulation.reactor(1).add_poller(Phase::Ingress, Box::new(InTurn(act))).unwrap();
        let _ = simulation.reactor(1).turn();
        stand.borrow_mut().settle();
        let expected = if preempts { (0, 1) } else { (1, 0) };
        assert_eq!((stand.borrow().answered.len(), stand.borrow().drains.len()), expected);
        let _ = simulation.reactor(1).turn();
        let after = if preempts { Ok(()) } else { Err(CONFLICT) };
        assert_eq!(*judged.borrow(), [Ok(()), after]);
    }
}

/// Breaks a call, and tells what Register and Acquire of a new host are answered while it is broken; then repairs.
fn broken(call: Call, fault: Fault, persistent: bool) {
    let disk = Disk::holding(&BTreeMap::new());
    let mut stand = Stand::new(disk.store());
    if persistent {
        assert_eq!(stand.run(1, 2, register(2, Some(true))), Status::SUCCESS);
    }
    let before = stand.report(1, None);
    disk.break_calls(call, fault);
    for _ in 0..3 {
        assert_eq!(stand.run(1, 1, register(1, Some(true))), FAILED, "{call:?} {fault:?}");
        assert_eq!(stand.report(1, None), before, "{call:?} {fault:?}");
        // Where nothing has to be written, the disk does not matter.
        assert_eq!(stand.run(2, 1, register(1, None)), Status::SUCCESS);
    }
    disk.repair();
    assert_eq!(stand.run(1, 1, register(1, Some(true))), Status::SUCCESS, "{call:?} {fault:?}");
    let after = stand.report(1, None);
    for survivor in disk.survivors().every() {
        let again = Stand::new(Disk::holding(&survivor).store());
        assert_eq!(again.report(1, None), after, "{call:?} {fault:?}");
    }
}

/// Breaks a call, and protects a namespace while it is broken, or lifts that; then repairs.
fn broken_protection(call: Call, fault: Fault, protected: bool) {
    let disk = Disk::holding(&BTreeMap::new());
    let mut stand = Stand::new(disk.store());
    assert_eq!(stand.run(1, 2, register(2, Some(true))), Status::SUCCESS);
    if protected {
        assert_eq!(stand.protect(1, true), Status::SUCCESS);
    }
    let (report, rights) = (stand.report(1, None), stand.may_write(1));
    assert_eq!(rights.is_err(), protected);
    disk.break_calls(call, fault);
    for _ in 0..3 {
        assert_eq!(stand.protect(1, !protected), FAILED, "{call:?} {fault:?}");
        assert_eq!(
            (stand.report(1, None), stand.may_write(1)),
            (report.clone(), rights),
            "{call:?} {fault:?}"
        );
    }
    disk.repair();
    assert_eq!(stand.protect(1, !protected), Status::SUCCESS, "{call:?} {fault:?}");
    assert_eq!((stand.report(1, None), stand.may_write(1).is_err()), (report.clone(), !protected));
    for survivor in disk.survivors().every() {
        let again = Stand::new(Disk::holding(&survivor).store());
        let found = (again.report(1, None), again.may_write(1).is_err());
        assert_eq!(found, (report.clone(), !protected), "{call:?} {fault:?}");
    }
}

#[test]
fn health_is_whether_the_disk_is_known_to_hold_what_is_in_force() {
    for fault in [Fault::Fails(Errno::IO), Fault::FailsAfterwards(Errno::IO)] {
        let disk = Disk::holding(&BTreeMap::new());
        let mut stand = Stand::new(disk.store());
        assert_eq!(stand.protect(1, true), Status::SUCCESS);
        assert!(stand.health[&1]);
        // From the rename on nobody knows.
        disk.break_calls(Call::SyncDirectory, fault);
        assert_eq!(stand.protect(1, false), FAILED);
        assert_eq!((stand.health[&1], stand.health[&2]), (false, true), "{fault:?}");
        disk.repair();
        assert_eq!(stand.protect(1, false), Status::SUCCESS);
        assert!(stand.health[&1]);
    }
    let (directory, stand) = stand();
    drop(stand);
    std::fs::write(directory.path().join(record_name(&identity(1)).as_str()), b"{").unwrap();
    let mut stand = reopened(&directory);
    stand.settle();
    assert_eq!(stand.health, [(1, false), (2, true)].into());
}

#[test]
fn the_last_wish_of_an_operator_holds_however_busy_the_namespace_is() {
    let (_directory, mut stand) = stand();
    stand.number += 1;
    // A save is under way, and what the operator wants waits behind it.
    stand.fences.submit(on(1), Origin::Io(stand.number), Wish::Request(host(1), register(1, Some(true))));
    for protected in [true, false, true, false] {
        stand.fences.operate(on(1), protected);
    }
    stand.settle();
    while let Some(FenceAction::Settle { key }) = stand.drains.pop() {
        stand.fences.drained(key);
        stand.settle();
    }
    assert_eq!(stand.answered.remove(&stand.number), Some(Status::SUCCESS));
    assert_eq!(stand.may_write(1), Ok(()));
    stand.fences.operate(on(1), true);
    assert!(stand.may_write(1).is_err(), "at once where nothing is under way");
}

#[test]
fn protection_that_cannot_be_kept_is_refused_and_nothing_changes() {
    for protected in [false, true] {
        for call in [
            Call::OpenDirectory,
            Call::Create,
            Call::Write,
            Call::SyncFile,
            Call::Rename,
            Call::SyncDirectory,
        ] {
            broken_protection(call, Fault::Fails(Errno::IO), protected);
        }
        for fault in [Fault::MayReachDisk(Errno::IO), Fault::FailsAfterwards(Errno::IO)] {
            broken_protection(Call::Rename, fault, protected);
            broken_protection(Call::SyncDirectory, fault, protected);
        }
    }
}

#[test]
fn a_power_cut_on_the_way_finds_what_was_answered_last() {
    let disk = Disk::holding(&BTreeMap::new());
    let mut stand = Stand::new(disk.store());
    for protected in [true, false, true] {
        assert_eq!(stand.protect(1, protected), Status::SUCCESS);
        for survivor in disk.survivors().every() {
            let again = Stand::new(Disk::holding(&survivor).store());
            assert_eq!(again.may_write(1).is_err(), protected, "what was answered stays");
        }
    }
}

#[test]
fn a_failed_save_is_refused_and_the_next_command_works_when_the_disk_does() {
    for persistent in [false, true] {
        for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS] {
            for call in [
                Call::OpenDirectory,
                Call::Create,
                Call::Write,
                Call::SyncFile,
                Call::Rename,
                Call::SyncDirectory,
            ] {
                broken(call, Fault::Fails(errno), persistent);
            }
            for fault in [Fault::MayReachDisk(errno), Fault::FailsAfterwards(errno)] {
                broken(Call::Rename, fault, persistent);
                broken(Call::SyncDirectory, fault, persistent);
            }
        }
    }
}

#[test]
fn a_power_cut_after_a_refused_command_finds_the_old_state() {
    for fault in [Fault::Fails(Errno::IO), Fault::MayReachDisk(Errno::IO), Fault::FailsAfterwards(Errno::IO)]
    {
        let disk = Disk::holding(&BTreeMap::new());
        let mut stand = Stand::new(disk.store());
        assert_eq!(stand.run(1, 2, register(2, Some(true))), Status::SUCCESS);
        let before = stand.report(1, None);
        let calls = disk.calls();
        let rename = calls.iter().rposition(|call| *call == Call::Rename).unwrap();
        let opening = calls.iter().position(|call| *call == Call::Create).unwrap() - 1;
        // The rename of the next save fails, and that of the old record after it does not.
        disk.fault_at(calls.len() + rename - opening, fault);
        assert_eq!(stand.run(1, 1, register(1, None)), FAILED);
        for survivor in disk.survivors().every() {
            assert_eq!(Stand::new(Disk::holding(&survivor).store()).report(1, None), before, "{fault:?}");
        }
    }
}

#[test]
fn a_namespace_that_could_not_be_read_is_out_of_service_and_the_others_serve() {
    let (directory, stand) = stand();
    drop(stand);
    let path = directory.path().join(record_name(&identity(1)).as_str());
    std::fs::write(&path, b"{").unwrap();
    let mut stand = reopened(&directory);
    assert_eq!(stand.run(1, 1, register(1, Some(true))), OUT_OF_SERVICE);
    assert_eq!(stand.fences.report(on(1), REPORT_BYTES, |_| None), Err(OUT_OF_SERVICE));
    assert!(stand.fences.state(on(1)).is_none());
    assert_eq!(std::fs::read(&path).unwrap(), b"{", "what an operator has to look at stays");
    assert_eq!(stand.run(2, 1, register(1, Some(true))), Status::SUCCESS);
}

#[test]
fn a_namespace_that_is_not_there_has_no_reservations() {
    let (_directory, mut stand) = stand();
    for key in [on(3), NamespaceKey { subsystem: 1, nsid: 1 }] {
        stand.fences.submit(key, Origin::Io(77), Wish::Request(host(1), register(1, None)));
        stand.settle();
        assert_eq!(stand.answered.remove(&77), Some(Status::INVALID_FIELD.with_dnr()));
        assert_eq!(stand.fences.report(key, REPORT_BYTES, |_| None), Err(Status::INVALID_FIELD.with_dnr()));
    }
}

#[test]
fn a_writer_that_takes_no_order_refuses_the_command() {
    let (_directory, mut stand) = stand();
    let simulation = Simulation::new(1, 1).unwrap();
    let (_sender, other) = simulation.group().mailbox(0, 1);
    drop(std::mem::replace(&mut stand.answers, other));
    assert_eq!(stand.run(1, 1, register(1, Some(true))), FAILED);
    assert_eq!(stand.run(1, 1, register(1, None)), Status::SUCCESS, "nothing has to be written");
}
