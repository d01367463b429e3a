//! `corelane tune`: what of the machine helps and hurts, and a layout for it. What is looked at lies in
//! [`crate::tune::inspect`].

use std::io::Write;

use crate::config::{self, Config, Document, Topology};
use crate::tune::inspect::{self, Inspection, Proposal};
use crate::tune::setup::Machine;

use super::{Failure, check};

pub(super) use arguments::{ABOUT, AFTER, TuneArguments};

mod arguments;
mod file;
mod measure;
mod table;

/// Looks at the machine, and writes a proposal where one is asked for.
pub(super) fn run(
    options: &TuneArguments,
    machine: &Machine,
    topology: &Topology,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    let judged = match &options.config {
        Some(file) => {
            let accepted = check::load(file, topology)?;
            for warning in accepted.warnings {
                writeln!(errors, "corelane: {}: {warning}", file.display())?;
            }
            accepted.config
        }
        None => inspect::embedded(topology).ok_or_else(|| refused("this process may use no core"))?,
    };
    if options.measure {
        return measure::run(options, &judged, topology, output, errors);
    }
    let inspection = Inspection::of(machine, &judged, topology);
    if options.json {
        let text =
            serde_json::to_string_pretty(&inspection).map_err(|problem| refused(problem.to_string()))?;
        writeln!(output, "{text}")?;
    } else {
        table::print(&inspection, &judged.reactors.to_string(), output)?;
    }
    let Some(path) = &options.write else { return Ok(()) };
    let Proposal { config, reasons } = inspect::propose(machine, &judged, topology);
    file::write(path, &checked(&config, topology)?, options.force).map_err(refused)?;
    // A program reads standard output, and gets one object.
    let stream: &mut dyn Write = if options.json { errors } else { output };
    writeln!(stream, "\nwrote {}: {}", path.display(), config.reactors)?;
    reasons.iter().try_for_each(|reason| writeln!(stream, "  {reason}"))?;
    Ok(())
}

/// The text of the configuration, which is what it was meant to be when it is read again.
fn checked(config: &Config, topology: &Topology) -> Result<String, Failure> {
    let text = Document::from(config).to_json();
    let again = config::parse_on(&text, topology)
        .map_err(|findings| Failure::Refused(findings.iter().map(ToString::to_string).collect()))?;
    assert!(again.config == *config, "what was written is what was meant");
    Ok(text)
}

fn refused(message: impl ToString) -> Failure {
    Failure::Refused(vec![message.to_string()])
}
