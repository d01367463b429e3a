//! What can be wrong with a record or with a file to import: which field, and why.

use serde_json::error::Category;
use uuid::Uuid;

use crate::reservation::state::{Impossible, REGISTRANTS_MAX};
use crate::spec::host::HostId;
use crate::spec::nqn::NqnError;

/// A record, or a file to import, that is not to be believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Fault {
    /// The field, such as `registrants[2].key`; `.` for the file as a whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Why a field is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// More bytes than any record has.
    #[error("has {bytes} bytes, more than any record")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// Bytes that are no text.
    #[error("is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// Offset of the first byte that is not.
        at: usize,
    },
    /// The end is missing: a torn write, or a copy of a part.
    #[error("ends too early: it is torn, or a part of a file")]
    Truncated,
    /// The text is not JSON, or a value is not what the field holds.
    #[error("{message}")]
    Malformed {
        /// What the parser found, with line and column.
        message: String,
    },
    /// Written by a later version.
    #[error(
        "is {found}, and this version reads format {known}: use the version that wrote it, or a later one"
    )]
    NewerFormat {
        /// The format of the record.
        found: u64,
        /// The format that is known here.
        known: u64,
    },
    /// A format that never was.
    #[error("is {found}, which is no format of a record")]
    UnknownFormat {
        /// The format of the record.
        found: u64,
    },
    /// The content is not what was written.
    #[error("is {found}, and the content gives {computed}: the file was damaged or changed by hand")]
    Checksum {
        /// What the record says.
        found: String,
        /// What it should say.
        computed: String,
    },
    /// HOSTNQN or the subsystem's name has not the form of a name.
    #[error("{0}")]
    Name(NqnError),
    /// A host identifier that identifies nobody.
    #[error("is all zeros, which identifies no host")]
    ZeroHost,
    /// A key that no registrant has.
    #[error("is 0, which is no registrant's key")]
    ZeroKey,
    /// The same host twice.
    #[error("is {0}, who is among the registrants before")]
    Duplicate(HostId),
    /// More registrants than a namespace can have.
    #[error("has more than {REGISTRANTS_MAX} entries")]
    TooManyRegistrants,
    /// A holder is missing.
    #[error("is missing: a reservation of this type has one holder")]
    HolderMissing,
    /// A holder too many.
    #[error("names a host: without a reservation, or with one that all registrants hold, there is no holder")]
    HolderUnexpected,
    /// The holder did not register.
    #[error("is {0}, who is not among the registrants")]
    HolderNotRegistered(HostId),
    /// All registrants hold it, and there is none.
    #[error("is one that all registrants hold, and there are none")]
    HeldByNobody,
    /// A number that is no type of a reservation.
    #[error("is {0}, which is no type of a reservation: 0 to 6 are")]
    ImpossibleType(u32),
    /// The key of the reservation is not the one of its holder.
    #[error("is not the key of the holder")]
    NotTheHoldersKey,
    /// Write protection and the format of the record do not agree.
    #[error("{} a record of format {format}", protection(*found))]
    Protection {
        /// What the record says.
        found: Option<bool>,
        /// Its format.
        format: u64,
    },
    /// A name in the record of another subsystem.
    #[error("is {found}, and the record was looked for under {expected}: it belongs to another subsystem")]
    OtherSubsystem {
        /// What the record says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The NSID of another namespace.
    #[error("is {found}, and the namespace is {expected}: the record belongs to another namespace")]
    OtherNsid {
        /// What the record says.
        found: u32,
        /// What was expected.
        expected: u32,
    },
    /// The UUID of another namespace.
    #[error("is {found}, and the namespace has {expected}: the record belongs to another namespace")]
    OtherUuid {
        /// What the record says.
        found: Uuid,
        /// What was expected.
        expected: Uuid,
    },
}

/// What a record that says this about write protection is not.
fn protection(found: Option<bool>) -> String {
    found.map_or("is missing in".to_owned(), |found| format!("is {found}, which is not said in"))
}

/// What the fields are called in the file that is read.
pub(super) struct Names {
    pub(super) host: &'static str,
    pub(super) key: &'static str,
    pub(super) holder: &'static str,
    pub(super) kind: &'static str,
}

impl Fault {
    /// A fault of this field.
    pub(super) fn of(field: impl Into<String>, reason: Reason) -> Self {
        Self { field: field.into(), reason }
    }

    /// A fault of a text that serde refused.
    pub(super) fn from_parser(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let field = error.path().to_string();
        let error = error.into_inner();
        let reason = match error.classify() {
            Category::Eof => return Self::of(".", Reason::Truncated),
            Category::Io | Category::Syntax | Category::Data => {
                Reason::Malformed { message: error.to_string() }
            }
        };
        Self::of(field, reason)
    }

    /// A fault of parts that make no state.
    pub(super) fn from_state(impossible: Impossible, names: &Names) -> Self {
        let registrant = |index: usize, name: &str| format!("registrants[{index}].{name}");
        match impossible {
            Impossible::ZeroHost(index) => Self::of(registrant(index, names.host), Reason::ZeroHost),
            Impossible::ZeroKey(index) => Self::of(registrant(index, names.key), Reason::ZeroKey),
            Impossible::Duplicate(index, host) => {
                Self::of(registrant(index, names.host), Reason::Duplicate(host))
            }
            Impossible::TooMany => Self::of("registrants", Reason::TooManyRegistrants),
            Impossible::HolderMissing => Self::of(names.holder, Reason::HolderMissing),
            Impossible::HolderUnexpected => Self::of(names.holder, Reason::HolderUnexpected),
            Impossible::HolderNotRegistered(host) => {
                Self::of(names.holder, Reason::HolderNotRegistered(host))
            }
            Impossible::HeldByNobody => Self::of(names.kind, Reason::HeldByNobody),
        }
    }
}

/// The text of a file, if it is one and not too long.
pub(super) fn text(bytes: &[u8], bytes_max: usize) -> Result<&str, Fault> {
    if bytes.len() > bytes_max {
        return Err(Fault::of(".", Reason::TooLong { bytes: bytes.len() }));
    }
    str::from_utf8(bytes).map_err(|error| {
        // A torn write can end in the middle of a character.
        let torn = error.error_len().is_none();
        let reason = if torn { Reason::Truncated } else { Reason::NotUtf8 { at: error.valid_up_to() } };
        Fault::of(".", reason)
    })
}
