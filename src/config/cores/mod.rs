//! Lists of processor cores: a JSON list, text as in `"1-3,5"`, or the word `"auto"`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// The highest core number that can be written: the kernel's processor sets of 1,024 bits have no other.
pub const CORE_MAX: usize = 1023;

/// The text that leaves the choice to Corelane.
pub(super) const AUTO: &str = "auto";

/// A core list as the file has it: what it stands for is decided when the document is validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CoreListText {
    /// A JSON list of numbers.
    List(Vec<u64>),
    /// A JSON string of numbers and ranges, or `auto`.
    Text(String),
}

/// Why a list of cores is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CoreListError {
    /// There is no core in it.
    #[error("names no core; write a list such as [1, 2] or \"1-3,5\"")]
    Empty,
    /// A part that is neither a number nor two numbers joined by a hyphen.
    #[error("is not a list of cores; write numbers and ranges, such as \"1-3,5\", or \"auto\"")]
    Malformed,
    /// A range that ends before it starts.
    #[error("has a range that runs backwards, {first}-{last}; write the lower number first")]
    Backwards {
        /// First number of the range.
        first: u64,
        /// Last number of the range.
        last: u64,
    },
    /// A number above [`CORE_MAX`].
    #[error("has core {core}; the highest possible is {CORE_MAX}")]
    TooHigh {
        /// The number.
        core: u64,
    },
    /// A core twice.
    #[error("names core {core} twice; each I/O reactor needs a core of its own")]
    Duplicate {
        /// The number.
        core: usize,
    },
}

impl CoreListText {
    /// Whether the cores are to be chosen: see [`super::Topology::io_beside`].
    #[must_use]
    pub fn is_auto(&self) -> bool {
        matches!(self, Self::Text(text) if text == AUTO)
    }

    /// The cores in the order they are written, each once and at most [`CORE_MAX`].
    pub(super) fn resolve(&self) -> Result<Vec<usize>, CoreListError> {
        let mut cores = Cores::default();
        match self {
            Self::List(list) => list.iter().try_for_each(|&core| cores.add(core, core))?,
            Self::Text(text) if text.trim().is_empty() => {}
            Self::Text(text) => {
                for part in text.split(',') {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    cores.add(number(first)?, number(last)?)?;
                }
            }
        }
        if cores.list.is_empty() { Err(CoreListError::Empty) } else { Ok(cores.list) }
    }
}

/// A core list for people: ascending runs as ranges, `0,2-5`.
pub(super) fn display(cores: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cores;
    while let [first, ..] = rest {
        let run =
            rest.iter().zip(*first..=usize::MAX).take_while(|(core, expected)| *core == expected).count();
        let last = first + (run - 1);
        parts.push(if run == 1 { first.to_string() } else { format!("{first}-{last}") });
        rest = &rest[run..];
    }
    parts.join(",")
}

/// The cores so far, and which they are.
struct Cores {
    list: Vec<usize>,
    taken: [bool; CORE_MAX + 1],
}

impl Default for Cores {
    fn default() -> Self {
        Self { list: Vec::new(), taken: [false; CORE_MAX + 1] }
    }
}

impl Cores {
    /// Adds `first..=last`. Bounded by the number of cores there can be, whatever the numbers are.
    fn add(&mut self, first: u64, last: u64) -> Result<(), CoreListError> {
        if first > last {
            return Err(CoreListError::Backwards { first, last });
        }
        for core in first..=last {
            let index = usize::try_from(core).unwrap_or(usize::MAX);
            let taken = self.taken.get_mut(index).ok_or(CoreListError::TooHigh { core })?;
            if std::mem::replace(taken, true) {
                return Err(CoreListError::Duplicate { core: index });
            }
            self.list.push(index);
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u64, CoreListError> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(CoreListError::Malformed);
    }
    // Digits only, so that it fails by being too long.
    Ok(text.parse().unwrap_or(u64::MAX))
}

impl Serialize for CoreListText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(list) => list.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CoreListText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = CoreListText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a list of core numbers such as [1, 2], or text such as \"1-3,5\" or \"auto\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<CoreListText, E> {
                Ok(CoreListText::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<CoreListText, A::Error> {
                let mut list = Vec::new();
                while let Some(core) = entries.next_element()? {
                    list.push(core);
                }
                Ok(CoreListText::List(list))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for CoreListText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CoreList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Core numbers as a list, or as text of numbers and ranges such as \"1-3,5\"; \"auto\" leaves the choice to Corelane.",
            "oneOf": [
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": CORE_MAX},
                    "minItems": 1,
                    "uniqueItems": true
                },
                {"const": AUTO},
                {"type": "string", "pattern": "^\\s*[0-9]+\\s*(-\\s*[0-9]+\\s*)?(,\\s*[0-9]+\\s*(-\\s*[0-9]+\\s*)?)*$"}
            ]
        })
    }
}

#[cfg(test)]
mod tests;
