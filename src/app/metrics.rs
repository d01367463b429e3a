//! Where the metrics endpoint gets its numbers: from the reactors' counters, which it reads itself, and from the management
//! reactor, which tells it by message what connections there are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

use corelane_reactors::group::{Group, Handle};
use corelane_reactors::mailbox::Sender;

use crate::config::Reactors;
use crate::metrics::{ConnectionData, Data, EndpointData, Events, NamespaceData, ReactorData, Source};
use crate::nvmf::io::Counts;
use crate::spec::nqn::DISCOVERY_NQN;
use crate::transport::{ConnectionView, Counters};

/// How long the management reactor may take to say what connections there are.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the endpoint's thread may run: on cores that no reactor has, else on that of the management reactor.
pub(super) fn cores(group: &Group, reactors: &Reactors) -> Vec<usize> {
    let taken = reactors.cores();
    let mut free = group.allowed_cpus().to_vec();
    free.retain(|cpu| !taken.contains(cpu));
    if free.is_empty() { vec![reactors.management] } else { free }
}

/// Asks the management reactor for the connections.
pub(super) struct Ask(SyncSender<Vec<ConnectionView>>);

impl Ask {
    /// Answers, without waiting. Who asked may have gone.
    pub(super) fn answer(self, connections: Vec<ConnectionView>) {
        let _ = self.0.try_send(connections);
    }
}

/// An endpoint of the transport, and where it counts.
struct Endpoint {
    reactor: usize,
    role: &'static str,
    counters: Arc<Counters>,
}

/// Everything that is counted, by where it is found.
pub(super) struct Numbers {
    reactors: Vec<Handle>,
    /// Those of the I/O reactors in the order of their lanes, then that of management.
    endpoints: Vec<Endpoint>,
    /// Of each subsystem, by its name.
    subsystems: Vec<(String, Arc<Counts>)>,
    ask: Sender<Ask>,
}

impl Numbers {
    /// The numbers of the reactors of `group`, of their I/O endpoints by lane, and of the subsystems.
    pub(super) fn new(
        group: &Group,
        io: &[Arc<Counters>],
        management: &Arc<Counters>,
        subsystems: Vec<(String, Arc<Counts>)>,
        ask: Sender<Ask>,
    ) -> Self {
        let endpoint = |reactor, role, counters| Endpoint { reactor, role, counters: Arc::clone(counters) };
        let mut endpoints: Vec<_> =
            group.io().iter().zip(io).map(|(&reactor, counters)| endpoint(reactor, "io", counters)).collect();
        endpoints.push(endpoint(group.management(), "management", management));
        let reactors = (0..group.reactors()).map(|index| group.handle(index)).collect();
        Self { reactors, endpoints, subsystems, ask }
    }

    fn connections(&self) -> Option<Vec<ConnectionData>> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.ask.send(Ask(reply)).ok()?;
        let views = answer.recv_timeout(PATIENCE).ok()?;
        let mut connections: Vec<_> = views.into_iter().map(|view| self.connection(view)).collect();
        let key = |it: &ConnectionData| (it.subsystem.clone(), it.host.clone(), it.cntlid, it.qid);
        connections.sort_by_cached_key(key);
        Some(connections)
    }

    fn connection(&self, view: ConnectionView) -> ConnectionData {
        let ConnectionView { host, subsystem, cntlid, qid, peer, lane, trace, .. } = view;
        let management = self.endpoints.len() - 1;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        ConnectionData {
            subsystem: subsystem.unwrap_or_else(|| DISCOVERY_NQN.to_owned()),
            host,
            cntlid,
            qid,
            peer,
            reactor: self.endpoints[lane.unwrap_or(management)].reactor,
            counts: trace.map(|trace| trace.counts()),
        }
    }
}

impl Source for Numbers {
    fn data(&mut self) -> Option<Data> {
        let connections = self.connections()?;
        let endpoint = |it: &Endpoint| EndpointData {
            reactor: it.reactor,
            role: it.role,
            commands: it.counters.commands.read(),
            completed_late: it.counters.completed_late.read(),
            protocol_errors: it.counters.protocol_errors.read(),
            queues_opened: it.counters.queues_opened.read(),
            queues_moved: it.counters.queues_moved.read(),
            moves_refused: it.counters.moves_refused.read(),
            pauses: it.counters.pauses.distribution(),
            events: it.counters.events.written(),
        };
        let reactor = |handle: &Handle| ReactorData {
            reactor: handle.index(),
            core: handle.cpu().unwrap_or_default(),
            report: handle.report(),
        };
        let namespaces = self.subsystems.iter().flat_map(|(subsystem, counts)| {
            let data = |(nsid, counts)| NamespaceData { subsystem: subsystem.clone(), nsid, counts };
            counts.namespaces().map(data)
        });
        Some(Data {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reactors: self.reactors.iter().map(reactor).collect(),
            endpoints: self.endpoints.iter().map(endpoint).collect(),
            namespaces: namespaces.collect(),
            connections,
        })
    }

    fn events(&mut self) -> Vec<Events> {
        let events = |it: &Endpoint| Events { reactor: it.reactor, events: it.counters.events.events() };
        self.endpoints.iter().map(events).collect()
    }
}
