//! The grammar and the help texts of `corelane perf`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::remote::{HostArguments, Remote, parse_remote};
use crate::config::ByteSize;
use crate::perf::{self, Plan};
use crate::spec::pci::PciAddress;

/// What `perf` does, for its `--help`.
pub(in crate::cli) const ABOUT: &str = "\
Put a load on a target, and measure what it does: commands and bytes per second, and how long commands take.

The load runs on cores of its own, one reactor on each, and spins: give the target other cores. Each connection is a \
queue that has --depth commands under way all the time. When a connection is lost it is made again, and what was under \
way is sent again.

A load that writes overwrites the namespace. It is refused where somebody else seems to have written there, unless \
--yes-overwrite says that nothing is needed of it.";

/// What follows the options of `perf --help`.
pub(in crate::cli) const AFTER: &str = "\
TARGETS:
  tcp://HOST[:PORT]/NQN   A namespace of a subsystem over NVMe/TCP (--nsid; else the first).
  pcie://ADDRESS          A namespace of a local NVMe controller, driven from this process
                          (`corelane setup bind ADDRESS` takes it from the kernel).
  bdev:NAME               A block device of the configuration file that --config names, made
                          in this process.

SIGNALS:
  SIGINT, SIGTERM   End the load, and print what was measured so far. The second one leaves
                    out what --verify still has to read back.

EXIT STATUS:
  0   It ran, and nothing went wrong.
  1   It could not run; a command failed, the target was given up, or a block did not hold
      what was written to it. What was measured is printed nevertheless.
  2   The command line is wrong.

EXAMPLES:
  What does it do at most?
      corelane perf --target tcp://127.0.0.1:4420/nqn.2026-11.io.corelane:disk0
  Large sequential writes over four connections, for a script:
      corelane perf --target tcp://10.0.0.2/nqn.2026-11.io.corelane:disk0 \\
        --block-size 128KiB --depth 32 --connections 4 --mix 0 --pattern sequential --json
  Does everything come back as it was written?
      corelane perf --target tcp://10.0.0.2/nqn.2026-11.io.corelane:disk0 \\
        --mix 50 --verify --duration 60s
  How does latency grow with load?
      corelane perf --target tcp://10.0.0.2/nqn.2026-11.io.corelane:disk0 \\
        --sweep --plot load.svg
  What does the local SSD do?
      corelane perf --target pcie://0000:01:00.0";

/// What the load is put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PerfTarget {
    Tcp(Remote),
    Pcie(PciAddress),
    Bdev(String),
}

/// Where commands go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pattern {
    /// Anywhere, evenly.
    Random,
    /// One block after the other, on each connection from a place of its own.
    Sequential,
}

/// A checksum of NVMe/TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Digest {
    /// No checksums.
    None,
    /// Of headers.
    Header,
    /// Of data.
    Data,
}

/// Options of `perf`.
#[derive(Args, Debug)]
pub(in crate::cli) struct PerfArguments {
    /// What to put the load on: tcp://HOST[:PORT]/NQN, pcie://ADDRESS or bdev:NAME.
    #[arg(long, value_name = "TARGET", value_parser = parse_target)]
    pub(super) target: PerfTarget,
    /// Configuration file that has the block device of a target bdev:NAME.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Bytes of each command: a multiple of the namespace's block size.
    #[arg(long, value_name = "SIZE", default_value = "4096")]
    pub(super) block_size: ByteSize,
    /// Commands under way on each connection; what the controller's queues take at most is used where that is less.
    /// [default: 128]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=Plan::DEPTH_MAX as i64))]
    pub(super) depth: Option<u16>,
    /// Connections (I/O queues) altogether.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=Plan::CONNECTIONS_MAX as i64))]
    pub(super) connections: u16,
    /// Cores that the load runs on: the last ones that this process may use.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) cores: u16,
    /// The cores themselves, by number.
    #[arg(long, value_name = "CORE,...", value_delimiter = ',', conflicts_with = "cores")]
    pub(super) core_list: Vec<usize>,
    /// How many of 100 commands read; the others write.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(super) mix: u8,
    /// Where commands go.
    #[arg(long, value_name = "PATTERN", default_value = "random")]
    pub(super) pattern: Pattern,
    /// How long is measured: a number with ms, s, m or h.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_positive)]
    pub(super) duration: Duration,
    /// How long the load runs before that.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_time)]
    pub(super) warm_up: Duration,
    /// Commands in a second at most, of all connections together. Default: as many as there can be.
    #[arg(long, value_name = "IOPS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) rate: Option<u64>,
    /// Write blocks that say what they are, and check every block that is read; overwrites the namespace.
    ///
    /// A block is written before it is read for the first time, whatever --mix says; at the end everything that was
    /// written is read once more. At most 16,777,216 blocks are used.
    #[arg(long)]
    pub(super) verify: bool,
    /// Overwrite the namespace even where somebody else has written to it.
    #[arg(long)]
    pub(super) yes_overwrite: bool,
    /// Checksums: header, data, both with a comma between, or none.
    #[arg(long, value_name = "DIGESTS", value_delimiter = ',', default_value = "none")]
    pub(super) digests: Vec<Digest>,
    /// Keep SQ flow control: every read then needs a response of its own.
    #[arg(long)]
    pub(super) sq_flow_control: bool,
    /// The namespace. Default: the first one; of pcie://ADDRESS the only one.
    #[arg(long, value_name = "NSID", value_parser = clap::value_parser!(u32).range(1..=0xffff_fffe))]
    pub(super) nsid: Option<u32>,
    /// Time limit of each command, and of connecting: of tcp:// targets; the others have limits of their own.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_positive)]
    pub(super) timeout: Duration,
    /// For how long a lost connection is tried to be made again; 0s: not at all.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    pub(super) reconnect_for: Duration,
    /// What places are made from. What is written differs from run to run, whatever the seed.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) seed: u64,
    /// Measure depths 1, 2, 4 and so on up to --depth, each for --duration.
    #[arg(long)]
    pub(super) sweep: bool,
    /// Write a plot: the latency distribution; with --sweep, latency over load.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Report progress on standard error also where that is no terminal.
    #[arg(long)]
    pub(super) progress: bool,
    #[command(flatten)]
    pub(super) host: HostArguments,
}

