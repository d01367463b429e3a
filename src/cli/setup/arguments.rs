//! The grammar and the help texts of `corelane setup`.

use clap::{Args, Subcommand};

use crate::config::ByteSize;
use crate::tune::setup::{PciAddress, PciAddressError};

/// What `setup` does, for its `--help`.
pub(in crate::cli) const ABOUT: &str = "\
Look at the NVMe devices and huge pages of this machine, give them to programs, and give them back.

A program that drives an NVMe device itself needs the device taken from the kernel's driver and given to vfio-pci, an \
IOMMU between the device and memory, and huge pages. A device that holds a mounted file system, swap, or a member of \
LVM or of a RAID, or that is used in any other way, is refused, and what holds it is named. There is no option to do it \
nevertheless.";

/// What follows the options of `setup --help`.
pub(in crate::cli) const AFTER: &str = "\
EXIT STATUS:
  0   Done, or there was nothing to do.
  1   Refused or failed; standard error says why, and what to do.
  2   The command line is wrong.

EXAMPLES:
  How things stand:
      corelane setup status
  Give a device to programs, and 2 GiB of huge pages:
      corelane setup bind 0000:00:05.0 && corelane setup hugepages 1024
  Give it back to the kernel:
      corelane setup unbind 0000:00:05.0";

/// What `status` does, for its `--help`.
const STATUS: &str = "\
Say which NVMe devices, huge pages and limits there are, and what is missing.

Changes nothing. Run as root to see what processes of others have open, and what superblocks there are: what could not \
be read is listed as unknown. With --json, one object: devices, hugepages, memlock, iommu, vfio, unknown, advice.";

/// What `hugepages` does, for its `--help`.
const HUGEPAGES: &str = "\
Ask the kernel for so many huge pages altogether.

COUNT is a number of pages and not of bytes: 1024 pages of 2MiB are 2 GiB. 0 gives back all that are not in use. The \
kernel may find fewer: how many there are is read back and printed, and fewer or more than COUNT is exit status 1. It \
holds until the machine is booted again.";

/// What `bind` does, for its `--help`.
const BIND: &str = "\
Take NVMe controllers from the kernel and give them to vfio-pci.

Every device is looked at before any is changed: it must be an NVMe controller, in an IOMMU group that no driver of the \
kernel shares, and none of its namespaces may be in use. The module vfio-pci is loaded when it is missing. When \
vfio-pci does not take a device, the former driver gets it back. A device that vfio-pci has already is left as it is. It \
holds until the machine is booted again.";

/// What `unbind` does, for its `--help`.
const UNBIND: &str = "\
Give NVMe controllers back to the kernel's driver.

Its namespaces are block devices again then, with their data. Refused while a program drives the device: end that \
program first. A device that the kernel has already is left as it is.";

/// Subcommands of `setup`.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum SetupCommand {
    /// Say which NVMe devices, huge pages and limits there are, and what is missing
    #[command(long_about = STATUS)]
    Status {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Ask the kernel for so many huge pages altogether
    #[command(long_about = HUGEPAGES)]
    Hugepages(Hugepages),
    /// Take NVMe controllers from the kernel and give them to vfio-pci
    #[command(long_about = BIND)]
    Bind(Devices),
    /// Give NVMe controllers back to the kernel's driver
    #[command(long_about = UNBIND)]
    Unbind(Devices),
}

/// Arguments of `setup hugepages`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Hugepages {
    /// Number of pages, altogether.
    pub(super) count: u64,
    /// Size of a page, such as 2MiB or 1GiB.
    #[arg(long, default_value = "2MiB")]
    pub(super) size: ByteSize,
    /// NUMA node on which the pages shall be. Default: spread over all nodes.
    #[arg(long)]
    pub(super) node: Option<u32>,
}

/// Which devices.
#[derive(Args, Debug)]
pub(in crate::cli) struct Devices {
    /// PCI address, such as 0000:00:05.0 or 00:05.0.
    #[arg(required = true, value_name = "ADDRESS", value_parser = address)]
    pub(super) addresses: Vec<PciAddress>,
}

fn address(text: &str) -> Result<PciAddress, PciAddressError> {
    text.parse()
}
