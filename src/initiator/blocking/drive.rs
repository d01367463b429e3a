//! Turns the queues until what is waited for has happened, or its time is over.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poll_group::{Options, PollGroup, Refusal, SocketId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::initiator::blocking::{HostError, QueueName};
use crate::initiator::{CommandError, Completion, Identity, QueueOptions, Queues, Transfer};
use crate::mem::{self, Buffer, Pool};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_PER_SOCKET: usize = 2;
/// The tag of commands; one is under way at a time, so that it need not tell them apart.
const TAG: u64 = 0;

/// The data of a command.
#[derive(Clone, Copy, Debug)]
pub enum Exchange<'a> {
    /// None.
    None,
    /// These bytes go to the controller.
    Send(&'a [u8]),
    /// So many bytes come from the controller.
    Receive(usize),
}

/// What a command brought that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The completion.
    pub cqe: Cqe,
    /// The data; empty where none was asked for.
    pub data: Vec<u8>,
}

/// The queues of a host, their sockets, and the buffer that all data goes through.
pub(super) struct Drive {
    pub(super) clock: Clock,
    address: SocketAddr,
    timeout: Duration,
    group: PollGroup,
    queues: Queues,
    buffer: Buffer,
}

impl Drive {
    pub(super) fn new(
        address: SocketAddr,
        queues_max: usize,
        buffer_bytes: usize,
        timeout: Duration,
    ) -> Result<Self, HostError> {
        let options = Options {
            chunk_bytes: CHUNK_BYTES,
            chunks: queues_max * CHUNKS_PER_SOCKET,
            sockets_max: queues_max,
            chunks_per_socket: CHUNKS_PER_SOCKET,
        };
        // The buffer keeps the memory of its pool.
        let Some(buffer) = Pool::new(1, buffer_bytes)?.take(buffer_bytes) else {
            unreachable!("the pool has one buffer")
        };
        Ok(Self {
            clock: Clock::real(),
            address,
            timeout,
            group: PollGroup::new(&options)?,
            queues: Queues::new(queues_max),
            buffer,
        })
    }

