//! The reactors of one appliance: which cores they run on, how they reach each other, how they start
//! and end. There is no global state: any number of groups can live in one process.
//!
//! Reactor 0 is the management reactor. I/O reactors follow in the order of the layout; when the
//! management core is also one for I/O, reactor 0 is both.

mod error;

use std::{
    any::Any,
    fmt, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use crate::{
    clock::Clock,
    cpu,
    idle::IdlePolicy,
    mailbox::{self, Mailbox, Sender},
    per_core::PerCore,
    published::{self, Publisher, Subscriber},
    quiescence::{Presence, Quiescence, SharedQuiescence},
    reactor::{self, Parts, Polled, Reactor, ReactorIndex, RunError},
    seat::Seat,
    stats::{Report, Stats},
};

pub use error::{Cause, Failure, JoinError, LayoutError};

/// Which CPUs the reactors run on, by the kernel's numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The CPU of the management reactor. May be one of `io`: then they are one reactor.
    pub management: usize,
    /// The CPUs of the I/O reactors, at least one, all different.
    pub io: Vec<usize>,
}

/// A group of reactors. All methods but [`Group::set_idle`] take `&self`, so an `Arc<Group>` can be shared.
///
/// Dropping it tells the reactors to stop and does not wait for them.
pub struct Group {
    clock: Clock,
    /// By reactor.
    idle: Vec<IdlePolicy>,
    /// Asked before anything was pinned.
    allowed: Arc<[usize]>,
    quiescence: SharedQuiescence,
    seats: Vec<Arc<Seat>>,
    /// By reactor; `None` for simulated ones, which are not pinned.
    cpus: Vec<Option<usize>>,
    io: Vec<ReactorIndex>,
    /// By reactor, until it is taken.
    epolls: Mutex<Vec<Option<OwnedFd>>>,
    threads: Mutex<Vec<Thread>>,
}

struct Thread {
    reactor: ReactorIndex,
    name: String,
    /// The poller that panicked, if one did.
    culprit: Arc<OnceLock<Polled>>,
    handle: JoinHandle<Result<(), RunError>>,
}

impl Group {
    /// A group of reactors that are not running yet. Call it before any thread is pinned. Does not block; opens two
    /// descriptors for each reactor.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] when the layout is not possible in this process.
    pub fn new(layout: &Layout, idle: IdlePolicy, clock: Clock) -> Result<Group, LayoutError> {
        let allowed = cpu::allowed();
        if layout.io.is_empty() {
            return Err(LayoutError::NoIo);
        }
        let mut cpus = vec![layout.management];
        let mut io = Vec::new();
        for (position, &cpu) in layout.io.iter().enumerate() {
            if layout.io[..position].contains(&cpu) {
                return Err(LayoutError::Duplicate { cpu });
            }
            if cpu == layout.management {
                io.push(0);
            } else {
                io.push(cpus.len());
                cpus.push(cpu);
            }
        }
        if let Some(&cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            return Err(LayoutError::NotAllowed { cpu, allowed });
        }
        let cpus = cpus.into_iter().map(Some).collect();
        Group::build(cpus, io, allowed, idle, clock).map_err(LayoutError::Descriptors)
    }

    /// `reactors` of them, all of which do I/O, to be driven by a simulation.
    pub(crate) fn simulated(reactors: usize, clock: Clock) -> io::Result<Group> {
        assert!(reactors > 0);
        assert!(clock.is_simulated());
        Group::build(vec![None; reactors], (0..reactors).collect(), Vec::new(), IdlePolicy::Park, clock)
    }

