//! A block is read as a whole, wherever the socket of its host takes no more for now, and whatever is written then: the memory
//! of a bdev is sent from where it lies.

use std::collections::HashMap;
use std::sync::Arc;

use corelane::bdev::Malloc;
use corelane::initiator::command;
use corelane::spec::status::Status;

use crate::host::Wish;
use crate::random::Random;
use crate::rig::{ENGINE, IO_URING, Rig, settings};

const DEVICE_BYTES: u32 = 512 << 10;
const TRANSFER_BYTES: u32 = 128 << 10;
/// Far more than the sockets between host and target hold.
const READS: u16 = 120;
/// How often everything is written while reads are on their way.
const GENERATIONS: u32 = 60;
/// Bytes that the host reads between two generations, at most.
const MEAL_MAX: u64 = 2 << 20;

/// What one I/O reactor serves is lent, unless its sockets are on io_uring.
fn lends() -> bool {
    std::env::var(ENGINE).as_deref() != Ok(IO_URING)
}

/// A host that reads everything, again and again, and one that overwrites it.
struct Scene {
    rig: Rig,
    reader: usize,
    writer: usize,
    block_bytes: u32,
    generation: u32,
    random: Random,
    /// By CID: the generation when the read was asked for.
    asked: HashMap<u16, u32>,
    /// Reads that show two generations, and those that show one that was written after they were asked for.
    mixed: u32,
    newer: u32,
}

impl Scene {
    fn new(seed: u64, block_bytes: u32) -> Self {
        println!("seed {seed}, blocks of {block_bytes} bytes");
        let malloc = Malloc::new("ram", DEVICE_BYTES.into(), block_bytes).expect("memory");
        let malloc = if lends() { malloc.for_one_reactor() } else { malloc };
        let wish = Wish::default();
        let mut rig = Rig::connected(&settings(), &wish, |_| Arc::new(malloc));
        let writer = rig.open_queue(2, &wish);
        let (asked, random) = (HashMap::new(), Random(seed));
        let mut scene =
            Self { rig, reader: 1, writer, block_bytes, generation: 0, random, asked, mixed: 0, newer: 0 };
        scene.write();
        scene.rig.hosts[scene.reader].appetite = 0;
        scene
    }

    /// Writes the next generation everywhere.
    fn write(&mut self) {
        self.generation += 1;
        let data = self.generation.to_le_bytes().repeat(TRANSFER_BYTES as usize / 4);
        let blocks = TRANSFER_BYTES / self.block_bytes;
        for part in 0..DEVICE_BYTES / TRANSFER_BYTES {
            let write = command::write(1, u64::from(part * blocks), blocks, false);
            self.rig.hosts[self.writer].on_request(1, write, &data);
            assert_eq!(self.rig.completion(self.writer), (1, Status::SUCCESS));
        }
    }

    /// Asks for as much as the queue has room for.
    fn ask(&mut self) {
        let all = u64::from(DEVICE_BYTES / self.block_bytes);
        for cid in 0..READS {
            if self.asked.contains_key(&cid) {
                continue;
            }
            let most = u64::from(TRANSFER_BYTES / self.block_bytes);
            let count = 1 + self.random.below(most);
            let first = self.random.below(all - count + 1);
            let count = u32::try_from(count).expect("few blocks");
            let bytes = (count * self.block_bytes) as usize;
            self.rig.hosts[self.reader].read(cid, command::read(1, first, count), bytes);
            self.asked.insert(cid, self.generation);
        }
    }

    /// Has the host read so many bytes, in mouthfuls of any size, as far as they come.
    fn eat(&mut self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let mouthful = left.min(1 + self.random.below(200_000));
            self.rig.hosts[self.reader].appetite = usize::try_from(mouthful).expect("a mouthful");
            self.rig.round();
            left -= mouthful;
        }
        self.rig.hosts[self.reader].appetite = 0;
        self.check();
    }

    fn check(&mut self) {
        while let Some(cqe) = self.rig.hosts[self.reader].completions.pop_front() {
            assert_eq!(cqe.status(), Status::SUCCESS);
            let cid = cqe.cid.get();
            let asked = self.asked.remove(&cid).expect("a read that was asked for");
            let data = self.rig.hosts[self.reader].reads.remove(&cid).expect("its data");
            let mut found = Vec::new();
            for (index, block) in data.chunks(self.block_bytes as usize).enumerate() {
                let mut words = block
                    .chunks_exact(4)
                    .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
                let first = words.next().expect("a word");
                assert!(words.all(|word| word == first), "block {index} of {} is torn", data.len());
                assert!((asked..=self.generation).contains(&first), "{first}, asked for at {asked}");
                found.push(first);
            }
            self.mixed += u32::from(found.iter().any(|generation| *generation != found[0]));
            self.newer += u32::from(found.iter().any(|generation| *generation > asked));
        }
    }
}

#[test]
fn no_block_is_torn_wherever_a_send_ends() {
    for (seed, block_bytes) in [(1, 512), (2, 4096), (3, 4096), (4, 16 << 10), (5, 64 << 10), (6, 64 << 10)] {
        let mut scene = Scene::new(seed, block_bytes);
        for _ in 0..GENERATIONS {
            scene.ask();
            scene.rig.quiet();
            scene.write();
            let meal = 1 + scene.random.below(MEAL_MAX);
            scene.eat(meal);
        }
        scene.rig.hosts[scene.reader].appetite = usize::MAX;
        let rest = scene.asked.len();
        scene.rig.until("the rest", |rig| rig.hosts[1].completions.len() == rest);
        scene.check();
        let Scene { mixed, newer, .. } = scene;
        println!("{newer} reads show what was written on their way, {mixed} of them in some of their blocks");
        // What was copied when the read came would show nothing of that: where one reactor serves, nothing is.
        assert!(newer > 0 && mixed > 0 || !lends());
    }
}
