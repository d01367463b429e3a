//! The six types of reservations, as a closed enumeration.

use serde::{Deserialize, Serialize};

use crate::spec::reservation::ReservationType;

/// The type of a reservation that is held (NVMe base 2.1, section 7.5, "Reservation Type Encoding"). In records it is
/// written as `write-exclusive-registrants-only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Write Exclusive: the holder writes, everybody reads.
    WriteExclusive,
    /// Exclusive Access: the holder writes and reads.
    ExclusiveAccess,
    /// Write Exclusive, Registrants Only: registrants write, everybody reads; one host holds it.
    WriteExclusiveRegistrantsOnly,
    /// Exclusive Access, Registrants Only: registrants write and read; one host holds it.
    ExclusiveAccessRegistrantsOnly,
    /// Write Exclusive, All Registrants: registrants write and hold it, everybody reads.
    WriteExclusiveAllRegistrants,
    /// Exclusive Access, All Registrants: registrants write, read and hold it.
    ExclusiveAccessAllRegistrants,
}

impl Kind {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// The type of this RTYPE; `None` for 0 and what is reserved.
    pub const fn from_wire(rtype: ReservationType) -> Option<Self> {
        Some(match rtype {
            ReservationType::WRITE_EXCLUSIVE => Self::WriteExclusive,
            ReservationType::EXCLUSIVE_ACCESS => Self::ExclusiveAccess,
            ReservationType::WRITE_EXCLUSIVE_REGISTRANTS_ONLY => Self::WriteExclusiveRegistrantsOnly,
            ReservationType::EXCLUSIVE_ACCESS_REGISTRANTS_ONLY => Self::ExclusiveAccessRegistrantsOnly,
            ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS => Self::WriteExclusiveAllRegistrants,
            ReservationType::EXCLUSIVE_ACCESS_ALL_REGISTRANTS => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    /// RTYPE of this type: 1 to 6.
    pub const fn to_wire(self) -> ReservationType {
        match self {
            Self::WriteExclusive => ReservationType::WRITE_EXCLUSIVE,
            Self::ExclusiveAccess => ReservationType::EXCLUSIVE_ACCESS,
            Self::WriteExclusiveRegistrantsOnly => ReservationType::WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
            Self::ExclusiveAccessRegistrantsOnly => ReservationType::EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
            Self::WriteExclusiveAllRegistrants => ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS,
            Self::ExclusiveAccessAllRegistrants => ReservationType::EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
        }
    }

    /// Whether every registrant is a holder: types 5 and 6.
    pub const fn is_all_registrants(self) -> bool {
        match self {
            Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants => true,
            Self::WriteExclusive
            | Self::ExclusiveAccess
            | Self::WriteExclusiveRegistrantsOnly
            | Self::ExclusiveAccessRegistrantsOnly => false,
        }
    }

    /// Whether one host holds it and the other registrants share its rights: types 3 and 4.
    pub const fn is_registrants_only(self) -> bool {
        match self {
            Self::WriteExclusiveRegistrantsOnly | Self::ExclusiveAccessRegistrantsOnly => true,
            Self::WriteExclusive
            | Self::ExclusiveAccess
            | Self::WriteExclusiveAllRegistrants
            | Self::ExclusiveAccessAllRegistrants => false,
        }
    }

    /// Whether hosts that may not write may read: types 1, 3 and 5.
    pub const fn is_write_exclusive(self) -> bool {
        match self {
            Self::WriteExclusive
            | Self::WriteExclusiveRegistrantsOnly
            | Self::WriteExclusiveAllRegistrants => true,
            Self::ExclusiveAccess
            | Self::ExclusiveAccessRegistrantsOnly
            | Self::ExclusiveAccessAllRegistrants => false,
        }
    }
}
