//! The configuration file as it is written: keys and JSON types. Says nothing about values; `validate` does.
//!
//! Unknown keys are refused everywhere. Numbers are as wide as JSON has them and texts are kept as texts, so
//! that every wrong value is found, not only the first one that does not fit a type.

mod subsystem;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budgets::{BudgetsEntry, IO_COUNT};
use super::cores::CoreListText;
use super::finding::{Finding, Place, Severity};
use super::limits::LimitsEntry;
use super::memory::MemoryEntry;
use super::remote::{
    FAST_IO_FAIL_MS, IO_TIMEOUT_MS, KEEP_ALIVE_MS, QUEUE_DEPTH, RECONNECT_DELAY_MS, WAIT_MS,
};
use super::size::SizeText;
use super::{CORE_MAX, TEXT_BYTES_MAX};

pub use subsystem::{
    AnaEntry, AnaStateName, DuplicateHosts, ListenerEntry, NamespaceEntry, ReservationsEntry, SubsystemEntry,
    Transport,
};

/// The configuration of a Corelane target.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with the configuration")]
#[schemars(title = "Corelane configuration", rename = "Configuration")]
pub struct Document {
    /// Which cores run what.
    #[serde(default)]
    pub reactors: ReactorsEntry,
    /// Absolute path of the directory for state that survives a restart. Default: `$STATE_DIRECTORY`, else
    /// `$XDG_STATE_HOME/corelane`, else `$HOME/.local/state/corelane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub state_dir: Option<String>,
    /// Whether it is an error when the state directory lacks the marker file that Corelane leaves in it, as
    /// when its disk is not mounted. Default false: a new directory is set up.
    #[serde(default)]
    pub state_must_exist: bool,
    /// Limits on what peers may take.
    #[serde(default)]
    pub limits: LimitsEntry,
    /// The memory that data moves through.
    #[serde(default)]
    pub memory: MemoryEntry,
    /// Where the metrics are served. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsEntry>,
    /// What the discovery service says beside what is served here.
    #[serde(default, skip_serializing_if = "DiscoveryEntry::is_default")]
    pub discovery: DiscoveryEntry,
    /// Block devices that namespaces are made of, at most 1024.
    pub bdevs: Vec<BdevEntry>,
    /// Subsystems that hosts connect to, at most 256.
    pub subsystems: Vec<SubsystemEntry>,
}

/// Which cores run what.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with the core layout")]
#[schemars(rename = "Reactors")]
pub struct ReactorsEntry {
    /// Core of the management reactor (listeners, admin queues). May be one of `io`: both then share a
    /// thread. Default: the first allowed core that shares nothing with `io`, else the first that is not in `io`, else
    /// the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = CORE_MAX))]
    pub management: Option<u64>,
    /// Cores of the I/O reactors, each once. Default `auto`: one thread of every allowed physical core but the one of
    /// `management`; that one too if there is no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<CoreListText>,
    /// Number of I/O reactors that `auto` makes: physical cores are taken first, then their other threads, and the
    /// core of `management` last. 1 to 1024; default: see `io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = IO_COUNT.min, max = IO_COUNT.max))]
    pub io_count: Option<u64>,
    /// NUMA node that all cores are on. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = CORE_MAX))]
    pub node: Option<u64>,
    /// What a reactor without work does.
    pub idle: IdleEntry,
    /// Reactors that differ from the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<OverrideEntry>,
    /// Which I/O reactor gets a new I/O queue. Default `least_loaded`.
    pub placement: PlacementName,
    /// How much a reactor does of one thing before it turns to the next.
    pub budgets: BudgetsEntry,
    /// How the sockets of I/O queues are served. Default `auto`: the engine that was measured to serve best, and that is
    /// there; `corelane check` says which it is.
    pub engine: EngineName,
    /// Whether I/O queues move from busy I/O reactors to idle ones. Default `off`: they stay where `placement` put them.
    pub rebalance: RebalanceName,
}

/// Whether I/O queues move between I/O reactors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Rebalance")]
pub enum RebalanceName {
    /// They stay where they were placed.
    #[default]
    Off,
    /// They move from a busy I/O reactor to an idle one.
    On,
}

/// Names of the engines of sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Engine")]
pub enum EngineName {
    /// The program chooses, and never fails for want of io_uring.
    #[default]
    Auto,
    /// Through io_uring, as of Linux 6.12; an error where that is not to be had.
    IoUring,
    /// A system call for each look, receive and send.
    Epoll,
}

/// What is different on one core.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"core\": 3, \"idle\": {\"policy\": \"spin\"}}")]
#[schemars(rename = "Override")]
pub struct OverrideEntry {
    /// Core of the reactor: one of the layout.
    #[schemars(range(max = CORE_MAX))]
    pub core: u64,
    /// What this reactor does without work.
    pub idle: IdleEntry,
}

