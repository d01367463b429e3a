//! Taking NVMe controllers from the kernel, for programs that drive them through VFIO.
//!
//! Invariants:
//!
//! - a [`Ready`] has passed every check, and claims the block devices of its controller for itself, so that nothing can
//!   be mounted or assembled on them between the checks and the change;
//! - [`Ready::bind`] ends with `vfio-pci` having the device, or with the former driver having it again; where that fails
//!   too, the error says so.

use std::fmt;
use std::fs::File;
use std::io;

use super::device::{Device, Unknown};
use super::group::{self, GROUPS, Group};
use super::machine::{Machine, Trouble};
use super::{Occupation, PciAddress, Refusal, driver, usage};

/// A controller that may be taken.
#[derive(Debug)]
#[must_use = "a device that is checked and not bound stays with the kernel"]
pub struct Ready {
    address: PciAddress,
    group: String,
    former: Option<String>,
    /// The namespaces and partitions, opened for this program alone.
    claims: Vec<File>,
}

/// A controller that `vfio-pci` has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The controller.
    pub address: PciAddress,
    /// The node of its IOMMU group, which a program opens.
    pub node: String,
    /// Whether `vfio-pci` had it already, and nothing was changed.
    pub already: bool,
    /// Whether the module `vfio-pci` was loaded for it.
    pub loaded: bool,
}

/// Why a controller could not be taken, and where it is now.
#[derive(Debug)]
pub struct BindError {
    address: PciAddress,
    failure: Failure,
    rest: Rest,
}

/// What failed.
#[derive(Debug)]
enum Failure {
    Module(io::Error),
    Trouble(Trouble),
    /// `vfio-pci` did not take it; who has it instead.
    NotTaken(Option<String>),
    /// The group has no node.
    NoNode(String),
}

/// Where the device is after a failure.
#[derive(Debug)]
enum Rest {
    Untouched,
    /// The former driver has it again, or nobody, as before.
    Back(Option<String>),
    /// It should be with the former driver and is not.
    Lost {
        former: Option<String>,
        trouble: Option<Trouble>,
    },
}

/// Looks whether all of `addresses` may be taken. Changes nothing. An address that is named twice counts once.
///
/// # Errors
///
/// Everything that keeps any of them from being taken: none may be then.
pub fn check(machine: &mut Machine, addresses: &[PciAddress]) -> Result<Vec<Ready>, Vec<Refusal>> {
    let mut wanted = addresses.to_vec();
    wanted.sort();
    wanted.dedup();
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let (mut ready, mut refusals) = (Vec::new(), Vec::new());
    for address in wanted {
        match check_one(machine, address, &names) {
            Ok(one) => ready.push(one),
            Err(reasons) => refusals.extend(reasons),
        }
    }
    if refusals.is_empty() { Ok(ready) } else { Err(refusals) }
}

fn check_one(machine: &mut Machine, address: PciAddress, names: &[String]) -> Result<Ready, Vec<Refusal>> {
    let mut unknown = Unknown::default();
    let found = Device::find(machine, address, &mut unknown);
    let mut refusals = Vec::new();
    let device = match found {
        Some(device) if device.is_controller() => Some(device),
        Some(Device { class: Some(class), .. }) => {
            refusals.push(Refusal::Class { address, class });
            None
        }
        Some(_) => None,
        None => {
            // That it is missing is known only if the look itself went well.
            refusals.extend(unknown.0.is_empty().then_some(Refusal::Missing(address)));
            None
        }
    };
    let mut claims = Vec::new();
    if let Some(device) = &device
        && device.driver.as_deref() != Some(driver::VFIO)
    {
        refusals.extend(isolation(machine, device, names, &mut unknown));
        let (files, uses) = occupations(machine, device, &mut unknown);
        claims = files;
        refusals.extend(uses.into_iter().map(|occupation| Refusal::Occupied { address, occupation }));
    }
    refusals.extend(unknown.0.into_iter().map(|trouble| Refusal::Unknown { address, trouble }));
    match device {
        Some(Device { group: Some(group), driver, .. }) if refusals.is_empty() => {
            Ok(Ready { address, group, former: driver, claims })
        }
        Some(_) if refusals.is_empty() => Err(vec![Refusal::NoGroup(address)]),
        _ => Err(refusals),
    }
}

/// Claims the namespaces and partitions, and says what they are used for.
fn occupations(
    machine: &mut Machine,
    device: &Device,
    unknown: &mut Unknown,
) -> (Vec<File>, Vec<Occupation>) {
    let (mut claims, mut denied) = (Vec::new(), Vec::new());
    for block in &device.blocks {
        // A claim of the whole keeps others from its partitions too: of these, only what is there now is looked at.
        match unknown.take(machine.claim(&block.path()).map(Some)) {
            Some(Some(file)) => claims.push(file),
            Some(None) => denied.push(block),
            None => {}
        }
    }
    let uses = usage::of(machine, device, unknown);
    let unexplained = denied.into_iter().filter(|block| {
        let inside = |name: &str| block.all().any(|inner| inner.name == name);
        !uses.iter().any(|occupation| occupation.takes_all() && inside(&occupation.block))
    });
    let unexplained: Vec<Occupation> = unexplained.map(Occupation::claimed).collect();
    (claims, uses.into_iter().chain(unexplained).collect())
}

