//! Limits on what peers may take, and how long is waited for what: each with its unit, range, default and reason, here and nowhere else.

use std::fmt::Display;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Findings, Place};
use super::size::{ByteSize, SizeText};

/// Range and default of a number in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knob<T> {
    /// The least value that is taken.
    pub min: T,
    /// The greatest value that is taken.
    pub max: T,
    /// The value when the file says nothing.
    pub default: T,
    /// What is counted.
    pub unit: &'static str,
}

/// Range of `connections_max`.
pub const CONNECTIONS_MAX: Knob<u32> = Knob { min: 1, max: 65_536, default: 1024, unit: "connections" };
/// Range of `connections_per_host_max`.
pub const CONNECTIONS_PER_HOST_MAX: Knob<u32> =
    Knob { min: 2, max: 65_536, default: 1024, unit: "connections" };
/// Range of `queues_per_controller_max`.
pub const QUEUES_PER_CONTROLLER_MAX: Knob<u16> = Knob { min: 1, max: 1024, default: 64, unit: "I/O queues" };
/// Range of `queue_depth_max`.
pub const QUEUE_DEPTH_MAX: Knob<u16> = Knob { min: 2, max: 4096, default: 128, unit: "entries" };
/// Range of `in_capsule_bytes_max`, in steps of 16 bytes; not above `transfer_bytes_max`.
pub const IN_CAPSULE_BYTES_MAX: Knob<ByteSize> = sizes(0, 32 << 10, 8 << 10);
/// Range of `transfer_bytes_max`; powers of two.
pub const TRANSFER_BYTES_MAX: Knob<ByteSize> = sizes(8 << 10, 1 << 20, 128 << 10);
/// Range of `connection_bytes_max`; room for [`RECEIVE_BYTES`] and two of the largest transfers at least.
pub const CONNECTION_BYTES_MAX: Knob<ByteSize> = sizes(1 << 20, 1 << 30, 8 << 20);
/// What a connection may hold of bytes that were received, out of its `connection_bytes_max`.
pub const RECEIVE_BYTES: ByteSize = ByteSize::new(512 << 10);
/// Range of `keep_alive_min_ms`.
pub const KEEP_ALIVE_MIN_MS: Knob<u32> = Knob { min: 1_000, max: 600_000, default: 1_000, unit: "ms" };
/// Range of `keep_alive_max_ms`.
pub const KEEP_ALIVE_MAX_MS: Knob<u32> = Knob { min: 1_000, max: 86_400_000, default: 3_600_000, unit: "ms" };
/// Range of `icreq_timeout_ms`.
pub const ICREQ_TIMEOUT_MS: Knob<u32> = Knob { min: 100, max: 600_000, default: 10_000, unit: "ms" };
/// Range of `connect_timeout_ms`.
pub const CONNECT_TIMEOUT_MS: Knob<u32> = Knob { min: 100, max: 600_000, default: 10_000, unit: "ms" };
/// Range of `shutdown_timeout_ms`.
pub const SHUTDOWN_TIMEOUT_MS: Knob<u32> = Knob { min: 0, max: 600_000, default: 5_000, unit: "ms" };
/// Range of `preempt_abort_after_ms`.
pub const PREEMPT_ABORT_AFTER_MS: Knob<u32> = Knob { min: 0, max: 600_000, default: 1_000, unit: "ms" };
/// Range of `preempt_reset_after_ms`.
pub const PREEMPT_RESET_AFTER_MS: Knob<u32> = Knob { min: 0, max: 600_000, default: 5_000, unit: "ms" };
/// Range of `preempt_retire_after_ms`.
pub const PREEMPT_RETIRE_AFTER_MS: Knob<u32> = Knob { min: 0, max: 600_000, default: 15_000, unit: "ms" };

