//! Who has a PCI device, and how it changes hands: `driver_override`, `unbind`, `drivers_probe` of sysfs.

use super::PciAddress;
use super::machine::{Machine, Trouble};

/// Every PCI function has a folder here.
pub(super) const DEVICES: &str = "/sys/bus/pci/devices";
/// The driver that gives devices to programs.
pub(super) const VFIO: &str = "vfio-pci";
/// The kernel's own driver.
pub(super) const NVME: &str = "nvme";

const DRIVERS: &str = "/sys/bus/pci/drivers";
const PROBE: &str = "/sys/bus/pci/drivers_probe";
/// What `driver_override` reads when there is none.
const NO_OVERRIDE: &str = "(null)";

/// Where sysfs describes the device.
pub(super) fn folder(address: PciAddress) -> String {
    format!("{DEVICES}/{address}")
}

/// The driver that has the device.
pub(super) fn of(machine: &Machine, address: PciAddress) -> Result<Option<String>, Trouble> {
    machine.link_name(&format!("{}/driver", folder(address)))
}

/// Whether the kernel has this driver, as a module or built in.
pub(super) fn is_loaded(machine: &Machine, driver: &str) -> Result<bool, Trouble> {
    machine.has(&format!("{DRIVERS}/{driver}"))
}

/// The only driver that may have the device, if one was named.
pub(super) fn named(machine: &Machine, address: PciAddress) -> Result<Option<String>, Trouble> {
    let text = machine.text(&format!("{}/driver_override", folder(address)))?;
    Ok(text.filter(|name| !name.is_empty() && name != NO_OVERRIDE))
}

/// Names the only driver that may have the device from now on, or lets every driver that fits.
pub(super) fn name(machine: &mut Machine, address: PciAddress, driver: Option<&str>) -> Result<(), Trouble> {
    // An empty line is what clears it.
    machine.write(&format!("{}/driver_override", folder(address)), &format!("{}\n", driver.unwrap_or("")))
}

/// Takes the device from its driver.
pub(super) fn take_from(machine: &mut Machine, address: PciAddress, driver: &str) -> Result<(), Trouble> {
    machine.write(&format!("{DRIVERS}/{driver}/unbind"), &format!("{address}\n"))
}

/// Has the kernel look for a driver. What it answers says little: look at who has the device afterwards.
pub(super) fn probe(machine: &mut Machine, address: PciAddress) -> Result<(), Trouble> {
    machine.write(PROBE, &format!("{address}\n"))
}