/// What keeps a program from having the device for itself.
fn isolation(machine: &Machine, device: &Device, names: &[String], unknown: &mut Unknown) -> Vec<Refusal> {
    let address = device.address;
    let Some(number) = &device.group else {
        let none = unknown.take(machine.names(GROUPS)).is_empty();
        return vec![if none { Refusal::NoIommu(address) } else { Refusal::NoGroup(address) }];
    };
    let Some(group) = unknown.take(Group::read(machine, number).map(Some)) else { return Vec::new() };
    let hindrances = group.hindrances(names).map(|(member, driver)| Refusal::NotViable {
        address,
        group: number.clone(),
        member: member.to_owned(),
        driver: driver.to_owned(),
    });
    hindrances.collect()
}

impl Ready {
    /// The controller.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// Takes the controller. One that `vfio-pci` has already is left as it is.
    ///
    /// # Errors
    ///
    /// What failed, and where the device is now.
    pub fn bind(self, machine: &mut Machine) -> Result<Bound, BindError> {
        let Self { address, group, former, claims } = self;
        let error = |failure, rest| BindError { address, failure, rest };
        let node = group::node(&group);
        if former.as_deref() == Some(driver::VFIO) {
            return Ok(Bound { address, node, already: true, loaded: false });
        }
        let untouched = |trouble| error(Failure::Trouble(trouble), Rest::Untouched);
        let loaded = !driver::is_loaded(machine, driver::VFIO).map_err(untouched)?;
        if loaded {
            machine
                .load_module(driver::VFIO)
                .map_err(|problem| error(Failure::Module(problem), Rest::Untouched))?;
        }
        let named = driver::named(machine, address).map_err(untouched)?;
        let result = take(machine, address, former.as_deref(), &node);
        // Held until now, so that nobody could come in between.
        drop(claims);
        match result {
            Ok(()) => Ok(Bound { address, node, already: false, loaded }),
            Err(failure) => Err(error(failure, restore(machine, address, former, named.as_deref()))),
        }
    }
}

fn take(machine: &mut Machine, address: PciAddress, former: Option<&str>, node: &str) -> Result<(), Failure> {
    driver::name(machine, address, Some(driver::VFIO)).map_err(Failure::Trouble)?;
    if let Some(former) = former {
        driver::take_from(machine, address, former).map_err(Failure::Trouble)?;
    }
    driver::probe(machine, address).map_err(Failure::Trouble)?;
    let driver = driver::of(machine, address).map_err(Failure::Trouble)?;
    if driver.as_deref() != Some(driver::VFIO) {
        return Err(Failure::NotTaken(driver));
    }
    match machine.has(node) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NoNode(node.to_owned())),
        Err(trouble) => Err(Failure::Trouble(trouble)),
    }
}

/// Undoes as much of [`take`] as was done.
fn restore(machine: &mut Machine, address: PciAddress, former: Option<String>, named: Option<&str>) -> Rest {
    let mut undo = || {
        driver::name(machine, address, named)?;
        let now = driver::of(machine, address)?;
        if now == former {
            return Ok(now);
        }
        if let Some(driver) = now {
            driver::take_from(machine, address, &driver)?;
        }
        if former.is_some() {
            driver::probe(machine, address)?;
        }
        driver::of(machine, address)
    };
    match undo() {
        Ok(now) if now == former => Rest::Back(former),
        Ok(_) => Rest::Lost { former, trouble: None },
        Err(trouble) => Rest::Lost { former, trouble: Some(trouble) },
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, failure, rest } = self;
        write!(formatter, "{address}: {failure}; {rest}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(problem) => write!(
                formatter,
                "the driver vfio-pci is not there, and `modprobe vfio-pci` failed ({problem}); run as root, outside of \
                 containers, with a kernel that has this module"
            ),
            Self::Trouble(trouble) => write!(formatter, "{trouble}"),
            Self::NotTaken(Some(driver)) => {
                write!(
                    formatter,
                    "vfio-pci did not take it, the driver {driver} did; the kernel's log (dmesg) says why"
                )
            }
            Self::NotTaken(None) => {
                formatter.write_str("vfio-pci did not take it; the kernel's log (dmesg) says why")
            }
            Self::NoNode(node) => {
                write!(
                    formatter,
                    "vfio-pci has it, but {node} is not there; run it where /dev is the machine's own"
                )
            }
        }
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => formatter.write_str("nothing was changed"),
            Self::Back(Some(driver)) => write!(formatter, "the driver {driver} has it, as before"),
            Self::Back(None) => formatter.write_str("no driver has it, as before"),
            Self::Lost { former, trouble } => {
                let former = former.as_deref().unwrap_or("no driver");
                write!(formatter, "it could not be given back to {former}")?;
                if let Some(trouble) = trouble {
                    write!(formatter, " ({trouble})")?;
                }
                formatter.write_str("; try `corelane setup unbind` for it")
            }
        }
    }
}

impl std::error::Error for BindError {}
