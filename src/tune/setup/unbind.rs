//! Giving NVMe controllers back to the kernel.
//!
//! Invariant: a device that a program drives is not touched: the kernel would wait for that program, and whoever asked
//! would wait with it.

use std::fmt;
use std::io;

use super::device::{Device, Unknown};
use super::group;
use super::machine::{Machine, Trouble};
use super::openers::{self, Node};
use super::{PciAddress, Refusal, driver};

/// A controller that may be given back.
#[derive(Debug)]
#[must_use = "a device that is checked and not unbound stays with vfio-pci"]
pub struct Leaving {
    address: PciAddress,
    former: Option<String>,
}

/// A controller that the kernel has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// The controller.
    pub address: PciAddress,
    /// The kernel's driver that has it.
    pub driver: String,
    /// Whether the kernel had it already, and nothing was changed.
    pub already: bool,
}

/// Why a controller could not be given back.
#[derive(Debug)]
pub struct UnbindError {
    address: PciAddress,
    failure: Failure,
}

/// What failed.
#[derive(Debug)]
enum Failure {
    Module(io::Error),
    Trouble(Trouble),
    NotTaken(Option<String>),
}

/// Looks whether all of `addresses` may be given back. Changes nothing. An address that is named twice counts once.
///
/// # Errors
///
/// Everything that keeps any of them where it is: none may be given back then.
pub fn check(machine: &Machine, addresses: &[PciAddress]) -> Result<Vec<Leaving>, Vec<Refusal>> {
    let mut wanted = addresses.to_vec();
    wanted.sort();
    wanted.dedup();
    let (mut leaving, mut refusals) = (Vec::new(), Vec::new());
    for address in wanted {
        match check_one(machine, address) {
            Ok(one) => leaving.push(one),
            Err(reasons) => refusals.extend(reasons),
        }
    }
    if refusals.is_empty() { Ok(leaving) } else { Err(refusals) }
}

fn check_one(machine: &Machine, address: PciAddress) -> Result<Leaving, Vec<Refusal>> {
    let mut unknown = Unknown::default();
    let mut refusals = Vec::new();
    let mut former = None;
    match Device::find(machine, address, &mut unknown) {
        Some(device) if device.is_controller() => {
            match device.driver.as_deref() {
                Some(driver::VFIO) => refusals.extend(drivers(machine, &device, &mut unknown)),
                None | Some(driver::NVME) => {}
                Some(other) => {
                    refusals.push(Refusal::OtherDriver { address, driver: other.to_owned() });
                }
            }
            former = device.driver;
        }
        Some(Device { class: Some(class), .. }) => refusals.push(Refusal::Class { address, class }),
        Some(_) => {}
        None => refusals.extend(unknown.0.is_empty().then_some(Refusal::Missing(address))),
    }
    refusals.extend(unknown.0.into_iter().map(|trouble| Refusal::Unknown { address, trouble }));
    if refusals.is_empty() { Ok(Leaving { address, former }) } else { Err(refusals) }
}

/// Programs that drive the device, through its group or through its own node (iommufd).
fn drivers(machine: &Machine, device: &Device, unknown: &mut Unknown) -> Vec<Refusal> {
    let address = device.address;
    let mut nodes = Vec::new();
    if let Some(number) = &device.group {
        let number_file = format!("/sys/class/vfio/{number}/dev");
        let number_text = unknown.take(machine.text(&number_file));
        nodes.push(Node { path: group::node(number), number: number_text, block: false });
        // Without an IOMMU's protection the node has another name.
        nodes.push(Node { path: format!("/dev/vfio/noiommu-{number}"), number: None, block: false });
    }
    let folder = format!("{}/vfio-dev", driver::folder(address));
    for name in unknown.take(machine.names(&folder)) {
        let number = unknown.take(machine.text(&format!("{folder}/{name}/dev")));
        nodes.push(Node { path: format!("/dev/vfio/devices/{name}"), number, block: false });
    }
    let openers = openers::find(machine, &nodes, unknown);
    let driven = openers.into_iter().map(|opener| Refusal::Driven {
        address,
        pid: opener.pid,
        program: opener.program,
        node: nodes[opener.node].path.clone(),
    });
    driven.collect()
}

impl Leaving {
    /// The controller.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// Gives the controller back. One that the kernel has already is left as it is.
    ///
    /// # Errors
    ///
    /// What failed. The device is with `vfio-pci`, or with no driver, then; the call can be repeated.
    pub fn unbind(self, machine: &mut Machine) -> Result<Left, UnbindError> {
        let Self { address, former } = self;
        let error = |failure| UnbindError { address, failure };
        if let Some(driver) = former.as_deref().filter(|driver| *driver != driver::VFIO) {
            return Ok(Left { address, driver: driver.to_owned(), already: true });
        }
        if !driver::is_loaded(machine, driver::NVME).map_err(|why| error(Failure::Trouble(why)))? {
            machine.load_module(driver::NVME).map_err(|problem| error(Failure::Module(problem)))?;
        }
        let now =
            give_back(machine, address, former.as_deref()).map_err(|why| error(Failure::Trouble(why)))?;
        match now {
            Some(driver) if driver != driver::VFIO => Ok(Left { address, driver, already: false }),
            other => Err(error(Failure::NotTaken(other))),
        }
    }
}

fn give_back(
    machine: &mut Machine,
    address: PciAddress,
    former: Option<&str>,
) -> Result<Option<String>, Trouble> {
    driver::name(machine, address, None)?;
    if let Some(former) = former {
        driver::take_from(machine, address, former)?;
    }
    driver::probe(machine, address)?;
    driver::of(machine, address)
}

impl fmt::Display for UnbindError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, failure } = self;
        write!(formatter, "{address}: ")?;
        match failure {
            Failure::Module(problem) => write!(
                formatter,
                "the driver nvme is not there, and `modprobe nvme` failed ({problem}); run as root, outside of \
                 containers; nothing was changed"
            ),
            Failure::Trouble(trouble) => write!(formatter, "{trouble}"),
            Failure::NotTaken(Some(driver)) => {
                write!(formatter, "the driver {driver} still has it; the kernel's log (dmesg) says why")
            }
            Failure::NotTaken(None) => formatter.write_str(
                "no driver of the kernel took it; the kernel's log (dmesg) says why; then try again",
            ),
        }
    }
}

impl std::error::Error for UnbindError {}
