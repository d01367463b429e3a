//! The grammar and the help texts of `corelane tune`.

use std::path::PathBuf;

use clap::Args;

/// What `tune` does, for its `--help`.
pub(in crate::cli) const ABOUT: &str = "\
Look at this machine: what helps a target, what hurts it, and what could not be read.

Reads processors and their threads, caches and NUMA nodes, what this process may use of them, frequency governor, isolated \
cores, interrupts of network cards and NVMe devices, huge pages, limits, swap, clock, mitigations, kernel and socket \
settings. Each line has the reason and, where something can be changed, the command that changes it. Changes nothing, and \
measures nothing. Judged is the layout that is used without a configuration, or that of --config.";

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
    /// Replace the file of --write when it exists.
    #[arg(long, requires = "write")]
    pub(super) force: bool,
}
