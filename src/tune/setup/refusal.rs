//! Why a device may not change hands, in the operator's words. Nothing has been changed when there is one.

use super::machine::Trouble;
use super::{Occupation, PciAddress};

/// Why a device is left where it is.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such device.
    #[error("{0}: there is no such PCI device; `corelane setup status` lists those of NVMe")]
    Missing(PciAddress),
    /// Of another kind.
    #[error("{address}: is no NVMe I/O controller: its PCI class is {class:06x}, and not 010802")]
    Class {
        /// The device.
        address: PciAddress,
        /// PCI class code, 24 bits.
        class: u32,
    },
    /// It is used.
    #[error("{address}: is in use: {occupation}")]
    Occupied {
        /// The device.
        address: PciAddress,
        /// One of the things that it is used for.
        occupation: Occupation,
    },
    /// Nothing keeps the device from writing all over memory.
    #[error(
        "{0}: this machine has no IOMMU in use: switch VT-d or AMD-Vi on in the firmware's set-up, and boot an Intel \
         machine with intel_iommu=on"
    )]
    NoIommu(PciAddress),
    /// The machine has an IOMMU, but not for this device.
    #[error("{0}: is in no IOMMU group: the IOMMU of this machine does not cover its slot; use another slot")]
    NoGroup(PciAddress),
    /// Another member of its group is in the kernel's hands.
    #[error(
        "{address}: its IOMMU group {group} also has {member}, which the driver {driver} has: a group changes hands as a \
         whole; take {member} from {driver} first, or use another slot"
    )]
    NotViable {
        /// The device.
        address: PciAddress,
        /// Number of the group.
        group: String,
        /// The other device.
        member: String,
        /// Its driver.
        driver: String,
    },
    /// It is asked back from `vfio-pci`, but somebody else has it.
    #[error("{address}: the driver {driver} has it, and not vfio-pci; take it from {driver} first")]
    OtherDriver {
        /// The device.
        address: PciAddress,
        /// The driver that has it.
        driver: String,
    },
    /// A program drives it.
    #[error("{address}: process {pid} ({program}) has {node} open; end that process first")]
    Driven {
        /// The device.
        address: PciAddress,
        /// Process identifier.
        pid: u32,
        /// Name of the program.
        program: String,
        /// The node through which it drives the device.
        node: String,
    },
    /// Whether it may be taken is not known.
    #[error("{address}: {trouble}")]
    Unknown {
        /// The device.
        address: PciAddress,
        /// What could not be read.
        trouble: Trouble,
    },
}
