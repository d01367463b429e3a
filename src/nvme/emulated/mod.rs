//! One NVMe controller inside the process, behind the seam that real ones are behind: to test the driver against, with
//! everything that can go wrong with a controller, and to measure it.
//!
//! It is strict where real controllers are silent: memory that was not mapped, identifiers that are in use, doorbells out
//! of range, data pointers that break a rule are refused and recorded ([`Emulated::violations`]). Its device side works
//! only in [`Emulated::step`], so that a test with virtual time is repeatable; [`Emulated::run`] calls it in a loop, for a
//! thread of its own. It reaches extents at addresses that are not the process's.
//!
//! Registers are read, and doorbells rung, without a lock; everything else takes one.

mod admin;
mod controller;
mod data;
mod errors;
mod faults;
mod identify;
mod io;
mod medium;
mod memory;
mod namespace;
mod options;
mod queues;
mod random;
mod registers;
mod reservations;
#[cfg(test)]
mod tests;

use std::io as std_io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controller::Controller;
use registers::Registers;

pub use faults::{Fault, Faults, On};
pub use memory::Violation;
pub use options::{NamespaceOptions, Options, ShadowDoorbells};

use super::device::{Device, Iova, MapError, ResetError};
use crate::mem::{Extent, ExtentError};
use crate::spec::event::AsyncEvent;
use crate::spec::host::HostId;
use crate::spec::register::{Cc, Csts, DOORBELLS, Property};
use crate::spec::reservation::ReservationType;

/// NSSR: what resets the NVM subsystem, "NVMe" (NVMe base 2.1, section 3.1.4.7).
const SUBSYSTEM_RESET: u32 = 0x4e56_4d65;

/// Steps without work after which [`Emulated::run`] gives its core to others for a moment.
const IDLE_STEPS_MAX: u32 = 1000;

/// An emulated controller. Any thread may call anything.
pub struct Emulated {
    name: String,
    registers: Registers,
    side: Mutex<Controller>,
    /// Threads that wait for `side`: [`Emulated::run`] lets them have it. `Relaxed`: it orders nothing.
    waiting: AtomicUsize,
    /// Set once. `Acquire` and `Release`: whoever finds it set finds that memory is no longer touched.
    gone: AtomicBool,
}

impl Emulated {
    /// A controller of this shape, as after power-up, its media all zeros.
    ///
    /// # Errors
    /// There is no memory for the media.
    ///
    /// # Panics
    /// If an option is not in its range.
    pub fn new(name: &str, options: &Options) -> Result<Self, ExtentError> {
        Ok(Self {
            name: name.to_owned(),
            registers: Registers::new(options),
            side: Mutex::new(Controller::new(options)?),
            waiting: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        })
    }

    /// One step of the device: notices what became due, fetches and answers a batch of each queue. Returns the commands
    /// that it did something for.
    pub fn step(&self) -> usize {
        if self.is_removed() { 0 } else { self.lock().step(&self.registers) }
    }

    /// Steps until `stop` is set.
    pub fn run(&self, stop: &AtomicBool) {
        let mut idle = 0;
        while !stop.load(Ordering::Relaxed) {
            while self.waiting.load(Ordering::Relaxed) > 0 {
                std::thread::yield_now();
            }
            idle = if self.step() > 0 { 0 } else { idle + 1 };
            if idle > IDLE_STEPS_MAX {
                idle = 0;
                std::thread::yield_now();
            }
        }
    }

