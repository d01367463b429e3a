//! Numbers that look random and are the same for the same seed.

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Less than `bound`, which is positive.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bound = u64::try_from(bound).expect("a bound in 64 bits");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("less than the bound")
    }
}
