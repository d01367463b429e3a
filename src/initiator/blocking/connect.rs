//! The beginning and the end of an association.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::SocketId;

use crate::initiator::blocking::drive::{Drive, Exchange};
use crate::initiator::blocking::{Host, HostError, HostOptions, QueueName};
use crate::initiator::{CommandError, Controller, Enabling, End, Kind, QueueOptions, Step, command, enable};
use crate::spec::identify::IDENTIFY_BYTES;
use crate::spec::register::{Csts, Property, ShutdownStatus};

/// Commands of the admin queue that may be under way: as many as Linux has.
const ADMIN_DEPTH: u16 = 31;

impl Host {
    /// Connects to the controller at `address`: admin queue, enable, identify, I/O queues.
    ///
    /// # Errors
    /// [`HostError`]; what was opened is closed again.
    pub fn connect(address: SocketAddr, options: &HostOptions) -> Result<Self, HostError> {
        let queues_max = usize::from(options.io_queues) + 1;
        let wished = usize::try_from(options.transfer_bytes_max).unwrap_or(usize::MAX);
        let mut drive = Drive::new(address, queues_max, wished.max(IDENTIFY_BYTES), options.timeout)?;
        let kind = Kind::Admin { keep_alive: options.keep_alive };
        let admin = drive.open(&options.identity, &queue_options(options, kind, ADMIN_DEPTH, 0))?;
        let kept_alive = drive.clock.now();
        let controller = enable_controller(&mut drive, admin, options.io_queues)?;
        let mut host = Self {
            options: options.clone(),
            drive,
            admin,
            io: Vec::new(),
            next: 0,
            controller,
            geometries: BTreeMap::new(),
            kept_alive,
        };
        host.options.transfer_bytes_max =
            options.transfer_bytes_max.min(host.controller.transfer_bytes_max().unwrap_or(u32::MAX));
        host.open_io_queues()?;
        Ok(host)
    }

    /// The controller, as it described itself.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// CNTLID; `None` when the admin queue has ended.
    pub fn cntlid(&self) -> Option<u16> {
        self.drive.cntlid(self.admin)
    }

    /// I/O queues that are connected.
    pub fn io_queues(&self) -> usize {
        self.io.len()
    }

    /// Sends a Keep Alive command.
    ///
    /// # Errors
    /// [`HostError`], as every command.
    pub fn keep_alive(&mut self) -> Result<(), HostError> {
        self.kept_alive = self.drive.clock.now();
        self.drive.execute(self.admin, &command::keep_alive(), Exchange::None).map(drop)
    }

    /// Shuts the controller down (CC.SHN), waits until it has (CSTS.SHST), and closes the connections. Dropping a host
    /// closes them at once.
    ///
    /// # Errors
    /// [`HostError`]; the connections are closed nevertheless.
    pub fn disconnect(mut self) -> Result<(), HostError> {
        let deadline = self.drive.clock.now() + self.options.timeout;
        let set = command::property_set(Property::CC, enable::shut_down());
        self.drive.execute(self.admin, &set, Exchange::None)?;
        loop {
            let get = command::property_get(Property::CSTS);
            let answer = self.drive.execute(self.admin, &get, Exchange::None)?;
            if Csts::from_bits(answer.cqe.dw0.get()).shst() == ShutdownStatus::COMPLETE {
                return Ok(());
            }
            self.pause(deadline)?;
        }
    }

    /// As [`Host::disconnect`], where everything is done already: if it fails, that is logged (debug) and no more.
    pub fn leave(self) {
        if let Err(error) = self.disconnect() {
            tracing::debug!(%error, "taking leave of a controller failed");
        }
    }

    /// Sends a Keep Alive command when half of its time is over.
    pub(super) fn keep_alive_in_time(&mut self) -> Result<(), HostError> {
        let (interval, now) = (self.options.keep_alive / 2, self.drive.clock.now());
        if interval.is_zero() || now.since(self.kept_alive) < interval { Ok(()) } else { self.keep_alive() }
    }

    fn pause(&mut self, deadline: Time) -> Result<(), HostError> {
        let now = self.drive.clock.now();
        if now >= deadline {
            return Err(HostError::TimedOut { queue: QueueName(0), after: self.options.timeout });
        }
        self.drive.wait(now + enable::PAUSE)
    }

    fn open_io_queues(&mut self) -> Result<(), HostError> {
        let Some(cntlid) = self.cntlid() else {
            return Err(HostError::Ended { queue: QueueName(0), end: End::ClosedByPeer });
        };
        let depth = self.options.depth.min(self.controller.depth_max());
        for qid in 1..=self.controller.queues {
            let kind = Kind::Io { qid, cntlid };
            let in_capsule = self.controller.in_capsule_bytes_max();
            let options = queue_options(&self.options, kind, depth, in_capsule);
            self.io.push(self.drive.open(&self.options.identity, &options)?);
        }
        Ok(())
    }
}

fn queue_options(options: &HostOptions, kind: Kind, depth: u16, in_capsule_bytes_max: u32) -> QueueOptions {
    QueueOptions {
        kind,
        depth,
        header_digest: options.header_digest,
        data_digest: options.data_digest,
        flow_control: options.flow_control,
        in_capsule_bytes_max,
        transfer_bytes_max: options.transfer_bytes_max,
    }
}

fn enable_controller(drive: &mut Drive, admin: SocketId, io_queues: u16) -> Result<Controller, HostError> {
    let mut enabling = Enabling::new(io_queues);
    loop {
        match enabling.step(drive.clock.now()) {
            Step::Submit { sqe, receives } => {
                let exchange = if receives > 0 { Exchange::Receive(receives) } else { Exchange::None };
                let answer =
                    drive.execute(admin, &sqe, exchange).map_err(|error| match (error, enabling.task()) {
                        (HostError::Command(error @ CommandError::Status { .. }), Some(task)) => {
                            HostError::Enabling { task, error }
                        }
                        (error, _) => error,
                    })?;
                enabling.completed(drive.clock.now(), &answer.cqe, &answer.data)?;
            }
            Step::Wait(until) => drive.wait(until)?,
            Step::Done => {
                let controller = enabling.into_controller();
                return controller.ok_or(HostError::Nonsense("itself"));
            }
        }
    }
}
