//! Hosts change reservations as fast as they can, until the power goes: afterwards, every command that was answered with
//! success is there, the generation included. How the power goes, and who starts the target again, is up to the test.
//!
//! Each namespace has hosts of its own and a thread that sends their commands one after the other, so that what was
//! answered is known exactly; the namespaces are served, and their records written, at the same time. Of the one command
//! that a namespace has under way when the power goes, either outcome is right.
//!
//! The seed is printed, and `CORELANE_SEED` sets it.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corelane::initiator::blocking::{Exchange, Host, HostError, HostOptions};
use corelane::initiator::command::reservation::{self, Report};
use corelane::reservation::{Kind, Options, Request, State, transition};
use corelane::spec::host::{self, HostId};
use corelane::spec::nqn::Nqn;
use corelane::spec::reservation::{
    AcquireAction, PersistChange, RegisterAction, ReleaseAction, ReservationType,
};
use corelane::spec::sqe::Sqe;
use serde_json::{Value, json};
use zerocopy::IntoBytes;

/// Name of the only subsystem.
pub(crate) const NQN: &str = "nqn.2026-11.io.corelane:kept";
const HOSTS: usize = 4;
/// For a command of a host, on a machine that is emulated and busy too.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Room for the report of 255 registrants.
const REPORT_BYTES: u32 = 64 * 256;

/// Some namespaces, their hosts, and what is known of their reservations.
pub(crate) struct Storm {
    lanes: Vec<Lane>,
    random: Random,
    answered: usize,
    kept: usize,
}

/// One namespace, its hosts, and what is known of its reservations.
struct Lane {
    nsid: u32,
    random: Random,
    hosts: Vec<HostOptions>,
    /// After every command that was answered.
    state: State,
    /// After the one that was not.
    open: Option<State>,
    answered: usize,
}

/// A target that serves so many namespaces, whose reservations persist.
pub(crate) fn configuration(namespaces: u32, listener: &Value) -> Value {
    let nsids = 1..=namespaces;
    let bdevs =
        nsids.clone().map(|nsid| json!({"name": format!("ram{nsid}"), "type": "malloc", "size": "1MiB"}));
    let namespaces =
        nsids.map(|nsid| json!({"nsid": nsid, "bdev": format!("ram{nsid}"), "uuid": uuid(nsid)}));
    json!({
        "bdevs": bdevs.collect::<Vec<Value>>(),
        "subsystems": [{
            "nqn": NQN, "allow_any_host": true, "listeners": [listener],
            "namespaces": namespaces.collect::<Vec<Value>>()
        }]
    })
}

/// UUID of the namespace `nsid`.
pub(crate) fn uuid(nsid: u32) -> String {
    format!("6f1b9a5c-6f0e-4c3e-8d6a-{nsid:012x}")
}

/// What to connect with, as a host of its own.
pub(crate) fn options() -> HostOptions {
    HostOptions { timeout: ANSWER_MAX, ..HostOptions::new(Nqn::parse(NQN).expect("a name")) }
}

/// Reservation Report.
pub(crate) fn report(host: &mut Host, nsid: u32) -> Result<Report, HostError> {
    let bytes = REPORT_BYTES as usize;
    let answer = host.io(&reservation::report(nsid, REPORT_BYTES), Exchange::Receive(bytes))?;
    Ok(Report::decode(&answer.data).expect("a header"))
}

/// What a variable of the environment says.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

impl Storm {
    /// On the namespaces of [`configuration`], of which no reservation is known yet.
    pub(crate) fn new(namespaces: u32) -> Self {
        let mut random = Random::seeded();
        let lanes = (1..=namespaces).map(|nsid| Lane::new(nsid, random.below(u64::MAX))).collect();
        Self { lanes, random, answered: 0, kept: 0 }
    }

    /// Sends commands to the target until `kill` has ended it, at a random moment less than `limit` after every host has
    /// connected.
    pub(crate) fn blow(&mut self, address: SocketAddr, limit: Duration, kill: impl FnOnce()) {
        let killed = Arc::new(AtomicBool::new(false));
        let (sender, connected) = channel();
        let threads: Vec<_> = std::mem::take(&mut self.lanes)
            .into_iter()
            .map(|lane| {
                let (killed, sender) = (Arc::clone(&killed), sender.clone());
                thread::spawn(move || lane.blow(address, &killed, sender))
            })
            .collect();
        drop(sender);
        // Fewer where a lane has failed, which it says when it is joined.
        connected.iter().take(threads.len()).for_each(drop);
        let limit = u64::try_from(limit.as_micros()).expect("less than an age");
        thread::sleep(Duration::from_micros(self.random.below(limit)));
        killed.store(true, Ordering::SeqCst);
        kill();
        let lanes = threads.into_iter().map(|thread| thread.join().expect("a lane without surprises"));
        self.lanes = lanes.collect();
        self.answered += self.lanes.iter().map(|lane| lane.answered).sum::<usize>();
    }

    /// The target that was started again knows everything that was answered.
    pub(crate) fn check(&mut self, address: SocketAddr, round: u64) {
        for lane in &mut self.lanes {
            lane.check(address, round);
            self.kept += lane.state.registrants().len();
        }
    }

    /// There was something to be lost, in so many rounds.
    pub(crate) fn conclude(&self, rounds: u64) {
        let Self { answered, kept, .. } = self;
        println!("{answered} commands were answered, {kept} registrations survived, in {rounds} rounds");
        assert!(*answered > 0, "the storm blew");
        // In a single round, chance may have it that nobody is left.
        assert!(*kept > 0 || rounds == 1, "something survived");
    }
}

