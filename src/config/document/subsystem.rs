//! Subsystems as they are written: who may come, from where, and to which namespaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A subsystem.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a subsystem")]
#[schemars(rename = "Subsystem")]
pub struct SubsystemEntry {
    /// NVMe qualified name: `nqn.yyyy-mm.reverse.domain:name`, at most 223 bytes, unique.
    #[schemars(length(min = 1, max = 223))]
    pub nqn: String,
    /// Serial number: 1 to 20 printable ASCII characters. Default: `CL` and 18 hexadecimal digits made of the
    /// NQN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    pub serial: Option<String>,
    /// Model number: 1 to 40 printable ASCII characters. Default `Corelane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub model: Option<String>,
    /// Whether every host may connect. Default false.
    #[serde(default)]
    pub allow_any_host: bool,
    /// NQNs of the hosts that may connect, at most 1024. Default none.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What is done with a host that has a controller already. Default `allow`.
    #[serde(default)]
    pub duplicate_hosts: DuplicateHosts,
    /// Whether hosts are told that listeners reach namespaces in different ways: asymmetric namespace access. Default
    /// false.
    #[serde(default)]
    pub ana_reporting: bool,
    /// Addresses at which hosts reach the subsystem, at most 64 in all. Default none.
    #[serde(default)]
    pub listeners: Vec<ListenerEntry>,
    /// Namespaces, at most 1024. Default none.
    #[serde(default)]
    pub namespaces: Vec<NamespaceEntry>,
}

/// Ways to treat a host that has a controller already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateHosts {
    /// It gets another one. Two NQNs with one host identifier are logged.
    #[default]
    Allow,
    /// A second NQN with the host identifier of a connected host is refused: cloned machines share reservations.
    RefuseClones,
    /// As `refuse_clones`; and a host gets one controller on each listener.
    OnePerListener,
}

/// How a listener reaches the namespaces of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"group\": 1, \"state\": \"non_optimized\"}")]
#[schemars(rename = "AnaPath")]
pub struct AnaEntry {
    /// The group, 1 to 128.
    #[schemars(range(min = 1, max = 128))]
    pub group: u64,
    /// How well it is reached.
    pub state: AnaStateName,
}

/// States of asymmetric namespace access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AnaState")]
pub enum AnaStateName {
    /// As well as can be.
    Optimized,
    /// Used where nothing is optimized.
    NonOptimized,
    /// Not used now.
    Inaccessible,
    /// Never used again.
    PersistentLoss,
    /// On the way from one state to another: hosts wait.
    Change,
}

/// A listening address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a listener")]
#[schemars(rename = "Listener")]
pub struct ListenerEntry {
    /// How hosts talk to it. Default `tcp`.
    #[serde(default)]
    pub transport: Transport,
    /// IPv4 or IPv6 address, the latter with or without brackets; `0.0.0.0` is every IPv4 address of the
    /// machine, `::` every address. Discovery then reports the address that the host came to.
    pub address: String,
    /// TCP port, 0 to 65535. Default 4420; 0 lets the kernel choose one.
    #[serde(default = "port_default")]
    #[schemars(range(max = 65_535))]
    pub port: u64,
    /// How it reaches groups of namespaces; needs `ana_reporting`. Default: all are optimized.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ana: Vec<AnaEntry>,
}

/// Transports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// NVMe/TCP.
    #[default]
    Tcp,
}

/// A namespace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a namespace")]
#[schemars(rename = "Namespace")]
pub struct NamespaceEntry {
    /// Namespace identifier, 1 to 65535, unique in its subsystem: hosts scan identifiers up to the highest,
    /// and tables are as long as that.
    #[schemars(range(min = 1, max = 65_535))]
    pub nsid: u64,
    /// Name of the bdev that holds its data; a bdev has one namespace at most.
    pub bdev: String,
    /// UUID that hosts recognise it by, unique. Default: the UUIDv5 of NQN and NSID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// NQNs of the hosts that have it, at most 1024. Default: every host that may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Group that listeners reach in one way, 1 to 128; needs `ana_reporting`. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub ana_group: Option<u64>,
    /// Whether nothing may write to it, whatever hosts ask for. Default false: hosts decide.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write_protected: bool,
    /// How its reservations are kept.
    #[serde(default)]
    pub reservations: ReservationsEntry,
}

/// How reservations are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object such as {\"persist\": true}")]
#[schemars(rename = "Reservations")]
pub struct ReservationsEntry {
    /// Whether a host may ask for registrations and reservations that survive power loss. Default: true where
    /// the namespace's `uuid` is given, false where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persist: Option<bool>,
}

fn port_default() -> u64 {
    crate::config::PORT_DEFAULT.into()
}
