//! One reactor's way to a namespace with several paths: commands in, outcomes out. Does not block, and allocates nothing
//! once its queues are connected.
//!
//! ```text
//!   submit -> Waiting -> Out { way } -> done
//!                ^          |
//!                +----------+  its connection ended; its path does not work; there is more of it to be sent
//! ```
//!
//! Invariants: a slot is in `free`, in `waiting`, or out on one way; what is out on a way that is closed goes back to
//! `waiting` before anything else is sent; a command longer than a controller takes is sent part by part, one at a time,
//! so that a slot is one command on the wire at most.

mod slot;
mod way;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::{Options as GroupOptions, PollGroup};
use corelane_reactors::poller::Wake;

use crate::initiator::multipath::cause::{Remedy, remedy};
use crate::initiator::multipath::{Access, Cause, Failed, Paths};
use crate::initiator::{CommandError, Completion, NotSubmitted, Queues};

pub use slot::Request;

use slot::{Slot, State};
use way::Way;

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_PER_SOCKET: usize = 2;
/// How often is looked at connections that are being made.
const PACE: Duration = Duration::from_millis(1);
/// How often is looked at commands that take too long.
const WATCH_EVERY: Duration = Duration::from_millis(16);
/// Commands that a lane holds: those on its queues, and those that wait for room on them or for a path.
pub const COMMANDS_MAX: u16 = 1024;
/// Sendings of one part of a command, at most: paths that come and go must not keep it for ever.
const SENDINGS_MAX: u8 = 64;
/// Sendings of a part whose data comes damaged.
const DAMAGED_MAX: u8 = 4;
/// How long a path is left alone after it has sent a command back.
const AVOID: Duration = Duration::from_millis(100);

/// The lane holds as many commands as it can; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lane is full")]
pub struct Full;

/// An I/O queue on each path, and the commands on them. It stays on the reactor that opened it.
pub struct Lane {
    paths: Paths,
    qid: u16,
    group: PollGroup,
    queues: Queues,
    ways: Box<[Way]>,
    table: Table,
    /// The way that the next command takes, if it is as good as any.
    next: usize,
    /// There is no way that works.
    dark: Option<Dark>,
    look: Time,
    watch: Time,
    now: Time,
}

/// A time without a way that works.
struct Dark {
    since: Time,
    /// How often paths had been opened before.
    openings: u32,
    /// It was for so long that commands were given up.
    given_up: bool,
}

/// The commands.
struct Table {
    slots: Box<[Slot]>,
    free: Vec<u16>,
    waiting: VecDeque<u16>,
    /// Those that have ended and were not told yet.
    ended: VecDeque<(u64, Result<(), Failed>)>,
    /// Those on the wire.
    out: usize,
}

impl Paths {
    /// Opens a lane on the calling reactor; `None` when as many are open as were asked for. Its queues are connected when
    /// they are first needed.
    ///
    /// # Errors
    /// What the system says about watching sockets.
    pub fn lane(&self) -> io::Result<Option<Lane>> {
        let sockets_max = self.0.options.paths.len();
        let group = PollGroup::new(&GroupOptions {
            chunk_bytes: CHUNK_BYTES,
            chunks: sockets_max * CHUNKS_PER_SOCKET,
            sockets_max,
            chunks_per_socket: CHUNKS_PER_SOCKET,
        })?;
        let Some(qid) = self.0.board.take_qid() else { return Ok(None) };
        Ok(Some(Lane {
            paths: self.clone(),
            qid,
            group,
            queues: Queues::new(sockets_max),
            ways: (0..sockets_max).map(Way::new).collect(),
            table: Table::new(COMMANDS_MAX),
            next: 0,
            dark: None,
            look: Time::ORIGIN,
            watch: Time::ORIGIN,
            now: Time::ORIGIN,
        }))
    }
}

impl Lane {
    /// Takes a command; it ends through [`Lane::poll`]. `tag` names it among those that are outstanding. It is sent with
    /// the next [`Lane::commit`] or [`Lane::poll`].
    ///
    /// # Errors
    /// [`Full`].
    pub fn submit(&mut self, now: Time, tag: u64, request: Request) -> Result<(), Full> {
        self.now = now;
        if self.outstanding() == 0 {
            // Nobody polls an idle lane: what its connections went through is learnt now.
            self.look = now;
            self.turn();
            self.forget_the_dark();
        }
        let Some(slot) = self.table.free.pop() else { return Err(Full) };
        self.table.slots[usize::from(slot)] = Slot::new(tag, request);
        self.table.waiting.push_back(slot);
        // Behind others that wait it would overtake them.
        if self.table.waiting.len() == 1 {
            self.send();
        }
        Ok(())
    }

