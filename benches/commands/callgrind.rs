//! Reads what callgrind writes, as far as it is about calls: a function is called so often, and that cost so much.
//! Written with `--compress-strings=no --compress-pos=no --collect-systime=yes`, so that names and numbers are whole, and
//! costs are instructions, system calls and their time.

/// Calls, and what they cost together, with all that is called from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) calls: u64,
    pub(crate) instructions: u64,
    pub(crate) system_calls: u64,
}

/// All calls of one run, by the name of what is called.
pub(crate) struct Profile(Vec<(String, Calls)>);

impl Profile {
    /// Reads `cfn=NAME`, `calls=COUNT LINE`, and the costs in the line after that; the rest is passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let (mut calls, mut name, mut lines) = (Vec::new(), "", text.lines());
        while let Some(line) = lines.next() {
            if let Some(callee) = line.strip_prefix("cfn=") {
                name = callee;
            } else if let Some(count) = line.strip_prefix("calls=") {
                // The line that calls, and costs; what is zero may be left out at the end.
                let mut costs = lines.next().unwrap_or_default().split_whitespace().skip(1).map(number);
                let (instructions, system_calls) =
                    (costs.next().unwrap_or_default(), costs.next().unwrap_or_default());
                let calls_there = number(count.split_whitespace().next().unwrap_or_default());
                calls.push((name.to_owned(), Calls { calls: calls_there, instructions, system_calls }));
            }
        }
        Self(calls)
    }

    /// The calls of all functions whose name `is` right. None of them may call another one.
    pub(crate) fn calls_of(&self, is: impl Fn(&str) -> bool) -> Calls {
        let mut sum = Calls::default();
        for (_, calls) in self.0.iter().filter(|(name, _)| is(name)) {
            sum.calls += calls.calls;
            sum.instructions += calls.instructions;
            sum.system_calls += calls.system_calls;
        }
        sum
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}