/// Limits as the file has them; their ranges are checked when the document is validated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with limits")]
#[schemars(rename = "Limits")]
pub struct LimitsEntry {
    /// Connections of all hosts together, admin and I/O queues alike; one more is closed as soon as it is
    /// accepted. 1 to 65536, default 1024: each costs a descriptor and receive memory, and a peer must not
    /// take all of either.
    #[schemars(range(min = CONNECTIONS_MAX.min, max = CONNECTIONS_MAX.max))]
    pub connections_max: u64,
    /// Connections of one host, by its NQN; Connect for one more is refused. 2 to 65536, default 1024, which is all of them: a
    /// host that goes wrong, or has many paths, must leave room for others where that is set.
    #[schemars(range(min = CONNECTIONS_PER_HOST_MAX.min, max = CONNECTIONS_PER_HOST_MAX.max))]
    pub connections_per_host_max: u64,
    /// I/O queues of one controller. 1 to 1024, default 64: hosts open one for each of their processors, and
    /// each takes `queue_depth_max` command slots.
    #[schemars(range(min = QUEUES_PER_CONTROLLER_MAX.min, max = QUEUES_PER_CONTROLLER_MAX.max))]
    pub queues_per_controller_max: u64,
    /// Entries of one queue, which hosts see as CAP.MQES + 1. 2 to 4096, default 128: command slots and
    /// buffers are taken when a queue connects, and depth beyond 128 adds latency more than throughput.
    #[schemars(range(min = QUEUE_DEPTH_MAX.min, max = QUEUE_DEPTH_MAX.max))]
    pub queue_depth_max: u64,
    /// Bytes of data that may come in the capsule of an I/O command, which hosts see in IOCCSZ. `"0"` to `"32KiB"`, a multiple
    /// of 16, not above `transfer_bytes_max`, default `"8KiB"`: small writes save a round trip. Admin commands have 8 KiB
    /// in any case.
    pub in_capsule_bytes_max: SizeText,
    /// Bytes of data of one command, which hosts see as MDTS. A power of two from `"8KiB"` to `"1MiB"`, default `"128KiB"`:
    /// a longer transfer saves commands, and each queue takes up to 16 buffers of this size.
    pub transfer_bytes_max: SizeText,
    /// Bytes that one connection may hold: what it received, the data of its commands, what waits to be sent. `"1MiB"` to
    /// `"1GiB"`, at least 512 KiB and two `transfer_bytes_max`, default `"8MiB"`: a host that asks and does not read must
    /// not take the memory of others.
    pub connection_bytes_max: SizeText,
    /// Milliseconds of the shortest keep alive timeout (KATO); what is shorter is rounded up to it. 1000 to 600000, default
    /// 1000, the granularity (KAS): a host that is busy for a moment must not lose its controller.
    #[schemars(range(min = KEEP_ALIVE_MIN_MS.min, max = KEEP_ALIVE_MIN_MS.max))]
    pub keep_alive_min_ms: u64,
    /// Milliseconds of the longest keep alive timeout; what is longer is refused. 1000 to 86400000, default 3600000, not
    /// below `keep_alive_min_ms`: a host that is gone must not keep its controller for ever.
    #[schemars(range(min = KEEP_ALIVE_MAX_MS.min, max = KEEP_ALIVE_MAX_MS.max))]
    pub keep_alive_max_ms: u64,
    /// Milliseconds from an accepted connection to its whole ICReq. 100 to 600000, default 10000: a silent
    /// peer must not hold a connection for ever.
    #[schemars(range(min = ICREQ_TIMEOUT_MS.min, max = ICREQ_TIMEOUT_MS.max))]
    pub icreq_timeout_ms: u64,
    /// Milliseconds from ICResp to the whole Connect command. 100 to 600000, default 10000: as for ICReq.
    #[schemars(range(min = CONNECT_TIMEOUT_MS.min, max = CONNECT_TIMEOUT_MS.max))]
    pub connect_timeout_ms: u64,
    /// Milliseconds that commands in flight get after SIGINT or SIGTERM. 0 to 600000, default 5000: long
    /// enough for any healthy device, and shorter than what service managers wait before they kill.
    #[schemars(range(min = SHUTDOWN_TIMEOUT_MS.min, max = SHUTDOWN_TIMEOUT_MS.max))]
    pub shutdown_timeout_ms: u64,
    /// Milliseconds that a Preempt and Abort waits for the commands of its victims, which it has asked the block
    /// device to abort, before it asks once more. 0 to 600000, default 1000: a healthy device needs much less.
    #[schemars(range(min = PREEMPT_ABORT_AFTER_MS.min, max = PREEMPT_ABORT_AFTER_MS.max))]
    pub preempt_abort_after_ms: u64,
    /// Milliseconds until it resets the device's queue, which interrupts other hosts' commands, too: they are
    /// told to try again. 0 to 600000, default 5000, not below `preempt_abort_after_ms`: no disk that works
    /// keeps a command so long.
    #[schemars(range(min = PREEMPT_RESET_AFTER_MS.min, max = PREEMPT_RESET_AFTER_MS.max))]
    pub preempt_reset_after_ms: u64,
    /// Milliseconds until it takes the block device out of service, for good and for every host. 0 to 600000,
    /// default 15000, not below `preempt_reset_after_ms`: the host that preempts gives up its command after 30
    /// seconds, if it is Linux.
    #[schemars(range(min = PREEMPT_RETIRE_AFTER_MS.min, max = PREEMPT_RETIRE_AFTER_MS.max))]
    pub preempt_retire_after_ms: u64,
}

