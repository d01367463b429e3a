//! `corelane setup`: NVMe devices and huge pages change hands. What is checked and done lies in [`crate::tune::setup`].
//!
//! Invariant: a line "bound" or "unbound" is printed after it has happened, and every device that was changed has one,
//! whatever comes of those that follow.

use std::io::Write;

use crate::tune::setup::{Machine, Outcome, PciAddress, Refusal, Status, bind, hugepages, unbind};

use super::Failure;

use arguments::Hugepages;

pub(super) use arguments::{ABOUT, AFTER, SetupCommand};

mod arguments;
mod status;

/// Carries out one subcommand.
pub(super) fn run(
    command: SetupCommand,
    machine: &mut Machine,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    match command {
        SetupCommand::Status { json } => {
            let found = Status::read(machine);
            if json { status::json(&found, output) } else { status::text(&found, output) }
        }
        SetupCommand::Hugepages(pages) => ask(&pages, machine, output),
        SetupCommand::Bind(devices) => take(&devices.addresses, machine, output),
        SetupCommand::Unbind(devices) => give_back(&devices.addresses, machine, output),
    }
}

fn ask(pages: &Hugepages, machine: &mut Machine, output: &mut dyn Write) -> Result<(), Failure> {
    let Hugepages { count, size, node } = pages;
    let outcome = hugepages::set(machine, *count, size.bytes(), *node).map_err(refused)?;
    writeln!(output, "{outcome}")?;
    match Outcome::advice(&outcome) {
        None => Ok(()),
        Some(advice) => Err(refused(format!("{outcome}: {advice}"))),
    }
}

fn take(addresses: &[PciAddress], machine: &mut Machine, output: &mut dyn Write) -> Result<(), Failure> {
    let ready = bind::check(machine, addresses).map_err(|refusals| unchanged(&refusals))?;
    for one in ready {
        let bound = one.bind(machine).map_err(refused)?;
        if bound.loaded {
            writeln!(output, "loaded the module vfio-pci (modprobe vfio-pci)")?;
        }
        let what = if bound.already { "was bound to vfio-pci already" } else { "bound to vfio-pci" };
        writeln!(output, "{}: {what}; its IOMMU group is {}", bound.address, bound.node)?;
    }
    Ok(())
}

fn give_back(addresses: &[PciAddress], machine: &mut Machine, output: &mut dyn Write) -> Result<(), Failure> {
    let leaving = unbind::check(machine, addresses).map_err(|refusals| unchanged(&refusals))?;
    for one in leaving {
        let left = one.unbind(machine).map_err(refused)?;
        let what =
            if left.already { "was not taken: it is with" } else { "unbound from vfio-pci, and back with" };
        writeln!(output, "{}: {what} the driver {}", left.address, left.driver)?;
    }
    Ok(())
}

fn refused(message: impl ToString) -> Failure {
    Failure::Refused(vec![message.to_string()])
}

fn unchanged(refusals: &[Refusal]) -> Failure {
    let mut lines: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    lines.push("nothing was changed".to_owned());
    Failure::Refused(lines)
}
