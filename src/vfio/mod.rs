//! PCI functions driven from this process, through the kernel's VFIO: registers, memory behind an IOMMU, interrupts.
//! Knows nothing of NVMe but the class code and the [`Device`] that a driver wants.
//!
//! The kernel asks for a function back when it is pulled out of its slot or unbound, through an eventfd, and waits until
//! it gets it. [`Device::is_gone`] looks there, and whether the function still answers on the bus (two system calls, some
//! microseconds: not for every turn of a reactor). Then the function loses the right to reach memory, its registers leave
//! the address space (see `window`), and its files are closed. What is left answers as a device that is gone.
//!
//! Invariants:
//!
//! - while `link` holds a connection the function is this process's alone, and every extent in `mapped` is mapped at its
//!   address; after the connection has gone the device reaches no memory of this process;
//! - `gone` is set after that, and never cleared;
//! - `vfio-ioctls` panics when it drops a device whose link to its group has vanished. The kernel keeps the link until the
//!   last descriptor of the function is closed, so `configuration` holds one beyond that.

mod configuration;
mod connection;
mod error;
mod function;
mod ioctl;
mod iommu;
mod ranges;
mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::mem::Extent;
use crate::nvme::{Device, Iova, MapError, ResetError};
use crate::spec::pci::PciAddress;

use connection::Connection;
use function::Function;
use ranges::Ranges;
use window::Window;

pub use error::OpenError;

/// A PCI function with NVMe registers, driven by this process alone.
pub struct VfioDevice {
    name: String,
    window: Window,
    interrupt: Option<OwnedFd>,
    removal: Option<OwnedFd>,
    gone: AtomicBool,
    /// Locked at start, at reset and at removal, never for I/O.
    link: Mutex<Link>,
}

/// What ends when the device goes.
struct Link {
    connection: Option<Connection>,
    ranges: Ranges,
    /// Bytes and memory by the address that the device knows them by.
    mapped: BTreeMap<u64, (u64, Arc<Extent>)>,
}

impl VfioDevice {
    /// Takes the function at `address`, which must be bound to `vfio-pci`: resets it, lets it reach memory (of which it
    /// has none yet), maps its registers and has interrupt vector 0 signalled.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(address: PciAddress) -> Result<Self, OpenError> {
        let function = Function::find(Path::new(function::SYSFS), address)?;
        let connection = Connection::open(&function)?;
        let step = |step| move |source| OpenError::Step { address, step, source };
        let ranges = connection.iommu.ranges().map_err(step("read the usable addresses"))?;
        // Whoever had it before may have left it running, and told it addresses that mean something else now.
        match ioctl::reset(&*connection.device) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => result.map_err(step("reset the function"))?,
        }
        connection.configuration.set_bus_master(true).map_err(step("switch the bus mastering"))?;
        let window =
            Window::new(connection.registers.bytes).map_err(step("reserve addresses for the registers"))?;
        connection.show(&window).map_err(step("map the registers"))?;
        let interrupt = connection.listen_to_interrupt().map_err(step("enable the interrupt"))?;
        let removal = connection.listen_to_removal().map_err(step("listen to removal"))?;
        let link = Link { connection: Some(connection), ranges, mapped: BTreeMap::new() };
        let gone = AtomicBool::new(false);
        Ok(Self { name: address.to_string(), window, interrupt, removal, gone, link: Mutex::new(link) })
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // Whoever panicked left a link that is whole: every change of it is one step.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the kernel asks for the function. Says so once.
    fn is_asked_for(&self) -> bool {
        self.removal.as_ref().is_some_and(|removal| rustix::io::read(removal, &mut [0; 8]).is_ok())
    }

    /// Whether nothing answers any more on the bus.
    fn is_absent(link: &Link) -> bool {
        let present = link.connection.as_ref().map(|connection| connection.configuration.is_present());
        present.is_some_and(|present| present.is_ok_and(|present| !present))
    }

    /// Gives the function back to the kernel.
    fn leave(&self, link: &mut Link) {
        let Some(connection) = link.connection.take() else { return };
        tracing::warn!(device = self.name, "the device is taken away: it is not used any more");
        // Where it is still there it must not write to memory that is somebody else's from now on.
        let silenced = connection.configuration.is_present().is_ok_and(|present| !present)
            || connection.configuration.set_bus_master(false).is_ok();
        if let Err(error) = self.window.hide() {
            tracing::error!(device = self.name, %error, "its registers stay mapped, and the kernel waits for them");
        }
        if silenced {
            // The kernel resets what it gets back, which takes longer than a reactor may wait: a minute if nothing answers.
            let closer = thread::Builder::new().name("vfio-close".to_owned());
            // Without a thread the closure, and the connection in it, are dropped here.
            let _ = closer.spawn(move || drop(connection));
        } else {
            drop(connection);
        }
        self.gone.store(true, Ordering::Release);
    }
}

