//! A block is read as a whole, and as it was at some moment of the read, whatever changes it: every command that does, hosts
//! that read slowly, and hosts that leave in the middle.
//!
//! Three rounds, or `CORELANE_ROUNDS`; each is its seed.

use std::collections::HashMap;
use std::sync::Arc;

use corelane::bdev::Malloc;
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane::transport::Settings;

use crate::host::Wish;
use crate::random::Random;
use crate::rig::{ENGINE, IO_URING, Rig, settings};

const DEVICE_BYTES: u32 = 1 << 20;
/// More than an H2CData PDU brings.
const TRANSFER_BYTES: u32 = 256 << 10;
const READERS: u16 = 3;
/// Reads that a host has under way: more than the sockets hold.
const READS: u16 = 40;
const ROUNDS: u64 = 3;
/// Bytes of a block, round by round.
const BLOCK_BYTES: [u32; 3] = [4096, 64 << 10, 512];
const STEPS: u32 = 60;
/// Turns in which the target takes what it was just asked for.
const TURNS: u32 = 8;
/// Bytes that a host reads between two changes, at most.
const MEAL_MAX: u64 = 1 << 20;
const COPY_BYTES_MAX: u32 = 128 << 10;

/// A host that reads.
struct Reader {
    host: usize,
    /// By CID: the step at which the read was asked for, and its first block.
    asked: HashMap<u16, (u32, usize)>,
}

struct Scene {
    rig: Rig,
    writer: usize,
    readers: Vec<Reader>,
    block_bytes: u32,
    blocks: u32,
    step: u32,
    /// For each block what it held from which step on: every word of it; none for one that cannot be read.
    story: Vec<Vec<(u32, Option<u32>)>>,
    random: Random,
    /// Reads that show two stories.
    mixed: u32,
}

impl Scene {
    fn new(seed: u64, block_bytes: u32) -> Self {
        println!("seed {seed}, blocks of {block_bytes} bytes");
        let malloc = Malloc::new("ram", DEVICE_BYTES.into(), block_bytes).expect("memory");
        let lends = std::env::var(ENGINE).as_deref() != Ok(IO_URING);
        let malloc = if lends { malloc.for_one_reactor() } else { malloc };
        let settings = Settings { transfer_bytes_max: TRANSFER_BYTES, ..settings() };
        let mut rig = Rig::connected(&settings, &Wish::default(), |_| Arc::new(malloc));
        let readers = (0..READERS).map(|index| rig.open_queue(2 + index, &Wish::default()));
        let readers = readers.map(|host| Reader { host, asked: HashMap::new() }).collect();
        let blocks = DEVICE_BYTES / block_bytes;
        let story = vec![vec![(0, Some(0))]; blocks as usize];
        let random = Random(seed);
        let mut scene =
            Self { rig, writer: 1, readers, block_bytes, blocks, step: 0, story, random, mixed: 0 };
        scene.appetite(0);
        scene
    }

    fn appetite(&mut self, bytes: usize) {
        for reader in &self.readers {
            self.rig.hosts[reader.host].appetite = bytes;
        }
    }

    /// Some blocks, no more than so many bytes: the first, and how many.
    fn range(&mut self, bytes_max: u32) -> (u32, u32) {
        let count = 1 + self.random.below((bytes_max / self.block_bytes).min(self.blocks));
        (self.random.below(self.blocks - count + 1), count)
    }

    /// Every block of a range holds this from now on.
    fn hold(&mut self, (first, count): (u32, u32), held: Option<u32>) {
        for block in first..first + count {
            self.story[block as usize].push((self.step, held));
        }
    }

    fn held(&self, block: u32) -> Option<u32> {
        self.story[block as usize].last().expect("it began with zeros").1
    }

    fn bytes(&self, count: u32, word: u32) -> Vec<u8> {
        word.to_le_bytes().repeat((count * self.block_bytes / 4) as usize)
    }

    /// Has each host ask for as much as its queue has room for.
    fn ask(&mut self) {
        for index in 0..self.readers.len() {
            for cid in 0..READS {
                if self.readers[index].asked.contains_key(&cid) {
                    continue;
                }
                let (first, count) = self.range(TRANSFER_BYTES);
                let Reader { host, asked } = &mut self.readers[index];
                let bytes = (count * self.block_bytes) as usize;
                self.rig.hosts[*host].read(cid, command::read(1, first.into(), count), bytes);
                asked.insert(cid, (self.step, first as usize));
            }
        }
    }

    /// Changes some blocks in one of the ways that there are.
    fn change(&mut self) {
        self.step += 1;
        let (step, range @ (first, count)) = (self.step, self.range(TRANSFER_BYTES));
        let (lba, words) = (u64::from(first), self.bytes(count, step));
        let writer = &mut self.rig.hosts[self.writer];
        match self.random.below(7_u32) {
            0 | 1 => {
                self.hold(range, Some(step));
                self.rig.hosts[self.writer].on_request(1, command::write(1, lba, count, false), &words);
            }
            2 => {
                writer.plain(1, command::write_zeroes(1, lba, count, step.is_multiple_of(2)));
                self.hold(range, Some(0));
            }
            3 => {
                writer.in_capsule(1, command::deallocate(1, 1), &command::dataset_range(lba, count));
                self.hold(range, Some(0));
            }
            4 => {
                writer.plain(1, command::write_uncorrectable(1, lba, count));
                self.hold(range, None);
            }
            5 => return self.copy(),
            _ => return self.compare_and_write(),
        }
        assert_eq!(self.rig.completion(self.writer), (1, Status::SUCCESS));
    }

