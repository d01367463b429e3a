//! One association that is kept up: admin queue, controller, I/O queues, keep alive; made anew, with a back-off, when it
//! ends. Does not block: a poller calls [`Association::advance`] in every turn, beside [`Queues::poll`].
//!
//! ```text
//!   Waiting -> Dialing -> Opening -> Enabling -> Dialing, Opening (once for each I/O queue) -> Up -> Leaving -> Left
//!      ^          |          |          |                |                                     |
//!      +----------+----------+----------+----------------+-- any fault ------------------------+
//!      +--> GaveUp: the fault is final, or the time for attempts is over
//! ```
//!
//! What must hold: `sockets` are the queues that were opened since the last fault, admin queue first; none is open in
//! `Waiting`, `GaveUp` and `Left`. A fault closes them all before it is told, so that no memory of a command is touched
//! any more: whoever submitted one takes it for lost then, and need not be told of each.

mod backoff;
mod fault;

use std::net::SocketAddr;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::{PollGroup, Refusal, SocketId};

pub use backoff::Backoff;
pub use fault::Fault;

pub(super) use backoff::Attempts;

use crate::initiator::{
    Completion, Controller, Dial, Enabling, End, Identity, Kind, QueueName, QueueOptions, Queues, Step,
    Transfer, command, enable,
};
use crate::mem::{self, Buffer, ExtentError, Pool};
use crate::spec::identify::IDENTIFY_BYTES;
use crate::spec::register::Property;
use crate::spec::sqe::Sqe;

/// Commands of the admin queue that may be under way: as many as Linux has.
const ADMIN_DEPTH: u16 = 31;
/// How often an association that is up is looked at.
const PACE: Duration = Duration::from_millis(1);
/// The most that comes with an admin command.
const IDENTIFY_DATA: u32 = 4096;
const _: () = assert!(IDENTIFY_DATA as usize == IDENTIFY_BYTES);
/// The tag of admin commands; one is under way at a time.
const TAG: u64 = 0;

/// What to connect to, as whom, and how.
#[derive(Clone, Debug)]
pub struct AssociationOptions {
    /// Where the controller is.
    pub address: SocketAddr,
    /// Who, and to what.
    pub identity: Identity,
    /// I/O queues; a controller that gives fewer is of no use.
    pub io_queues: u16,
    /// I/O queues beside those, which others connect to the same controller: they are asked for, and not opened.
    pub queues_elsewhere: u16,
    /// Commands that may be under way on an I/O queue, 1 to 65,534; the controller may allow fewer.
    pub depth: u16,
    /// Ask for header digests.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// Keep SQ flow control.
    pub flow_control: bool,
    /// KATO; zero for none. Half of it is between two Keep Alive commands.
    pub keep_alive: Duration,
    /// Time limit of connecting a queue, and of each admin command.
    pub timeout: Duration,
    /// The most data of one I/O command, in bytes; MDTS may be less.
    pub transfer_bytes_max: u32,
    /// When to try again.
    pub backoff: Backoff,
}

/// What has become of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "commands that were under way are lost when it is down"]
pub enum Change {
    /// Every queue is connected: commands can be submitted.
    Up,
    /// It ended, or an attempt failed; it will be tried again.
    Down(Fault),
    /// As `Down`, and it will not be tried again.
    GaveUp(Fault),
    /// It was left in order.
    Left,
}

#[derive(Debug)]
enum State {
    Waiting { until: Time },
    Dialing { dial: Dial, deadline: Time },
    Opening { deadline: Time },
    Enabling(Box<Enabling>),
    Up { look: Time },
    Leaving,
    Left,
    GaveUp,
}

/// One association.
#[derive(Debug)]
pub struct Association {
    options: AssociationOptions,
    state: State,
    /// The admin queue, then the I/O queues by QID.
    sockets: Vec<SocketId>,
    controller: Option<Controller>,
    attempts: Attempts,
    buffer: Buffer,
    /// Until when the admin command under way has to be answered.
    under_way: Option<Time>,
    answer: Option<Completion>,
    kept_alive: Time,
}

