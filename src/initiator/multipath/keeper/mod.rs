//! Keeps the paths of a namespace up, and says on the board what each is good for. Belongs to the management reactor.
//!
//! Invariants: what stands on the board for a path is `Down` from the end of an association until the namespace behind the
//! next one was looked at; every association that is published has a generation of its own.

mod poller;
mod upkeep;

use std::io;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::{Options as GroupOptions, PollGroup};
use corelane_reactors::poller::{Poll, Wake};

use crate::initiator::multipath::board::{Limits, Standing};
use crate::initiator::multipath::{Access, Paths};
use crate::initiator::{Association, AssociationOptions, Backoff, Change, Fault, Queues};
use crate::mem::Pool;
use crate::spec::identify::IDENTIFY_BYTES;

use upkeep::{Tags, Upkeep};

pub use poller::{KeeperPoller, SharedKeeper};

/// The most data of an admin command.
const CHUNK_BYTES: usize = 16 << 10;
const CHUNKS_PER_SOCKET: usize = 2;
/// How often is looked at what is being connected.
const PACE: Duration = Duration::from_millis(1);
/// How often is looked at what works: lanes may have complained.
const PACE_UP: Duration = Duration::from_millis(20);

/// Keeps the paths of a namespace up.
pub struct Keeper {
    paths: Paths,
    group: PollGroup,
    queues: Queues,
    keepings: Box<[Keeping]>,
    leaving: bool,
}

/// One path.
struct Keeping {
    number: usize,
    options: AssociationOptions,
    association: Association,
    /// One buffer, for `upkeep`: a path that comes up needs no memory that it has not.
    pool: Pool,
    /// What is done on the association, while it is up.
    upkeep: Option<Upkeep>,
    generation: u32,
    /// After an end that would be final elsewhere: when to begin anew.
    anew: Option<Time>,
    /// What stands on the board.
    shown: Access,
    /// The end of the last association was told, and none has begun since.
    told: bool,
}

impl Keeper {
    /// For these paths. Nothing is connected before it is polled.
    ///
    /// # Errors
    /// No memory, or what the system says about watching sockets.
    pub fn new(paths: Paths) -> io::Result<Self> {
        let options = &paths.0.options;
        let sockets_max = options.paths.len();
        let group = PollGroup::new(&GroupOptions {
            chunk_bytes: CHUNK_BYTES,
            chunks: sockets_max * CHUNKS_PER_SOCKET,
            sockets_max,
            chunks_per_socket: CHUNKS_PER_SOCKET,
        })?;
        let keepings: io::Result<Box<[Keeping]>> =
            (0..sockets_max).map(|number| Keeping::new(&paths, number)).collect();
        Ok(Self { group, queues: Queues::new(sockets_max), keepings: keepings?, leaving: false, paths })
    }

    /// Does one batch: connects, keeps alive, listens to events, looks at the namespace.
    pub fn poll(&mut self, now: Time) -> Poll {
        let Self { paths, group, queues, keepings, leaving } = self;
        let served = queues.poll(group, |socket, completion| {
            let whose = keepings.iter_mut().find(|keeping| keeping.association.admin() == Some(socket));
            let Some(keeping) = whose else { return };
            match Tags::of(completion.tag) {
                Tags::Association => keeping.association.completed(completion),
                kind => {
                    if let Some(upkeep) = &mut keeping.upkeep {
                        upkeep.completed(kind, completion.outcome);
                    }
                }
            }
        });
        let (mut busy, mut pace) = (served > 0, PACE_UP);
        for keeping in &mut *keepings {
            if served > 0 {
                keeping.association.suspect();
            }
            busy |= keeping.advance(now, paths, group, queues, *leaving);
            if keeping.shown == Access::Down {
                pace = PACE;
            }
        }
        busy |= queues.flush(group);
        if busy { Poll::Busy } else { Poll::Idle(Wake::At(now + pace)) }
    }

    /// Takes leave of all controllers: from here on all paths are down.
    pub fn leave(&mut self, now: Time) {
        self.leaving = true;
        for keeping in &mut self.keepings {
            keeping.show(Access::Down, &self.paths, 0);
            keeping.upkeep = None;
            keeping.association.leave(now, &mut self.group, &mut self.queues);
        }
    }

    /// All controllers were taken leave of, as far as they answered.
    pub fn has_left(&self) -> bool {
        self.leaving && self.keepings.iter().all(|keeping| keeping.association.is_over())
    }
}