/// Ways to choose the I/O reactor of a new I/O queue. It stays there unless `rebalance` is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Placement")]
pub enum PlacementName {
    /// One after the other, whatever they have.
    RoundRobin,
    /// The one with the fewest I/O queues.
    #[default]
    LeastLoaded,
    /// The one nearest to the core on which the kernel receives the connection's packets; of several the one with
    /// the fewest I/O queues.
    IncomingCpu,
}

/// What a reactor without work does.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with the idle policy")]
#[schemars(rename = "Idle")]
pub struct IdleEntry {
    /// Default `adaptive`.
    pub policy: IdlePolicyName,
    /// Microseconds that an `adaptive` reactor polls without finding work before it sleeps. 1 to 1000000,
    /// default 100: longer than the gaps inside a burst, short enough that an idle target costs next to
    /// nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub spin_us: Option<u64>,
}

/// Names of the idle policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "IdlePolicy")]
pub enum IdlePolicyName {
    /// Never sleep.
    Spin,
    /// Sleep at once.
    Park,
    /// Poll for `spin_us`, then sleep.
    #[default]
    Adaptive,
}

/// Where the metrics are served.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"listen\": \"127.0.0.1:9920\"}")]
#[schemars(rename = "Metrics")]
pub struct MetricsEntry {
    /// IPv4 address, or IPv6 address in brackets, with or without a port. Default port 9920; 0 lets the kernel
    /// choose one. Should be a loopback address: there is no password.
    pub listen: String,
}

/// What the discovery service says beside what is served here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object such as {\"referrals\": []}")]
#[schemars(rename = "Discovery")]
pub struct DiscoveryEntry {
    /// Other discovery services that hosts are told of, at most 64. Default none.
    pub referrals: Vec<ReferralEntry>,
}

impl DiscoveryEntry {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Another discovery service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"address\": \"192.0.2.1\"}")]
#[schemars(rename = "Referral")]
pub struct ReferralEntry {
    /// IPv4 or IPv6 address, no wildcard.
    pub address: String,
    /// TCP port, 1 to 65535. Default 8009, the port of discovery services.
    #[serde(default = "discovery_port_default")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u64,
}

/// A block device. Which keys beside `name` and `type` it takes depends on its type: `malloc` and `null` need `size`, and
/// `malloc` may have `atomic_writes`;
/// `file` needs `path`, and may have `size` and `preallocate`; these may have `block_size`; `nvme` needs `address`, and
/// may have `namespace`; `nvmf` needs `address` and `nqn`, and may have `port`, `namespace` and all that follow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a bdev")]
#[schemars(rename = "Bdev")]
pub struct BdevEntry {
    /// Name by which namespaces refer to it: 1 to 63 letters, digits, dots, hyphens and underscores, unique.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][-._A-Za-z0-9]{0,62}$"))]
    pub name: String,
    /// What it is made of.
    #[serde(rename = "type")]
    pub kind: BdevType,
    /// Capacity, not of `nvme` and `nvmf`: a positive multiple of `block_size`, at most 4194304 TiB. Of a `file` the size it is made with or
    /// grows to; default: the size it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeText>,
    /// Logical block size in bytes, not of `nvme` and `nvmf`: a power of two from 512 to 65536. Default 4096: a page, so whole blocks
    /// are whole pages; 512 for hosts that need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<SizeText>,
    /// Of a `file`: absolute path of a regular file or a block device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub path: Option<String>,
    /// Of a `file` with a `size`: whether the file system sets all its storage aside at the start. Default false:
    /// a block takes storage when it is first written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preallocate: Option<bool>,
    /// Of `malloc`: whether writes of up to 128 KiB that cross no multiple of 128 KiB are atomic. Default false: then single
    /// blocks are, and one I/O reactor sends reads from where they lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomic_writes: Option<bool>,
    /// Of `nvme`: PCI address of the controller, such as `0000:00:05.0`, or `00:05.0` for the same in domain 0. Of `nvmf`:
    /// IPv4 or IPv6 address of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub address: Option<String>,
    /// Namespace of the controller, of `nvme` and `nvmf`: 1 to 4294967294. Default: the only one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_294_u64))]
    pub namespace: Option<u64>,
    /// TCP port of the target, of `nvmf`: 1 to 65535. Default 4420.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u64>,
    /// Name of the remote subsystem, of `nvmf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 223))]
    pub nqn: Option<String>,
    /// More ways to the same namespace, of `nvmf`: at most 7. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub paths: Vec<PathEntry>,
    /// Name that the target knows this host by, of `nvmf`. Default: a new one at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 223))]
    pub hostnqn: Option<String>,
    /// Host identifier, of `nvmf`: a UUID. Default: that of `hostnqn` where it is made of one, else a new one at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostid: Option<String>,
    /// Whether headers carry digests, of `nvmf`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_digest: Option<bool>,
    /// Whether data carries digests, of `nvmf`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_digest: Option<bool>,
    /// Commands on the queue of each I/O reactor and path at a time, of `nvmf`. 1 to 1024, default 127: what a target with
    /// queues of 128 entries takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = QUEUE_DEPTH.min, max = QUEUE_DEPTH.max))]
    pub queue_depth: Option<u64>,
    /// Milliseconds without a sign of life after which the target gives this host up, of `nvmf` (KATO). 1000 to 600000,
    /// default 5000, as Linux has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = KEEP_ALIVE_MS.min, max = KEEP_ALIVE_MS.max))]
    pub keep_alive_ms: Option<u64>,
    /// Milliseconds after which a connection with a command that is not answered is given up, of `nvmf`. 100 to 600000,
    /// default 10000: longer than healthy disks take, shorter than the 30 seconds of Linux hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = IO_TIMEOUT_MS.min, max = IO_TIMEOUT_MS.max))]
    pub io_timeout_ms: Option<u64>,
    /// Milliseconds that commands wait for a path to come back before they fail, of `nvmf`. 0 to 3600000, default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = FAST_IO_FAIL_MS.min, max = FAST_IO_FAIL_MS.max))]
    pub fast_io_fail_ms: Option<u64>,
    /// Milliseconds between two attempts to connect, of `nvmf`: at first 10, then twice as many each time, up to this. 10
    /// to 600000, default 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = RECONNECT_DELAY_MS.min, max = RECONNECT_DELAY_MS.max))]
    pub reconnect_delay_ms: Option<u64>,
    /// Milliseconds that the start waits for the target to answer, of `nvmf`. 0 to 3600000, default 10000: appliances are
    /// switched on together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = WAIT_MS.min, max = WAIT_MS.max))]
    pub wait_ms: Option<u64>,
}