    /// Copies blocks to where they do not overlap.
    fn copy(&mut self) {
        let ((from, count), to) = (self.range(COPY_BYTES_MAX), self.random.below(self.blocks));
        if to + count > self.blocks || from < to + count && to < from + count {
            return;
        }
        let data = command::copy_range(from.into(), count);
        self.rig.hosts[self.writer].in_capsule(1, command::copy(1, to.into(), 1, false), &data);
        let source: Vec<_> = (from..from + count).map(|block| self.held(block)).collect();
        let expected = if source.contains(&None) { Status::UNRECOVERED_READ_ERROR } else { Status::SUCCESS };
        if expected.is_success() {
            for (block, held) in (to..).zip(source) {
                self.hold((block, 1), held);
            }
        }
        assert_eq!(self.rig.completion(self.writer), (1, expected));
    }

    /// Writes a block that holds what it is thought to. Hosts read meanwhile, or they would lose their connections.
    fn compare_and_write(&mut self) {
        let block = self.random.below(self.blocks);
        let Some(held) = self.held(block) else { return };
        let (mut compare, mut write) =
            (command::compare(1, block.into(), 1), command::write(1, block.into(), 1, false));
        command::fuse(&mut compare, &mut write);
        let (old, new) = (self.bytes(1, held), self.bytes(1, self.step));
        self.hold((block, 1), Some(self.step));
        let writer = &mut self.rig.hosts[self.writer];
        writer.on_request(1, compare, &old);
        writer.on_request(2, write, &new);
        self.appetite(20_000);
        assert_eq!(self.rig.completion(self.writer), (1, Status::SUCCESS));
        assert_eq!(self.rig.completion(self.writer), (2, Status::SUCCESS));
        self.appetite(0);
    }

    /// Has a host read in mouthfuls of any size.
    fn eat(&mut self, index: usize) {
        let host = self.readers[index].host;
        let mut left = self.random.below(u32::try_from(MEAL_MAX).expect("a meal"));
        while left > 0 {
            let mouthful = left.min(1 + self.random.below(150_000));
            self.rig.hosts[host].appetite = mouthful as usize;
            self.rig.round();
            left -= mouthful;
        }
        self.rig.hosts[host].appetite = 0;
    }

    /// A host leaves with its reads under way, and another one takes its place.
    fn replace(&mut self, index: usize) {
        self.rig.hosts[self.readers[index].host].hang_up();
        self.rig.quiet();
        let qid = 2 + u16::try_from(index).expect("few");
        let host = self.rig.open_queue(qid, &Wish::default());
        self.readers[index] = Reader { host, asked: HashMap::new() };
    }

    fn check(&mut self) {
        for Reader { host, asked } in &mut self.readers {
            while let Some(cqe) = self.rig.hosts[*host].completions.pop_front() {
                let (since, first) = asked.remove(&cqe.cid.get()).expect("a read that was asked for");
                let data = self.rig.hosts[*host].reads.remove(&cqe.cid.get()).expect("its data");
                let blocks: Vec<_> = data.chunks(self.block_bytes as usize).collect();
                // What a block held at any moment since then.
                let held = |block: usize| {
                    let story = &self.story[first + block];
                    let begin = story.iter().rposition(|(step, _)| *step <= since).expect("from the start");
                    story[begin..].iter().map(|(_, held)| *held)
                };
                if cqe.status() == Status::UNRECOVERED_READ_ERROR {
                    assert!((0..blocks.len()).any(|block| held(block).any(|held| held.is_none())));
                    continue;
                }
                assert_eq!(cqe.status(), Status::SUCCESS);
                let mut found = Vec::new();
                for (index, block) in blocks.iter().enumerate() {
                    let word = u32::from_le_bytes(block[..4].try_into().expect("four bytes"));
                    assert!(block.chunks(4).all(|other| *other == block[..4]), "block {index} is torn");
                    assert!(held(index).any(|held| held == Some(word)), "block {index} never held {word}");
                    found.push(word);
                }
                self.mixed += u32::from(found.iter().any(|word| *word != found[0]));
            }
        }
    }
}

#[test]
fn every_block_is_whole_whatever_changes_it_and_whoever_leaves() {
    let rounds = std::env::var("CORELANE_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    for (seed, block_bytes) in (1..=rounds).zip(BLOCK_BYTES.into_iter().cycle()) {
        let mut scene = Scene::new(seed, block_bytes);
        for _ in 0..STEPS {
            scene.ask();
            for _ in 0..TURNS {
                scene.rig.round();
            }
            scene.change();
            let index = usize::try_from(scene.random.below(u32::from(READERS))).expect("few");
            if scene.random.below(10_u32) == 0 {
                scene.replace(index);
            } else {
                scene.eat(index);
            }
            scene.check();
        }
        scene.appetite(usize::MAX);
        scene.rig.quiet();
        scene.check();
        assert!(scene.readers.iter().all(|reader| reader.asked.is_empty()), "every read is answered");
        println!("{} reads found blocks of several moments", scene.mixed);
        assert!(scene.mixed > 0);
    }
}
