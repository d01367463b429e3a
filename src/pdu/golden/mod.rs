//! Recorded connections between the host and the target of Linux, for tests. `README.md` beside this file has the format.

use crate::pdu::Role;

#[cfg(test)]
mod tests;

/// One PDU as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Who sent it.
    pub(crate) from: Role,
    /// All of it, digests included.
    pub(crate) bytes: Vec<u8>,
}

/// A recorded connection.
pub(crate) struct Capture {
    /// The name of its file, without the ending.
    pub(crate) name: &'static str,
    text: &'static str,
}

macro_rules! captures {
    ($($name:literal),* $(,)?) => {
        [$(Capture { name: $name, text: include_str!(concat!($name, ".pdus")) }),*]
    };
}

/// Every recorded connection.
pub(crate) const ALL: [Capture; 8] = captures![
    "discovery",
    "discovery-digests",
    "admin",
    "admin-digests",
    "admin-header-digests",
    "io",
    "io-digests",
    "io-header-digests",
];

impl Capture {
    /// The PDUs in the order in which they were sent. Panics on a line that is not in the format.
    pub(crate) fn pdus(&self) -> Vec<Recorded> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| parse(line).unwrap_or_else(|| panic!("{}: {line:?}", self.name))).collect()
    }
}

fn parse(line: &str) -> Option<Recorded> {
    let (from, words) = match line.split_at_checked(2)? {
        ("> ", words) => (Role::Host, words),
        ("< ", words) => (Role::Controller, words),
        _ => return None,
    };
    let mut bytes = Vec::new();
    for word in words.split(' ') {
        let (digits, count) = match word.split_once('*') {
            Some((digits, count)) => (digits, count.parse().ok()?),
            None => (word, 1),
        };
        bytes.extend(hex(digits)?.repeat(count));
    }
    Some(Recorded { from, bytes })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}
