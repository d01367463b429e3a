//! The open files of a function: what exists between its opening and its going.

#![expect(unsafe_code, reason = "descriptors change hands, and a panic of a crate is avoided")]

use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX, VFIO_REGION_INFO_FLAG_MMAP, vfio_region_info,
};
use vfio_ioctls::{VfioDevice, VfioError, VfioRegionInfoCap};
use vmm_sys_util::eventfd::EventFd;

use crate::spec::pci::{Class, PciAddress};

use super::OpenError;
use super::configuration::Configuration;
use super::function::Function;
use super::ioctl;
use super::iommu::Iommu;
use super::window::Window;

/// Where the file of all containers is.
const CONTAINER: &str = "/dev/vfio/vfio";
/// Registers of every controller: the properties and the admin queue's doorbells, in bytes (NVMe over PCIe transport
/// 1.1, section 3.1).
const REGISTERS_LEAST: u64 = 0x1008;
/// Registers that are mapped at most: the doorbells of 65,536 queues that lie next to each other. A BAR may go on behind
/// them, with memory of the controller.
const REGISTERS_MAX: u64 = 0x1000 + 65_536 * 8;

/// The open files of a function.
///
/// Invariant: `device` is dropped once, by this type's `drop`, before the other fields.
pub(super) struct Connection {
    pub(super) device: ManuallyDrop<VfioDevice>,
    pub(super) iommu: Iommu,
    pub(super) configuration: Configuration,
    pub(super) registers: Registers,
    /// Its folder in sysfs.
    path: PathBuf,
    /// A second descriptor of `device`.
    file: File,
}

/// Where a function's registers are in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    /// Offset of the first.
    pub(super) offset: u64,
    /// Bytes that can be mapped from there on, whole pages.
    pub(super) bytes: usize,
}

impl Connection {
    /// Opens the function: alone, with an address space of its own.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(function: &Function) -> Result<Self, OpenError> {
        let address = function.address;
        let step = |step| move |source| OpenError::Step { address, step, source };
        let refused = |error| refused(function, error);
        let iommu = Iommu::open(function.path.join("vfio-dev").is_dir()).map_err(refused)?;
        let device = VfioDevice::new(&function.path, iommu.operations(), true).map_err(refused)?;
        // SAFETY: the descriptor is open for as long as `device`, which outlives the borrow.
        let borrowed = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
        let file = borrowed.try_clone_to_owned().map(File::from).map_err(step("duplicate the file"))?;
        let configuration = configuration(&device, &file).map_err(step("find the configuration space"))?;
        let mut connection = Self {
            device: ManuallyDrop::new(device),
            iommu,
            configuration,
            registers: Registers { offset: 0, bytes: 0 },
            path: function.path.clone(),
            file,
        };
        let class = connection.configuration.class().map_err(step("read the class"))?.code();
        if class != Class::NVME {
            return Err(OpenError::NotNvme { address, class });
        }
        connection.registers = connection.find_registers(address)?;
        Ok(connection)
    }

    /// Puts its registers into `window`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn show(&self, window: &Window) -> io::Result<()> {
        window.show(&self.file, self.registers.offset)
    }

    /// A descriptor that interrupt vector 0 makes readable; `None` if the function has no messages for interrupts.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn listen_to_interrupt(&self) -> io::Result<Option<OwnedFd>> {
        let kinds = [VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX];
        let kind = kinds.into_iter().find(|&kind| self.signals(kind));
        kind.map(|kind| self.listen(kind)).transpose()
    }

    /// A descriptor that becomes readable when the kernel wants the function back; `None` if it never says so.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn listen_to_removal(&self) -> io::Result<Option<OwnedFd>> {
        self.signals(VFIO_PCI_REQ_IRQ_INDEX).then(|| self.listen(VFIO_PCI_REQ_IRQ_INDEX)).transpose()
    }

    fn signals(&self, kind: u32) -> bool {
        self.device.get_irq_info(kind).is_some_and(|irq| irq.count > 0)
    }

    fn listen(&self, kind: u32) -> io::Result<OwnedFd> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let raw = event.try_clone()?.into_raw_fd();
        // SAFETY: the descriptor is open, an eventfd's, and nobody else's from here on.
        let shared = unsafe { EventFd::from_raw_fd(raw) };
        self.device.enable_irq(kind, vec![&shared]).map_err(io::Error::other)?;
        Ok(event)
    }

    /// Which registers can be mapped.
    fn find_registers(&self, address: PciAddress) -> Result<Registers, OpenError> {
        let step = |step| move |source| OpenError::Step { address, step, source };
        let index = VFIO_PCI_BAR0_REGION_INDEX;
        let region = ioctl::region(&*self.device, index).map_err(step("find the registers"))?;
        // The crate leaves regions out that it could not read, and then numbers the others wrongly.
        let known = self.device.get_region_offset(index) == region.offset;
        let capabilities = if known { self.device.get_region_caps(index) } else { Vec::new() };
        let table = self.configuration.msix_table().map_err(step("read the capabilities"))?;
        // The kernel does not let a page with interrupt vectors be mapped unless it says so.
        let vectors = table.filter(|table| u32::from(table.bar()) == index).map(|table| table.offset());
        let page = rustix::param::page_size() as u64;
        let bytes = mappable(&region, &capabilities, vectors).min(REGISTERS_MAX.next_multiple_of(page));
        let bytes = bytes - bytes % page;
        match usize::try_from(bytes) {
            Ok(whole) if bytes >= REGISTERS_LEAST => Ok(Registers { offset: region.offset, bytes: whole }),
            _ => Err(OpenError::Registers { address, bytes, needed: REGISTERS_LEAST }),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The crate's own `drop` panics without this link. The kernel keeps it while `file` is open; who knows better
        // loses two descriptors, which end with the process.
        if fs::read_link(self.path.join("iommu_group")).is_ok() && self.can_be_dropped() {
            // SAFETY: dropped once, here, and not used any more (invariant).
            unsafe { ManuallyDrop::drop(&mut self.device) };
        }
    }
}

