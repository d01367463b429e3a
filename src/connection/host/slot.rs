//! What is known of one command of a host, by its CID, and which data it may still get. Does no I/O.
//!
//! Invariant: of a read, `received <= expected`.

use crate::pdu::{PduError, data};

/// A CID, and what its command waits for.
#[derive(Debug)]
pub(super) enum Slot<D> {
    Idle,
    /// Its data, if there is any, is sent when as much has left the outbox as `end` says.
    Plain {
        end: u64,
    },
    /// `next` is where the next R2T begins; `asked` are outstanding, `r2t_max` at most. `end` as above, of the data that
    /// was queued so far.
    Write {
        data: D,
        next: u32,
        asked: u16,
        end: u64,
    },
    /// It has failed, and its completion is among `late`.
    Failed,
    Read {
        expected: u32,
        received: u32,
        intact: bool,
    },
}

impl<D> Slot<D> {
    /// Whether data of the controller's may come now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_data(&self, chunk: &data::Chunk, flow_control: bool) -> Result<(), PduError> {
        let field = |offset| PduError::HeaderField { offset };
        match *self {
            Self::Idle | Self::Failed => Err(field(data::CCCID_OFFSET)),
            Self::Plain { .. } | Self::Write { .. } => Err(PduError::Sequence),
            Self::Read { expected, received, .. } => {
                let end = chunk.offset + chunk.bytes;
                if received == expected {
                    // LAST_PDU was there: nothing more may follow, wherever it belongs.
                    return Err(PduError::Sequence);
                }
                if end > expected {
                    return Err(PduError::OutOfRange);
                }
                if chunk.offset != received {
                    return Err(PduError::Sequence);
                }
                // SUCCESS has no SQHD for a host that keeps SQ flow control (TCP transport 1.0, section 3.3.2.1).
                let success = chunk.success && flow_control;
                if chunk.last != (end == expected) || success {
                    Err(field(data::FLAGS_OFFSET))
                } else {
                    Ok(())
                }
            }
        }
    }
}
