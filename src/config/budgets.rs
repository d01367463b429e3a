//! How much a reactor does of one thing in a turn before it turns to the next: each with its unit, range, default and
//! reason, here and nowhere else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Findings, Place};
use super::limits::Knob;

/// Range of `io_count`.
pub const IO_COUNT: Knob<u16> = Knob { min: 1, max: 1024, default: 1, unit: "I/O reactors" };
/// Range of `messages_per_turn`.
pub const MESSAGES_PER_TURN: Knob<u16> = Knob { min: 1, max: 1024, default: 32, unit: "messages" };
/// Range of `sockets_per_turn`.
pub const SOCKETS_PER_TURN: Knob<u16> = Knob { min: 1, max: 1024, default: 64, unit: "sockets" };
/// Range of `accepts_per_turn`.
pub const ACCEPTS_PER_TURN: Knob<u16> = Knob { min: 1, max: 1024, default: 16, unit: "connections" };

/// Budgets as the file has them; their ranges are checked when the document is validated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object with budgets")]
#[schemars(rename = "Budgets")]
pub struct BudgetsEntry {
    /// Messages of other reactors that one turn takes. 1 to 1024, default 32: queues that come and go, and reservation
    /// commands, must not hold up those that read and write.
    #[schemars(range(min = MESSAGES_PER_TURN.min, max = MESSAGES_PER_TURN.max))]
    pub messages_per_turn: u64,
    /// Sockets that one turn receives from. 1 to 1024, default 64: more make a turn longer and the system calls fewer;
    /// fewer bound how long a command waits behind those of other connections.
    #[schemars(range(min = SOCKETS_PER_TURN.min, max = SOCKETS_PER_TURN.max))]
    pub sockets_per_turn: u64,
    /// Connections that one turn of the management reactor accepts at each address. 1 to 1024, default 16: a reactor
    /// that also does I/O serves nobody meanwhile.
    #[schemars(range(min = ACCEPTS_PER_TURN.min, max = ACCEPTS_PER_TURN.max))]
    pub accepts_per_turn: u64,
}

/// Budgets that are in their ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budgets {
    /// Messages of other reactors that one turn takes.
    pub messages_per_turn: u16,
    /// Sockets that one turn receives from.
    pub sockets_per_turn: u16,
    /// Connections that one turn of the management reactor accepts at each address.
    pub accepts_per_turn: u16,
}

impl BudgetsEntry {
    /// Checks every budget against its range.
    pub(super) fn check(&self, place: &Place, findings: &mut Findings) -> Budgets {
        let mut check = |knob: Knob<u16>, value, key| knob.check(value, place.key(key), findings);
        Budgets {
            messages_per_turn: check(MESSAGES_PER_TURN, self.messages_per_turn, "messages_per_turn"),
            sockets_per_turn: check(SOCKETS_PER_TURN, self.sockets_per_turn, "sockets_per_turn"),
            accepts_per_turn: check(ACCEPTS_PER_TURN, self.accepts_per_turn, "accepts_per_turn"),
        }
    }
}

impl Default for BudgetsEntry {
    fn default() -> Self {
        Self {
            messages_per_turn: MESSAGES_PER_TURN.default.into(),
            sockets_per_turn: SOCKETS_PER_TURN.default.into(),
            accepts_per_turn: ACCEPTS_PER_TURN.default.into(),
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        BudgetsEntry::default().check(&Place::default(), &mut Findings::default())
    }
}

impl From<Budgets> for BudgetsEntry {
    fn from(budgets: Budgets) -> Self {
        let Budgets { messages_per_turn, sockets_per_turn, accepts_per_turn } = budgets;
        Self {
            messages_per_turn: messages_per_turn.into(),
            sockets_per_turn: sockets_per_turn.into(),
            accepts_per_turn: accepts_per_turn.into(),
        }
    }
}
