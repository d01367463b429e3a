//! A TCP echo appliance: a listener and a poll group on one reactor, many connections, and peers that do not read.
//!
//! Back-pressure: a connection is not received from while it owes its peer bytes, so a peer that only sends costs one
//! chunk and stops itself. With an address the example serves there for ever; without one it tries itself.

mod peers;

use std::cell::RefCell;
use std::error::Error;
use std::net::TcpListener;
use std::rc::Rc;

use corelane_reactors::buffer::Lease;
use corelane_reactors::poll_group::{Closed, Errno, Handler, Options, PollGroup, Sent, SocketId, Taken};
use corelane_reactors::poller::{FnPoller, Phase, Poll, Wake};
use corelane_reactors::{clock::Clock, cpu, group::Group, group::Layout, idle::IdlePolicy};

/// One chunk for each connection: what it owes, until it is sent.
const OPTIONS: Options =
    Options { chunk_bytes: 16 << 10, chunks: 1024, sockets_max: 1024, chunks_per_socket: 2 };
const ACCEPTED_PER_TURN: usize = 16;

/// What is owed, by connection; who has something to send, or to receive again; who is gone.
#[derive(Default)]
struct Owed {
    bytes: Vec<Option<Lease>>,
    todo: Vec<SocketId>,
    ended: Vec<SocketId>,
}

impl Handler for Owed {
    fn received(&mut self, id: SocketId, bytes: &Lease) -> Taken {
        self.bytes[id.index()] = Some(bytes.clone());
        self.todo.push(id);
        Taken::pause(bytes.len())
    }

    fn writable(&mut self, id: SocketId) {
        self.todo.push(id);
    }

    fn sent(&mut self, id: SocketId, result: Result<usize, Errno>) {
        let Ok(count) = result else { return self.closed(id, Closed::ByPeer) };
        let owed = &mut self.bytes[id.index()];
        *owed = owed.take().map(|lease| lease.slice(count..lease.len())).filter(|rest| !rest.is_empty());
        self.todo.push(id);
    }

    fn closed(&mut self, id: SocketId, _reason: Closed) {
        self.bytes[id.index()] = None;
        self.ended.push(id);
    }
}

fn echo(group: &mut PollGroup, owed: &mut Owed) -> Poll {
    let served = group.poll(owed);
    while let Some(id) = owed.todo.pop() {
        match owed.bytes[id.index()].as_ref().map(|lease| group.send(id, &[lease.segment()])) {
            None => group.resume(id),
            Some(Sent::Bytes(count)) => owed.sent(id, Ok(count)),
            Some(Sent::Failed(errno)) => owed.sent(id, Err(errno)),
            Some(Sent::Blocked | Sent::Pending) => {}
        }
    }
    owed.ended.drain(..).for_each(|id| group.close(id));
    if served > 0 || group.pending() { Poll::Busy } else { Poll::Idle(Wake::Descriptor) }
}

fn accept(listener: &TcpListener, group: &mut PollGroup) -> Poll {
    let accepted = (0..ACCEPTED_PER_TURN).map_while(|_| listener.accept().ok());
    // One that is refused, because there are too many, is closed.
    let count = accepted.map(|(stream, _)| group.add(stream, &[])).count();
    if count > 0 { Poll::Busy } else { Poll::Idle(Wake::Descriptor) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    let layout = Layout { management: cpu::allowed()[0], io: vec![cpu::allowed()[0]] };
    let group = Group::new(&layout, IdlePolicy::default(), Clock::real())?;
    group.spawn(0, "echo", move |reactor| {
        let sockets = PollGroup::new(&OPTIONS)?;
        let (bound, ready) = (listener.try_clone()?.into(), sockets.descriptor().try_clone_to_owned()?);
        let sockets = Rc::new(RefCell::new(sockets));
        let group = Rc::clone(&sockets);
        let accept = FnPoller::watching("accept", bound, move |_| accept(&listener, &mut group.borrow_mut()));
        let mut owed = Owed { bytes: vec![None; OPTIONS.sockets_max], ..Owed::default() };
        let echo = FnPoller::watching("echo", ready, move |_| echo(&mut sockets.borrow_mut(), &mut owed));
        reactor.add_poller(Phase::Ingress, Box::new(accept))?;
        reactor.add_poller(Phase::Ingress, Box::new(echo)).map(drop)
    })?;
    println!("echoing on {local}");
    if address.is_none() {
        peers::try_it(local)?;
        group.stop();
    }
    Ok(group.join()?)
}
