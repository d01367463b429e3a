//! What an operator does about what is missing: a line for each thing, and none where nothing is.

use crate::config::ByteSize;

use super::driver;
use super::status::{DeviceStatus, Status};

/// Less than this cannot be locked for a useful number of buffers.
const MEMLOCK_BYTES_LEAST: u64 = 256 << 20;

/// A line for everything that is missing.
pub(super) fn all(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if status.iommu.groups == 0 {
        lines.push(
            "no IOMMU is in use: switch VT-d or AMD-Vi on in the firmware's set-up, and boot an Intel machine with \
             intel_iommu=on"
                .to_owned(),
        );
    }
    if status.vfio.unsafe_noiommu {
        lines.push(
            "VFIO lets devices be used without an IOMMU: echo N > \
             /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
                .to_owned(),
        );
    }
    if !status.vfio.loaded {
        lines.push(
            "the driver vfio-pci is not there: modprobe vfio-pci (`corelane setup bind` does it)".to_owned(),
        );
    } else if status.vfio.node.is_none() {
        lines.push(
            "/dev/vfio/vfio is not there: run where /dev is the machine's own, or pass it to the container"
                .to_owned(),
        );
    }
    lines.extend(hugepages(status));
    lines.extend(memlock(status));
    if status.devices.is_empty() && status.unknown.is_empty() {
        lines.push("there is no NVMe device on the PCI bus: serve files, or RAM disks".to_owned());
    }
    lines.extend(status.devices.iter().filter_map(|device| of_device(device, status)));
    lines
}

fn hugepages(status: &Status) -> Option<String> {
    let mut whole = status.hugepages.iter().filter(|pool| pool.node.is_none());
    if whole.clone().next().is_none() {
        return Some("this kernel has no huge pages: take one that was built with HUGETLBFS".to_owned());
    }
    if whole.clone().all(|pool| pool.total == 0) {
        return Some("there are no huge pages: corelane setup hugepages 1024".to_owned());
    }
    let used_up = whole.all(|pool| pool.free <= pool.reserved.unwrap_or(0));
    used_up.then(|| {
        "no huge page is free: end what uses them, or ask for more with corelane setup hugepages".to_owned()
    })
}

fn memlock(status: &Status) -> Option<String> {
    let limit = status.memlock?.soft_bytes?;
    let whole = status.hugepages.iter().filter(|pool| pool.node.is_none());
    let huge: u64 = whole.map(|pool| pool.total.saturating_mul(pool.size_bytes)).sum();
    (limit < huge.max(MEMLOCK_BYTES_LEAST)).then(|| {
        format!(
            "programs that are not root may lock {} only: ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's \
             unit",
            ByteSize::new(limit)
        )
    })
}

fn of_device(status: &DeviceStatus, whole: &Status) -> Option<String> {
    let address = status.device.address;
    let hindrance = status.iommu_group.as_ref().and_then(|group| {
        // NVMe devices of one group can be taken together.
        let besides: Vec<String> =
            whole.devices.iter().map(|other| other.device.address.to_string()).collect();
        group.hindrances(&besides).next().map(|(name, driver)| (name.to_owned(), driver.to_owned()))
    });
    if let Some((name, driver)) = hindrance {
        return Some(format!(
            "{address} shares its IOMMU group with {name}, which {driver} has: use another slot"
        ));
    }
    if status.device.driver.as_deref() == Some(driver::VFIO) {
        return match &status.node {
            None => Some(format!("{address}: its group has no node: run where /dev is the machine's own")),
            Some(node) if !node.usable => {
                Some(format!("{} is not yours: as root, chown YOU {}", node.path, node.path))
            }
            Some(_) => None,
        };
    }
    if !status.uses.is_empty() {
        return None;
    }
    if status.device.group.is_none() {
        return (whole.iommu.groups > 0).then(|| format!("{address} is in no IOMMU group: use another slot"));
    }
    (whole.unknown.is_empty() && status.device.is_controller())
        .then(|| format!("{address} is not in use: to give it to programs, corelane setup bind {address}"))
}
