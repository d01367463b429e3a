//! The grammar and the help texts of `corelane reservation`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::spec::nqn::{Nqn, NqnError};

/// What `reservation` does, for its `--help`.
pub(in crate::cli) const ABOUT: &str = "\
Look at, check, clear or import the reservations that are kept in a state directory.

Each namespace that keeps registrations and reservations has one record there: a JSON file named by the namespace's \
UUID. These commands take the directory for themselves, so they refuse while a target runs on it, and name its \
process. Nothing is created, and nothing is changed but by `clear` and `import`, which log what they do.";

/// What follows the options of `reservation --help`.
pub(in crate::cli) const AFTER: &str = "\
EXIT STATUS:
  0   Done.
  1   The directory cannot be used, a record is wrong or missing, or a change needs --yes;
      standard error says why.
  2   The command line is wrong.

EXAMPLES:
  What is kept, and whether all of it is sound:
      corelane reservation list && corelane reservation verify
  Give up the reservations of a namespace that a damaged record keeps out of service:
      corelane reservation clear 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11 --yes
  Take over from SPDK:
      corelane reservation import ptpl.json --nqn nqn.2026-11.io.corelane:disk0 --nsid 1 \\
          --uuid 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";

/// What `clear` does, for its `--help`.
const CLEAR: &str = "\
Remove the record of a namespace.

When the target starts again, nobody is registered and nothing is reserved there: every host that may connect may \
write, until hosts register and acquire anew. Make sure first that no fenced host is still running. The record need \
not be readable: this is also the way back for a namespace that a damaged record keeps out of service. Without --yes, \
it only says what would be lost, and exits with 1.";

/// What `import` does, for its `--help`.
const IMPORT: &str = "\
Make a record of a reservation file that SPDK wrote.

The file must be that of a bdev with the same UUID, and the configuration must give the namespace that UUID. Keys, \
hosts, type and holder are taken over; SPDK keeps no generation, which starts again at 0. A file that is empty, or \
says that persistence was off, gives no record. A record that is there already is replaced with --yes only.";

/// Subcommands of `reservation`.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum ReservationCommand {
    /// List all records, one a line
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Show one record
    Show {
        /// UUID of the namespace.
        #[arg(value_parser = uuid)]
        uuid: Uuid,
        /// Print the record as it lies on the disk, in JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Check every record, or one; exit with 1 if any is wrong
    Verify {
        /// UUID of the only namespace that is looked at.
        #[arg(value_parser = uuid)]
        uuid: Option<Uuid>,
        #[command(flatten)]
        place: Place,
    },
    /// Remove the record of a namespace: all its registrations, and its reservation
    #[command(long_about = CLEAR)]
    Clear {
        /// UUID of the namespace.
        #[arg(value_parser = uuid)]
        uuid: Uuid,
        /// Do it, and do not only say what would be lost.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Make a record of a reservation file that SPDK wrote
    #[command(long_about = IMPORT)]
    Import(Import),
}

/// Which state directory.
#[derive(Args, Debug)]
pub(in crate::cli) struct Place {
    /// The target's state directory.
    ///
    /// Default: $STATE_DIRECTORY, else $XDG_STATE_HOME/corelane, else $HOME/.local/state/corelane. A directory that
    /// "state_dir" of a configuration file names must be named here too.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) state_dir: Option<PathBuf>,
}

/// Arguments of `reservation import`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// The file that SPDK wrote.
    pub(super) file: PathBuf,
    /// NQN of the subsystem, as the configuration has it.
    #[arg(long, value_parser = nqn)]
    pub(super) nqn: Nqn,
    /// NSID of the namespace, 1 to 65535.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(super) nsid: u32,
    /// UUID of the namespace.
    #[arg(long, value_parser = uuid)]
    pub(super) uuid: Uuid,
    /// Replace a record that is there already.
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

fn nqn(text: &str) -> Result<Nqn, NqnError> {
    Nqn::parse(text)
}

fn uuid(text: &str) -> Result<Uuid, String> {
    match Uuid::try_parse(text) {
        Ok(uuid) if uuid.is_nil() => Err("all zeros is the UUID of no namespace".to_owned()),
        Ok(uuid) => Ok(uuid),
        Err(problem) => Err(problem.to_string()),
    }
}
