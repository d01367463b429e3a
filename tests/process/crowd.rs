//! Several hosts change the reservations of one namespace at the same time until the target is killed: some order of
//! their commands explains every answer that each of them got, and what is found after the next start.
//!
//! Of the command that each host has under way when the target dies, either outcome is right; everything else is known
//! exactly, the generation included: see [`history`](crate::history).
//!
//! Five rounds, or `CORELANE_ROUNDS`; the seed is printed, and `CORELANE_SEED` sets it.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::blocking::{Exchange, Host, HostOptions};
use corelane::initiator::command::reservation;
use corelane::reservation::{Kind, State};
use corelane::spec::host::{self, HostId};
use corelane::spec::reservation::{
    AcquireAction, PersistChange, RegisterAction, RegisterDword, ReleaseAction,
};
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use rustix::process::Signal;

use crate::history::{Sent, ends};
use crate::residence::Residence;
use crate::storm::{Random, bytes, number, options, report, says};

const ROUNDS: u64 = 5;
const NAMESPACES: u32 = 2;
const HOSTS: u64 = 4;
/// Keys of one host: few, so that others guess them.
const KEYS: u64 = 3;
/// From the first command to the kill, at most.
const STORM_MAX_US: u64 = 150_000;
const END_MAX: Duration = Duration::from_secs(20);

/// One host of a namespace, on its own thread.
struct Member {
    nsid: u32,
    /// From 0.
    number: u64,
    random: Random,
    options: HostOptions,
    /// What it takes its key to be, 0 for none; others may have preempted it.
    key: u64,
    /// The type that all hosts of the namespace like best.
    favourite: Kind,
    sent: Vec<Sent>,
}

/// A namespace and its hosts.
struct Crowd {
    nsid: u32,
    members: Vec<Member>,
    state: State,
}

#[test]
fn what_was_answered_to_many_hosts_at_once_survives_sigkill() {
    let rounds = number("CORELANE_ROUNDS").unwrap_or(ROUNDS);
    let mut random = Random::seeded();
    let residence = Residence::new(NAMESPACES);
    let mut crowds: Vec<Crowd> = (1..=NAMESPACES).map(|nsid| Crowd::new(nsid, &mut random)).collect();
    let (mut answered, mut overlaps, mut kept) = (0, 0, 0);
    for round in 0..rounds {
        storm(&residence, &mut crowds, &mut random);
        let (program, address) = residence.start();
        for crowd in &mut crowds {
            let all = || crowd.members.iter().flat_map(|member| &member.sent);
            answered += all().filter(|sent| sent.answer.is_some()).count();
            overlaps += all().filter(|sent| all().any(|other| overlap(sent, other))).count();
            crowd.check(address, round);
            kept += crowd.state.registrants().len();
        }
        assert_eq!(program.stop().errors, "", "round {round}: nothing is wrong with the records");
    }
    println!("{answered} commands were answered, {overlaps} overlapped, {kept} registrations survived");
    assert!(overlaps > 0, "hosts sent at the same time");
    // In a single round, chance may have it that nobody is left.
    assert!(kept > 0 || rounds == 1, "something survived");
}

/// Both were under way at one time, from two hosts.
fn overlap(one: &Sent, other: &Sent) -> bool {
    let during = |one: &Sent, at: Instant| one.began <= at && one.answer.is_none_or(|(end, _)| at <= end);
    one.host != other.host && (during(one, other.began) || during(other, one.began))
}

/// Runs all hosts against a target of their own until it is killed.
fn storm(residence: &Residence, crowds: &mut [Crowd], random: &mut Random) {
    let (program, address) = residence.start();
    let killed = AtomicBool::new(false);
    let members: Vec<&mut Member> = crowds.iter_mut().flat_map(|crowd| &mut crowd.members).collect();
    let ready = Barrier::new(members.len() + 1);
    thread::scope(|scope| {
        for member in members {
            scope.spawn(|| member.blow(address, &killed, &ready));
        }
        ready.wait();
        thread::sleep(Duration::from_micros(random.below(STORM_MAX_US)));
        killed.store(true, Ordering::SeqCst);
        program.signal(Signal::KILL);
        assert_eq!(program.finish(END_MAX).code, 128 + 9);
    });
}

impl Crowd {
    fn new(nsid: u32, random: &mut Random) -> Self {
        let member = |number| Member {
            nsid,
            number,
            random: Random(random.below(u64::MAX)),
            options: options(),
            key: 0,
            favourite: Kind::WriteExclusive,
            sent: Vec::new(),
        };
        Self { nsid, members: (0..HOSTS).map(member).collect(), state: State::new() }
    }