    /// Changes what goes wrong.
    pub fn faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.side().faults)
    }

    /// What the driver did that no driver may do, the first of it.
    pub fn violations(&self) -> Vec<Violation> {
        self.side().memory.violations().to_vec()
    }

    /// Doorbells rung since the controller was made.
    pub fn doorbells_rung(&self) -> u64 {
        self.registers.rung()
    }

    /// I/O commands answered since the controller was made.
    pub fn io_answered(&self) -> u64 {
        self.side().answered
    }

    /// Reports a fatal error (CSTS.CFS) now.
    pub fn fail(&self) {
        self.side().fail(&self.registers);
    }

    /// Resets itself, as firmware does that crashed: nothing tells the host but its registers.
    pub fn crash(&self) {
        self.side().reset(&self.registers, true);
    }

    /// Is taken away: every register reads as ones, and no memory is touched any more.
    pub fn remove(&self) {
        let side = self.side();
        self.gone.store(true, Ordering::Release);
        drop(side);
    }

    /// Loses power and has it again: as after power-up, and of the blocks that were in the volatile write cache any may
    /// have lost what was written last, which `seed` decides.
    pub fn lose_power(&self, seed: u64) {
        let mut side = self.side();
        side.reset(&self.registers, true);
        side.random = random::Random::new(seed);
        let Controller { namespaces, random, .. } = &mut *side;
        for namespace in namespaces {
            namespace.medium.lose(random);
            namespace.reservations.lose();
        }
    }

    /// Changes the size of a namespace, in blocks, up to what it had first, and says so by an event.
    ///
    /// # Panics
    /// If there is no such namespace, or it is made larger than it was at first.
    pub fn resize(&self, nsid: u32, blocks: u64) {
        self.change(nsid, |namespace| namespace.resize(blocks));
    }

    /// Attaches or detaches a namespace, and says so by an event.
    ///
    /// # Panics
    /// If there is no such namespace.
    pub fn attach(&self, nsid: u32, attached: bool) {
        self.change(nsid, |namespace| namespace.attached = attached);
    }

    /// Sets the critical warnings of the SMART log page, and says so by an event.
    pub fn warn(&self, critical_warning: u8) {
        let mut side = self.side();
        side.admin.warning = critical_warning;
        side.admin.report(AsyncEvent::new().with_kind(AsyncEvent::SMART).with_info(1).with_lid(2));
    }

    /// Lets another host register a key with a namespace and, where the type is not 0, hold a reservation.
    ///
    /// # Panics
    /// If there is no such namespace.
    pub fn intrude(&self, nsid: u32, host: HostId, key: u64, rtype: ReservationType) {
        let mut side = self.side();
        let namespace = side.namespaces.iter_mut().find(|namespace| namespace.nsid == nsid);
        namespace.expect("a namespace of this controller").reservations.intrude(host, key, rtype);
    }

    fn change(&self, nsid: u32, change: impl FnOnce(&mut namespace::Namespace)) {
        let mut side = self.side();
        let namespace = side.namespaces.iter_mut().find(|namespace| namespace.nsid == nsid);
        change(namespace.expect("a namespace of this controller"));
        side.admin.changed.insert(nsid);
        side.admin.report(AsyncEvent::NAMESPACE_CHANGED);
    }

    /// The device side, before [`Emulated::run`] takes it again.
    fn side(&self) -> MutexGuard<'_, Controller> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let side = self.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        side
    }

    /// A panic elsewhere has been reported; what it left is as good as any state of a broken device.
    fn lock(&self) -> MutexGuard<'_, Controller> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_removed(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn check(&self, offset: usize, bytes: usize) {
        assert!(offset.is_multiple_of(bytes) && offset + bytes <= self.registers.bytes());
    }

    fn write(&self, offset: usize, value: u32) {
        let registers = &self.registers;
        let mut side = self.side();
        let enabled = Cc::from_bits(registers.cc.load(Ordering::Acquire)).en();
        match Property(u32::try_from(offset).expect("inside the registers")) {
            Property::CC => {
                let before = Cc::from_bits(registers.cc.swap(value, Ordering::AcqRel));
                side.configure(registers, before, Cc::from_bits(value));
            }
            Property::NSSR if value == SUBSYSTEM_RESET => {
                side.reset(registers, true);
                registers.set_csts(Csts::new().with_nssro(true));
            }
            Property::AQA if !enabled => registers.aqa.store(value, Ordering::Release),
            Property::AQA | Property::ASQ | Property::ACQ => {
                let reason = "written in halves, or while the controller is enabled";
                side.memory.violate(Violation::Register { offset, reason });
            }
            _ => {}
        }
    }
}

impl Device for Emulated {
    fn name(&self) -> &str {
        &self.name
    }

    fn register_bytes(&self) -> usize {
        self.registers.bytes()
    }

    fn read_u32(&self, offset: usize) -> u32 {
        self.check(offset, 4);
        if self.is_removed() {
            return u32::MAX;
        }
        self.registers.read_u32(offset)
    }

    fn read_u64(&self, offset: usize) -> u64 {
        self.check(offset, 8);
        if self.is_removed() { u64::MAX } else { self.registers.read_u64(offset) }
    }

    fn write_u32(&self, offset: usize, value: u32) {
        self.check(offset, 4);
        if self.is_removed() {
            return;
        }
        if offset < DOORBELLS {
            self.write(offset, value);
        } else if !self.registers.ring(offset, value) {
            let reason = "no doorbell is there";
            self.side().memory.violate(Violation::Register { offset, reason });
        }
    }

    fn write_u64(&self, offset: usize, value: u64) {
        self.check(offset, 8);
        if self.is_removed() {
            return;
        }
        match Property(u32::try_from(offset).expect("inside the registers")) {
            Property::ASQ => self.registers.asq.store(value, Ordering::Release),
            Property::ACQ => self.registers.acq.store(value, Ordering::Release),
            _ => {
                let reason = "not a register of 64 bits that can be written";
                self.side().memory.violate(Violation::Register { offset, reason });
            }
        }
    }

    fn map(&self, extent: &Arc<Extent>) -> Result<Iova, MapError> {
        if self.is_removed() { Err(MapError::Gone) } else { self.side().memory.map(extent) }
    }

    fn unmap(&self, iova: Iova) {
        self.side().memory.unmap(iova);
    }

    fn reset(&self) -> Result<(), ResetError> {
        let mut side = self.side();
        if self.is_removed() {
            return Err(ResetError::Gone);
        }
        if side.faults.never_reset {
            return Err(ResetError::Failed(std_io::ErrorKind::TimedOut.into()));
        }
        side.reset(&self.registers, true);
        Ok(())
    }

    fn is_gone(&self) -> bool {
        self.is_removed()
    }

    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