    /// Does one batch: receives, sends again, gives up. Tells what has ended; returns how many.
    pub fn poll(&mut self, now: Time, done: &mut dyn FnMut(u64, Result<(), Failed>)) -> usize {
        self.now = now;
        self.turn();
        self.send();
        self.commit();
        let mut count = 0;
        while let Some((tag, outcome)) = self.table.ended.pop_front() {
            done(tag, outcome);
            count += 1;
        }
        count
    }

    /// Sends what was submitted.
    pub fn commit(&mut self) {
        self.queues.flush(&mut self.group);
    }

    /// Commands that were taken and have not been told ended.
    pub fn outstanding(&self) -> usize {
        self.table.slots.len() - self.table.free.len() + self.table.ended.len()
    }

    /// When to poll again. What is on the wire cannot be waited for here; what has no way is looked at now and then.
    pub fn wake(&self) -> Wake {
        if self.outstanding() == 0 {
            Wake::Never
        } else if self.table.out > 0 || !self.table.ended.is_empty() {
            Wake::Soon
        } else {
            Wake::At(self.now + PACE)
        }
    }

    /// Ends a command that waits for a path; false for one that is on the wire, and for an unknown one.
    pub fn abort(&mut self, tag: u64) -> bool {
        let slots = &self.table.slots;
        let place = self.table.waiting.iter().position(|&slot| slots[usize::from(slot)].tag == tag);
        let Some(slot) = place.and_then(|place| self.table.waiting.remove(place)) else { return false };
        self.table.end(slot, Err(Cause::Aborted.into()));
        true
    }

    /// Follows the paths, and receives.
    fn turn(&mut self) {
        let is_time = self.now >= self.look;
        if is_time {
            self.look = self.now + PACE;
        }
        for number in 0..self.ways.len() {
            if self.ways[number].is_stale(&self.paths, &self.queues) {
                self.close(number);
            }
            if is_time {
                let Self { paths, ways, group, queues, .. } = self;
                ways[number].advance(self.now, paths, self.qid, group, queues);
            }
        }
        let Self { group, queues, ways, table, paths, now, .. } = self;
        queues.poll(group, |_, completion| table.completed(completion, ways, paths, *now));
        if self.now >= self.watch {
            self.watch = self.now + WATCH_EVERY;
            self.watch();
        }
    }

    /// Closes the queue of a way; what was out on it is sent again.
    fn close(&mut self, number: usize) {
        self.ways[number].close(self.now, &self.paths, &mut self.group, &mut self.queues);
        self.table.take_back(number);
    }

    /// Looks for commands that are not answered in time.
    fn watch(&mut self) {
        let timeout = self.paths.0.options.timeout;
        for number in 0..self.ways.len() {
            let now = self.now;
            let is_late =
                |slot: &Slot| slot.state == State::Out { way: number } && now.since(slot.sent) >= timeout;
            if self.table.out > 0 && self.table.slots.iter().any(is_late) {
                tracing::warn!(address = %self.paths.0.options.paths[number], after = ?timeout, "a command is not answered");
                self.ways[number].complain(&self.paths);
                self.close(number);
            }
        }
    }

    /// Sends what waits, as far as there is a way with room for it; gives up what has waited for too long.
    fn send(&mut self) {
        while let Some(&slot) = self.table.waiting.front() {
            match self.choose() {
                Choice::Way(way) => {
                    if !self.send_on(way, slot) {
                        return;
                    }
                }
                Choice::Busy => return,
                Choice::Dark => return self.wait_in_the_dark(),
            }
        }
    }

    /// Sends a command; false if the way has no room.
    fn send_on(&mut self, way: usize, number: u16) -> bool {
        let slot = &mut self.table.slots[usize::from(number)];
        let block_size = self.paths.found().space.block_size;
        let socket = self.ways[way].socket();
        let Some(pair) = socket.and_then(|socket| self.queues.pair_mut(socket)) else { return false };
        let limit = self.ways[way].transfer_bytes_max;
        let (sqe, transfer) = slot.part(self.paths.found().nsid, block_size, limit);
        match pair.submit(&sqe, transfer, number.into()) {
            Ok(_) => {
                slot.sendings += 1;
                slot.sent = self.now;
                slot.state = State::Out { way };
                self.table.waiting.pop_front();
                self.table.out += 1;
                self.next = (way + 1) % self.ways.len();
                true
            }
            Err(NotSubmitted::Full | NotSubmitted::NotReady) => false,
            Err(NotSubmitted::TooLong { .. }) => {
                self.table.waiting.pop_front();
                self.table.end(number, Err(Cause::Device { again: false }.into()));
                true
            }
        }
    }

