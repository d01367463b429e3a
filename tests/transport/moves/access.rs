//! Queues that move while an operator changes what their hosts may do: a queue judges by the last word, wherever it is.

use corelane::initiator::command;
use corelane::nvmf::fence::recover::Recovered;
use corelane::nvmf::host::Hosts;
use corelane::nvmf::namespace::Namespace;
use corelane::nvmf::target::Target;
use corelane::reservation;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane_reactors::clock::Time;
use uuid::Uuid;

use super::{FenceRig, TURN, grounds, memory};
use crate::fence_rig::{HostIndex, acquire, register};
use crate::reservations::CONFLICT;

const ROUNDS: usize = 40;
const NOT_ABORTED: u32 = 1;

/// Lets every host have namespace 1, or none.
fn show(rig: &mut FenceRig, shown: bool) {
    rig.change(move |target: &mut Target| {
        let mut policy = target.policy(0).clone();
        policy.masks.clear();
        if !shown {
            policy.masks.insert(1, Hosts::Listed([].into()));
        }
        target.set_policy(Time::ORIGIN, 0, policy);
    });
}

fn answer(shown: bool) -> Status {
    if shown { Status::SUCCESS } else { Status::INVALID_FIELD.with_dnr() }
}

/// Some turns, at most so many.
fn some_turns(rig: &mut FenceRig, most: usize) {
    for _ in 0..rig.below(most) {
        rig.turn();
    }
}

/// Begins a write of 16 KiB for which the host is asked, and stops the host when it is.
fn begin_write(rig: &mut FenceRig, host: HostIndex, cid: u16) {
    rig.hosts[host].on_request(cid, command::write(1, 0, 32, false), &[7; 16 << 10]);
    rig.hosts[host].pump();
    rig.hosts[host].talkative = false;
    rig.quiet();
}

#[test]
fn a_queue_that_moved_judges_by_the_last_change() {
    for ground in grounds() {
        for seed in 700..704 {
            println!("seed {seed}, ring {}", ground.ring);
            let mut rig = FenceRig::on(&ground, seed, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
            rig.turn = TURN;
            let hosts = [1, 2].map(|host| rig.connect(host));
            for round in 0..ROUNDS {
                rig.nudge();
                some_turns(&mut rig, 60);
                // More than one change may be on its way: the last one holds.
                let last = rig.below(2) == 0;
                show(&mut rig, !last);
                some_turns(&mut rig, 20);
                show(&mut rig, last);
                rig.quiet();
                for host in hosts {
                    rig.hosts[host].read(20, command::read(1, 0, 1), 512);
                    assert_eq!(rig.completion(host), (20, answer(last)), "round {round}");
                }
            }
            assert!(rig.moved() > 10, "only {} moves", rig.moved());
        }
    }
}

#[test]
fn a_namespace_comes_to_a_queue_that_moves() {
    for ground in grounds() {
        for seed in 730..734 {
            println!("seed {seed}, ring {}", ground.ring);
            let mut rig = FenceRig::on(&ground, seed, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
            rig.turn = TURN;
            let hosts = [1, 2].map(|host| rig.connect(host));
            for nsid in 4..24 {
                rig.nudge();
                some_turns(&mut rig, 60);
                rig.change(move |target: &mut Target| {
                    let uuid = Uuid::from_u128(u128::from(nsid));
                    let namespace = Namespace { nsid, uuid, bdev: memory() };
                    let recovered = Recovered::nothing();
                    let options = reservation::Options { ptpl: true };
                    target.add_namespace(0, namespace, recovered, options).expect("a new one");
                    target.set_policy(Time::ORIGIN, 0, target.policy(0).clone());
                });
                rig.quiet();
                for host in hosts {
                    rig.hosts[host].read(20, command::read(nsid, 0, 1), 512);
                    assert_eq!(rig.completion(host), (20, Status::SUCCESS), "namespace {nsid}");
                }
                // Its reservations work as those of the others.
                assert_eq!(rig.run(hosts[0], &register(nsid, 7, 0)), Status::SUCCESS);
                assert_eq!(rig.run(hosts[0], &acquire(nsid, 2, 7)), Status::SUCCESS);
                rig.hosts[hosts[1]].read(20, command::read(nsid, 0, 1), 512);
                assert_eq!(rig.completion(hosts[1]), (20, CONFLICT), "namespace {nsid}");
            }
            assert!(rig.moved() > 5, "only {} moves", rig.moved());
        }
    }
}

#[test]
fn a_write_whose_data_is_under_way_moves_and_is_judged_when_it_is_there() {
    for ground in grounds() {
        for seed in 710..713 {
            println!("seed {seed}, ring {}", ground.ring);
            let mut rig = FenceRig::on(&ground, seed, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
            rig.turn = TURN;
            let host = rig.connect(1);
            for round in 0..10 {
                show(&mut rig, true);
                rig.quiet();
                begin_write(&mut rig, host, 5);
                rig.nudge();
                some_turns(&mut rig, 60);
                let shown = rig.below(2) == 0;
                show(&mut rig, shown);
                rig.quiet();
                rig.hosts[host].talkative = true;
                assert_eq!(rig.completion(host), (5, answer(shown)), "round {round}");
            }
            assert!(rig.moved() > 5, "only {} moves", rig.moved());
        }
    }
}

/// The answer of Abort command 9: data is still to come, so nothing is aborted at once.
fn not_aborted(rig: &mut FenceRig, admin: HostIndex) {
    rig.until("the answer of Abort", |rig| !rig.hosts[admin].completions.is_empty());
    let cqe = rig.hosts[admin].completions.pop_front().expect("waited for");
    assert_eq!((cqe.cid.get(), cqe.status(), cqe.dw0.get()), (9, Status::SUCCESS, NOT_ABORTED));
}

#[test]
fn an_abort_and_a_move_do_not_lose_each_other() {
    for ground in grounds() {
        for seed in 720..723 {
            println!("seed {seed}, ring {}", ground.ring);
            let mut rig = FenceRig::on(&ground, seed, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
            rig.turn = TURN;
            let host = rig.connect(1);
            let admin = host - 1;
            let mut deferred = 0;
            for round in 0..10 {
                begin_write(&mut rig, host, 5);
                let mut abort = Sqe::of(AdminOpcode::ABORT.0, 9, 0);
                abort.cdw10.set(5 << 16 | 1);
                // Before the move is asked for, or in the midst of it.
                let before = rig.below(2) == 0;
                if before {
                    rig.hosts[admin].plain(9, abort);
                    not_aborted(&mut rig, admin);
                    rig.nudge();
                } else {
                    rig.nudge();
                    some_turns(&mut rig, 60);
                    rig.hosts[admin].plain(9, abort);
                    not_aborted(&mut rig, admin);
                }
                rig.quiet();
                rig.hosts[host].talkative = true;
                let (cid, status) = rig.completion(host);
                assert_eq!(cid, 5, "round {round}");
                // On its way between two reactors it cannot be found, and is carried out.
                let carried_out = !before && status == Status::SUCCESS;
                assert!(carried_out || status == Status::ABORT_REQUESTED, "round {round}: {status:?}");
                deferred += usize::from(status == Status::ABORT_REQUESTED);
            }
            assert!(deferred > 0 && rig.moved() > 5, "{deferred} aborted, {} moves", rig.moved());
        }
    }
}
