//! How much tests draw at random: less where an interpreter runs them, which is slower by a thousand times.

use proptest::prelude::ProptestConfig;

/// Cases of one test under miri. It looks for what is undefined, not for what is wrong: a few reach all of the code.
const CASES_MIRI: u32 = 3;

/// Steps of one case under miri.
const STEPS_MIRI: usize = 25;

/// `cases` of a test.
pub(crate) fn drawn(cases: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { cases.min(CASES_MIRI) } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// At most so many `steps` of one case.
pub(crate) fn steps(steps: usize) -> usize {
    if cfg!(miri) { steps.min(STEPS_MIRI) } else { steps }
}
