//! Where the next command goes. Does no I/O; the same seed gives the same places.

use crate::perf::Pattern;

/// xorshift64*: a few instructions, and good enough to spread commands.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream `number` of `seed`.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        // Never 0, which would stay 0.
        Self(mix(seed ^ mix(number.wrapping_add(1))) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of `word`.
pub(super) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The places of one lane: units, each of which one command reads or writes.
#[derive(Debug)]
pub(super) struct Places {
    pattern: Pattern,
    /// The first unit, and how many there are from there on.
    first: u64,
    count: u64,
    cursor: u64,
}

impl Places {
    /// `count` units, not 0, from `first` on; a sequence begins at `start` units behind `first`.
    pub(super) fn new(pattern: Pattern, first: u64, count: u64, start: u64) -> Self {
        assert!(count > 0);
        Self { pattern, first, count, cursor: start % count }
    }

    pub(super) fn next(&mut self, random: &mut Random) -> u64 {
        match self.pattern {
            Pattern::Random => self.first + random.below(self.count),
            Pattern::Sequential => {
                let unit = self.first + self.cursor;
                self.cursor = if self.cursor + 1 == self.count { 0 } else { self.cursor + 1 };
                unit
            }
        }
    }
}
