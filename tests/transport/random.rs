//! Chance that is the same for the same seed.

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Less than `end`, which is not 0.
    pub(crate) fn below<T: Into<u64> + TryFrom<u64>>(&mut self, end: T) -> T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        T::try_from((z ^ (z >> 31)) % end.into()).unwrap_or_else(|_| panic!("less than the end"))
    }
}