impl Lane {
    fn new(nsid: u32, seed: u64) -> Self {
        let hosts = (0..HOSTS).map(|_| options()).collect();
        Self { nsid, random: Random(seed), hosts, state: State::new(), open: None, answered: 0 }
    }

    /// Sends commands until one is not answered.
    fn blow(mut self, address: SocketAddr, killed: &AtomicBool, connected: Sender<()>) -> Self {
        self.answered = 0;
        let hosts = self.hosts.iter().map(|options| Host::connect(address, options));
        let mut hosts: Vec<Host> = hosts.collect::<Result<_, _>>().expect("connecting");
        connected.send(()).expect("the storm waits");
        drop(connected);
        loop {
            let index = usize::try_from(self.random.below(HOSTS as u64)).expect("an index");
            let identity = &self.hosts[index].identity;
            let host = host::Host { nqn: identity.host.clone(), id: HostId(identity.host_id) };
            let (sqe, data) = self.command(host.id);
            let request = Request::decode(&sqe, &data);
            let expected =
                request.and_then(|request| transition(&self.state, &host, &request, Options { ptpl: true }));
            let expected = expected.map(|outcome| outcome.next);
            match (hosts[index].io(&sqe, Exchange::Send(&data)), expected) {
                (Ok(_), Ok(next)) => self.state = next,
                (Err(error), expected) if error.status().is_none() => {
                    assert!(killed.load(Ordering::SeqCst), "{error} before the kill");
                    self.open = expected.ok();
                    return self;
                }
                (answer, expected) => {
                    let status = answer.as_ref().err().and_then(|error| error.status());
                    let refused = expected.as_ref().err().copied();
                    assert_eq!(status, refused, "{request:?} of {:?} on {:?}", host.id, self.state);
                }
            }
            self.answered += 1;
        }
    }

    /// A command of this host, with its data; most of them are such that they succeed.
    fn command(&mut self, host: HostId) -> (Sqe, Vec<u8>) {
        let own = self.state.registrant(host).map_or(0, |registrant| registrant.key.0);
        let keys: Vec<u64> =
            self.state.registrants().map(|(_, registrant)| registrant.key.0).chain([0, 1]).collect();
        let victim = self.random.pick(&keys);
        let own = if self.random.below(20) == 0 { victim } else { own };
        let held = self.state.kind().unwrap_or(Kind::WriteExclusive).to_wire();
        let other = self.random.pick(&Kind::ALL).to_wire();
        let rtype = self.random.pick(&[held, held, other]);
        let new = u64::MAX - self.random.below(1 << 40);
        let persist = self.random.pick(&[
            PersistChange::SET,
            PersistChange::SET,
            PersistChange::SET,
            PersistChange::KEEP,
            PersistChange::CLEAR,
        ]);
        let nsid = self.nsid;
        let registered = own != 0;
        match self.random.below(if registered { 12 } else { 3 }) {
            0 | 1 if !registered => {
                bytes(reservation::register(nsid, RegisterAction::REGISTER, persist, 0, new))
            }
            0 => bytes(reservation::register(nsid, RegisterAction::REGISTER, persist, 0, own)),
            1 => bytes(reservation::register(nsid, RegisterAction::UNREGISTER, persist, own, 0)),
            2 | 3 => bytes(reservation::register(nsid, RegisterAction::REPLACE, persist, own, new)),
            4..=6 => bytes(reservation::acquire(nsid, AcquireAction::ACQUIRE, rtype, own, 0)),
            7 => bytes(reservation::acquire(nsid, AcquireAction::PREEMPT, rtype, own, victim)),
            8 => bytes(reservation::acquire(nsid, AcquireAction::PREEMPT_AND_ABORT, rtype, own, victim)),
            9 | 10 => bytes(reservation::release(nsid, ReleaseAction::RELEASE, held, own)),
            _ => bytes(reservation::release(nsid, ReleaseAction::CLEAR, held, own)),
        }
    }

    /// The target knows what was answered, and perhaps what was not.
    fn check(&mut self, address: SocketAddr, round: u64) {
        let mut host = Host::connect(address, &options()).expect("connecting");
        let told = report(&mut host, self.nsid).expect("a report");
        let known = [Some(self.state.clone()), self.open.take()];
        let known: Vec<State> = known.into_iter().flatten().map(State::after_power_loss).collect();
        let found = known.iter().find(|state| says(&told, state)).cloned();
        self.state = found.unwrap_or_else(|| {
            panic!("round {round}, namespace {}: {told:?} is none of {known:?}", self.nsid)
        });
    }
}

/// Whether the report is the one of this state.
pub(crate) fn says(report: &Report, state: &State) -> bool {
    let header = &report.header;
    let rtype = state.kind().map_or(ReservationType::NONE, Kind::to_wire);
    let head = (header.generation.get(), header.rtype, header.ptpls);
    let entries =
        report.registrants.iter().map(|entry| (entry.hostid, entry.rkey.get(), entry.rcsts.holder()));
    let registrants = state.registrants().map(|(host, known)| (host, known.key.0, state.is_holder(host)));
    head == (state.generation(), rtype, u8::from(state.ptpl())) && entries.eq(registrants)
}

pub(crate) fn bytes(command: (Sqe, impl IntoBytes + zerocopy::Immutable)) -> (Sqe, Vec<u8>) {
    (command.0, command.1.as_bytes().to_vec())
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From `CORELANE_SEED`, or anything; says which.
    pub(crate) fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let seed = number("CORELANE_SEED").unwrap_or(u64::from(now.subsec_nanos()) ^ now.as_secs());
        println!("CORELANE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("an index")]
    }
}
