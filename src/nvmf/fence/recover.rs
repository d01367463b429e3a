//! What a namespace's reservations and its write protection were when the target last ran. Read once, on the management core, before any listener
//! accepts a connection.
//!
//! A record that is missing in a state directory that is there means that there are none, and is silent.
//! Everything else that is not a record of this namespace puts it out of service, and says why.

use crate::persist::{Files, LoadError, Reader, RecordName};
use crate::reservation::{Fault, Identity, Options, Record, State};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// They are known.
    Sound {
        /// What is left of them after the power loss that the end of the process is.
        state: State,
        /// Hosts had made the namespace write protected.
        write_protected: bool,
        /// Number of the record, 0 if there was none.
        sequence: u64,
    },
    /// They are not known.
    Fenced,
}

impl Recovered {
    /// There was no record.
    pub fn nothing() -> Self {
        Self::Sound { state: State::new(), write_protected: false, sequence: 0 }
    }
}

/// Why the reservations of a namespace are not known.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The record may be there and cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is a record of this subsystem and NSID under another UUID: the UUID in the configuration has changed.
    #[error(
        "{path} is a record of the same namespace under another UUID; give the namespace that UUID again, or clear the record"
    )]
    Namesake {
        /// The other record's file.
        path: String,
    },
    /// Persistence is off in the configuration, and there are reservations that were to survive.
    #[error(
        "{path} holds reservations, and the configuration says that none are kept; set \"persist\" again, or clear the record"
    )]
    Unwanted {
        /// The file.
        path: String,
    },
    /// The record is damaged, or not this namespace's.
    #[error("{path}: {fault}")]
    Record {
        /// The file.
        path: String,
        /// What is wrong with it, and in which field.
        fault: Fault,
    },
}

/// The name of a namespace's record: its UUID.
pub fn record_name(identity: &Identity) -> RecordName {
    RecordName::new(&identity.uuid.to_string()).expect("a UUID is a record name")
}

/// Reads the record of a namespace; `options` says whether one may be kept.
///
/// # Errors
/// [`RecoverError`]: the namespace has to stay out of service.
pub fn recover<F: Files>(
    reader: &Reader<F>,
    identity: &Identity,
    options: Options,
) -> Result<Recovered, RecoverError> {
    let name = record_name(identity);
    let Some(bytes) = reader.load(&name)? else {
        return match namesake(reader, identity)? {
            Some(path) => Err(RecoverError::Namesake { path }),
            None => Ok(Recovered::nothing()),
        };
    };
    let wrong = |fault| RecoverError::Record { path: reader.path(&name).display().to_string(), fault };
    let record = Record::decode(&bytes).map_err(wrong)?;
    record.judge_owner(identity).map_err(wrong)?;
    if !options.ptpl && record.state.ptpl() {
        return Err(RecoverError::Unwanted { path: reader.path(&name).display().to_string() });
    }
    let Record { sequence, write_protected, state, .. } = record;
    Ok(Recovered::Sound { state: state.after_power_loss(), write_protected, sequence })
}

/// A record of the same subsystem and NSID under another UUID, if there is one. Records that cannot be read are passed
/// over here: the namespaces that they belong to will say so.
fn namesake<F: Files>(reader: &Reader<F>, identity: &Identity) -> Result<Option<String>, LoadError> {
    for name in reader.names()? {
        let Ok(Some(bytes)) = reader.load(&name) else { continue };
        let Ok(record) = Record::decode(&bytes) else { continue };
        let other = record.identity;
        if other.subsystem == identity.subsystem && other.nsid == identity.nsid && other.uuid != identity.uuid
        {
            return Ok(Some(reader.path(&name).display().to_string()));
        }
    }
    Ok(None)
}
