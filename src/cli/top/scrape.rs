//! The text of a scrape, taken apart: series by name and labels.

use std::collections::BTreeMap;
use std::time::Instant;

/// Labels of a series, by name.
pub(super) type Labels = BTreeMap<String, String>;

/// What a target said at one time.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) at: Instant,
    series: BTreeMap<String, Vec<(Labels, f64)>>,
}

/// What cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    #[error("line {0} cannot be read")]
    Line(usize),
    #[error("there is no corelane_reactor_turns_total in it")]
    Stranger,
}

impl Scrape {
    /// Reads a text that came in at `at`.
    pub(super) fn parse(text: &str, at: Instant) -> Result<Self, ParseError> {
        let mut series: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, labels, value) = parse_line(line).ok_or(ParseError::Line(index + 1))?;
            series.entry(name.to_owned()).or_default().push((labels, value));
        }
        if !series.contains_key("corelane_reactor_turns_total") {
            return Err(ParseError::Stranger);
        }
        Ok(Self { at, series })
    }

    /// The series of a name, without its `corelane_`.
    pub(super) fn series(&self, name: &str) -> &[(Labels, f64)] {
        self.series.get(&format!("corelane_{name}")).map_or(&[], Vec::as_slice)
    }

    /// The value of the series that has these labels and no other ones.
    pub(super) fn value(&self, name: &str, labels: &Labels) -> Option<f64> {
        self.series(name).iter().find(|(found, _)| found == labels).map(|(_, value)| *value)
    }

    /// The sum of the series that have these labels, whatever others they have.
    pub(super) fn sum(&self, name: &str, labels: &Labels) -> f64 {
        let has = |found: &Labels| labels.iter().all(|(name, value)| found.get(name) == Some(value));
        // Not `sum`, which begins with -0.0.
        self.series(name).iter().filter(|(found, _)| has(found)).fold(0.0, |sum, (_, value)| sum + value)
    }
}

/// Name, labels and value: `name{label="value",...} value`.
fn parse_line(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, behind) = unquote(quoted)?;
            labels.insert(label.to_owned(), value);
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    (!name.is_empty() && words.count() <= 1).then_some((name, labels, value))
}

/// A value up to its closing quotation mark, and what is behind that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}
