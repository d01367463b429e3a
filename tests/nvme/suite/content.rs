//! What blocks hold: told by a version and by the block that it was written to first, so that a block shows when it was
//! written, and whether it strayed.

/// What one block may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    /// Counts up with each write; 0 is zeros.
    pub(crate) version: u64,
    /// The block that it was written to.
    pub(crate) lba: u64,
}

impl Content {
    /// Zeros.
    pub(crate) const ZEROS: Self = Self { version: 0, lba: 0 };

    /// The bytes of one block.
    pub(crate) fn fill(self, block: &mut [u8]) {
        if self == Self::ZEROS {
            return block.fill(0);
        }
        let mut random = Random::new(self.version ^ self.lba.rotate_left(40));
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&(random.next() | 1).to_le_bytes());
        }
    }

    /// Whether a block holds this.
    pub(crate) fn is(self, block: &[u8]) -> bool {
        let mut own = vec![0; block.len()];
        self.fill(&mut own);
        own == block
    }
}

/// What each block of a range may hold. Commands in flight together never touch the same block.
pub(crate) struct Oracle {
    first: u64,
    blocks: Vec<Vec<Content>>,
    version: u64,
}

impl Oracle {
    /// For `count` blocks from `first` on, which are zeros.
    pub(crate) fn new(first: u64, count: usize) -> Self {
        Self { first, blocks: vec![vec![Content::ZEROS]; count], version: 0 }
    }

    /// A version that was never written.
    pub(crate) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// What a block holds, if that is certain.
    pub(crate) fn certain(&self, lba: u64) -> Option<Content> {
        let allowed = &self.blocks[self.index(lba)];
        (allowed.len() == 1).then(|| allowed[0])
    }

    /// The block was overwritten.
    pub(crate) fn set(&mut self, lba: u64, content: Content) {
        let index = self.index(lba);
        self.blocks[index] = vec![content];
    }

    /// The block may have been overwritten.
    pub(crate) fn allow(&mut self, lba: u64, content: Content) {
        let index = self.index(lba);
        if !self.blocks[index].contains(&content) {
            self.blocks[index].push(content);
        }
    }

    /// The block holds what it held, or anything that another may hold.
    pub(crate) fn forget(&mut self, lba: u64, source: u64) {
        for content in self.blocks[self.index(source)].clone() {
            self.allow(lba, content);
        }
    }

    /// The block was read: it must hold what it may, and nothing else from now on.
    pub(crate) fn read(&mut self, lba: u64, block: &[u8]) {
        let index = self.index(lba);
        let found = self.blocks[index].iter().copied().find(|content| content.is(block));
        let found = found.unwrap_or_else(|| {
            panic!("block {lba} holds {:02x?}..., not one of {:?}", &block[..16], self.blocks[index])
        });
        self.blocks[index] = vec![found];
    }

    fn index(&self, lba: u64) -> usize {
        usize::try_from(lba - self.first).expect("inside the range")
    }
}

/// SplitMix64: the same seed gives the same numbers.
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

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