/// Limits that are in their ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections of all hosts together.
    pub connections_max: u32,
    /// Connections of one host.
    pub connections_per_host_max: u32,
    /// I/O queues of one controller.
    pub queues_per_controller_max: u16,
    /// Entries of one queue.
    pub queue_depth_max: u16,
    /// Bytes of data in the capsule of an I/O command: a multiple of 16.
    pub in_capsule_bytes_max: u32,
    /// Bytes of data of one command: a power of two, not below `in_capsule_bytes_max`.
    pub transfer_bytes_max: u32,
    /// Bytes that one connection may hold: at least [`RECEIVE_BYTES`] and two transfers.
    pub connection_bytes_max: u32,
    /// The shortest keep alive timeout.
    pub keep_alive_min: Duration,
    /// The longest keep alive timeout: at least as long.
    pub keep_alive_max: Duration,
    /// Time from an accepted connection to its whole ICReq.
    pub icreq_timeout: Duration,
    /// Time from ICResp to the whole Connect command.
    pub connect_timeout: Duration,
    /// Time that commands in flight get when the target stops.
    pub shutdown_timeout: Duration,
    /// Time after which a preempting command asks once more for its victims' commands to be aborted.
    pub preempt_abort_after: Duration,
    /// Time after which it resets the device's queue: at least as long.
    pub preempt_reset_after: Duration,
    /// Time after which it takes the block device out of service: at least as long.
    pub preempt_retire_after: Duration,
}

const fn sizes(min: u64, max: u64, default: u64) -> Knob<ByteSize> {
    Knob { min: ByteSize::new(min), max: ByteSize::new(max), default: ByteSize::new(default), unit: "bytes" }
}

impl Knob<ByteSize> {
    /// The size, or a finding and the default.
    fn check_size(&self, text: &SizeText, place: Place, findings: &mut Findings) -> u32 {
        let Self { min, max, default, .. } = *self;
        let in_range = |size: ByteSize| match u32::try_from(size.bytes()) {
            Ok(bytes) if (min..=max).contains(&size) => Ok(bytes),
            _ => Err(format!("is {size}; it must be from {min} to {max}")),
        };
        let problem = |problem| format!("{text} {problem}");
        text.resolve().map_err(problem).and_then(in_range).unwrap_or_else(|problem| {
            findings.error(place, problem);
            u32::try_from(default.bytes()).unwrap_or(u32::MAX)
        })
    }
}

impl<T: Copy + PartialOrd + Display + TryFrom<u64>> Knob<T> {
    /// The value as its type, or a finding and the default.
    pub(super) fn check(&self, value: u64, place: Place, findings: &mut Findings) -> T {
        match T::try_from(value) {
            Ok(number) if self.min <= number && number <= self.max => number,
            _ => {
                let Self { min, max, unit, .. } = self;
                findings.error(place, format!("is {value}; it must be from {min} to {max} {unit}"));
                self.default
            }
        }
    }
}