/// One more way to a remote namespace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"address\": \"10.0.1.2\", \"port\": 4420}")]
#[schemars(rename = "Path")]
pub struct PathEntry {
    /// IPv4 or IPv6 address of the target.
    pub address: String,
    /// TCP port of the target: 1 to 65535. Default 4420.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u64>,
}

/// Types of block devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BdevType {
    /// Memory of this process, sparse until written; gone after a restart.
    Malloc,
    /// Drops what is written and reads as zeros.
    Null,
    /// A file, or a block device of this machine.
    #[serde(rename = "file")]
    FileBacked,
    /// A namespace of a local NVMe controller, which is bound to vfio-pci and driven from this process.
    Nvme,
    /// A namespace of a remote subsystem, over NVMe/TCP.
    Nvmf,
}

impl BdevEntry {
    /// A bdev of which nothing else is said.
    pub(super) fn new(name: String, kind: BdevType) -> Self {
        Self {
            name,
            kind,
            size: None,
            block_size: None,
            path: None,
            preallocate: None,
            atomic_writes: None,
            address: None,
            namespace: None,
            port: None,
            nqn: None,
            paths: Vec::new(),
            hostnqn: None,
            hostid: None,
            header_digest: None,
            data_digest: None,
            queue_depth: None,
            keep_alive_ms: None,
            io_timeout_ms: None,
            fast_io_fail_ms: None,
            reconnect_delay_ms: None,
            wait_ms: None,
        }
    }
}

impl Document {
    /// Reads the keys and types of a configuration text.
    ///
    /// # Errors
    /// The first thing that is not JSON, has an unknown, missing or repeated key, or the wrong type; also a
    /// text of more than [`TEXT_BYTES_MAX`] bytes.
    pub fn from_json(text: &str) -> Result<Self, Finding> {
        let error = |place, message| Finding { severity: Severity::Error, place, message };
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("has {} bytes, at most {TEXT_BYTES_MAX} are allowed", text.len());
            return Err(error(Place::default(), message));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let document = serde_path_to_error::deserialize(&mut json)
            .map_err(|problem| error(Place::at(&problem.path().to_string()), words(problem.inner())))?;
        json.end().map_err(|problem| error(Place::default(), words(&problem)))?;
        Ok(document)
    }

    /// The document as indented JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|problem| unreachable!("no map keys, no failure: {problem}"))
    }
}

fn discovery_port_default() -> u64 {
    super::DISCOVERY_PORT_DEFAULT.into()
}

/// The parser's message without the names of Rust's types.
fn words(problem: &serde_json::Error) -> String {
    problem
        .to_string()
        .replace("expected u64", "expected a whole number")
        .replace("expected a sequence", "expected a list")
}
