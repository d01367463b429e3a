//! Why a function cannot be opened, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::spec::pci::PciAddress;

/// Why a PCI function cannot be driven from here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such function.
    #[error("there is no PCI function {address}: `corelane setup status` lists those that are there")]
    NoFunction {
        /// The address that was asked for.
        address: PciAddress,
    },
    /// It is something else.
    #[error(
        "{address} is not an NVMe controller (its class is {class:06x}, not 010802): \
         `corelane setup status` lists those that are there"
    )]
    NotNvme {
        /// Its address.
        address: PciAddress,
        /// Class code: base class, subclass and programming interface.
        class: u32,
    },
    /// No IOMMU translates what the function asks for.
    #[error(
        "{address} is behind no IOMMU, so it must not be given to a program: switch VT-d or AMD-Vi on in the firmware's \
         set-up, and boot an Intel machine with intel_iommu=on"
    )]
    NoIommu {
        /// Its address.
        address: PciAddress,
    },
    /// Another driver has it, or none.
    #[error(
        "{address} is {}: run `corelane setup bind {address}` first",
        .driver.as_ref().map_or_else(|| "bound to no driver".to_owned(), |driver| format!("bound to {driver}, not to vfio-pci"))
    )]
    NotBound {
        /// Its address.
        address: PciAddress,
        /// Its driver.
        driver: Option<String>,
    },
    /// The kernel has no VFIO.
    #[error("/dev/vfio/vfio cannot be opened ({0}): load VFIO with `modprobe vfio-pci`")]
    NoVfio(#[source] io::Error),
    /// The process may not use it.
    #[error(
        "no permission to open {}: run as root, or give the file to the user who runs this (`chown USER {}`)",
        .path.display(), .path.display()
    )]
    Permission {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else drives it.
    #[error("{address} is in use by another process: `fuser -v {}` names it", .path.display())]
    Busy {
        /// Its address.
        address: PciAddress,
        /// The file that is open elsewhere.
        path: PathBuf,
    },
    /// Other functions of its IOMMU group have drivers of the kernel.
    #[error(
        "{address} shares IOMMU group {group} with functions that the kernel drives ({}): unbind those as well \
         (`corelane setup bind` for NVMe), or move the device to a slot of its own",
        .others.join(", ")
    )]
    GroupNotViable {
        /// Its address.
        address: PciAddress,
        /// Number of the group.
        group: u32,
        /// The others, each with its driver.
        others: Vec<String>,
    },
    /// Interrupts are not isolated.
    #[error(
        "the IOMMU of {address} does not isolate interrupts: switch interrupt remapping on in the firmware's set-up, or, \
         where nobody hostile uses this machine, load vfio_iommu_type1 with allow_unsafe_interrupts=1"
    )]
    UnsafeInterrupts {
        /// Its address.
        address: PciAddress,
    },
    /// Its registers cannot be mapped.
    #[error(
        "the registers of {address} cannot be mapped: {bytes} bytes of BAR 0 can be, {needed} are needed; \
         this controller needs a driver of the kernel"
    )]
    Registers {
        /// Its address.
        address: PciAddress,
        /// Bytes from the first register on that can be mapped.
        bytes: u64,
        /// Bytes of the registers and of the admin queue's doorbells.
        needed: u64,
    },
    /// Something that must work did not.
    #[error("cannot {step} of {address}: {source}")]
    Step {
        /// Its address.
        address: PciAddress,
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}
