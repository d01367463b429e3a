//! The load on a subsystem over NVMe/TCP: each core has associations of its own, as many as its queues need.
//!
//! Invariant: `routes` has an entry for every open socket, at its index, and no other; a lane has a socket while its
//! association is up.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::{Options, PollGroup, SocketId};
use corelane_reactors::reactor::Reactor;

use crate::initiator::{
    Association, AssociationOptions, Change, Completion, Fault, NotSubmitted, QueueName, Queues, Transfer,
    command,
};
use crate::mem::Extent;
use crate::perf::{Failure, Io, Outage, Port, Sink, Submission, Target};

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_PER_SOCKET: usize = 2;

/// A namespace of a subsystem over NVMe/TCP.
#[derive(Clone, Debug)]
pub struct TcpTarget {
    /// How to connect; the number of I/O queues is chosen for each core.
    pub association: AssociationOptions,
    /// The namespace.
    pub nsid: u32,
    /// The most I/O queues of one association, at least 1.
    pub queues_max: u16,
}

impl Target for TcpTarget {
    type Port = TcpPort;

    fn port(&self, _reactor: &mut Reactor, lanes: usize, _memory: &Arc<Extent>) -> io::Result<TcpPort> {
        let most = usize::from(self.queues_max.max(1));
        let mut units = Vec::new();
        for first in (0..lanes).step_by(most) {
            let lanes = first..lanes.min(first + most);
            let io_queues = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
            let options = AssociationOptions { io_queues, ..self.association.clone() };
            let association = Association::new(options).map_err(io::Error::other)?;
            units.push(Unit { association, lanes, proven: false });
        }
        let sockets_max = units.iter().map(|unit| unit.association.sockets_max()).sum();
        Ok(TcpPort {
            group: PollGroup::new(&Options {
                chunk_bytes: CHUNK_BYTES,
                chunks: sockets_max * CHUNKS_PER_SOCKET,
                sockets_max,
                chunks_per_socket: CHUNKS_PER_SOCKET,
            })?,
            queues: Queues::new(sockets_max),
            units: units.into(),
            routes: vec![Route::None; sockets_max].into(),
            sockets: vec![None; lanes].into(),
            nsid: self.nsid,
        })
    }
}

/// One core's associations.
pub struct TcpPort {
    group: PollGroup,
    queues: Queues,
    units: Box<[Unit]>,
    routes: Box<[Route]>,
    /// By lane.
    sockets: Box<[Option<SocketId>]>,
    nsid: u32,
}

/// An association, and the lanes that are its I/O queues.
struct Unit {
    association: Association,
    lanes: Range<usize>,
    /// A command has succeeded since it came up.
    proven: bool,
}

/// Whose completions come from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    None,
    Admin { unit: usize },
    Io { unit: usize, lane: usize },
}

impl Route {
    fn is_of(self, number: usize) -> bool {
        match self {
            Self::None => false,
            Self::Admin { unit } | Self::Io { unit, .. } => unit == number,
        }
    }
}

impl TcpPort {
    fn advance(&mut self, now: Time, number: usize, sink: &mut impl Sink) -> bool {
        let unit = &mut self.units[number];
        let change = unit.association.advance(now, &mut self.group, &mut self.queues);
        if let Some(admin) = unit.association.admin() {
            self.routes[admin.index()] = Route::Admin { unit: number };
        }
        change.is_some_and(|change| self.changed(number, change, sink))
    }

    fn changed(&mut self, number: usize, change: Change, sink: &mut impl Sink) -> bool {
        let unit = &mut self.units[number];
        let lanes = unit.lanes.clone();
        unit.proven = false;
        if change == Change::Up {
            for (index, lane) in lanes.clone().enumerate() {
                let socket = unit.association.io(index);
                if let Some(socket) = socket {
                    self.routes[socket.index()] = Route::Io { unit: number, lane };
                }
                self.sockets[lane] = socket;
            }
            sink.up(lanes);
            return true;
        }
        for route in self.routes.iter_mut().filter(|route| route.is_of(number)) {
            *route = Route::None;
        }
        self.sockets[lanes.clone()].fill(None);
        match change {
            Change::Up | Change::Left => {}
            Change::Down(fault) => sink.down(lanes, Outage::Association(fault), false),
            Change::GaveUp(fault) => sink.down(lanes, Outage::Association(fault), true),
        }
        true
    }
}

impl Port for TcpPort {
    fn poll(&mut self, now: Time, sink: &mut impl Sink) -> bool {
        let mut busy = false;
        for number in 0..self.units.len() {
            busy |= self.advance(now, number, sink);
        }
        let Self { group, queues, units, routes, .. } = self;
        let served = queues.poll(group, |socket, completion| match routes[socket.index()] {
            Route::None => {}
            Route::Admin { unit } => units[unit].association.completed(completion),
            Route::Io { unit, lane } => told(&mut units[unit], lane, completion, sink),
        });
        busy | (served > 0)
    }

    fn submit(&mut self, lane: usize, tag: u16, io: &Io) -> Submission {
        let pair = self.sockets[lane].and_then(|socket| self.queues.pair_mut(socket));
        let Some(pair) = pair else { return Submission::Full };
        let (sqe, transfer) = if io.write {
            let from = io.memory.read_only();
            (command::write(self.nsid, io.lba, io.blocks, false), Transfer::ToController(from))
        } else {
            (command::read(self.nsid, io.lba, io.blocks), Transfer::ToHost(io.memory))
        };
        match pair.submit(&sqe, transfer, tag.into()) {
            Ok(_) => Submission::Taken,
            Err(NotSubmitted::Full | NotSubmitted::NotReady) => Submission::Full,
            Err(NotSubmitted::TooLong { .. }) => Submission::Failed(Failure::TooLong),
        }
    }

    fn flush(&mut self) -> bool {
        self.queues.flush(&mut self.group)
    }

    fn unanswered(&mut self, now: Time, lane: usize, after: Duration, sink: &mut impl Sink) {
        let Some(number) = self.units.iter().position(|unit| unit.lanes.contains(&lane)) else { return };
        let unit = &mut self.units[number];
        let qid = u16::try_from(lane - unit.lanes.start + 1).unwrap_or(u16::MAX);
        let fault = Fault::CommandTimedOut { queue: QueueName(qid), after };
        let change = unit.association.fail(now, fault, &mut self.group, &mut self.queues);
        self.changed(number, change, sink);
    }

    fn leave(&mut self, now: Time) {
        for unit in &mut self.units {
            unit.association.leave(now, &mut self.group, &mut self.queues);
        }
    }

    fn is_over(&self) -> bool {
        self.units.iter().all(|unit| unit.association.is_over())
    }
}

/// A command of an I/O queue ended.
fn told(unit: &mut Unit, lane: usize, completion: Completion, sink: &mut impl Sink) {
    let tag = u16::try_from(completion.tag).expect("tags are slots");
    match completion.outcome {
        Ok(_) => {
            if !unit.proven {
                unit.proven = true;
                unit.association.worked();
            }
            sink.done(lane, tag, Ok(()));
        }
        Err(error) => match Failure::of(error) {
            Some(failure) => sink.done(lane, tag, Err(failure)),
            // The end of the association is told for all of its commands together.
            None => unit.association.suspect(),
        },
    }
}