    fn build(
        cpus: Vec<Option<usize>>,
        io: Vec<ReactorIndex>,
        allowed: Vec<usize>,
        idle: IdlePolicy,
        clock: Clock,
    ) -> io::Result<Group> {
        let seats = cpus.iter().map(|_| Seat::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
        let epolls =
            seats.iter().map(|seat| reactor::sleep_epoll(seat).map(Some)).collect::<io::Result<Vec<_>>>()?;
        Ok(Group {
            clock,
            idle: vec![idle; cpus.len()],
            allowed: allowed.into(),
            quiescence: Quiescence::new(cpus.len()),
            seats,
            cpus,
            io,
            epolls: Mutex::new(epolls),
            threads: Mutex::new(Vec::new()),
        })
    }

    /// Lets reactor `index` do something else without work than the others. Counts for a reactor that is started or
    /// taken afterwards.
    ///
    /// # Panics
    ///
    /// When there is no reactor `index`.
    pub fn set_idle(&mut self, index: ReactorIndex, idle: IdlePolicy) {
        self.idle[index] = idle;
    }

    /// The CPU of reactor `index`; `None` in a simulation, where none is pinned.
    ///
    /// # Panics
    ///
    /// When there is no reactor `index`.
    pub fn cpu(&self, index: ReactorIndex) -> Option<usize> {
        self.cpus[index]
    }

    /// How many reactors there are, the management reactor included.
    pub fn reactors(&self) -> usize {
        self.seats.len()
    }

    /// The management reactor.
    pub fn management(&self) -> ReactorIndex {
        0
    }

    /// The I/O reactors, in the order of the layout, at least one.
    pub fn io(&self) -> &[ReactorIndex] {
        &self.io
    }

    /// The clock of all reactors.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The CPUs the process may use, asked when the group was made.
    pub fn allowed_cpus(&self) -> &[usize] {
        &self.allowed
    }

    /// Wakes and stops one reactor, from any thread.
    ///
    /// # Panics
    ///
    /// When there is no reactor `index`; so do all methods that take one.
    pub fn handle(&self, index: ReactorIndex) -> Handle {
        Handle {
            index,
            cpu: self.cpus[index],
            seat: Arc::clone(&self.seats[index]),
            clock: self.clock.clone(),
        }
    }

    /// What reactor `index` has counted so far. Takes no lock and does not hold the reactor up.
    ///
    /// # Panics
    ///
    /// When there is no reactor `index`.
    pub fn stats(&self, index: ReactorIndex) -> Stats {
        self.handle(index).stats()
    }

    /// All that is known of reactor `index`: its counters, its pollers and its mailboxes. Allocates; takes no lock that
    /// a turn takes.
    ///
    /// # Panics
    ///
    /// When there is no reactor `index`.
    pub fn report(&self, index: ReactorIndex) -> Report {
        self.handle(index).report()
    }

    /// A mailbox with room for `capacity` messages, 1 to [`mailbox::CAPACITY_MAX`], to be received by a poller of
    /// reactor `index`. Allocates all it will ever need: a cache line for each message of up to 56 bytes.
    ///
    /// # Panics
    ///
    /// When `capacity` is 0 or more than that, or there is no reactor `index`.
    pub fn mailbox<M: Send + 'static>(
        &self,
        index: ReactorIndex,
        capacity: usize,
    ) -> (Sender<M>, Mailbox<M>) {
        mailbox::mailbox(&self.seats[index], capacity)
    }

    /// A value that one thread replaces and all reactors of this group read. Allocates, and takes the lock that
    /// publishers take.
    pub fn published<T: Send + Sync + 'static>(&self, value: T) -> (Publisher<T>, Subscriber<T>) {
        self.quiescence.reclaim();
        published::published(&self.quiescence, value)
    }

    /// One value for each reactor, made from its index.
    pub fn per_core<T>(&self, make: impl FnMut(ReactorIndex) -> T) -> PerCore<T> {
        PerCore::new(self.reactors(), make)
    }

    /// Starts reactor `index` on a thread of its own, named and pinned to its CPU. `setup` runs on that
    /// thread and adds the pollers, which therefore need not be `Send`. Blocks until `setup` has
    /// returned; from then on the reactor runs until it is stopped. Not to be called by a poller.
    ///
    /// A reactor that panics, or cannot wait for events any more, stops the whole group: the others end after the turn
    /// they are in, and [`Group::join`] names it, and the poller that panicked. Its pollers are dropped with it, so what
    /// they own, sockets for instance, is closed.
    ///
    /// # Errors
    ///
    /// When the thread cannot be made or pinned, or the error of `setup`. The reactor is then gone.
    ///
    /// # Panics
    ///
    /// When reactor `index` was started or taken before.
    pub fn spawn<S>(&self, index: ReactorIndex, name: &str, setup: S) -> io::Result<()>
    where
        S: FnOnce(&mut Reactor) -> io::Result<()> + Send + 'static,
    {
        let parts = self.take(index);
        let (cpu, allowed) = (self.cpus[index], Arc::clone(&self.allowed));
        let seats = self.seats.clone();
        let (report, started) = mpsc::sync_channel(1);
        let culprit = Arc::new(OnceLock::new());
        let blame = Arc::clone(&culprit);
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let alarm = Alarm { seats };
            let mut running = match start(parts, cpu, &allowed, setup) {
                Ok(reactor) => Running { reactor, culprit: blame },
                Err(error) => {
                    alarm.disarm();
                    // The receiver waits for this; when it is gone nobody is left to be told.
                    let _ = report.send(Err(error));
                    return Ok(());
                }
            };
            let _ = report.send(Ok(()));
            let outcome = running.reactor.run();
            if outcome.is_ok() {
                alarm.disarm();
            }
            outcome
        })?;
        match started.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let _ = handle.join();
                return Err(error);
            }
            // Panicked in `setup`: `join` tells.
            Err(mpsc::RecvError) => {}
        }
        lock(&self.threads).push(Thread { reactor: index, name: name.to_owned(), culprit, handle });
        Ok(())
    }

    /// Reactor `index`, to be run on the calling thread, which is left where it is: see [`cpu::pin`]. Does not block.
    ///
    /// A panic of a poller comes out of [`Reactor::turn`] and is the caller's: the group is not stopped by it.
    /// [`Reactor::polled`] says whose it was.
    ///
    /// # Panics
    ///
    /// When reactor `index` was started or taken before.
    pub fn local(&self, index: ReactorIndex) -> Reactor {
        Reactor::new(self.take(index))
    }

    /// Tells all reactors to stop after the turn they are in. Does not wait for them.
    pub fn stop(&self) {
        self.seats.iter().for_each(|seat| seat.stop());
    }

    /// Waits for the threads of all spawned reactors to end. Blocks until then, so a poller must not call it.
    ///
    /// # Errors
    ///
    /// [`JoinError`] names the reactors that did not end by being stopped.
    pub fn join(&self) -> Result<(), JoinError> {
        let threads: Vec<Thread> = lock(&self.threads).drain(..).collect();
        let mut failures = Vec::new();
        for Thread { reactor, name, culprit, handle } in threads {
            let cause = match handle.join() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Cause::Failed(error),
                Err(panic) => {
                    Cause::Panicked { poller: culprit.get().cloned(), message: panic_message(panic.as_ref()) }
                }
            };
            failures.push(Failure { reactor, name, cause });
        }
        self.quiescence.reclaim();
        if failures.is_empty() { Ok(()) } else { Err(JoinError { failures }) }
    }

    fn take(&self, index: ReactorIndex) -> Parts {
        let epoll = lock(&self.epolls)[index].take();
        Parts {
            // The epoll is there once, so this is the only presence of the reactor.
            epoll: epoll.expect("a reactor is started or taken once"),
            presence: Presence::new(SharedQuiescence::clone(&self.quiescence), index),
            seat: Arc::clone(&self.seats[index]),
            clock: self.clock.clone(),
            idle: self.idle[index],
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
        self.quiescence.reclaim();
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("cpus", &self.cpus).field("io", &self.io).finish_non_exhaustive()
    }
}

