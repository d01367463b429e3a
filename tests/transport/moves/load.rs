//! What a host does while its queue moves: it reads and writes a region of its own, and knows what each answer has to be.

use std::collections::VecDeque;

use corelane::initiator::command;
use corelane::spec::status::Status;

use crate::fence_rig::{FenceRig, HostIndex};

const BLOCK: usize = 512;
/// Blocks of a region.
pub(crate) const REGION: u64 = 512;
/// Commands that a host has under way at most.
const DEPTH: usize = 24;
/// Blocks of a write whose data is in its capsule, at most: what the target takes.
const CAPSULE_BLOCKS: u64 = 16;
/// Blocks of other commands, at most.
const BLOCKS_MAX: u64 = 192;
/// CIDs in use: more than commands, so that an answer that comes twice is found.
const CIDS: u16 = 200;
/// Entries of the queues: see [`crate::host::Wish`].
const ENTRIES: u16 = 128;

/// How the answers relate to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Data is in capsules and the device completes at once: everything is done in the order in which it was asked for, so
    /// commands may overlap.
    InOrder,
    /// In any order; commands that are under way together do not overlap.
    Apart,
}

enum What {
    Write {
        version: u32,
    },
    /// What it has to find.
    Read {
        versions: Vec<u32>,
    },
}

struct Asked {
    cid: u16,
    first: u64,
    blocks: u64,
    what: What,
}

/// One host at work.
pub(crate) struct Load {
    pub(crate) host: HostIndex,
    nsid: u32,
    region: u64,
    rule: Rule,
    /// Of each block of the region, once what is under way is done; 0 for zeros.
    versions: Vec<u32>,
    under_way: VecDeque<Asked>,
    version: u32,
    cid: u16,
    sqhd: Option<u16>,
    pub(crate) answered: usize,
}

/// A block as that version of it is written.
fn content(version: u32) -> Vec<u8> {
    version.to_le_bytes().repeat(BLOCK / 4)
}

impl Load {
    pub(crate) fn new(host: HostIndex, nsid: u32, region: u64, rule: Rule) -> Self {
        Self {
            host,
            nsid,
            region: region * REGION,
            rule,
            versions: vec![0; usize::try_from(REGION).expect("a small region")],
            under_way: VecDeque::new(),
            version: 0,
            cid: 0,
            sqhd: None,
            answered: 0,
        }
    }

    /// Nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Asks for something more, unless it has enough under way.
    pub(crate) fn ask(&mut self, rig: &mut FenceRig) {
        let writes = rig.below(2) == 0;
        let most = if writes && self.rule == Rule::InOrder { CAPSULE_BLOCKS } else { BLOCKS_MAX };
        let blocks = 1 + rig.below(usize::try_from(most).expect("few")) as u64;
        let first = rig.below(usize::try_from(REGION - blocks + 1).expect("few")) as u64;
        let overlaps = |asked: &Asked| first < asked.first + asked.blocks && asked.first < first + blocks;
        if self.under_way.len() == DEPTH || self.rule == Rule::Apart && self.under_way.iter().any(overlaps) {
            return;
        }
        self.cid = (self.cid + 1) % CIDS;
        let (cid, lba) = (self.cid, self.region + first);
        let count = u32::try_from(blocks).expect("few");
        let range = usize::try_from(first).expect("few")..usize::try_from(first + blocks).expect("few");
        let host = &mut rig.hosts[self.host];
        let what = if writes {
            self.version += 1;
            let data: Vec<u8> = (0..blocks).flat_map(|_| content(self.version)).collect();
            let sqe = command::write(self.nsid, lba, count, false);
            if self.rule == Rule::InOrder || blocks <= CAPSULE_BLOCKS && self.version.is_multiple_of(2) {
                host.in_capsule(cid, sqe, &data);
            } else {
                host.on_request(cid, sqe, &data);
            }
            self.versions[range].fill(self.version);
            What::Write { version: self.version }
        } else {
            host.read(cid, command::read(self.nsid, lba, count), range.len() * BLOCK);
            What::Read { versions: self.versions[range].to_vec() }
        };
        self.under_way.push_back(Asked { cid, first, blocks, what });
    }

    /// Looks at the answers that have come; each has to be right.
    pub(crate) fn look(&mut self, rig: &mut FenceRig) {
        while let Some(cqe) = rig.hosts[self.host].completions.pop_front() {
            assert_eq!(cqe.status(), Status::SUCCESS);
            let cid = cqe.cid.get();
            let place = self.under_way.iter().position(|asked| asked.cid == cid);
            let place = place.expect("an answer to something that was asked for, and the only one");
            assert!(place == 0 || self.rule == Rule::Apart, "answers in another order");
            let Some(Asked { what, .. }) = self.under_way.remove(place) else { unreachable!("found above") };
            // The head of the submission queue goes forward by what the queue has taken, wherever it is served.
            let sqhd = cqe.sqhd.get();
            let before = self.sqhd.replace(sqhd).unwrap_or(sqhd);
            assert!(
                (sqhd + ENTRIES - before) % ENTRIES <= ENTRIES / 2,
                "the head goes from {before} to {sqhd}"
            );
            self.answered += 1;
            if let What::Read { versions } = what {
                let read = rig.hosts[self.host].reads.remove(&cid).expect("the data of a read");
                for (block, version) in read.chunks(BLOCK).zip(versions) {
                    self.check(block, version);
                }
            }
        }
    }

    /// A block that was read when `version` was the newest that had been asked for. A memory device lends its memory to the
    /// answer, which then shows what was written before it left, but always whole blocks.
    fn check(&self, block: &[u8], version: u32) {
        let newest = if self.rule == Rule::InOrder { self.version } else { version };
        let words =
            block.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
        let found: Vec<u32> = words.collect();
        let whole = found.iter().all(|word| *word == found[0]);
        assert!(whole && (version..=newest).contains(&found[0]), "{found:?}, and not {version} to {newest}");
    }

    /// Writes of which nobody knows what became of them.
    pub(crate) fn writes_under_way(&self) -> usize {
        self.under_way
            .iter()
            .filter(|asked| matches!(asked.what, What::Write { version } if version > 0))
            .count()
    }
}