    /// Connects a queue.
    pub(super) fn open(
        &mut self,
        identity: &Identity,
        options: &QueueOptions,
    ) -> Result<SocketId, HostError> {
        let deadline = self.clock.now() + self.timeout;
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)
            .map_err(|error| HostError::Unreachable { address: self.address, error })?;
        let opened = self.queues.open(&mut self.group, stream, identity, options);
        let socket = opened.map_err(|error| match error.refusal {
            Refusal::System(errno) => HostError::System(errno.into()),
            Refusal::Full | Refusal::TooMuchUnread => unreachable!("there is a socket for each queue"),
        })?;
        let queue = QueueName(options.kind.qid());
        loop {
            let Some(pair) = self.queues.pair(socket) else { return Err(HostError::Closed) };
            if pair.is_ready() {
                return Ok(socket);
            }
            if let Some(end) = pair.end() {
                return Err(HostError::Ended { queue, end });
            }
            self.turn(deadline, |_| {})?;
            if self.clock.now() >= deadline {
                return Err(HostError::ConnectTimedOut { queue, after: self.timeout });
            }
        }
    }

    /// The controller that a queue is connected to.
    pub(super) fn cntlid(&self, socket: SocketId) -> Option<u16> {
        self.queues.pair(socket)?.cntlid()
    }

    /// Executes one command.
    pub(super) fn execute(
        &mut self,
        socket: SocketId,
        sqe: &Sqe,
        exchange: Exchange<'_>,
    ) -> Result<Answer, HostError> {
        let transfer = self.transfer(exchange)?;
        let pair = self.queues.pair_mut(socket).ok_or(HostError::Closed)?;
        let queue = QueueName(pair.qid());
        if let Some(end) = pair.end() {
            return Err(HostError::Ended { queue, end });
        }
        pair.submit(sqe, transfer, TAG)?;
        let deadline = self.clock.now() + self.timeout;
        let mut outcome = None;
        while outcome.is_none() {
            let turned = self.turn(deadline, |completion| outcome = Some(completion.outcome));
            // The controller may still write to the buffer, so nothing more can go through it.
            if turned.is_err() {
                self.close();
            }
            turned?;
            if outcome.is_none() && self.clock.now() >= deadline {
                self.close();
                return Err(HostError::TimedOut { queue, after: self.timeout });
            }
        }
        match outcome {
            Some(Ok(cqe)) => Ok(Answer { cqe, data: self.received(exchange) }),
            Some(Err(CommandError::Disconnected)) | None => {
                let end = self.queues.pair(socket).and_then(|pair| pair.end());
                Err(end.map_or(HostError::Closed, |end| HostError::Ended { queue, end }))
            }
            Some(Err(error)) => Err(HostError::Command(error)),
        }
    }

    /// Executes two commands that are submitted one right behind the other, each with data for the controller; how each
    /// ended.
    pub(super) fn execute_pair(
        &mut self,
        socket: SocketId,
        commands: [(&Sqe, &[u8]); 2],
    ) -> Result<[Result<Cqe, CommandError>; 2], HostError> {
        let bytes = commands[0].1.len() + commands[1].1.len();
        let max = self.buffer.len();
        if bytes > max {
            return Err(HostError::TooLong { bytes, max });
        }
        let pair = self.queues.pair_mut(socket).ok_or(HostError::Closed)?;
        let queue = QueueName(pair.qid());
        if let Some(end) = pair.end() {
            return Err(HostError::Ended { queue, end });
        }
        let mut start = 0;
        for (tag, (sqe, data)) in (TAG..).zip(commands) {
            let range = start..start + data.len();
            start = range.end;
            mem::copy_in(data, self.buffer.segment_mut(range.clone()));
            pair.submit(sqe, Transfer::ToController(self.buffer.segment(range)), tag)?;
        }
        let deadline = self.clock.now() + self.timeout;
        let mut outcomes = [None, None];
        while outcomes.iter().any(Option::is_none) {
            let turned = self.turn(deadline, |completion| {
                outcomes[usize::from(completion.tag != TAG)] = Some(completion.outcome);
            });
            // The controller may still read the buffer, so nothing more can go through it.
            if turned.is_err() {
                self.close();
            }
            turned?;
            if outcomes.iter().any(Option::is_none) && self.clock.now() >= deadline {
                self.close();
                return Err(HostError::TimedOut { queue, after: self.timeout });
            }
        }
        let gone = || Err(CommandError::Disconnected);
        Ok(outcomes.map(|outcome| outcome.unwrap_or_else(gone)))
    }

    /// Waits until `time`.
    pub(super) fn wait(&mut self, time: Time) -> Result<(), HostError> {
        while self.clock.now() < time {
            self.turn(time, |_| {})?;
        }
        Ok(())
    }

    /// Closes all queues; the buffer is nobody else's any more.
    pub(super) fn close(&mut self) {
        self.queues.close_all(&mut self.group);
    }

    /// Sends and receives once; sleeps before, until `deadline` at most, if there was nothing to do.
    fn turn(&mut self, deadline: Time, mut done: impl FnMut(Completion)) -> Result<(), HostError> {
        let more = self.queues.flush(&mut self.group);
        let served = self.queues.poll(&mut self.group, |_, completion| done(completion));
        if served > 0 || more || self.group.pending() {
            return Ok(());
        }
        let left = deadline.since(self.clock.now());
        let limit = Timespec::try_from(left).ok();
        let descriptor = self.group.descriptor();
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(HostError::System(io::Error::from(errno))),
        }
    }

    fn transfer(&self, exchange: Exchange<'_>) -> Result<Transfer, HostError> {
        let max = self.buffer.len();
        let check =
            |bytes: usize| if bytes > max { Err(HostError::TooLong { bytes, max }) } else { Ok(bytes) };
        Ok(match exchange {
            Exchange::None | Exchange::Send([]) | Exchange::Receive(0) => Transfer::None,
            Exchange::Send(data) => {
                let bytes = check(data.len())?;
                mem::copy_in(data, self.buffer.segment_mut(0..bytes));
                Transfer::ToController(self.buffer.segment(0..bytes))
            }
            Exchange::Receive(bytes) => Transfer::ToHost(self.buffer.segment_mut(0..check(bytes)?)),
        })
    }

    fn received(&self, exchange: Exchange<'_>) -> Vec<u8> {
        let Exchange::Receive(bytes) = exchange else { return Vec::new() };
        let mut data = vec![0; bytes];
        mem::copy_out(self.buffer.segment(0..bytes), &mut data);
        data
    }
}
