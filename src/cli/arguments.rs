//! The command line's grammar and its help texts. Values are parsed here, files are not opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{ByteSize, parse_listen};

use super::discover::{self, DiscoverArguments};
use super::identify::{self, IdentifyArguments};
use super::log::LogFormat;
use super::perf::{self, PerfArguments};
use super::reservation::{self, ReservationCommand};
use super::setup::{self, SetupCommand};
use super::top::{self, TopArguments};
use super::tune::{self, TuneArguments};

/// What `corelane` does, for `--help`.
const ABOUT: &str = "\
An NVMe-oF/TCP target: serves block devices to hosts over the network.

Without a subcommand and without a configuration file, corelane serves a RAM disk of 256 MiB on \
127.0.0.1:4420, and prints the command that connects a Linux host to it. No privileges, no huge pages and no \
set-up are needed for that.";

/// What follows the options in `--help`.
const AFTER: &str = "\
OUTPUT:
  Standard output gets what a script may want to read: each listening address, the answers
  of `check`, `reservation`, `setup`, `tune`, `perf`, `discover`, `identify`, the schema. Standard
  error gets the log.

SIGNALS:
  SIGINT, SIGTERM   Finish the commands in flight, close the connections, exit with 0.

EXIT STATUS:
  0   Done; `serve`: stopped by a signal.
  1   A configuration, a record or a change was refused, the target could not start, or it
      failed; standard error says why.
  2   The command line or the environment is wrong.

ENVIRONMENT:
  CORELANE_LOG      Log filter, such as \"warn,corelane::nvmf=debug\", when neither
                    --log-level nor -v nor -q is given.
  STATE_DIRECTORY   State directory (systemd sets it) when neither --state-dir nor
                    \"state_dir\" names one.
  XDG_STATE_HOME    Otherwise, the directory \"corelane\" in this one.
  HOME              Otherwise, the directory \".local/state/corelane\" in this one.
  NO_COLOR          When set and not empty, the log has no colours.

EXAMPLES:
  Serve a RAM disk to this machine:
      corelane
  Serve one of 4 GiB to everybody who can reach this machine:
      corelane serve --listen 0.0.0.0 --size 4GiB
  Look at a configuration file, then serve what it says:
      corelane check /etc/corelane.json && corelane serve --config /etc/corelane.json
  Give an editor the schema of the file:
      corelane schema > corelane.schema.json
  See what reservations a stopped target keeps:
      corelane reservation list --state-dir /var/lib/corelane
  Read 4 KiB at random for five seconds, 128 commands at a time:
      corelane perf --target tcp://127.0.0.1:4420/nqn.2026-11.io.corelane:disk0
  See which NVMe devices could be given to programs, and what is missing for it:
      corelane setup status
  See what of this machine slows a target down, and how that is changed:
      corelane tune";

/// What `serve` does, for its `--help`.
const SERVE: &str = "\
Serve block devices to hosts over NVMe/TCP until a signal stops it.

With --config, what the file says; without, a RAM disk of 256 MiB on 127.0.0.1:4420, in blocks of 4096 bytes, as \
namespace 1 of nqn.2026-11.io.corelane:disk0, to which every host may connect. Its contents are lost when the \
program ends.";

/// What `check` does, for its `--help`.
const CHECK: &str = "\
Say whether a configuration file is right, without serving it.

Prints \"FILE: ok\" and a summary, and exits with 0; or prints every finding with its place in the file, such as \
subsystems[0].namespaces[1].bdev, and exits with 1. Warnings do not count as wrong. Cores are checked against those \
that this process may use; nothing else of the machine is looked at.";

/// The whole command line.
#[derive(Parser, Debug)]
#[command(name = "corelane", version, about = "An NVMe-oF/TCP target", long_about = ABOUT, after_long_help = AFTER)]
#[command(max_term_width = 110)]
pub(super) struct Arguments {
    /// What to do; without one, `serve` with its defaults.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) log: LogArguments,
}

/// Subcommands.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Serve block devices to hosts (the default)
    #[command(long_about = SERVE)]
    Serve(ServeArguments),
    /// Say whether a configuration file is right
    #[command(long_about = CHECK)]
    Check {
        /// Configuration file, in JSON; "-" reads standard input.
        file: PathBuf,
    },
    /// Print the JSON schema of the configuration file
    Schema,
    /// Show what a running target does
    #[command(long_about = top::ABOUT)]
    Top(TopArguments),
    /// Look at, check, clear or import the reservations that are kept in a state directory
    #[command(subcommand, long_about = reservation::ABOUT, after_long_help = reservation::AFTER)]
    Reservation(ReservationCommand),
    /// Put a load on a target, and measure what it does
    #[command(long_about = perf::ABOUT, after_long_help = perf::AFTER)]
    Perf(Box<PerfArguments>),
    /// Print which subsystems a target has, and where
    #[command(long_about = discover::ABOUT)]
    Discover(DiscoverArguments),
    /// Print what a controller and its namespaces are like
    #[command(long_about = identify::ABOUT)]
    Identify(IdentifyArguments),
    /// Give NVMe devices and huge pages of this machine to programs, and give them back
    #[command(subcommand, long_about = setup::ABOUT, after_long_help = setup::AFTER)]
    Setup(SetupCommand),
    /// Say what of this machine helps a target and what hurts, and propose a core layout
    #[command(long_about = tune::ABOUT, after_long_help = tune::AFTER)]
    Tune(TuneArguments),
}

/// Options of `serve`.
#[derive(Args, Debug, Default)]
pub(super) struct ServeArguments {
    /// Configuration file, in JSON; see `corelane schema` and docs/configuration.md.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Address of the RAM disk that is served without a configuration file.
    ///
    /// An IPv4 address, or an IPv6 address in brackets, with or without a port. 0.0.0.0 is every IPv4 address
    /// of this machine, [::] every address; port 0 lets the kernel choose one. Default: 127.0.0.1:4420. Every
    /// host that reaches the address may connect.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = parse_listen, conflicts_with = "config")]
    pub(super) listen: Option<SocketAddr>,
    /// Size of the RAM disk that is served without a configuration file.
    ///
    /// Bytes, or a whole number of KiB, MiB, GiB or TiB; a multiple of 4096 bytes. Default: 256MiB. Memory is
    /// taken when it is first written.
    #[arg(long, value_name = "SIZE", conflicts_with = "config")]
    pub(super) size: Option<ByteSize>,
    /// Directory for what survives a restart; goes before "state_dir" of the configuration file.
    ///
    /// It is created when it is missing. Default: $STATE_DIRECTORY, else $XDG_STATE_HOME/corelane, else
    /// $HOME/.local/state/corelane.
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
}

/// Options of the log, before or after the subcommand.
#[derive(Args, Debug, Default)]
pub(super) struct LogArguments {
    /// Form of the log lines on standard error.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Log options")]
    pub(super) log_format: LogFormat,
    /// Least important messages that are logged; goes before -v, -q and CORELANE_LOG.
    ///
    /// Default: info. Release builds have no trace messages.
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Log options")]
    pub(super) log_level: Option<Level>,
    /// Log more: debug messages; twice, trace messages.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", help_heading = "Log options")]
    pub(super) verbose: u8,
    /// Log less: warnings and errors; twice, errors only.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Log options")]
    pub(super) quiet: u8,
}

/// Levels of importance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Level {
    /// Something failed.
    Error,
    /// Something is probably not as it was meant.
    Warn,
    /// What an operator wants to know of a normal run.
    Info,
    /// What helps to find out why.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The directive of the log filter that lets this level and the more important ones through.
    pub(super) fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