impl Association {
    /// One that begins to connect with the first [`Association::advance`].
    ///
    /// # Errors
    /// [`ExtentError`] when there is no memory for its data.
    ///
    /// # Panics
    /// If the depth is not possible.
    pub fn new(options: AssociationOptions) -> Result<Self, ExtentError> {
        assert!(options.depth > 0);
        assert!(options.depth < u16::MAX);
        // The buffer keeps the memory of its pool.
        let Some(buffer) = Pool::new(1, IDENTIFY_BYTES)?.take(IDENTIFY_BYTES) else {
            unreachable!("the pool has one buffer")
        };
        Ok(Self {
            sockets: Vec::with_capacity(usize::from(options.io_queues) + 1),
            attempts: Attempts::new(options.backoff),
            options,
            state: State::Waiting { until: Time::ORIGIN },
            controller: None,
            buffer,
            under_way: None,
            answer: None,
            kept_alive: Time::ORIGIN,
        })
    }

    /// The sockets that it needs at most.
    pub fn sockets_max(&self) -> usize {
        usize::from(self.options.io_queues) + 1
    }

    /// The socket of its admin queue while there is one; its completions belong to [`Association::completed`].
    pub fn admin(&self) -> Option<SocketId> {
        self.sockets.first().copied()
    }

    /// The socket of I/O queue `index`, from 0; meaningful while the association is up.
    pub fn io(&self, index: usize) -> Option<SocketId> {
        self.sockets.get(index + 1).copied()
    }

    /// The controller, once it is ready; the last one while there is none.
    pub fn controller(&self) -> Option<&Controller> {
        self.controller.as_ref()
    }

    /// An I/O command succeeded: the next fault begins a new series of attempts.
    pub fn worked(&mut self) {
        self.attempts.worked();
    }

    /// A command of the admin queue completed.
    pub fn completed(&mut self, completion: Completion) {
        self.answer = Some(completion);
    }

    /// A queue may have ended: look at once.
    pub fn suspect(&mut self) {
        if let State::Up { look } = &mut self.state {
            *look = Time::ORIGIN;
        }
    }

    /// Ends it for `fault`, for instance a command that was not answered in time. It is made anew after a while.
    pub fn fail(&mut self, now: Time, fault: Fault, group: &mut PollGroup, queues: &mut Queues) -> Change {
        self.close(group, queues);
        let again = if fault.is_final() { None } else { self.attempts.failed(now) };
        self.state = again.map_or(State::GaveUp, |until| State::Waiting { until });
        if again.is_some() { Change::Down(fault) } else { Change::GaveUp(fault) }
    }

    /// Tells the controller to shut down, if there is one. [`Change::Left`] follows, in the time of one command.
    pub fn leave(&mut self, now: Time, group: &mut PollGroup, queues: &mut Queues) {
        match self.state {
            State::Up { .. } if self.under_way.is_none() => {
                let set = command::property_set(Property::CC, enable::shut_down());
                match self.submit(now, &set, 0, queues) {
                    Ok(()) => self.state = State::Leaving,
                    Err(_) => self.left(group, queues),
                }
            }
            State::Left | State::GaveUp | State::Leaving => {}
            _ => self.left(group, queues),
        }
    }