    /// The next of the best ways.
    fn choose(&mut self) -> Choice {
        let count = self.ways.len();
        let (mut best, mut works) = (None, false);
        for wanted in [Access::Optimized, Access::NonOptimized] {
            for number in (self.next..count).chain(0..self.next) {
                let way = &self.ways[number];
                if !way.is_usable(self.now) || self.paths.0.board.paths()[number].standing().access != wanted
                {
                    continue;
                }
                let Some(pair) = way.socket().and_then(|socket| self.queues.pair(socket)) else { continue };
                works = true;
                if pair.has_room() {
                    best = Some(number);
                    break;
                }
            }
            // A full queue on a good path is better than room on a worse one.
            if works {
                break;
            }
        }
        if works {
            self.dark = None;
        }
        match best {
            Some(number) => Choice::Way(number),
            None if works => Choice::Busy,
            None => Choice::Dark,
        }
    }

    /// No command waits: if a path was open meanwhile, the next time without one begins when it is met.
    fn forget_the_dark(&mut self) {
        let openings = self.paths.0.board.openings();
        self.dark.take_if(|dark| dark.openings != openings);
    }

    fn wait_in_the_dark(&mut self) {
        if self.dark.as_ref().is_some_and(|dark| dark.given_up) {
            self.forget_the_dark();
        }
        let (paths, options) = (self.paths.0.board.paths(), &self.paths.0.options);
        let is_gone = paths.iter().all(|path| path.standing().access == Access::Lost);
        let openings = self.paths.0.board.openings();
        let now = self.now;
        let dark = self.dark.get_or_insert(Dark { since: now, openings, given_up: false });
        // A path that works is none the worse for having no queue yet: that takes as long as it may take.
        let is_dawning = self.ways.iter().any(|way| way.is_coming(&self.paths));
        let patience =
            if is_dawning { options.no_path_timeout.max(options.timeout) } else { options.no_path_timeout };
        dark.given_up |= now.since(dark.since) >= patience;
        if is_gone || dark.given_up {
            let cause = if is_gone { Cause::Gone } else { Cause::NoPath };
            while let Some(slot) = self.table.waiting.pop_front() {
                self.table.end(slot, Err(cause.into()));
            }
        }
    }
}

enum Choice {
    Way(usize),
    /// All ways that work are full.
    Busy,
    /// No way works.
    Dark,
}

impl Table {
    fn new(commands: u16) -> Self {
        let count = usize::from(commands);
        Self {
            slots: (0..count).map(|_| Slot::empty()).collect(),
            free: (0..commands).rev().collect(),
            waiting: VecDeque::with_capacity(count),
            ended: VecDeque::with_capacity(count),
            out: 0,
        }
    }

    fn completed(&mut self, completion: Completion, ways: &mut [Way], paths: &Paths, now: Time) {
        let number = u16::try_from(completion.tag).expect("tags are slots");
        let slot = &mut self.slots[usize::from(number)];
        let State::Out { way } = slot.state else { unreachable!("only what is out completes") };
        self.out -= 1;
        slot.state = State::Waiting;
        match completion.outcome {
            Ok(_) => {
                if slot.advance() {
                    self.end(number, Ok(()));
                } else {
                    self.waiting.push_front(number);
                }
            }
            Err(CommandError::Disconnected) => {
                self.again(number, SENDINGS_MAX, Cause::Device { again: true })
            }
            Err(CommandError::Damaged) => self.again(number, DAMAGED_MAX, Cause::ReadFault),
            Err(CommandError::Status { status, dw0 }) => match remedy(status) {
                Remedy::Tell(cause) => {
                    let dw0 = if slot.is_copy() { dw0 } else { 0 };
                    self.end(number, Err(Failed { cause, dw0 }));
                }
                Remedy::Damaged(cause) => self.again(number, DAMAGED_MAX, cause),
                Remedy::OtherPath | Remedy::Look => {
                    ways[way].avoid(now + AVOID);
                    paths.0.board.paths()[way].suspect();
                    self.again(number, SENDINGS_MAX, Cause::Device { again: true });
                }
            },
        }
    }

    /// Sends it once more, if it was not sent too often.
    fn again(&mut self, number: u16, most: u8, cause: Cause) {
        if self.slots[usize::from(number)].sendings >= most {
            self.end(number, Err(cause.into()));
        } else {
            self.waiting.push_back(number);
        }
    }

    /// What was out on a way waits again.
    fn take_back(&mut self, way: usize) {
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            if slot.state == (State::Out { way }) {
                slot.state = State::Waiting;
                self.out -= 1;
                let number = u16::try_from(number).expect("as many as there are slots");
                self.again(number, SENDINGS_MAX, Cause::Device { again: true });
            }
        }
    }

    fn end(&mut self, number: u16, outcome: Result<(), Failed>) {
        let slot = &mut self.slots[usize::from(number)];
        self.ended.push_back((slot.tag, outcome));
        *slot = Slot::empty();
        self.free.push(number);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queues.close_all(&mut self.group);
        self.paths.0.board.return_qid(self.qid);
    }
}
