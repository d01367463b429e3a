//! One NVMe/TCP queue pair without I/O: bytes in, events out; answers in, bytes out.
//!
//! [`controller::Connection`] is the target's end, [`host::Connection`] the initiator's. Both are driven alike:
//!
//! - **Receiving.** `next(bytes)` looks at the unconsumed bytes of the stream, says how many it took and what happened.
//!   Payload is never copied here: events borrow it from `bytes`. What was not taken must be shown again, in one piece
//!   with what follows; a capsule with its in-capsule data is taken whole.
//! - **Direct receive.** While a data PDU is under way, [`Wanted`] says where the next bytes of the stream belong, so
//!   that the owner can receive them in place; `direct(..)` then accounts for them.
//! - **Sending.** Answers queue header bytes and payloads of the owner's type in an [`outbox::Outbox`]; the owner
//!   sends what `outbox().pieces()` shows and reports it with `sent(n)`, which lets go of payloads in order.
//!
//! Nothing here reads a clock, and nothing allocates after `new`. A peer's mistake is a [`crate::pdu::PduError`]:
//! the connection queues the terminate request and refuses everything that follows.

pub mod controller;
pub mod framing;
mod fuzz;
pub mod host;
pub mod outbox;

#[cfg(test)]
mod tests;

pub use outbox::{Outbox, Payload, Piece};

/// Where the next bytes of the stream belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Transfer tag (controller) or CID (host) of the transfer.
    pub tag: u16,
    /// Offset in the data of the command, in bytes.
    pub offset: u32,
    /// How many bytes belong there, not 0.
    pub bytes: u32,
    /// How many the PDU has that they end.
    pub whole: u32,
}

/// Shows arbitrary bytes to both ends. Entry for fuzzers; must never panic.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    fuzz::run(bytes);
}
