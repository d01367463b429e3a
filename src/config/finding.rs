//! What is wrong or odd about a configuration, and where in the file it is.

use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but probably does not do what was meant.
    Warning,
}

/// A place in the configuration, written as `subsystems[0].namespaces[1].bdev`. The whole file is the empty
/// place.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place(String);

/// One thing that an operator should change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong, and what would be right. Continues "PLACE: ".
    pub message: String,
}

/// Collects findings while a document is checked.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Place {
    /// The place that a path of `serde_path_to_error` names: `.` is the whole file, and `?` an entry that it
    /// could not name because the text broke off there.
    #[must_use]
    pub(super) fn at(path: &str) -> Self {
        let known = path.trim_end_matches(".?");
        Self(if matches!(known, "." | "?") { String::new() } else { known.to_owned() })
    }

    /// The value of a key of the object at this place.
    #[must_use]
    pub(super) fn key(&self, key: &str) -> Self {
        if self.0.is_empty() { Self(key.to_owned()) } else { Self(format!("{}.{key}", self.0)) }
    }

    /// An entry of the list at this place.
    #[must_use]
    pub(super) fn entry(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The place as text; empty for the whole file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Findings {
    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Error, place, message: message.into() });
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, place, message: message.into() });
    }

    /// The warnings, if there is no error; otherwise everything.
    pub(super) fn into_result(self) -> Result<Vec<Finding>, Vec<Finding>> {
        let refused = self.0.iter().any(|finding| finding.severity == Severity::Error);
        if refused { Err(self.0) } else { Ok(self.0) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(if self.0.is_empty() { "configuration" } else { &self.0 })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(formatter, "{}: {warning}{}", self.place, self.message)
    }
}
