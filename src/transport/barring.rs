//! What an I/O reactor does while a fused operation has a place for itself: it hands over nothing that touches it, and
//! says when nothing is left of what it handed over before. See [`claims`](super::claims) for the whole.
//!
//! Reads that were answered with lent memory count as left until their bytes are with the kernel: they would change on
//! their way. A host that does not take them in time loses its connection, or it could hold up everybody.
//!
//! Invariants: a command that touches one of `bars` is in no bdev once the bar was answered for, but for the fused
//! operation itself; what is held back is in a slot, in [`Stage::Barred`], and is judged when it is handed over.

use std::time::Duration;

use corelane_reactors::buffer::Segment;
use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::SocketId;

use crate::connection::Piece;
use crate::nvmf::io::{Place, Request};
use crate::transport::command::{Stage, executing};
use crate::transport::data::Data;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::{Life, Link};
use crate::transport::message::{BarOrder, ManagementMail};
use crate::transport::queues::{Queue, Queues, Role, Services};

/// How long a fused operation waits for a host to take bytes that lie in its place.
const PATIENCE: Duration = Duration::from_secs(2);

/// A place that is left alone.
#[derive(Debug)]
pub(super) struct Bar {
    number: u64,
    place: Place,
    /// Sockets with bytes that lie in the place, and how much of their stream has to be gone.
    unsent: Vec<(SocketId, u64)>,
    patient_until: Time,
    /// Room for the answer, until it is given.
    reply: Option<Slot<ManagementMail>>,
}

impl Services {
    /// A fused operation has blocks for itself that this request touches: it has to wait.
    #[inline]
    pub(super) fn is_barred(&self, request: &Request) -> bool {
        !self.bars.is_empty() && self.bars.iter().any(|bar| self.channels.touches(request, &bar.place))
    }
}

impl Queues {
    /// Leaves a place alone from now on.
    pub(super) fn bar(&mut self, order: BarOrder) {
        let BarOrder { number, place, reply } = order;
        let mut unsent = Vec::new();
        if let Some(memory) = self.services.channels.lent(&place) {
            let senders = self.table.iter().flatten().filter(|queue| sends(&queue.link, memory));
            unsent.extend(senders.map(|queue| (queue.link.socket, queue.link.connection.outbox().queued())));
        }
        let patient_until = self.services.now + PATIENCE;
        self.services.bars.push(Bar { number, place, unsent, patient_until, reply: Some(reply) });
    }

    /// Answers for the places of which nothing is left. True if there were any.
    pub(super) fn look_at_bars(&mut self) -> bool {
        let mut dead = Vec::new();
        let (table, Services { bars, channels, now, .. }) = (&mut self.table, &mut self.services);
        let mut any = false;
        for bar in bars.iter_mut().filter(|bar| bar.reply.is_some()) {
            let late = *now >= bar.patient_until;
            bar.unsent.retain(|(socket, mark)| {
                let queue = table[socket.index()].as_mut().filter(|queue| queue.link.socket == *socket);
                let Some(queue) = queue.filter(|queue| queue.link.connection.outbox().gone() < *mark) else {
                    return false;
                };
                if late {
                    queue.link.life = Life::Dead;
                    dead.push(*socket);
                }
                true
            });
            let executes = |queue: &Queue| match &queue.role {
                Role::Io(io, _) => io.slots.iter().any(|(_, command)| {
                    let is_executing = matches!(command.stage, Stage::Executing { .. });
                    is_executing && channels.touches(&command.request, &bar.place)
                }),
                Role::Admin(_) => false,
            };
            if bar.unsent.is_empty() && !table.iter().flatten().any(|queue| executes(queue)) {
                any = true;
                if let Some(reply) = bar.reply.take() {
                    reply.send(ManagementMail::Barred(bar.number));
                }
            }
        }
        for socket in dead {
            self.mark(socket);
        }
        any
    }

    /// A place is everybody's again: goes on with what was held back.
    pub(super) fn unbar(&mut self, number: u64) {
        self.services.bars.retain(|bar| bar.number != number);
        let mut gone_on = Vec::new();
        for queue in self.table.iter_mut().flatten() {
            if let Queue { link, role: Role::Io(io, _) } = &mut **queue
                && io.go_on(link, &mut self.services)
            {
                io.settle_answers(&self.services);
                gone_on.push(link.socket);
            }
        }
        for socket in gone_on {
            self.mark(socket);
        }
    }

    /// When a host that does not read loses its connection.
    pub(super) fn next_bar(&self) -> Option<Time> {
        let unsent = self.services.bars.iter().filter(|bar| !bar.unsent.is_empty());
        unsent.map(|bar| bar.patient_until).min()
    }
}

/// Bytes of this memory wait to be sent.
fn sends(link: &Link, memory: Segment) -> bool {
    let range = |segment: Segment| {
        let start = segment.pointer().addr();
        start..start + segment.len()
    };
    let memory = range(memory);
    let mut pieces = link.connection.outbox().pieces();
    pieces.any(|piece| match piece {
        Piece::Data(Data::Lent(lent), part) => {
            let lent = range(lent.slice(part));
            lent.start < memory.end && memory.start < lent.end
        }
        Piece::Data(Data::Buffer(..) | Data::Page(_), _) | Piece::Bytes(_) => false,
    })
}

impl IoQueue {
    /// Hands over what was held back and is no longer. True if anything was.
    fn go_on(&mut self, link: &mut Link, services: &mut Services) -> bool {
        let held = |stage: &Stage| matches!(stage, Stage::Barred { .. });
        let held = self.slots.iter().filter(|(_, command)| held(&command.stage)).map(|(slot, _)| slot);
        let held: Vec<u16> = held.collect();
        for &slot in &held {
            let Some(mut command) = self.slots.remove(slot) else { unreachable!("it was found above") };
            let Stage::Barred { buffer, lease } = command.stage else {
                unreachable!("it was looked at above")
            };
            let Some(buffer) = buffer else {
                let from = lease.as_ref().map_or_else(Segment::empty, |lease| lease.segment());
                command.stage = executing(None, lease);
                self.execute(link, services, command, from);
                continue;
            };
            let bytes = command.request.transfer.bytes();
            command.stage = Stage::Waiting(None);
            self.slots.insert_at(slot, command);
            self.execute_slot(link, services, slot, buffer, bytes);
        }
        if !held.is_empty() {
            self.serve_waiting(link, services);
        }
        !held.is_empty()
    }
}
