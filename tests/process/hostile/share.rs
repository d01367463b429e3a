//! What others feel of hostile peers: nothing on an I/O reactor comes from a peer that has no I/O queue, and a host that reads
//! keeps nine tenths of its rate while peers of every kind come, break rules and stay.
//!
//! The rate is one of a whole machine, which tests share with each other: so it is compared between short windows with and
//! without the peers, by turns, and only a rate that is too low each time is one. The bench `hostile` measures it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::acts::{ACTS, Company};
use crate::metrics::{Metered, sum};
use crate::peer::ANSWER_MAX;
use crate::scene::{NQN, OTHER_NQN, Scene, connect};
use crate::session::Script;

/// Acts of each kind.
const ACTS_OF_A_KIND: u64 = 40;
/// Busy turns of an I/O reactor in all that time that come from nobody.
const TURNS_MAX: u64 = 8;

/// The part of its rate that a host keeps.
const KEPT_MIN: f64 = 0.9;
/// Windows with, and as many without.
const WINDOWS: usize = 15;
const WINDOW: Duration = Duration::from_millis(50);
/// From one act to the next.
const PACE: Duration = Duration::from_millis(20);
/// Other tests may take the processors away for all windows of a try.
const TRIES: usize = 6;

#[test]
fn who_has_no_io_queue_costs_io_reactors_nothing() {
    if corelane_reactors::cpu::allowed().len() < 2 {
        println!("there is one core only, and one reactor for everything");
        return;
    }
    let target = Metered::start();
    let script = Script::new(target.address, NQN);
    let busy = || {
        let text = target.scrape();
        let turns = |reactor| sum(&text, "corelane_reactor_busy_turns_total", &[reactor]);
        (turns(r#"reactor="0""#), turns(r#"reactor="1""#))
    };
    let mut company = Company::default();
    let before = busy();
    for act in ACTS.iter().filter(|act| !act.has_io_queue) {
        for _ in 0..ACTS_OF_A_KIND {
            (act.play)(&script, &mut company);
        }
    }
    let after = busy();
    let (management, io) = (after.0 - before.0, after.1 - before.1);
    println!("busy turns: {management} of the management reactor, {io} of the I/O reactor");
    assert!(management > ACTS_OF_A_KIND, "the management reactor has done it");
    assert!(io <= TURNS_MAX, "{io} busy turns of the I/O reactor for peers that never had a queue there");
    drop(company);
    target.program.stop();
}

#[test]
fn others_keep_their_rate_while_hostile_peers_come_and_stay() {
    let scene = Scene::start();
    let script = scene.script();
    let (reads, over, hostile) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut host = connect(scene.address, OTHER_NQN);
            while !over.load(Ordering::Relaxed) {
                host.read(1, 0, 1).expect("a read");
                reads.fetch_add(1, Ordering::Relaxed);
            }
            host.disconnect().expect("a disconnect");
        });
        scope.spawn(|| {
            let mut company = Company::default();
            for act in ACTS.iter().cycle() {
                while !hostile.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    thread::sleep(PACE / 4);
                }
                if over.load(Ordering::Relaxed) {
                    return;
                }
                (act.play)(&script, &mut company);
                thread::sleep(PACE);
            }
        });
        let rate = |peers: bool| {
            hostile.store(peers, Ordering::Relaxed);
            let (start, before) = (Instant::now(), reads.load(Ordering::Relaxed));
            thread::sleep(WINDOW);
            let count = reads.load(Ordering::Relaxed) - before;
            count as f64 / start.elapsed().as_secs_f64()
        };
        // However this ends, the other threads do, too.
        let _end = End(&over);
        let deadline = Instant::now() + ANSWER_MAX;
        while reads.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < deadline, "the host reads");
        }
        let mut kept = Vec::new();
        while kept.len() < TRIES {
            let (mut with, mut without) = (Vec::new(), Vec::new());
            for _ in 0..WINDOWS {
                without.push(rate(false));
                with.push(rate(true));
            }
            kept.push(median(&mut with) / median(&mut without));
            if kept.last().is_some_and(|&kept| kept >= KEPT_MIN) {
                break;
            }
        }
        println!("parts of the rate that were kept: {kept:?}");
        assert!(kept.last().is_some_and(|&kept| kept >= KEPT_MIN), "{kept:?} of the rate are kept");
    });
    scene.end();
}

/// Tells the other threads that it is over.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
