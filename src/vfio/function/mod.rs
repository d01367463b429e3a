//! What sysfs knows of a PCI function: whether it is there, what it is, who drives it, who shares its group.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::spec::pci::{Class, PciAddress};

use super::OpenError;

/// Where the kernel describes the machine.
pub(super) const SYSFS: &str = "/sys";
/// The driver of the kernel that hands functions to programs.
const VFIO_PCI: &str = "vfio-pci";
/// Drivers that leave a group usable: they do not let the function reach memory by itself.
const HARMLESS: [&str; 3] = [VFIO_PCI, "pci-stub", "pcieport"];

/// A function that can be opened, as far as sysfs can tell.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) address: PciAddress,
    /// Its folder in sysfs.
    pub(super) path: PathBuf,
    /// Number of its IOMMU group.
    pub(super) group: u32,
}

impl Function {
    /// Looks the function up below `sysfs`.
    ///
    /// # Errors
    /// The first reason why it cannot be opened.
    pub(super) fn find(sysfs: &Path, address: PciAddress) -> Result<Self, OpenError> {
        let path = sysfs.join("bus/pci/devices").join(address.to_string());
        let class = match fs::read_to_string(path.join("class")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::NoFunction { address });
            }
            Err(source) => return Err(OpenError::Step { address, step: "read the class", source }),
        };
        let class = class.trim().strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let class = class.unwrap_or(0);
        if class != Class::NVME {
            return Err(OpenError::NotNvme { address, class });
        }
        // Not a group of the mode without an IOMMU, which has the same numbers and no isolation.
        let group = last_of_link(&path.join("iommu_group")).filter(|_| !is_unsafe(&path));
        let Some(group) = group.and_then(|group| group.parse().ok()) else {
            return Err(OpenError::NoIommu { address });
        };
        let driver = last_of_link(&path.join("driver"));
        if driver.as_deref() != Some(VFIO_PCI) {
            return Err(OpenError::NotBound { address, driver });
        }
        Ok(Self { address, path, group })
    }

    /// The other functions of its group that keep it from being opened, with their drivers.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path.join("iommu_group/devices")) else { return Vec::new() };
        let mut others: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let driver = last_of_link(&entry.path().join("driver"))?;
                (!HARMLESS.contains(&driver.as_str())).then(|| format!("{name}: {driver}"))
            })
            .collect();
        others.sort_unstable();
        others
    }

    /// The file through which its group is opened.
    pub(super) fn node(&self) -> PathBuf {
        Path::new("/dev/vfio").join(self.group.to_string())
    }
}

/// Whether the group exists only because VFIO was told to do without an IOMMU.
fn is_unsafe(path: &Path) -> bool {
    fs::read_to_string(path.join("iommu_group/name")).is_ok_and(|name| name.trim() == "vfio-noiommu")
}

/// The last part of what a symbolic link points to.
fn last_of_link(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}
