//! The records of namespaces, from the state directory to the fences: opened before anything is pinned, read on the
//! management core before any listener accepts a connection.

use std::sync::Arc;

use corelane_reactors::group::Group;
use corelane_reactors::mailbox::Mailbox;
use corelane_reactors::published::{Publisher, Subscriber};

use crate::app::ServeError;
use crate::config::Config;
use crate::nvmf::fence::recover::{Recovered, recover};
use crate::nvmf::fence::{Fences, Snapshot};
use crate::nvmf::target::Target;
use crate::persist::{Answer, Reader, StateDirectory, StateFiles, Store, Writer};
use crate::reservation::{Identity, Options};

/// Orders that can wait for the disk: one a namespace, and more than that many namespaces change at once nowhere.
const ORDERS_MAX: usize = 1024;

/// Where the rules of a subsystem are published.
type Cell = (Publisher<Arc<Snapshot>>, Subscriber<Arc<Snapshot>>);

/// What the fences of a target are made of.
pub(super) struct Records {
    reader: Reader,
    writer: Writer,
    answers: Mailbox<Answer>,
    /// Of each subsystem: where its rules are published, and its namespaces.
    subsystems: Vec<(Cell, Vec<(Identity, Options)>)>,
}

impl Records {
    /// Opens the records and starts their writer, on the core of the management reactor. The reader is for namespaces that
    /// come later.
    ///
    /// # Errors
    /// [`ServeError::Records`] and [`ServeError::Writer`].
    pub(super) fn open(
        group: &Group,
        config: &Config,
        state: Arc<StateDirectory>,
    ) -> Result<(Self, Reader), ServeError> {
        let store = Store::open(StateFiles::new(state))?;
        let (reader, later) = (store.reader(), store.reader());
        let (sender, answers) = group.mailbox(group.management(), ORDERS_MAX);
        let writer = Writer::spawn(store, sender, ORDERS_MAX, &[config.reactors.management]);
        let subsystems = config.subsystems.iter().map(|subsystem| {
            let namespaces = subsystem.namespaces.iter().map(|namespace| {
                let (nsid, uuid) = (namespace.nsid, namespace.uuid);
                let identity = Identity { subsystem: subsystem.nqn.clone(), nsid, uuid };
                (identity, Options { ptpl: namespace.reservations.persist })
            });
            (group.published(Arc::new(Snapshot::default())), namespaces.collect())
        });
        let subsystems = subsystems.collect();
        Ok((Self { reader, writer: writer.map_err(ServeError::Writer)?, answers, subsystems }, later))
    }

    /// Reads every record, and gives `target` its fences. A namespace whose record cannot be used is out of service; the
    /// log says which file and why.
    pub(super) fn recover(self, target: &mut Target) -> Mailbox<Answer> {
        let Self { reader, writer, answers, subsystems } = self;
        let mut fences = Fences::new(writer);
        for (index, (cell, namespaces)) in subsystems.into_iter().enumerate() {
            let nqn = namespaces.first().map(|(identity, _)| identity.subsystem.clone());
            let volatile: Vec<u32> = namespaces
                .iter()
                .filter(|(_, options)| !options.ptpl)
                .map(|(identity, _)| identity.nsid)
                .collect();
            let recovered = namespaces.into_iter().map(|(identity, options)| {
                let found = recovered(&reader, &identity, options);
                (identity, found, options)
            });
            fences.add(index, cell, recovered.collect::<Vec<_>>());
            if let Some(nqn) = nqn {
                target.enable_reservations(&nqn);
                target.enable_write_protection(&nqn);
            }
            for nsid in volatile {
                target.forbid_persistence(index, nsid);
            }
        }
        target.set_fences(fences);
        answers
    }
}

/// The reservations of a namespace, by its record. One whose record cannot be used is out of service.
pub(super) fn recovered(reader: &Reader, identity: &Identity, options: Options) -> Recovered {
    recover(reader, identity, options).unwrap_or_else(|error| {
        let (nqn, nsid) = (&identity.subsystem, identity.nsid);
        tracing::error!(%nqn, nsid, %error, "the namespace is out of service: its reservations are not known");
        Recovered::Fenced
    })
}