    /// It has ended for good.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Left | State::GaveUp)
    }

    /// Does the next step, if it is time for one. To be called in every turn.
    pub fn advance(&mut self, now: Time, group: &mut PollGroup, queues: &mut Queues) -> Option<Change> {
        match self.step(now, group, queues) {
            Ok(change) => change,
            Err(fault) if matches!(self.state, State::Leaving) => {
                tracing::debug!(%fault, "leaving without an answer");
                self.left(group, queues);
                Some(Change::Left)
            }
            Err(fault) => Some(self.fail(now, fault, group, queues)),
        }
    }

    fn step(
        &mut self,
        now: Time,
        group: &mut PollGroup,
        queues: &mut Queues,
    ) -> Result<Option<Change>, Fault> {
        match &mut self.state {
            State::Waiting { until } if now >= *until => self.dial(now)?,
            State::Waiting { .. } | State::GaveUp | State::Left => {}
            State::Dialing { dial, deadline } => {
                if dial.is_answered() {
                    self.open(now, group, queues)?;
                } else if now >= *deadline {
                    return Err(Fault::NoAnswer { after: self.options.timeout });
                }
            }
            State::Opening { deadline } => {
                let deadline = *deadline;
                return self.opening(now, deadline, queues);
            }
            State::Enabling(_) => return self.enable(now, queues),
            State::Up { look } if now >= *look => {
                *look = now + PACE;
                self.look(now, queues)?;
            }
            State::Up { .. } => {}
            State::Leaving => {
                self.look_at_ends(queues)?;
                if self.answered(now)?.is_some() {
                    self.left(group, queues);
                    return Ok(Some(Change::Left));
                }
            }
        }
        Ok(None)
    }

    fn dial(&mut self, now: Time) -> Result<(), Fault> {
        let dial = Dial::start(self.options.address).map_err(Fault::Unreachable)?;
        self.state = State::Dialing { dial, deadline: now + self.options.timeout };
        Ok(())
    }

    /// Makes a queue of the connection that was dialled.
    fn open(&mut self, now: Time, group: &mut PollGroup, queues: &mut Queues) -> Result<(), Fault> {
        let opening = State::Opening { deadline: now + self.options.timeout };
        let State::Dialing { dial, .. } = std::mem::replace(&mut self.state, opening) else {
            unreachable!("a connection was dialled")
        };
        let stream = dial.into_stream().map_err(Fault::Unreachable)?;
        let options = self.queue_options(queues)?;
        let socket =
            queues.open(group, stream, &self.options.identity, &options).map_err(|error| {
                match error.refusal {
                    Refusal::System(errno) => Fault::Unreachable(errno),
                    Refusal::Full | Refusal::TooMuchUnread => {
                        unreachable!("there is a socket for each queue")
                    }
                }
            })?;
        self.sockets.push(socket);
        Ok(())
    }

    /// How the next queue is to be: the admin queue when there is none.
    fn queue_options(&self, queues: &Queues) -> Result<QueueOptions, Fault> {
        let options = &self.options;
        let mut wanted = QueueOptions {
            kind: Kind::Admin { keep_alive: options.keep_alive },
            depth: ADMIN_DEPTH,
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            flow_control: options.flow_control,
            in_capsule_bytes_max: 0,
            transfer_bytes_max: options.transfer_bytes_max,
        };
        let Some(admin) = self.admin() else {
            wanted.transfer_bytes_max = wanted.transfer_bytes_max.max(IDENTIFY_DATA);
            return Ok(wanted);
        };
        let pair = queues.pair(admin);
        let cntlid = pair.and_then(|pair| pair.cntlid());
        let (Some(cntlid), Some(controller)) = (cntlid, &self.controller) else {
            let end = pair.and_then(|pair| pair.end()).unwrap_or(End::ClosedByPeer);
            return Err(Fault::Ended { queue: QueueName(0), end });
        };
        let qid = u16::try_from(self.sockets.len()).expect("at most 65,535 I/O queues");
        wanted.kind = Kind::Io { qid, cntlid };
        wanted.depth = options.depth.min(controller.depth_max());
        wanted.in_capsule_bytes_max = controller.in_capsule_bytes_max();
        let limit = controller.transfer_bytes_max().unwrap_or(u32::MAX);
        wanted.transfer_bytes_max = options.transfer_bytes_max.min(limit);
        Ok(wanted)
    }

    fn opening(&mut self, now: Time, deadline: Time, queues: &Queues) -> Result<Option<Change>, Fault> {
        self.look_at_ends(queues)?;
        let Some(&socket) = self.sockets.last() else { unreachable!("a queue was opened") };
        if queues.pair(socket).is_some_and(|pair| pair.is_ready()) {
            return self.opened(now);
        }
        if now >= deadline {
            let queue = QueueName(u16::try_from(self.sockets.len() - 1).unwrap_or(u16::MAX));
            return Err(Fault::ConnectTimedOut { queue, after: self.options.timeout });
        }
        Ok(None)
    }

    fn queues_wanted(&self) -> u16 {
        self.options.io_queues.saturating_add(self.options.queues_elsewhere)
    }

    /// A queue is connected: what is next.
    fn opened(&mut self, now: Time) -> Result<Option<Change>, Fault> {
        let connected = self.sockets.len() - 1;
        if connected == 0 {
            self.kept_alive = now;
            self.state = State::Enabling(Box::new(Enabling::new(self.queues_wanted())));
            return Ok(None);
        }
        if connected < usize::from(self.options.io_queues) {
            self.dial(now)?;
            return Ok(None);
        }
        self.state = State::Up { look: now };
        Ok(Some(Change::Up))
    }

    fn enable(&mut self, now: Time, queues: &mut Queues) -> Result<Option<Change>, Fault> {
        self.look_at_ends(queues)?;
        if self.under_way.is_some() {
            let Some(completion) = self.answered(now)? else { return Ok(None) };
            return self.enabled(now, completion).map(|()| None);
        }
        let State::Enabling(enabling) = &mut self.state else { unreachable!("the caller has looked") };
        match enabling.step(now) {
            Step::Submit { sqe, receives } => self.submit(now, &sqe, receives, queues)?,
            Step::Wait(_) => {}
            Step::Done => {
                let waiting = State::Waiting { until: now };
                let State::Enabling(enabling) = std::mem::replace(&mut self.state, waiting) else {
                    unreachable!("it was just looked at")
                };
                return self.ready(now, *enabling);
            }
        }
        Ok(None)
    }

    fn enabled(&mut self, now: Time, completion: Completion) -> Result<(), Fault> {
        let State::Enabling(enabling) = &mut self.state else { unreachable!("the caller has looked") };
        let Some(task) = enabling.task() else { unreachable!("a command was under way") };
        let cqe = completion.outcome.map_err(|error| Fault::Enabling { task, error })?;
        let mut data = [0; IDENTIFY_BYTES];
        mem::copy_out(self.buffer.segment(0..IDENTIFY_BYTES), &mut data);
        Ok(enabling.completed(now, &cqe, &data)?)
    }

    /// The controller is ready: on to the I/O queues.
    fn ready(&mut self, now: Time, enabling: Enabling) -> Result<Option<Change>, Fault> {
        let Some(controller) = enabling.into_controller() else { unreachable!("it is done") };
        let (given, wanted) = (controller.queues, self.queues_wanted());
        self.controller = Some(controller);
        if given < wanted {
            return Err(Fault::FewerQueues { given, wanted });
        }
        if self.options.io_queues == 0 {
            self.state = State::Up { look: now };
            return Ok(Some(Change::Up));
        }
        self.dial(now)?;
        Ok(None)
    }

    /// Looks at an association that is up.
    fn look(&mut self, now: Time, queues: &mut Queues) -> Result<(), Fault> {
        self.look_at_ends(queues)?;
        if let Some(completion) = self.answered(now)? {
            completion.outcome.map_err(Fault::KeepAlive)?;
        }
        let interval = self.options.keep_alive / 2;
        let due = !interval.is_zero() && now.since(self.kept_alive) >= interval;
        if due && self.under_way.is_none() {
            self.kept_alive = now;
            self.submit(now, &command::keep_alive(), 0, queues)?;
        }
        Ok(())
    }

    fn look_at_ends(&self, queues: &Queues) -> Result<(), Fault> {
        for (index, &socket) in self.sockets.iter().enumerate() {
            if let Some(end) = queues.pair(socket).and_then(|pair| pair.end()) {
                let queue = QueueName(u16::try_from(index).unwrap_or(u16::MAX));
                return Err(Fault::Ended { queue, end });
            }
        }
        Ok(())
    }

    /// The end of the admin command under way, once there is one.
    fn answered(&mut self, now: Time) -> Result<Option<Completion>, Fault> {
        let Some(deadline) = self.under_way else { return Ok(None) };
        if let Some(completion) = self.answer.take() {
            self.under_way = None;
            return Ok(Some(completion));
        }
        if now >= deadline {
            return Err(Fault::CommandTimedOut { queue: QueueName(0), after: self.options.timeout });
        }
        Ok(None)
    }

    fn submit(&mut self, now: Time, sqe: &Sqe, receives: usize, queues: &mut Queues) -> Result<(), Fault> {
        let gone = Fault::Ended { queue: QueueName(0), end: End::ClosedByPeer };
        let pair = self.admin().and_then(|admin| queues.pair_mut(admin)).ok_or(gone)?;
        let transfer = match receives {
            0 => Transfer::None,
            bytes => Transfer::ToHost(self.buffer.segment_mut(0..bytes)),
        };
        // The queue is ready and empty, and its limit is larger than all that is received here.
        if pair.submit(sqe, transfer, TAG).is_err() {
            return Err(Fault::Ended { queue: QueueName(0), end: pair.end().unwrap_or(End::ClosedByPeer) });
        }
        self.answer = None;
        self.under_way = Some(now + self.options.timeout);
        Ok(())
    }

    fn left(&mut self, group: &mut PollGroup, queues: &mut Queues) {
        self.close(group, queues);
        self.state = State::Left;
    }

    fn close(&mut self, group: &mut PollGroup, queues: &mut Queues) {
        for socket in self.sockets.drain(..) {
            queues.close(group, socket);
        }
        (self.under_way, self.answer) = (None, None);
    }
}
