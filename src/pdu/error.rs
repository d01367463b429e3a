//! Why a PDU ends its connection.

use thiserror::Error;

use crate::spec::tcp::FatalStatus;

/// A fatal transport error that the peer caused (TCP transport 1.0, section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PduError {
    /// A header field is invalid.
    #[error("invalid PDU header field at byte {offset}")]
    HeaderField {
        /// Offset of the first wrong field from the start of the PDU, in bytes.
        offset: u8,
    },
    /// The PDU is valid but came at the wrong time.
    #[error("PDU out of sequence")]
    Sequence,
    /// The header digest does not match the header.
    #[error("header digest error, received {received:#010x}")]
    HeaderDigest {
        /// The digest that was received.
        received: u32,
    },
    /// Data outside of the range that was asked for.
    #[error("data transfer out of range")]
    OutOfRange,
    /// The controller says that a command succeeded whose data it has not asked for, or not been sent yet.
    #[error("success of a command before its data was sent")]
    EarlySuccess,
    /// More data in a PDU, or more R2Ts, than was agreed on.
    #[error("transfer limit exceeded")]
    LimitExceeded,
    /// A parameter that this side does not support.
    #[error("unsupported parameter at byte {offset}")]
    Unsupported {
        /// Offset of the parameter from the start of the PDU, in bytes.
        offset: u8,
    },
}

impl PduError {
    /// FES and FEI of the terminate request that tells the peer (sections 3.6.2.4 and 3.6.2.5).
    pub fn wire(self) -> (FatalStatus, u32) {
        match self {
            Self::HeaderField { offset } => (FatalStatus::INVALID_HEADER_FIELD, u32::from(offset)),
            Self::Sequence | Self::EarlySuccess => (FatalStatus::SEQUENCE, 0),
            Self::HeaderDigest { received } => (FatalStatus::HEADER_DIGEST, received),
            Self::OutOfRange => (FatalStatus::OUT_OF_RANGE, 0),
            Self::LimitExceeded => (FatalStatus::LIMIT_EXCEEDED, 0),
            Self::Unsupported { offset } => (FatalStatus::UNSUPPORTED_PARAMETER, u32::from(offset)),
        }
    }
}