    /// The target is in a state that some order of the commands leads to. The next round begins there.
    fn check(&mut self, address: SocketAddr, round: u64) {
        let sent: Vec<Vec<Sent>> =
            self.members.iter_mut().map(|member| std::mem::take(&mut member.sent)).collect();
        let ends = ends(&self.state, &sent);
        assert!(!ends.is_empty(), "round {round}, namespace {}: no order explains the answers", self.nsid);
        let mut host = Host::connect(address, &options()).expect("connecting");
        let told = report(&mut host, self.nsid).expect("a report");
        let ends: Vec<State> = ends.into_iter().map(State::after_power_loss).collect();
        let found = ends.iter().find(|state| says(&told, state)).cloned();
        self.state = found.unwrap_or_else(|| {
            panic!("round {round}, namespace {}: {told:?} is none of {ends:?}", self.nsid)
        });
        for member in &mut self.members {
            let id = HostId(member.options.identity.host_id);
            member.key = self.state.registrant(id).map_or(0, |registrant| registrant.key.0);
            member.favourite = Kind::ALL[usize::try_from(round).expect("a small number") % Kind::ALL.len()];
        }
    }
}

impl Member {
    /// Sends commands until one is not answered.
    fn blow(&mut self, address: SocketAddr, killed: &AtomicBool, ready: &Barrier) {
        let mut host = Host::connect(address, &self.options).expect("connecting");
        let identity = &self.options.identity;
        let own = host::Host { nqn: identity.host.clone(), id: HostId(identity.host_id) };
        ready.wait();
        loop {
            let ((sqe, data), key) = self.command();
            let mut sent = Sent::now(&own, &sqe, &data);
            let answer = host.io(&sqe, Exchange::Send(&data));
            let end = Instant::now();
            let status = answer.as_ref().err().map(|error| error.status());
            match status {
                None => sent.answer = Some((end, Ok(()))),
                Some(Some(status)) => sent.answer = Some((end, Err(status))),
                Some(None) => assert!(killed.load(Ordering::SeqCst), "{answer:?} before the kill"),
            }
            let answered = sent.answer;
            self.sent.push(sent);
            match answered {
                None => return,
                Some((_, Ok(()))) => self.key = key,
                // Preempted or cleared, most likely.
                Some((_, Err(status))) if status == Status::RESERVATION_CONFLICT.with_dnr() => self.key = 0,
                Some((_, Err(_))) => {}
            }
        }
    }

    /// A command, and the key that this host takes itself to have if it succeeds.
    fn command(&mut self) -> ((Sqe, Vec<u8>), u64) {
        let (nsid, own) = (self.nsid, self.key);
        let mut key_of = |number: u64| u64::MAX - number * KEYS - self.random.below(KEYS);
        let new = key_of(self.number);
        let victim = key_of((self.number + 1) % HOSTS);
        let victim = self.random.pick(&[victim, victim, victim, own, 0]);
        let other = self.random.pick(&Kind::ALL);
        let rtype = self.random.pick(&[self.favourite, self.favourite, self.favourite, other]).to_wire();
        let (set, keep) = (PersistChange::SET, PersistChange::KEEP);
        let persist = self.random.pick(&[set, set, set, set, set, keep, keep, keep, PersistChange::CLEAR]);
        let register = |action, own, new| reservation::register(nsid, action, persist, own, new);
        let acquire = |action| bytes(reservation::acquire(nsid, action, rtype, own, victim));
        let release = |action| bytes(reservation::release(nsid, action, rtype, own));
        match self.random.below(if own == 0 { 3 } else { 15 }) {
            0 if own == 0 => (bytes(register(RegisterAction::REGISTER, 0, new)), new),
            1 | 2 if own == 0 => {
                // Whatever the key is that this host has, if it has one.
                let (mut sqe, data) = register(RegisterAction::REPLACE, 0, new);
                let dword = RegisterDword::from_bits(sqe.cdw10.get()).with_iekey(true);
                sqe.cdw10.set(dword.into_bits());
                (bytes((sqe, data)), new)
            }
            0 => (bytes(register(RegisterAction::REGISTER, 0, own)), own),
            1 => (bytes(register(RegisterAction::UNREGISTER, own, 0)), 0),
            2..=4 => (bytes(register(RegisterAction::REPLACE, own, new)), new),
            5..=8 => (acquire(AcquireAction::ACQUIRE), own),
            9 | 10 => (acquire(AcquireAction::PREEMPT), own),
            11 => (acquire(AcquireAction::PREEMPT_AND_ABORT), own),
            12 | 13 => (release(ReleaseAction::RELEASE), own),
            _ => (release(ReleaseAction::CLEAR), 0),
        }
    }
}