impl Connection {
    /// Whether the crate's `drop` will not panic for want of an address space to leave.
    fn can_be_dropped(&self) -> bool {
        match self.iommu {
            Iommu::Type1(_) => true,
            // Leaving twice is allowed: whether it works the first time says whether it will the second.
            #[cfg(feature = "iommufd")]
            Iommu::Iommufd(_) => self.device.detach_hwpt().is_ok(),
        }
    }
}

/// The configuration space of `device`, reached through `file`.
fn configuration(device: &VfioDevice, file: &File) -> io::Result<Configuration> {
    let region = ioctl::region(device, VFIO_PCI_CONFIG_REGION_INDEX)?;
    if region.size < Configuration::BYTES_LEAST {
        return Err(io::Error::other("it has no configuration space"));
    }
    Ok(Configuration::new(file.try_clone()?, region.offset, region.size))
}

/// Bytes from the beginning of a region on that can be mapped in one piece.
fn mappable(region: &vfio_region_info, capabilities: &[VfioRegionInfoCap], vectors: Option<u64>) -> u64 {
    if region.flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
        return 0;
    }
    let areas = capabilities.iter().find_map(|capability| match capability {
        VfioRegionInfoCap::SparseMmap(sparse) => Some(&sparse.areas),
        _ => None,
    });
    if let Some(areas) = areas {
        let first = areas.iter().find(|area| area.offset == 0);
        return first.map_or(0, |area| area.size.min(region.size));
    }
    if capabilities.contains(&VfioRegionInfoCap::MsixMappable) {
        return region.size;
    }
    vectors.map_or(region.size, |vectors| vectors.min(region.size))
}

/// What the crate's error means to an operator.
fn refused(function: &Function, error: VfioError) -> OpenError {
    let address = function.address;
    let at = |step: &'static str, source: io::Error| OpenError::Step { address, step, source };
    match error {
        VfioError::OpenContainer(source) => match source.kind() {
            io::ErrorKind::PermissionDenied => OpenError::Permission { path: Path::new(CONTAINER).into() },
            _ => OpenError::NoVfio(source),
        },
        VfioError::OpenGroup(source, _) => match source.kind() {
            io::ErrorKind::PermissionDenied => OpenError::Permission { path: function.node() },
            io::ErrorKind::ResourceBusy => OpenError::Busy { address, path: function.node() },
            _ => at("open the IOMMU group", source),
        },
        VfioError::GroupViable => {
            OpenError::GroupNotViable { address, group: function.group, others: function.obstacles() }
        }
        VfioError::ContainerSetIOMMU(source) if source.errno() == libc::EPERM => {
            OpenError::UnsafeInterrupts { address }
        }
        VfioError::ContainerSetIOMMU(source) => at("set up the IOMMU", source.into()),
        VfioError::GroupGetDeviceFD(source) => at("open the device", source.into()),
        other => at("open the device", io::Error::other(other.to_string())),
    }
}

#[cfg(test)]
mod tests;