impl LimitsEntry {
    /// Checks every limit against its range.
    pub(super) fn check(&self, place: &Place, findings: &mut Findings) -> Limits {
        let mut milliseconds = |knob: Knob<u32>, value, key: &str| {
            Duration::from_millis(knob.check(value, place.key(key), findings).into())
        };
        let icreq_timeout = milliseconds(ICREQ_TIMEOUT_MS, self.icreq_timeout_ms, "icreq_timeout_ms");
        let connect_timeout = milliseconds(CONNECT_TIMEOUT_MS, self.connect_timeout_ms, "connect_timeout_ms");
        let shutdown_timeout =
            milliseconds(SHUTDOWN_TIMEOUT_MS, self.shutdown_timeout_ms, "shutdown_timeout_ms");
        let preempt_abort_after =
            milliseconds(PREEMPT_ABORT_AFTER_MS, self.preempt_abort_after_ms, "preempt_abort_after_ms");
        let preempt_reset_after =
            milliseconds(PREEMPT_RESET_AFTER_MS, self.preempt_reset_after_ms, "preempt_reset_after_ms");
        let preempt_retire_after =
            milliseconds(PREEMPT_RETIRE_AFTER_MS, self.preempt_retire_after_ms, "preempt_retire_after_ms");
        let keep_alive_min = milliseconds(KEEP_ALIVE_MIN_MS, self.keep_alive_min_ms, "keep_alive_min_ms");
        let keep_alive_max = milliseconds(KEEP_ALIVE_MAX_MS, self.keep_alive_max_ms, "keep_alive_max_ms");
        self.check_order(place, findings);
        let bytes = self.check_bytes(place, findings);
        let queues = place.key("queues_per_controller_max");
        let depth = place.key("queue_depth_max");
        Limits {
            connections_max: CONNECTIONS_MAX.check(
                self.connections_max,
                place.key("connections_max"),
                findings,
            ),
            connections_per_host_max: CONNECTIONS_PER_HOST_MAX.check(
                self.connections_per_host_max,
                place.key("connections_per_host_max"),
                findings,
            ),
            queues_per_controller_max: QUEUES_PER_CONTROLLER_MAX.check(
                self.queues_per_controller_max,
                queues,
                findings,
            ),
            queue_depth_max: QUEUE_DEPTH_MAX.check(self.queue_depth_max, depth, findings),
            in_capsule_bytes_max: bytes[0],
            transfer_bytes_max: bytes[1],
            connection_bytes_max: bytes[2],
            keep_alive_min,
            keep_alive_max,
            icreq_timeout,
            connect_timeout,
            shutdown_timeout,
            preempt_abort_after,
            preempt_reset_after,
            preempt_retire_after,
        }
    }

    /// The bytes of a capsule, of a transfer and of a connection, each of which has room for those before.
    fn check_bytes(&self, place: &Place, findings: &mut Findings) -> [u32; 3] {
        let keys = ["in_capsule_bytes_max", "transfer_bytes_max", "connection_bytes_max"];
        let [capsule, transfer, connection] = [
            (IN_CAPSULE_BYTES_MAX, &self.in_capsule_bytes_max, keys[0]),
            (TRANSFER_BYTES_MAX, &self.transfer_bytes_max, keys[1]),
            (CONNECTION_BYTES_MAX, &self.connection_bytes_max, keys[2]),
        ]
        .map(|(knob, text, key)| knob.check_size(text, place.key(key), findings));
        let size = |bytes: u32| ByteSize::new(bytes.into());
        if !capsule.is_multiple_of(16) {
            findings.error(place.key(keys[0]), format!("is {capsule}; it must be a multiple of 16"));
        }
        if capsule > transfer {
            let text = format!(
                "is {}; it must not be above {}, which is {}",
                size(capsule),
                keys[1],
                size(transfer)
            );
            findings.error(place.key(keys[0]), text);
        }
        if !transfer.is_power_of_two() {
            findings.error(place.key(keys[1]), format!("is {}; it must be a power of two", size(transfer)));
        }
        let least = ByteSize::new(RECEIVE_BYTES.bytes() + 2 * u64::from(transfer));
        if size(connection) < least {
            let text = format!(
                "is {}; it must be at least {least}: {RECEIVE_BYTES} to receive, and two of {}",
                size(connection),
                keys[1]
            );
            findings.error(place.key(keys[2]), text);
        }
        [capsule, transfer, connection]
    }

