//! I/O queues that move between I/O reactors while their hosts are at work: nothing is lost, repeated or reordered, whatever
//! else happens, and nobody waits for long. Time is virtual, so a pause is the number of turns that others take meanwhile.

mod access;
mod fences;
mod load;

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Bdev, Delay, Delays};
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane::transport::{MoveError, Placement};
use corelane_reactors::clock::Clock;
use corelane_reactors::ring::{self, Ring};

use crate::fence_rig::{FenceRig, Ground};
use crate::host::Wish;
use crate::rig::memory;
use load::{Load, Rule};

/// Short beside the longest pause, so that a reactor that is last in line many times is still on time.
const TURN: Duration = Duration::from_micros(2);
const PAUSE_MAX: Duration = Duration::from_millis(1);
const HOSTS: u8 = 3;

/// The engines of this machine.
fn grounds() -> Vec<Ground> {
    let ring = Ring::open(&ring::Options::default()).and_then(|ring| ring.window().map(drop));
    if let Err(error) = &ring {
        println!("epoll only: {error}");
    }
    let grounds = [false, true].map(|ring| Ground { ring, ..Ground::default() });
    grounds.into_iter().filter(|ground| !ground.ring || ring.is_ok()).collect()
}

fn delayed(clock: &Clock, by: Duration) -> Arc<dyn Bdev> {
    let delays = Delays { fixed: by, jitter: by, ..Delays::default() };
    Arc::new(Delay::new(memory(), clock.clone(), delays))
}

impl FenceRig {
    /// Asks some I/O queue to move to the other reactor. True if it is asked.
    fn nudge(&mut self) -> bool {
        let views = self.endpoints[0].borrow().connections();
        let io: Vec<_> = views.iter().filter_map(|view| Some((view, view.lane?))).collect();
        if io.is_empty() {
            return false;
        }
        let (view, lane) = io[self.below(io.len())];
        let asked = self.endpoints[0].borrow_mut().move_queue(view.controller, view.qid, 1 - lane);
        assert!(asked.is_ok() || asked == Err(MoveError::Busy), "{asked:?}");
        asked.is_ok()
    }

    fn moved(&self) -> u64 {
        self.counters.iter().map(|counters| counters.queues_moved.read()).sum()
    }

    fn refused(&self) -> u64 {
        self.counters.iter().map(|counters| counters.moves_refused.read()).sum()
    }

    fn longest_pause(&self) -> Duration {
        let longest = self.counters.iter().map(|counters| counters.pauses.distribution().max()).max();
        Duration::from_nanos(longest.unwrap_or_default())
    }
}

/// Loads at work for so many turns, with a queue nudged every now and then, and until all is answered.
fn work(rig: &mut FenceRig, loads: &mut [Load], turns: usize) {
    for _ in 0..turns {
        rig.turn();
        let which = rig.below(loads.len());
        loads[which].look(rig);
        loads[which].ask(rig);
        if rig.below(40) == 0 {
            rig.nudge();
        }
    }
    for _ in 0..200_000 {
        if loads.iter().all(Load::is_idle) {
            return;
        }
        rig.turn();
        loads.iter_mut().for_each(|load| load.look(rig));
    }
    panic!("commands are lost");
}

/// Hosts at work over `bdev`; how often queues moved and were refused.
fn run(
    ground: &Ground,
    seed: u64,
    digests: bool,
    rule: Rule,
    bdev: impl FnOnce(&Clock) -> Arc<dyn Bdev>,
) -> (u64, u64) {
    println!("seed {seed}, ring {}, digests {digests}", ground.ring);
    let mut rig = FenceRig::on(ground, seed, |clock| vec![(1, bdev(clock)), (2, memory()), (3, memory())]);
    rig.turn = TURN;
    let flow_control = true;
    let mut loads: Vec<_> = (0..HOSTS)
        .map(|host| {
            let io = rig.connect_as(&Wish { host: host + 1, digests, flow_control, ..Wish::default() });
            Load::new(io, 1, host.into(), rule)
        })
        .collect();
    work(&mut rig, &mut loads, 4000);
    let answered: usize = loads.iter().map(|load| load.answered).sum();
    assert!(answered > 50, "only {answered} answers");
    assert!(rig.longest_pause() <= PAUSE_MAX, "a pause of {:?}", rig.longest_pause());
    (rig.moved(), rig.refused())
}

