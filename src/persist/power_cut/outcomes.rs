//! What a power cut leaves: every combination of what may have survived, or some of them by chance.

use std::collections::{BTreeMap, BTreeSet};

use super::{Contents, FileId, Random};

/// Length of a sector when every combination is tried: a few sectors, in records that a person can read.
const SECTOR_BYTES: usize = 4;
/// Length of a sector when combinations are drawn.
const DRAWN_SECTOR_BYTES: usize = 512;
/// Most sectors of a file of which every combination is tried.
const SECTORS_MAX: usize = 6;

/// The files that survived, by name.
pub(crate) type Survivor = BTreeMap<String, Vec<u8>>;

/// All that may survive.
#[derive(Debug)]
pub(crate) struct Survivors {
    names: Vec<(String, BTreeSet<Option<FileId>>)>,
    files: Vec<Contents>,
}

impl Survivors {
    pub(super) fn new(names: Vec<(String, BTreeSet<Option<FileId>>)>, files: Vec<Contents>) -> Self {
        Self { names, files }
    }

    /// Every one. The contents of temporary files, which nobody reads, are all or nothing.
    pub(crate) fn every(&self) -> Vec<Survivor> {
        let mut survivors = vec![Survivor::new()];
        for (name, files) in &self.names {
            let mut variants: BTreeSet<Option<Vec<u8>>> = BTreeSet::new();
            for file in files {
                match file {
                    None => variants.extend([None]),
                    Some(id) if name.ends_with(".new") => {
                        variants.extend([Some(Vec::new()), Some(self.files[*id].bytes.clone())]);
                    }
                    Some(id) => variants.extend(every_content(&self.files[*id]).into_iter().map(Some)),
                }
            }
            let with = |survivor: &Survivor, variant: &Option<Vec<u8>>| {
                let mut survivor = survivor.clone();
                survivor.extend(variant.iter().map(|bytes| (name.clone(), bytes.clone())));
                survivor
            };
            survivors = survivors
                .iter()
                .flat_map(|survivor| variants.iter().map(move |variant| with(survivor, variant)))
                .collect();
        }
        survivors
    }

    /// One of them, by chance.
    pub(crate) fn draw(&self, random: &mut Random) -> Survivor {
        let mut survivor = Survivor::new();
        for (name, files) in &self.names {
            let chosen = files.iter().nth(random.below(files.len())).copied().flatten();
            survivor.extend(chosen.map(|id| (name.clone(), drawn_content(&self.files[id], random))));
        }
        survivor
    }
}

fn every_content(contents: &Contents) -> BTreeSet<Vec<u8>> {
    if contents.is_durable {
        return BTreeSet::from([contents.bytes.clone()]);
    }
    let sectors = contents.bytes.len().div_ceil(SECTOR_BYTES);
    assert!(sectors <= SECTORS_MAX, "too long to try every combination of sectors");
    let mut every = BTreeSet::new();
    for length in 0..=contents.bytes.len() {
        for kept in 0..1_u32 << sectors {
            every.insert(torn(&contents.bytes[..length], SECTOR_BYTES, |sector| kept >> sector & 1 == 1));
        }
    }
    every
}

fn drawn_content(contents: &Contents, random: &mut Random) -> Vec<u8> {
    if contents.is_durable {
        return contents.bytes.clone();
    }
    // Both ends of the range are likelier than chance would have them.
    let length = match random.below(4) {
        0 => 0,
        1 => contents.bytes.len(),
        _ => random.below(contents.bytes.len() + 1),
    };
    torn(&contents.bytes[..length], DRAWN_SECTOR_BYTES, |_| random.below(2) == 1)
}

/// `bytes` with zeros in the sectors that are not kept.
fn torn(bytes: &[u8], sector_bytes: usize, mut is_kept: impl FnMut(usize) -> bool) -> Vec<u8> {
    let mut torn = bytes.to_vec();
    for (sector, bytes) in torn.chunks_mut(sector_bytes).enumerate() {
        if !is_kept(sector) {
            bytes.fill(0);
        }
    }
    torn
}
