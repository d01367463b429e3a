//! The grammar and the help texts of `corelane tune`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::perf::parse_positive;

/// What `tune` does, for its `--help`.
pub(in crate::cli) const ABOUT: &str = "\
Look at this machine: what helps a target, what hurts it, and what could not be read.

Reads processors and their threads, caches and NUMA nodes, what this process may use of them, frequency governor, isolated \
cores, interrupts of network cards and NVMe devices, huge pages, limits, swap, clock, mitigations, kernel and socket \
settings. Each line has the reason and, where something can be changed, the command that changes it. Changes nothing on the \
machine, and measures nothing unless --measure asks for it. Judged is the layout that is used without a configuration, or that of --config.";

/// What follows the options of `tune --help`.
pub(in crate::cli) const AFTER: &str = "\
EXIT STATUS:
  0   The machine was looked at, whatever was found; with --write, the file was written.
  1   The configuration was refused, or the file was not written; standard error says why.
  2   The command line is wrong.

EXAMPLES:
  What should be changed on this machine:
      corelane tune
  How a configuration fits it:
      corelane tune --config /etc/corelane.json
  Which layout, engine and idle policy is fastest here:
      corelane tune --measure --write corelane.json --plot tune.svg
  A configuration with a layout for this machine:
      corelane tune --write corelane.json
  The same with the disks and names of an existing one, which is replaced:
      corelane tune --config corelane.json --write corelane.json --force";

/// Options of `tune`.
#[derive(Args, Debug)]
pub(in crate::cli) struct TuneArguments {
    /// Print one JSON object: layout, cpus, usable, devices, items.
    #[arg(long)]
    pub(super) json: bool,
    /// Configuration whose layout is judged; "-" reads standard input.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Write a configuration with a layout for this machine.
    ///
    /// A complete one: what --config says, or the RAM disk that is served without a file, with another layout
    /// in "reactors". Every default is written out. An existing file is left as it is.
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
    /// Try layouts, engines and idle policies with a short load on a RAM disk of its own, and say which was best.
    ///
    /// With --write the best layout is written, instead of one that was inferred.
    #[arg(long)]
    pub(super) measure: bool,
    /// How long each run is measured, with many commands under way and again with one.
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "measure", value_parser = parse_positive)]
    pub(super) duration: Duration,
    /// How often each candidate is run; candidates run by turns.
    #[arg(long, value_name = "COUNT", default_value_t = 5, requires = "measure", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: u16,
    /// Write a plot of what was measured.
    #[arg(long, value_name = "FILE.svg", requires = "measure")]
    pub(super) plot: Option<PathBuf>,
    /// Replace the file of --write when it exists.
    #[arg(long, requires = "write")]
    pub(super) force: bool,
}
