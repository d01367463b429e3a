//! Names of records, and of the temporary files beside them. A record's name never looks like a temporary
//! file's, nor like one of the state directory's own.

use std::fmt;

/// Longest name of a record, in bytes: leaves room for what a temporary file's name has more.
const NAME_BYTES_MAX: usize = 200;
/// What the names of the state directory's own files begin with.
const RESERVED: &str = "corelane.";
/// What the name of a temporary file ends with.
const TEMPORARY: &str = ".new";

/// The name of a record, which is the name of its file: a UUID, for instance.
///
/// 1 to 200 ASCII letters, digits, dots, hyphens and underscores, the first a letter or digit. It does not
/// begin with `corelane.` and does not end with `.new`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordName(Box<str>);

/// Why a text is no record's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Empty, or too long.
    #[error("a record's name has 1 to {NAME_BYTES_MAX} bytes")]
    Length,
    /// Has other characters than a name may have, or begins with one that it may not begin with.
    #[error(
        "a record's name has letters, digits, dots, hyphens and underscores, and begins with one of the first two"
    )]
    Characters,
    /// Could be a file that has another purpose.
    #[error("names that begin with \"{RESERVED}\" or end with \"{TEMPORARY}\" have another purpose")]
    Reserved,
}

impl RecordName {
    /// Checks the name.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(NameError::Length);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !name.as_bytes()[0].is_ascii_alphanumeric() || !name.bytes().all(allowed) {
            return Err(NameError::Characters);
        }
        if name.starts_with(RESERVED) || name.ends_with(TEMPORARY) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the temporary file of this number.
    pub(super) fn temporary(&self, number: u64) -> String {
        let name = format!("{self}.{number}{TEMPORARY}");
        assert!(is_temporary(&name));
        name
    }
}

/// Whether a file of this name is one that [`RecordName::temporary`] names.
pub(super) fn is_temporary(name: &str) -> bool {
    let Some((record, number)) = name.strip_suffix(TEMPORARY).and_then(|rest| rest.rsplit_once('.')) else {
        return false;
    };
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && RecordName::new(record).is_ok()
}

impl fmt::Display for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
