//! IOMMU groups: what the IOMMU cannot tell apart changes hands together.

use serde::Serialize;

use super::machine::{Machine, Trouble};

/// Drivers that may stay on the other members of a group that a program uses: they do no DMA for the kernel.
const HARMLESS: [&str; 2] = ["pci-stub", "pcieport"];
/// How the names of the drivers begin that give devices to programs.
const VFIO_PREFIX: &str = "vfio-";
/// Where the kernel lists its groups.
pub(super) const GROUPS: &str = "/sys/kernel/iommu_groups";

/// An IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Group {
    /// Its number.
    pub number: String,
    /// Its devices, sorted by name.
    pub members: Vec<Member>,
}

/// A device of an IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Member {
    /// PCI address, or the name of a device of another bus.
    pub name: String,
    /// The driver that has it.
    pub driver: Option<String>,
}

impl Group {
    /// The group of that number.
    pub(super) fn read(machine: &Machine, number: &str) -> Result<Self, Trouble> {
        let folder = format!("{GROUPS}/{number}/devices");
        let mut members = Vec::new();
        for name in machine.names(&folder)? {
            let driver = machine.link_name(&format!("{folder}/{name}/driver"))?;
            members.push(Member { name, driver });
        }
        Ok(Self { number: number.to_owned(), members })
    }

    /// The node that a program opens to use the group.
    #[must_use]
    pub fn path(&self) -> String {
        node(&self.number)
    }

    /// Members whose drivers keep the group from being used by a program, apart from those in `besides`.
    pub(super) fn hindrances<'a>(
        &'a self,
        besides: &'a [String],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let others = self.members.iter().filter(|member| !besides.contains(&member.name));
        let driven = others.filter_map(|member| Some((member.name.as_str(), member.driver.as_deref()?)));
        driven.filter(|(_, driver)| !HARMLESS.contains(driver) && !driver.starts_with(VFIO_PREFIX))
    }
}

/// The node of the group of that number.
pub(super) fn node(number: &str) -> String {
    format!("/dev/vfio/{number}")
}