impl PerfArguments {
    /// An option that would say nothing about such a target, told.
    pub(super) fn out_of_place(&self) -> Option<String> {
        let remote = matches!(self.target, PerfTarget::Tcp(_));
        let bdev = matches!(self.target, PerfTarget::Bdev(_));
        let rows = [
            ("--config", self.config.is_some() && !bdev, "bdev:NAME"),
            ("--nsid", self.nsid.is_some() && bdev, "tcp://HOST[:PORT]/NQN and pcie://ADDRESS"),
            ("--digests", self.digests != [Digest::None] && !remote, "tcp://HOST[:PORT]/NQN"),
            ("--sq-flow-control", self.sq_flow_control && !remote, "tcp://HOST[:PORT]/NQN"),
            ("--hostnqn", self.host.hostnqn.is_some() && !remote, "tcp://HOST[:PORT]/NQN"),
            ("--hostid", self.host.hostid.is_some() && !remote, "tcp://HOST[:PORT]/NQN"),
        ];
        let found = rows.into_iter().find(|(_, wrong, _)| *wrong);
        found.map(|(option, _, targets)| format!("{option} is for targets {targets}"))
    }

    pub(super) fn pattern(&self) -> perf::Pattern {
        match self.pattern {
            Pattern::Random => perf::Pattern::Random,
            Pattern::Sequential => perf::Pattern::Sequential,
        }
    }
}

fn parse_target(text: &str) -> Result<PerfTarget, String> {
    if let Some(name) = text.strip_prefix("bdev:") {
        return if name.is_empty() {
            Err("names no block device".to_owned())
        } else {
            Ok(PerfTarget::Bdev(name.to_owned()))
        };
    }
    if let Some(address) = text.strip_prefix("pcie://") {
        return address.parse().map(PerfTarget::Pcie).map_err(|problem| format!("{address:?} {problem}"));
    }
    if text.starts_with("tcp://") {
        return parse_remote(text).map(PerfTarget::Tcp);
    }
    Err("is none of tcp://HOST[:PORT]/NQN, pcie://ADDRESS and bdev:NAME".to_owned())
}

pub(in crate::cli) fn parse_positive(text: &str) -> Result<Duration, String> {
    parse_time(text)
        .and_then(|time| if time.is_zero() { Err("is no time at all".to_owned()) } else { Ok(time) })
}

/// A number of ms, s, m or h; at most 30 days.
fn parse_time(text: &str) -> Result<Duration, String> {
    const DAYS_30: Duration = Duration::from_secs(30 * 24 * 3600);
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("has no unit; write a number and ms, s, m or h, such as 5s".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "is no number and a unit, such as 5s".to_owned())?;
    let time = Duration::try_from_secs_f64(number * seconds).ok().filter(|&time| time <= DAYS_30);
    time.ok_or("is more than 30 days".to_owned())
}