    /// A harsher means is not tried before a gentler one, and no range is empty.
    fn check_order(&self, place: &Place, findings: &mut Findings) {
        let after = [
            ("preempt_abort_after_ms", self.preempt_abort_after_ms),
            ("preempt_reset_after_ms", self.preempt_reset_after_ms),
            ("preempt_retire_after_ms", self.preempt_retire_after_ms),
        ];
        let alive =
            [("keep_alive_min_ms", self.keep_alive_min_ms), ("keep_alive_max_ms", self.keep_alive_max_ms)];
        for [(gentler, least), (key, value)] in [[after[0], after[1]], [after[1], after[2]], alive] {
            if value < least {
                let text = format!("is {value}; it must not be below {gentler}, which is {least}");
                findings.error(place.key(key), text);
            }
        }
    }
}

impl Default for LimitsEntry {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX.default.into(),
            connections_per_host_max: CONNECTIONS_PER_HOST_MAX.default.into(),
            queues_per_controller_max: QUEUES_PER_CONTROLLER_MAX.default.into(),
            queue_depth_max: QUEUE_DEPTH_MAX.default.into(),
            in_capsule_bytes_max: IN_CAPSULE_BYTES_MAX.default.into(),
            transfer_bytes_max: TRANSFER_BYTES_MAX.default.into(),
            connection_bytes_max: CONNECTION_BYTES_MAX.default.into(),
            keep_alive_min_ms: KEEP_ALIVE_MIN_MS.default.into(),
            keep_alive_max_ms: KEEP_ALIVE_MAX_MS.default.into(),
            icreq_timeout_ms: ICREQ_TIMEOUT_MS.default.into(),
            connect_timeout_ms: CONNECT_TIMEOUT_MS.default.into(),
            shutdown_timeout_ms: SHUTDOWN_TIMEOUT_MS.default.into(),
            preempt_abort_after_ms: PREEMPT_ABORT_AFTER_MS.default.into(),
            preempt_reset_after_ms: PREEMPT_RESET_AFTER_MS.default.into(),
            preempt_retire_after_ms: PREEMPT_RETIRE_AFTER_MS.default.into(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        LimitsEntry::default().check(&Place::default(), &mut Findings::default())
    }
}

impl From<Limits> for LimitsEntry {
    fn from(limits: Limits) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let size = |bytes: u32| ByteSize::new(bytes.into()).into();
        Self {
            connections_max: limits.connections_max.into(),
            connections_per_host_max: limits.connections_per_host_max.into(),
            queues_per_controller_max: limits.queues_per_controller_max.into(),
            queue_depth_max: limits.queue_depth_max.into(),
            in_capsule_bytes_max: size(limits.in_capsule_bytes_max),
            transfer_bytes_max: size(limits.transfer_bytes_max),
            connection_bytes_max: size(limits.connection_bytes_max),
            keep_alive_min_ms: milliseconds(limits.keep_alive_min),
            keep_alive_max_ms: milliseconds(limits.keep_alive_max),
            icreq_timeout_ms: milliseconds(limits.icreq_timeout),
            connect_timeout_ms: milliseconds(limits.connect_timeout),
            shutdown_timeout_ms: milliseconds(limits.shutdown_timeout),
            preempt_abort_after_ms: milliseconds(limits.preempt_abort_after),
            preempt_reset_after_ms: milliseconds(limits.preempt_reset_after),
            preempt_retire_after_ms: milliseconds(limits.preempt_retire_after),
        }
    }
}