#[test]
fn answers_keep_their_order_while_queues_move() {
    for ground in grounds() {
        for seed in 0..4 {
            let (moved, _) = run(&ground, seed, seed % 2 == 1, Rule::InOrder, |_| memory());
            assert!(moved > 10, "only {moved} moves");
        }
    }
}

#[test]
fn data_that_the_host_was_asked_for_finds_its_command_on_the_new_reactor() {
    for ground in grounds() {
        for seed in 100..104 {
            let (moved, _) = run(&ground, seed, seed % 2 == 1, Rule::Apart, |_| memory());
            assert!(moved > 10, "only {moved} moves");
        }
    }
}

#[test]
fn a_queue_whose_device_takes_its_time_moves_between_two_commands() {
    for ground in grounds() {
        for seed in 200..204 {
            let slow = Duration::from_micros(100);
            let (moved, _) = run(&ground, seed, false, Rule::Apart, |clock| delayed(clock, slow));
            assert!(moved > 0, "only {moved} moves");
        }
    }
}

#[test]
fn a_queue_whose_device_takes_too_long_stays_and_goes_on() {
    for ground in grounds() {
        for seed in 300..303 {
            let slow = Duration::from_millis(3);
            let (moved, refused) = run(&ground, seed, false, Rule::Apart, |clock| delayed(clock, slow));
            assert!(refused > 2, "{moved} moves, {refused} refused");
        }
    }
}

#[test]
fn connections_that_close_while_they_move_are_gone() {
    for ground in grounds() {
        for seed in 400..404 {
            println!("seed {seed}, ring {}", ground.ring);
            let mut rig = FenceRig::on(&ground, seed, |clock| {
                vec![(1, delayed(clock, Duration::from_micros(50))), (2, memory()), (3, memory())]
            });
            rig.turn = TURN;
            let mut cut = 0;
            for round in 0..12u64 {
                let io = rig.connect(1);
                let mut load = Load::new(io, 1, round, Rule::Apart);
                while !rig.nudge() {
                    rig.turn();
                }
                for _ in 0..rig.below(400) {
                    rig.turn();
                    load.look(&mut rig);
                    load.ask(&mut rig);
                }
                // The I/O queue alone, or the whole association, which closes it from the other side.
                let admin = io - 1;
                cut += load.writes_under_way();
                if rig.below(2) == 0 {
                    rig.hosts[io].hang_up();
                    rig.hosts[admin].plain(9, command::keep_alive());
                    assert_eq!(rig.completion(admin), (9, Status::SUCCESS));
                }
                rig.hosts[admin].hang_up();
                rig.until("the end of the association", |rig| rig.live() == 0);
                rig.hosts.clear();
            }
            assert!(cut > 0, "nothing was under way");
            // Buffers and places are all there again.
            let mut loads: Vec<_> = (0..HOSTS)
                .map(|host| {
                    let io = rig.connect(host + 1);
                    Load::new(io, 2, host.into(), Rule::Apart)
                })
                .collect();
            work(&mut rig, &mut loads, 2000);
        }
    }
}