/// The part of a reactor's start that may fail, on its thread.
fn start<S>(parts: Parts, cpu: Option<usize>, allowed: &[usize], setup: S) -> io::Result<Reactor>
where
    S: FnOnce(&mut Reactor) -> io::Result<()>,
{
    if let Some(cpu) = cpu {
        cpu::pin(cpu, allowed).map_err(io::Error::other)?;
    }
    // The kernel may otherwise delay the end of each sleep by 50 us. Without it sleeps are only
    // less exact.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let mut reactor = Reactor::new(parts);
    setup(&mut reactor)?;
    Ok(reactor)
}

/// A reactor on its thread. A panic in one of its turns drops it, and so its pollers with what they own.
struct Running {
    reactor: Reactor,
    culprit: Arc<OnceLock<Polled>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(polled) = self.reactor.polled()
        {
            // It is dropped once.
            let _ = self.culprit.set(polled);
        }
    }
}

/// Stops the group when a reactor's thread ends in any other way than it should.
struct Alarm {
    seats: Vec<Arc<Seat>>,
}

impl Alarm {
    fn disarm(mut self) {
        self.seats.clear();
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.seats.iter().for_each(|seat| seat.stop());
    }
}

/// Reaches one reactor from any thread.
#[derive(Clone)]
pub struct Handle {
    index: ReactorIndex,
    cpu: Option<usize>,
    seat: Arc<Seat>,
    clock: Clock,
}

impl Handle {
    /// The reactor's number.
    pub fn index(&self) -> ReactorIndex {
        self.index
    }

    /// The CPU that it is pinned to when it is spawned; `None` for a simulated one.
    pub fn cpu(&self) -> Option<usize> {
        self.cpu
    }

    /// Ends the reactor's sleep if it sleeps. What it shall find must be visible before, to a
    /// poller's [`crate::poller::Poller::ready`].
    pub fn wake(&self) {
        self.seat.announce(|| {});
    }

    /// Tells the reactor to stop after the turn it is in.
    pub fn stop(&self) {
        self.seat.stop();
    }

    /// What the reactor has counted so far.
    pub fn stats(&self) -> Stats {
        self.seat.counters.snapshot(self.clock.now())
    }

    /// All that is known of the reactor: see [`Group::report`].
    pub fn report(&self) -> Report {
        let counters = &self.seat.counters;
        let stats = self.stats();
        Report {
            stats,
            busy_turns: counters.lengths.distribution(),
            batches: counters.batches.distribution(),
            lateness: counters.lateness.distribution(),
            pollers: self.seat.registry.pollers(stats.turns),
            mailboxes: self.seat.registry.mailboxes(),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("index", &self.index).finish_non_exhaustive()
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
