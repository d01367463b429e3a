//! The counts that are kept in the tree, and how those of now compare with them.
//!
//! The first line says what they were made with: another compiler makes other instructions, so that only counts of the same
//! tools on the same kind of processor are judged. Then one line for each end of a load: instructions without those that copy
//! payload, system calls, instructions that copy payload, all for each command, and its name.

use std::fmt;

/// How much more, or less, than recorded is still the same, in percent.
const TOLERANCE_PERCENT: f64 = 3.0;
/// The same for system calls: on a busy machine, what is sent arrives in more parts. One call more for each command is far above.
const CALLS_TOLERANCE_PERCENT: f64 = 10.0;
/// System calls for each command that are no difference: now and then the kernel hands a batch of 128 over in parts, which costs
/// up to three more.
const ONCE_IN_A_WHILE: f64 = 0.05;
/// Instructions for each command that are none.
const A_FEW: f64 = 2.0;

/// What a command costs in one end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// All but those that copy payload.
    pub(crate) instructions: f64,
    pub(crate) system_calls: f64,
    /// Instructions that copy payload.
    pub(crate) copying: f64,
}

/// All counts of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) made_with: String,
    pub(crate) rows: Vec<(String, Counts)>,
}

/// What is to be said, and whether nothing has become worse.
pub(crate) struct Comparison {
    pub(crate) text: String,
    pub(crate) holds: bool,
}

impl Record {
    /// Reads what [`Record`]'s `Display` writes; an empty text has no rows.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let made_with = lines.next().unwrap_or_default().to_owned();
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            let mut number = || words.next()?.parse().ok();
            let counts = Counts { instructions: number()?, system_calls: number()?, copying: number()? };
            Some((words.collect::<Vec<_>>().join(" "), counts))
        };
        let rows = lines.map(|line| row(line).ok_or_else(|| format!("not a row of counts: {line:?}")));
        Ok(Self { made_with, rows: rows.collect::<Result<_, _>>()? })
    }

    fn find(&self, name: &str) -> Option<Counts> {
        self.rows.iter().find(|(known, _)| known == name).map(|&(_, counts)| counts)
    }

    /// Whether `now` is more than what is recorded as `name`, by over the tolerance. False if nothing is.
    pub(crate) fn is_exceeded(&self, name: &str, now: Counts) -> bool {
        let Some(before) = self.find(name) else { return false };
        now.numbers()
            .into_iter()
            .zip(before.numbers())
            .any(|(now, before)| now.value - before.value > before.margin())
    }

    /// Takes the rows of `now`: in place of all that were there if they are `whole`, and of those of the same names otherwise.
    pub(crate) fn replace(&mut self, now: Self, whole: bool) -> Result<(), String> {
        if whole {
            *self = now;
            return Ok(());
        }
        if self.made_with != now.made_with {
            return Err(format!("the rest was made with {}: record all", self.made_with));
        }
        for (name, counts) in now.rows {
            self.rows.retain(|(known, _)| *known != name);
            self.rows.push((name, counts));
        }
        Ok(())
    }

    /// Puts these counts beside those that are `recorded`. Nothing is wrong if none is more by over the tolerance, and, of
    /// `whole` ones, as many rows are there; or if other tools made them.
    pub(crate) fn compare(&self, recorded: &Self, whole: bool) -> Comparison {
        let judged = self.made_with == recorded.made_with;
        let [mut more, mut fewer, mut unknown] = [false; 3];
        let mut text = format!(
            "{:<46} {:^27} {:^25} {:^23}\n",
            "for each command, now and recorded", "instructions", "system calls", "instructions that copy"
        );
        for (name, now) in &self.rows {
            text += &format!("{name:<46}");
            let before = recorded.find(name);
            unknown |= before.is_none();
            for (at, Number { value: now, digits, .. }) in now.numbers().into_iter().enumerate() {
                let Some(before) = before.map(|counts| counts.numbers()[at]) else {
                    text += &format!(" {now:>9.digits$} {:>9}       ", "none");
                    continue;
                };
                let mark = match now - before.value {
                    difference if difference > before.margin() => "MORE",
                    difference if difference < -before.margin() => "FEWER",
                    _ => "",
                };
                more |= mark == "MORE";
                fewer |= mark == "FEWER";
                text += &format!(" {now:>9.digits$} {:>9.digits$} {mark:<6}", before.value);
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        let gone = recorded.rows.iter().find(|(name, _)| whole && self.find(name).is_none());
        if let Some((name, _)) = gone {
            text += &format!("recorded, and not counted: {name}\n");
        }
        text += &format!(
            "the tolerance is {TOLERANCE_PERCENT} %, of system calls {CALLS_TOLERANCE_PERCENT} %; counted with {}\n",
            self.made_with
        );
        if !judged {
            text += &format!("recorded with {}, so nothing is judged\n", recorded.made_with);
        }
        let differs = more || fewer || unknown || gone.is_some();
        if differs || !judged {
            text += "To record these counts: cargo bench --bench commands -- --record\n";
        }
        Comparison { text, holds: !judged || !(more || unknown || gone.is_some()) }
    }
}

/// One of the counts.
#[derive(Clone, Copy)]
struct Number {
    value: f64,
    /// Those that are worth to be shown after the point.
    digits: usize,
    /// What is no difference, in percent of the value.
    percent: f64,
    /// What is no difference, whatever the value is.
    slack: f64,
}

impl Number {
    /// What is no difference.
    fn margin(self) -> f64 {
        self.value * self.percent / 100.0 + self.slack
    }
}

impl Counts {
    fn numbers(self) -> [Number; 3] {
        [
            Number { value: self.instructions, digits: 1, percent: TOLERANCE_PERCENT, slack: A_FEW },
            Number {
                value: self.system_calls,
                digits: 3,
                percent: CALLS_TOLERANCE_PERCENT,
                slack: ONCE_IN_A_WHILE,
            },
            Number { value: self.copying, digits: 1, percent: TOLERANCE_PERCENT, slack: A_FEW },
        ]
    }

    /// Of each count the lower one of two runs.
    pub(crate) fn least(self, other: Self) -> Self {
        Self {
            instructions: self.instructions.min(other.instructions),
            system_calls: self.system_calls.min(other.system_calls),
            copying: self.copying.min(other.copying),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.made_with)?;
        for (name, Counts { instructions, system_calls, copying }) in &self.rows {
            writeln!(f, "{instructions:>9.1} {system_calls:>7.3} {copying:>8.1} {name}")?;
        }
        Ok(())
    }
}