#[test]
fn a_target_that_stops_while_queues_move_answers_what_it_took_on() {
    for ground in grounds() {
        for seed in 500..512 {
            println!("seed {seed}, ring {}", ground.ring);
            let mut rig = FenceRig::on(&ground, seed, |clock| {
                vec![(1, delayed(clock, Duration::from_micros(50))), (2, memory()), (3, memory())]
            });
            rig.turn = TURN;
            let hosts: Vec<_> = (1..=HOSTS).map(|host| rig.connect(host)).collect();
            for (cid, &host) in (1..).zip(&hosts) {
                rig.hosts[host].on_request(cid, command::write(1, 0, 64, false), &[7; 32 << 10]);
            }
            rig.until("all commands to be taken on", |rig| {
                let taken: u64 = rig.counters.iter().map(|counters| counters.commands.read()).sum();
                taken == u64::from(HOSTS)
            });
            rig.nudge();
            for _ in 0..rig.below(120) {
                rig.turn();
            }
            rig.endpoints[0].borrow_mut().drain();
            for (cid, &host) in (1..).zip(&hosts) {
                assert_eq!(rig.completion(host), (cid, Status::SUCCESS));
                rig.until("the end of the queue", |rig| rig.hosts[host].closed);
                rig.hosts[host].hang_up();
            }
            for admin in hosts.iter().map(|host| host - 1) {
                rig.until("the end of the association", |rig| rig.hosts[admin].closed);
                rig.hosts[admin].hang_up();
            }
            rig.until("the end", |rig| rig.endpoints.iter().all(|endpoint| endpoint.borrow().is_drained()));
            assert_eq!(rig.live(), 0);
        }
    }
}

#[test]
fn a_reactor_without_buffers_refuses_and_the_queue_stays() {
    let ground = Ground { queues: 1, ..Ground::default() };
    let mut rig = FenceRig::on(&ground, 1, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
    let mut loads = [1, 2].map(|host| Load::new(rig.connect(host), 1, host.into(), Rule::Apart));
    work(&mut rig, &mut loads, 4000);
    assert_eq!(rig.moved(), 0);
    assert!(rig.refused() > 2);
}

#[test]
fn what_cannot_move_is_not_asked_to() {
    let mut rig = FenceRig::new(1, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
    rig.connect(1);
    let view =
        rig.endpoints[0].borrow().connections().into_iter().find(|view| view.qid == 1).expect("a queue");
    let (controller, lane) = (view.controller, view.lane.expect("an I/O queue"));
    let rows = [
        (0, 0, Err(MoveError::NoSuchQueue)),
        (2, 0, Err(MoveError::NoSuchQueue)),
        (1, 2, Err(MoveError::NoSuchLane)),
        (1, lane, Err(MoveError::AlreadyThere)),
        (1, 1 - lane, Ok(())),
        (1, 1 - lane, Err(MoveError::Busy)),
    ];
    for (qid, lane, expected) in rows {
        assert_eq!(rig.endpoints[0].borrow_mut().move_queue(controller, qid, lane), expected, "{qid} {lane}");
    }
    assert_eq!(rig.endpoints[1].borrow_mut().move_queue(controller, 1, 0), Err(MoveError::Busy));
    rig.quiet();
    assert_eq!(rig.moved(), 1);
    rig.endpoints[0].borrow_mut().drain();
    assert_eq!(rig.endpoints[0].borrow_mut().move_queue(controller, 1, lane), Err(MoveError::Stopping));
}

#[test]
fn queues_that_work_on_one_reactor_spread_and_then_stay() {
    for seed in 600..602 {
        println!("seed {seed}");
        // By turns: the hosts that work are all on the first reactor, their neighbours on the second do nothing.
        let ground = Ground { balance: true, placement: Placement::round_robin, ..Ground::default() };
        let mut rig = FenceRig::on(&ground, seed, |_| vec![(1, memory()), (2, memory()), (3, memory())]);
        let hosts = [1, 2, 3, 4].map(|host| rig.connect(host));
        let mut loads = [hosts[0], hosts[2]].map(|io| Load::new(io, 1, io as u64, Rule::Apart));
        let mut last = (0, rig.now());
        let end = rig.now() + Duration::from_secs(2);
        while rig.now() < end {
            rig.turn();
            for load in &mut loads {
                rig.hosts[load.host].pump();
                load.look(&mut rig);
                load.ask(&mut rig);
            }
            if rig.moved() != last.0 {
                last = (rig.moved(), rig.now());
            }
        }
        let lanes: Vec<_> =
            rig.endpoints[0].borrow().connections().iter().filter_map(|view| view.lane).collect();
        assert_eq!(last.0, 1, "one move is enough: {lanes:?}");
        assert!(end.since(last.1) > Duration::from_secs(1), "it moved late");
    }
}
