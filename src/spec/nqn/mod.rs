//! NVMe qualified names (NVMe Base Specification, "NVMe Qualified Names"): a type for a name whose form was
//! checked, and the 256-byte field that carries it. Knows nothing of who may use which name.
//!
//! Invariant of [`Nqn`]: 1 to 223 bytes of UTF-8 without a NUL. A name made by [`Nqn::parse`] also has one of
//! the two forms that the specification gives; one made by [`Nqn::lenient`] or [`Nqn::from_wire`] need not.
//!
//! Names are compared byte by byte, as the specification asks: no case folding and no Unicode normalization.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The longest name in bytes, without its NUL.
pub const NQN_BYTES_MAX: usize = 223;

/// Size in bytes of the SUBNQN and HOSTNQN fields of Connect, Identify and discovery log page entries.
pub const NQN_FIELD_BYTES: usize = 256;

/// The well-known name of the discovery subsystem.
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// What names in the UUID form start with.
const UUID_FORM_START: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// The longest label of a domain name in bytes (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A checked NVMe qualified name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nqn(Arc<str>);

/// Why a text or a field is not an NVMe qualified name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NqnError {
    /// There is no character before the end or the NUL.
    #[error("is empty")]
    Empty,
    /// More than [`NQN_BYTES_MAX`] bytes.
    #[error("has {bytes} bytes, at most 223 are allowed")]
    TooLong {
        /// Length of the name in bytes.
        bytes: usize,
    },
    /// The field holds no NUL at all.
    #[error("is not terminated by a NUL")]
    Unterminated,
    /// The bytes are not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A text holds a NUL, which would end it on the wire.
    #[error("contains a NUL")]
    ContainsNul,
    /// It does not start as every NQN does.
    #[error("does not start with \"nqn.\"")]
    Prefix,
    /// The date is missing or is not a year and a month.
    #[error("has no date of the form yyyy-mm after \"nqn.\"")]
    Date,
    /// The reverse domain name is missing or malformed.
    #[error("has no reverse domain name, such as \"com.example\", after the date")]
    Domain,
    /// A colon with nothing behind it.
    #[error("has nothing after the colon")]
    NoName,
    /// A control character in the part that the owner of the domain assigns.
    #[error("contains a control character")]
    ControlCharacter,
    /// The UUID form without a UUID in 8-4-4-4-12 hexadecimal digits.
    #[error("has no UUID of the form 11111111-2222-3333-4444-555555555555 after \":uuid:\"")]
    Uuid,
}

impl Nqn {
    /// A name in one of the specification's two forms, as a configuration must give it:
    /// `nqn.yyyy-mm.reverse.domain[:name]` or `nqn.2014-08.org.nvmexpress:uuid:` and a UUID.
    ///
    /// # Errors
    /// Says the first thing that is wrong, from left to right.
    pub fn parse(text: &str) -> Result<Self, NqnError> {
        let nqn = Self::lenient(text)?;
        match text.strip_prefix(UUID_FORM_START) {
            Some(uuid) => check_uuid(uuid)?,
            None => check_date_and_domain(text)?,
        }
        Ok(nqn)
    }

    /// A name as peers send it: only length and absence of NUL are checked, since hosts are known by names
    /// that follow neither form.
    ///
    /// # Errors
    /// [`NqnError::Empty`], [`NqnError::TooLong`], [`NqnError::ContainsNul`].
    pub fn lenient(text: &str) -> Result<Self, NqnError> {
        if text.is_empty() {
            return Err(NqnError::Empty);
        }
        if text.len() > NQN_BYTES_MAX {
            return Err(NqnError::TooLong { bytes: text.len() });
        }
        if text.contains('\0') {
            return Err(NqnError::ContainsNul);
        }
        Ok(Self(text.into()))
    }

    /// The name in a field of a structure on the wire. What follows the NUL is not looked at, because hosts
    /// leave all sorts of bytes there.
    ///
    /// # Errors
    /// [`NqnError::Unterminated`], [`NqnError::Empty`], [`NqnError::TooLong`], [`NqnError::NotUtf8`].
    pub fn from_wire(field: &[u8; NQN_FIELD_BYTES]) -> Result<Self, NqnError> {
        let end = field.iter().position(|&byte| byte == 0).ok_or(NqnError::Unterminated)?;
        let bytes = field.get(..end).ok_or(NqnError::Unterminated)?;
        Self::lenient(std::str::from_utf8(bytes).map_err(|_| NqnError::NotUtf8)?)
    }

    /// The field that carries this name: the name, a NUL, and zeros to the end.
    #[must_use]
    pub fn to_wire(&self) -> [u8; NQN_FIELD_BYTES] {
        let mut field = [0; NQN_FIELD_BYTES];
        field[..self.0.len()].copy_from_slice(self.0.as_bytes());
        field
    }

    /// The name of the discovery subsystem, [`DISCOVERY_NQN`].
    #[must_use]
    pub fn discovery() -> Self {
        Self(DISCOVERY_NQN.into())
    }

    /// Whether this is the well-known discovery name.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        &*self.0 == DISCOVERY_NQN
    }

    /// The name without its NUL: 1 to 223 bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nqn {
    /// The name, with control characters escaped: a peer's name must not forge lines of a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.chars().any(char::is_control) {
            return formatter.pad(&self.0);
        }
        for character in self.0.chars() {
            if character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                write!(formatter, "{character}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Nqn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

impl AsRef<str> for Nqn {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn check_uuid(text: &str) -> Result<(), NqnError> {
    // The parser also takes braces, "urn:" and digits without hyphens, all of another length.
    const HYPHENATED: usize = 36;
    if text.len() == HYPHENATED && Uuid::try_parse(text).is_ok() { Ok(()) } else { Err(NqnError::Uuid) }
}

fn check_date_and_domain(text: &str) -> Result<(), NqnError> {
    let rest = text.strip_prefix("nqn.").ok_or(NqnError::Prefix)?;
    let (date, rest) = rest.split_once('.').ok_or(NqnError::Date)?;
    check_date(date)?;
    let (domain, name) = match rest.split_once(':') {
        Some((domain, name)) => (domain, Some(name)),
        None => (rest, None),
    };
    if !domain.split('.').all(is_label) {
        return Err(NqnError::Domain);
    }
    match name {
        Some("") => Err(NqnError::NoName),
        Some(name) if name.chars().any(char::is_control) => Err(NqnError::ControlCharacter),
        Some(_) | None => Ok(()),
    }
}

fn check_date(date: &str) -> Result<(), NqnError> {
    let (year, month) = date.split_once('-').ok_or(NqnError::Date)?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let in_range = month.parse().is_ok_and(|month: u8| (1..=12).contains(&month));
    if digits(year, 4) && digits(month, 2) && in_range { Ok(()) } else { Err(NqnError::Date) }
}

/// A label of a host name: letters, digits and inner hyphens (RFC 1123, section 2.1).
fn is_label(label: &str) -> bool {
    let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    allowed
        && !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests;