impl Keeping {
    fn new(paths: &Paths, number: usize) -> io::Result<Self> {
        let options = &paths.0.options;
        let options = AssociationOptions {
            address: options.paths[number],
            identity: options.identity.clone(),
            io_queues: 0,
            queues_elsewhere: options.lanes,
            depth: options.depth,
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            flow_control: false,
            keep_alive: options.keep_alive,
            timeout: options.timeout,
            transfer_bytes_max: options.transfer_bytes_max,
            backoff: Backoff { give_up_after: Duration::MAX, ..options.backoff },
        };
        let association = Association::new(options.clone()).map_err(io::Error::other)?;
        // There may have been a keeper before, and lanes that go on.
        let path = &paths.0.board.paths()[number];
        let generation = path.standing().generation;
        path.set_standing(Standing { generation, cntlid: 0, access: Access::Down });
        let pool = Pool::new(1, IDENTIFY_BYTES).map_err(io::Error::other)?;
        Ok(Self {
            number,
            options,
            association,
            pool,
            upkeep: None,
            generation,
            anew: None,
            shown: Access::Down,
            told: false,
        })
    }

    /// True if anything happened.
    fn advance(
        &mut self,
        now: Time,
        paths: &Paths,
        group: &mut PollGroup,
        queues: &mut Queues,
        leaving: bool,
    ) -> bool {
        if self.anew.is_some_and(|anew| now >= anew) && !leaving {
            self.anew = None;
            match Association::new(self.options.clone()) {
                Ok(association) => self.association = association,
                // No memory: later.
                Err(_) => self.anew = Some(now + self.options.backoff.most),
            }
        }
        if let Some(change) = self.association.advance(now, group, queues) {
            self.changed(now, change, paths);
            return true;
        }
        let path = &paths.0.board.paths()[self.number];
        let Some(upkeep) = &mut self.upkeep else { return false };
        if path.is_complained_of(self.generation) {
            let fault = Fault::QueueElsewhere;
            let change = self.association.fail(now, fault, group, queues);
            self.changed(now, change, paths);
            return true;
        }
        if path.take_suspicion() {
            upkeep.suspect();
        }
        let Some(admin) = self.association.admin() else { return false };
        let Some(pair) = queues.pair_mut(admin) else { return false };
        let cntlid = pair.cntlid().unwrap_or_default();
        match upkeep.advance(now, pair, paths.found()) {
            Ok(None) => false,
            Ok(Some(access)) => {
                self.show(access, paths, cntlid);
                true
            }
            Err(fault) => {
                let change = self.association.fail(now, fault, group, queues);
                self.changed(now, change, paths);
                true
            }
        }
    }

    fn changed(&mut self, now: Time, change: Change, paths: &Paths) {
        let address = self.options.address;
        match change {
            Change::Up => {
                let Some(controller) = self.association.controller() else {
                    unreachable!("an association that is up has a controller")
                };
                let name = &self.options.identity.subsystem;
                let place = format!("{address} ({name})");
                // What was done on the last association has its buffer no more.
                self.upkeep = None;
                let Some(buffer) = self.pool.take(IDENTIFY_BYTES) else {
                    unreachable!("the pool has a buffer for one at a time")
                };
                self.upkeep = Some(Upkeep::new(controller, self.options.timeout, place, buffer));
                self.generation = self.generation.wrapping_add(1).max(1);
                // The next end is a first one: this one was connected.
                self.association.worked();
                self.told = false;
                let controller = self.association.controller();
                let transfer = controller.and_then(crate::initiator::Controller::transfer_bytes_max);
                paths.0.board.paths()[self.number].set_limits(Limits {
                    depth_max: controller.map_or(1, crate::initiator::Controller::depth_max),
                    in_capsule_bytes_max: controller
                        .map_or(0, crate::initiator::Controller::in_capsule_bytes_max),
                    transfer_bytes_max: transfer.unwrap_or(u32::MAX),
                });
            }
            Change::Down(fault) | Change::GaveUp(fault) => {
                self.upkeep = None;
                self.show(Access::Down, paths, 0);
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%address, %fault, "a path is down; it is tried again and again");
                }
                if matches!(change, Change::GaveUp(_)) {
                    self.anew = Some(now + self.options.backoff.most);
                }
            }
            Change::Left => {}
        }
    }

    /// Puts it on the board.
    fn show(&mut self, access: Access, paths: &Paths, cntlid: u16) {
        if access == self.shown {
            return;
        }
        self.shown = access;
        let standing = Standing { generation: self.generation, cntlid, access };
        paths.0.board.paths()[self.number].set_standing(standing);
        if access != Access::Down {
            tracing::info!(address = %self.options.address, ?access, "a path is up");
        }
    }
}
