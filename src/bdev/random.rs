//! Repeatable numbers for jitter and for tests: SplitMix64. Not for secrets.

/// A generator: the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `last`, both included. The bias of the remainder does not matter here.
    pub(crate) fn up_to(&mut self, last: u64) -> u64 {
        let number = self.next();
        last.checked_add(1).map_or(number, |count| number % count)
    }
}
