//! Sizes: a whole number of bytes, or text such as `"256MiB"`. No fractions and no decimal units, so that a
//! size means the same to everybody.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// Units from the largest to the smallest, with the power of two that each stands for.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ByteSize(u64);

/// A size as the file has it: whether the text is one is decided when the document is validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SizeText {
    /// A JSON number.
    Bytes(u64),
    /// A JSON string.
    Text(String),
}

/// Why a text is not a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    /// It does not start with a digit.
    #[error("is not a size; write bytes, or a whole number and a unit such as \"256MiB\"")]
    NoNumber,
    /// A decimal point.
    #[error(
        "has a fraction; write a whole number in a smaller unit, such as \"1536MiB\" for one and a half GiB"
    )]
    Fraction,
    /// Something else than a unit behind the number.
    #[error("has an unknown unit; use KiB, MiB, GiB or TiB (powers of 1024), or none for bytes")]
    Unit,
    /// More than 2^64 - 1 bytes.
    #[error("is more bytes than 64 bits can count")]
    Overflow,
}

impl ByteSize {
    /// A size of so many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    /// A size from digits and an optional unit, with or without a space between them.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::NoNumber);
        }
        let unit = unit.trim_start();
        let shift = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, shift)) => *shift,
            None if unit.is_empty() => 0,
            None if unit.starts_with(['.', ',']) => return Err(SizeError::Fraction),
            None => return Err(SizeError::Unit),
        };
        let number: u64 = number.parse().map_err(|_| SizeError::Overflow)?;
        number.checked_mul(1 << shift).map(Self).ok_or(SizeError::Overflow)
    }
}

impl fmt::Display for ByteSize {
    /// The size in the largest unit that needs no fraction: `256MiB`, `1000`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |shift: &u32| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.iter().find(|(_, shift)| exact(shift)) {
            Some((unit, shift)) => write!(formatter, "{}{unit}", self.0 >> shift),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl SizeText {
    /// The number of bytes that it stands for.
    pub(super) fn resolve(&self) -> Result<ByteSize, SizeError> {
        match self {
            Self::Bytes(bytes) => Ok(ByteSize(*bytes)),
            Self::Text(text) => text.parse(),
        }
    }
}

impl From<ByteSize> for SizeText {
    fn from(size: ByteSize) -> Self {
        Self::Text(size.to_string())
    }
}

impl fmt::Display for SizeText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(formatter, "{bytes}"),
            Self::Text(text) => write!(formatter, "{text:?}"),
        }
    }
}

impl Serialize for SizeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_u64(*bytes),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = SizeText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes as a whole number, or text such as \"256MiB\"")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<SizeText, E> {
                Ok(SizeText::Bytes(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SizeText, E> {
                Ok(SizeText::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for SizeText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes as a whole number, or a whole number and a unit of KiB, MiB, GiB or TiB.",
            "oneOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^\\s*[0-9]+\\s*([KMGT]iB)?\\s*$"}
            ]
        })
    }
}

#[cfg(test)]
mod tests;
