//! Idle turns of a reactor with sockets, behind a filter that ends the thread at its first system call.

use std::{
    collections::BTreeMap,
    env, mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc::channel,
    },
    thread,
};

use rustix::thread::gettid;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::{KIND, Kind, Recorder, connected};
use crate::{
    clock::Clock,
    cpu,
    group::{Group, Layout},
    idle::IdlePolicy,
    poller::{Phase, Poll, Poller, Wake},
    reactor::{Activity, Turn},
};

/// Turns that must be idle.
const TURNS: u32 = 10_000;

/// Turns after which a reactor should have come to rest.
const TURNS_MAX: u32 = 100_000;

/// How far a thread came: idle turns lay before it, or behind it.
const BEFORE: u8 = 1;
const BEHIND: u8 = 2;

/// Polls the sockets.
struct Sockets {
    group: super::Group,
    recorder: Recorder,
}

impl Poller for Sockets {
    fn name(&self) -> &str {
        "sockets"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        if self.group.poll(&mut self.recorder) > 0 { Poll::Busy } else { Poll::Idle(Wake::Never) }
    }
}

/// What a thread that ends may do, and a clock that the kernel has to be asked for.
fn filter() -> BpfProgram {
    let allowed = [
        libc::SYS_exit,
        libc::SYS_futex,
        libc::SYS_munmap,
        libc::SYS_madvise,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigprocmask,
        libc::SYS_clock_gettime,
    ];
    let rules: BTreeMap<_, _> = allowed.map(|number| (number, Vec::new())).into();
    let arch = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::KillThread, SeccompAction::Allow, arch);
    filter.unwrap().try_into().unwrap()
}

/// Takes idle turns behind the filter.
fn take_idle_turns(reached: &AtomicU8) {
    let core = cpu::allowed()[0];
    let layout = Layout { management: core, io: vec![core] };
    let cores = Group::new(&layout, IdlePolicy::Spin, Clock::real()).unwrap();
    let mut reactor = cores.local(0);
    let (group, id, far) = connected(4);
    if let Some(ring) = &group.ring {
        ring.attach(&mut reactor).unwrap();
    }
    assert!(group.contains(id));
    let sockets = Sockets { group, recorder: Recorder::greedy() };
    reactor.add_poller(Phase::Ingress, Box::new(sockets)).unwrap();
    let mut turns = (0..TURNS_MAX).map(|_| reactor.turn());
    assert!(turns.any(|activity| activity != Activity::Busy), "it finds no rest");
    let filter = filter();
    apply_filter(&filter).unwrap();
    reached.store(BEFORE, Ordering::SeqCst);
    for _ in 0..TURNS {
        assert_ne!(reactor.turn(), Activity::Busy);
    }
    reached.store(BEHIND, Ordering::SeqCst);
    // Giving back takes system calls.
    mem::forget((reactor, cores, far, filter));
}

/// How far it comes on a thread of its own, which may be ended.
fn reached(kind: Kind) -> u8 {
    let reached = Arc::new(AtomicU8::new(0));
    let shared = Arc::clone(&reached);
    let (sender, started) = channel();
    thread::spawn(move || {
        KIND.set(kind);
        sender.send(gettid()).unwrap();
        take_idle_turns(&shared);
    });
    let thread = started.recv().unwrap();
    let task = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    while Path::new(&task).exists() {
        thread::yield_now();
    }
    reached.load(Ordering::SeqCst)
}

#[test]
fn an_idle_turn_with_sockets_on_a_ring_makes_no_system_call() {
    assert_eq!(reached(Kind::Ring), BEHIND);
    assert_eq!(reached(Kind::WithoutWindows), BEHIND);
    // The filter sees what there is.
    assert_eq!(reached(Kind::Epoll), BEFORE);
}
