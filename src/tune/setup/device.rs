//! NVMe controllers on the PCI bus, as sysfs describes them.

use serde::Serialize;

use super::block::{self, Block};
use super::machine::{Machine, Trouble};
use super::{PciAddress, driver};

/// Base class and subclass of NVMe: mass storage, non-volatile memory. PCI class codes, NVMe base 2.2 section 3.8.1.2
/// (PCI header, class code).
const NVME_SUBCLASS: u32 = 0x0108;
/// With the programming interface of I/O controllers.
const NVME_CLASS: u32 = 0x01_0802;

/// What could not be read on the way; bind refuses when there is any.
#[derive(Debug, Default)]
pub(super) struct Unknown(pub(super) Vec<Trouble>);

/// An NVMe device on the PCI bus.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// Where it is.
    pub address: PciAddress,
    /// PCI class code, 24 bits: `0x010802` is an NVMe I/O controller. `None` if unknown.
    pub class: Option<u32>,
    /// PCI vendor; `None` if unknown.
    pub vendor: Option<u16>,
    /// The vendor's number for this kind of device; `None` if unknown.
    pub device: Option<u16>,
    /// Model as the controller says it; only the kernel's own driver knows it.
    pub model: Option<String>,
    /// Name of the controller, such as `nvme0`, while the kernel's own driver has it.
    pub controller: Option<String>,
    /// The driver that has it.
    pub driver: Option<String>,
    /// Number of its IOMMU group.
    pub group: Option<String>,
    /// The NUMA node that it is attached to, where the platform says so.
    pub numa_node: Option<u32>,
    /// Its namespaces, while the kernel's own driver has it.
    pub blocks: Vec<Block>,
}

impl Unknown {
    /// The value; or nothing, with the trouble kept.
    pub(super) fn take<T: Default>(&mut self, result: Result<T, Trouble>) -> T {
        result.unwrap_or_else(|trouble| {
            self.0.push(trouble);
            T::default()
        })
    }
}

impl Device {
    /// Every NVMe device, sorted by address.
    pub(super) fn all(machine: &Machine, unknown: &mut Unknown) -> Vec<Self> {
        let names = unknown.take(machine.names(driver::DEVICES));
        let addresses = names.iter().filter_map(|name| name.parse().ok());
        let devices = addresses.filter_map(|address| Self::find(machine, address, unknown));
        let mut devices: Vec<Self> = devices.filter(Self::is_nvme).collect();
        devices.sort_by_key(|device| device.address);
        devices
    }

    /// The device at an address, of whatever class; `None` if there is none.
    pub(super) fn find(machine: &Machine, address: PciAddress, unknown: &mut Unknown) -> Option<Self> {
        let folder = driver::folder(address);
        if !unknown.take(machine.has(&folder)) {
            return None;
        }
        let mut number = |name: &str| unknown.take(machine.number(&format!("{folder}/{name}")));
        let class = number("class").and_then(|class| u32::try_from(class).ok());
        let vendor = number("vendor").and_then(|vendor| u16::try_from(vendor).ok());
        let device = number("device").and_then(|device| u16::try_from(device).ok());
        // Minus one where the platform does not say.
        let node = unknown.take(machine.text(&format!("{folder}/numa_node")));
        let mut found = Self {
            address,
            class,
            vendor,
            device,
            model: None,
            controller: None,
            driver: unknown.take(driver::of(machine, address)),
            group: unknown.take(machine.link_name(&format!("{folder}/iommu_group"))),
            numa_node: node.and_then(|node| node.parse().ok()),
            blocks: Vec::new(),
        };
        if found.is_nvme() {
            found.look_inside(machine, &format!("{folder}/nvme"), unknown);
        }
        Some(found)
    }

    /// Whether it is an NVMe device of any kind. One whose class is unknown is none: its trouble is reported.
    pub(super) fn is_nvme(&self) -> bool {
        self.class.is_some_and(|class| class >> 8 == NVME_SUBCLASS)
    }

    /// Whether it is an NVMe I/O controller.
    pub(super) fn is_controller(&self) -> bool {
        self.class == Some(NVME_CLASS)
    }

    /// What the kernel's own driver knows.
    fn look_inside(&mut self, machine: &Machine, folder: &str, unknown: &mut Unknown) {
        for controller in unknown.take(machine.names(folder)) {
            let inner = format!("{folder}/{controller}");
            self.model = unknown.take(machine.text(&format!("{inner}/model")));
            let names = unknown.take(machine.names(&inner));
            for name in block::namespaces(&names) {
                self.blocks.extend(unknown.take(Block::read(machine, &name)));
            }
            self.controller = Some(controller);
        }
    }
}