impl Device for VfioDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn register_bytes(&self) -> usize {
        self.window.len()
    }

    #[inline]
    fn read_u32(&self, offset: usize) -> u32 {
        self.window.read_u32(offset)
    }

    fn read_u64(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8));
        let low = self.window.read_u32(offset);
        let high = self.window.read_u32(offset + 4);
        u64::from(high) << 32 | u64::from(low)
    }

    #[inline]
    fn write_u32(&self, offset: usize, value: u32) {
        self.window.write_u32(offset, value);
    }

    fn write_u64(&self, offset: usize, value: u64) {
        assert!(offset.is_multiple_of(8));
        let bytes = value.to_le_bytes();
        let [low, high] =
            [[bytes[0], bytes[1], bytes[2], bytes[3]], [bytes[4], bytes[5], bytes[6], bytes[7]]];
        self.window.write_u32(offset, u32::from_le_bytes(low));
        self.window.write_u32(offset + 4, u32::from_le_bytes(high));
    }

    fn map(&self, extent: &Arc<Extent>) -> Result<Iova, MapError> {
        let mut link = self.link();
        let Link { connection: Some(connection), ranges, mapped } = &mut *link else {
            return Err(MapError::Gone);
        };
        let bytes = extent.len();
        let len = (bytes as u64).next_multiple_of(ranges.page());
        let Some(iova) = ranges.take(extent.address() as u64, len) else {
            return Err(MapError::NoRoom { bytes });
        };
        if let Err(error) = connection.iommu.map(extent, iova, len) {
            ranges.give_back(iova);
            return Err(error);
        }
        mapped.insert(iova, (len, Arc::clone(extent)));
        Ok(Iova(iova))
    }

    fn unmap(&self, iova: Iova) {
        let mut link = self.link();
        let Link { connection, ranges, mapped } = &mut *link;
        let Some((len, _)) = mapped.get(&iova.0) else { return };
        if let Some(connection) = connection
            && let Err(error) = connection.iommu.unmap(iova.0, *len)
        {
            // The device may reach it still: it stays what it is.
            tracing::error!(device = self.name, %error, "memory of the device cannot be unmapped, and is kept");
            return;
        }
        mapped.remove(&iova.0);
        ranges.give_back(iova.0);
    }

    fn reset(&self) -> Result<(), ResetError> {
        let mut link = self.link();
        // The kernel would wait a minute for an answer.
        if Self::is_absent(&link) {
            self.leave(&mut link);
        }
        let Some(connection) = &link.connection else { return Err(ResetError::Gone) };
        // The kernel closes the memory space meanwhile: doorbells of other threads must not reach it.
        self.window.hide().map_err(ResetError::Failed)?;
        let result = ioctl::reset(&*connection.device);
        if Self::is_absent(&link) {
            self.leave(&mut link);
            return Err(ResetError::Gone);
        }
        connection.configuration.set_bus_master(true).map_err(ResetError::Failed)?;
        connection.show(&self.window).map_err(ResetError::Failed)?;
        result.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => ResetError::Unsupported,
            _ => ResetError::Failed(error),
        })
    }

    fn is_gone(&self) -> bool {
        if self.gone.load(Ordering::Acquire) {
            return true;
        }
        let asked_for = self.is_asked_for();
        let mut link = self.link();
        if asked_for || Self::is_absent(&link) {
            self.leave(&mut link);
        }
        self.gone.load(Ordering::Acquire)
    }

    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        self.interrupt.as_ref().map(OwnedFd::as_fd)
    }
}

impl Drop for VfioDevice {
    fn drop(&mut self) {
        let link = self.link.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = link.connection.take() {
            // The kernel does so as well, later; memory is let go before.
            let _ = connection.configuration.set_bus_master(false);
        }
    }
}

impl fmt::Debug for VfioDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VfioDevice").field("name", &self.name).finish_non_exhaustive()
    }
}
