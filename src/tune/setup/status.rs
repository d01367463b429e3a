//! How things stand: devices, groups, huge pages, limits, and what to do about what is missing. Changes nothing.
//!
//! Invariant: what could not be read stands in `unknown`, and in no other field as a guess.

use std::os::unix::fs::MetadataExt;

use rustix::fs::Access;
use serde::Serialize;

use super::advice;
use super::device::{Device, Unknown};
use super::group::{self, GROUPS, Group};
use super::hugepages::{self, Pool};
use super::machine::{Machine, Trouble};
use super::{Occupation, driver, usage};

/// Below `/proc`, what this process may do; the limit that children inherit.
const LIMITS: &str = "/proc/self/limits";
/// How the line of the limit on locked memory begins: proc_pid_limits(5).
const MEMLOCK: &str = "Max locked memory";
const UNLIMITED: &str = "unlimited";
/// The node through which programs use VFIO.
const VFIO_NODE: &str = "/dev/vfio/vfio";
const NOIOMMU: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// How a machine is set up for programs that drive NVMe devices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// NVMe devices on the PCI bus, sorted by address.
    pub devices: Vec<DeviceStatus>,
    /// Huge pages by size and node.
    pub hugepages: Vec<Pool>,
    /// Memory that a process may lock; `None` if unknown.
    pub memlock: Option<Memlock>,
    /// The IOMMU.
    pub iommu: Iommu,
    /// The driver that gives devices to programs.
    pub vfio: Vfio,
    /// What could not be read, and why.
    pub unknown: Vec<String>,
    /// What to do about what is missing, a line each.
    pub advice: Vec<String>,
}

/// A device, what holds it, and who shares its group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DeviceStatus {
    /// What sysfs says of it.
    #[serde(flatten)]
    pub device: Device,
    /// Its IOMMU group, itself included; `None` where it has none.
    pub iommu_group: Option<Group>,
    /// What its namespaces are used for. Empty: nothing, as far as that could be read.
    pub uses: Vec<Occupation>,
    /// The node of its group, while `vfio-pci` has it.
    pub node: Option<Node>,
}

/// How much memory a process may lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Memlock {
    /// The limit that is in force, in bytes; `None`: no limit.
    pub soft_bytes: Option<u64>,
    /// The limit that it may be raised to, in bytes; `None`: no limit.
    pub hard_bytes: Option<u64>,
}

/// What there is of an IOMMU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Iommu {
    /// Names of the units, such as `dmar0`.
    pub units: Vec<String>,
    /// Number of groups; 0: no IOMMU is in use.
    pub groups: usize,
}

/// What there is of VFIO.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Vfio {
    /// Whether the kernel has the driver `vfio-pci`, as a module or built in.
    pub loaded: bool,
    /// Whether devices may be used without an IOMMU, and then write all over memory.
    pub unsafe_noiommu: bool,
    /// `/dev/vfio/vfio`; `None`: it is not there.
    pub node: Option<Node>,
}

/// A node of `/dev/vfio` and who may use it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Node {
    /// Its path.
    pub path: String,
    /// Permissions, octal, such as `0600`.
    pub mode: String,
    /// Numbers of owner and group.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// Whether this process may read and write it.
    pub usable: bool,
}

impl Status {
    /// Looks at the machine.
    #[must_use]
    pub fn read(machine: &Machine) -> Self {
        let mut unknown = Unknown::default();
        let devices = Device::all(machine, &mut unknown);
        let devices =
            devices.into_iter().map(|device| DeviceStatus::read(machine, device, &mut unknown)).collect();
        let noiommu = unknown.take(machine.text(NOIOMMU));
        let mut status = Self {
            devices,
            hugepages: hugepages::pools(machine, &mut unknown),
            memlock: unknown.take(memlock(machine)),
            iommu: Iommu {
                units: unknown.take(machine.names("/sys/class/iommu")),
                groups: unknown.take(machine.names(GROUPS)).len(),
            },
            vfio: Vfio {
                loaded: unknown.take(driver::is_loaded(machine, driver::VFIO)),
                unsafe_noiommu: noiommu.is_some_and(|value| value == "Y"),
                node: unknown.take(Node::read(machine, VFIO_NODE)),
            },
            unknown: Vec::new(),
            advice: Vec::new(),
        };
        status.unknown = unknown.0.iter().map(Trouble::to_string).collect();
        // Two devices run into the same trouble: once is enough.
        status.unknown.sort();
        status.unknown.dedup();
        status.advice = advice::all(&status);
        status
    }
}

impl DeviceStatus {
    fn read(machine: &Machine, device: Device, unknown: &mut Unknown) -> Self {
        let group = device.group.as_deref();
        let iommu_group = group.and_then(|group| unknown.take(Group::read(machine, group).map(Some)));
        let bound = device.driver.as_deref() == Some(driver::VFIO);
        let node = group.filter(|_| bound).map(group::node);
        Self {
            iommu_group,
            uses: usage::of(machine, &device, unknown),
            node: node.and_then(|node| unknown.take(Node::read(machine, &node))),
            device,
        }
    }
}

impl Node {
    fn read(machine: &Machine, path: &str) -> Result<Option<Self>, Trouble> {
        if !machine.has(path)? {
            return Ok(None);
        }
        let place = machine.place(path);
        let metadata = std::fs::metadata(&place).map_err(|reason| Trouble::reading(path, reason))?;
        Ok(Some(Self {
            path: path.to_owned(),
            mode: format!("{:04o}", metadata.mode() & PERMISSIONS),
            uid: metadata.uid(),
            gid: metadata.gid(),
            usable: rustix::fs::access(&place, Access::READ_OK | Access::WRITE_OK).is_ok(),
        }))
    }
}

fn memlock(machine: &Machine) -> Result<Option<Memlock>, Trouble> {
    let Some(limits) = machine.text(LIMITS)? else { return Ok(None) };
    let line = limits.lines().find_map(|line| line.strip_prefix(MEMLOCK));
    let mut words = line.unwrap_or_default().split_whitespace();
    let mut limit = || match words.next() {
        Some(UNLIMITED) => Some(None),
        word => word.and_then(|word| word.parse().ok()).map(Some),
    };
    let (soft, hard) = (limit(), limit());
    Ok(soft.zip(hard).map(|(soft_bytes, hard_bytes)| Memlock { soft_bytes, hard_bytes }))
}
