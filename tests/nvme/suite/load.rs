//! A random load with verification: many commands in flight on all queue pairs, each lane of blocks with one at a time.

use corelane::mem::{Segment, SegmentMut};
use corelane::nvme::{BlockRange, Device, Failure, IoCommand, Outcome};

use super::content::{Content, Oracle, Random};
use super::rig::{Done, Rig, Shape};

/// Lanes: ranges of blocks that have one command in flight at most.
const LANES: u64 = 24;

/// Blocks of a lane.
const LANE_BLOCKS: u64 = 24;

/// Blocks that the load overwrites, from the first on.
pub(crate) const LOAD_BLOCKS: u64 = LANES * LANE_BLOCKS;

/// What a lane is doing.
#[derive(Clone, Debug)]
struct Flight {
    tag: u64,
    kind: Kind,
    slba: u64,
    blocks: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write { version: u64 },
    Zeroes,
    Deallocate,
    Compare { equal: bool },
    Copy { from: u64 },
    Other,
}

/// How the commands of a load may end.
pub(crate) type Allowed<'a> = &'a dyn Fn(Failure) -> bool;

/// A load that goes on: what it knows of the blocks is kept from one run to the next.
pub(crate) struct Load {
    oracle: Oracle,
    random: Random,
    lanes: Vec<Option<Flight>>,
}

impl Load {
    /// Sets the blocks to zeros.
    pub(crate) fn new<D: Device>(rig: &mut Rig<'_, D>, seed: u64) -> Self {
        assert!(rig.blocks >= LOAD_BLOCKS);
        let step = 16;
        for slba in (0..LOAD_BLOCKS).step_by(step) {
            rig.write(0, slba, &vec![0; step * rig.block_size], &Shape::default()).unwrap();
        }
        let oracle = Oracle::new(0, usize::try_from(LOAD_BLOCKS).unwrap());
        Self { oracle, random: Random::new(seed), lanes: vec![None; usize::try_from(LANES).unwrap()] }
    }

    /// Starts and completes commands for so many turns; what is in flight stays so.
    pub(crate) fn run<D: Device>(&mut self, rig: &mut Rig<'_, D>, turns: u32, allowed: Allowed<'_>) {
        for _ in 0..turns {
            for _ in 0..4 {
                let lane = usize::try_from(self.random.below(LANES)).unwrap();
                if self.lanes[lane].is_none() {
                    self.start(rig, lane);
                    self.finish(rig, allowed);
                }
            }
            rig.commit();
            rig.turn();
            self.finish(rig, allowed);
        }
    }

    /// Waits until nothing is in flight, then looks at every block.
    pub(crate) fn end<D: Device>(&mut self, rig: &mut Rig<'_, D>, allowed: Allowed<'_>) {
        let done = rig.settle();
        done.into_iter().for_each(|done| self.learn(rig.block_size, done, allowed));
        assert!(self.lanes.iter().all(Option::is_none));
        rig.buffers.check();
    }

    /// Reads every block.
    pub(crate) fn verify<D: Device>(&mut self, rig: &mut Rig<'_, D>) {
        for slba in (0..LOAD_BLOCKS).step_by(16) {
            let bytes = rig.read(0, slba, 16, &Shape::default()).unwrap();
            for (lba, block) in (slba..).zip(bytes.chunks(rig.block_size)) {
                self.oracle.read(lba, block);
            }
        }
    }

    fn finish<D: Device>(&mut self, rig: &mut Rig<'_, D>, allowed: Allowed<'_>) {
        for done in rig.take_done() {
            self.learn(rig.block_size, done, allowed);
        }
    }

    fn start<D: Device>(&mut self, rig: &mut Rig<'_, D>, lane: usize) {
        let inside = self.random.below(LANE_BLOCKS);
        let slba = u64::try_from(lane).unwrap() * LANE_BLOCKS + inside;
        let blocks = 1 + self.random.below(LANE_BLOCKS - inside);
        let queue = usize::try_from(self.random.below(rig.queues.len() as u64)).unwrap();
        let count = u32::try_from(blocks).unwrap();
        let bytes = count as usize * rig.block_size;
        let shape = self.shape(bytes);
        let nsid = rig.nsid;
        let oncs = rig.controller.identity().oncs;
        let (kind, tag) = match self.random.below(12) {
            0..=3 => {
                let version = self.oracle.next_version();
                let data = self.written(version, slba, blocks, rig.block_size);
                (Kind::Write { version }, rig.submit_write(queue, slba, &data, &shape))
            }
            4 if oncs.write_zeroes() => {
                let (deallocate, fua) = (self.random.below(2) == 1, false);
                let command = IoCommand::WriteZeroes { nsid, slba, blocks: count, deallocate, fua };
                (Kind::Zeroes, rig.submit(queue, None, &command))
            }
            5 if oncs.dataset_management() => {
                let ranges = &[BlockRange { slba, blocks: count }];
                (Kind::Deallocate, rig.submit(queue, None, &IoCommand::Deallocate { nsid, ranges }))
            }
            6 if oncs.compare() => return self.start_compare(rig, lane, queue, (slba, blocks), &shape),
            7 => (Kind::Other, rig.submit(queue, None, &IoCommand::Flush { nsid })),
            8 if rig.copy.is_some() => {
                // The first part of the lane onto the rest, as far as they do not overlap.
                let from = u64::try_from(lane).unwrap() * LANE_BLOCKS;
                let blocks = blocks.min(inside).min(8);
                if blocks == 0 {
                    return;
                }
                let range = BlockRange { slba: from, blocks: u32::try_from(blocks).unwrap() };
                let tag =
                    rig.submit(queue, None, &IoCommand::Copy { nsid, slba, from: &[range], fua: false });
                self.lanes[lane] = Some(Flight { tag, kind: Kind::Copy { from }, slba, blocks });
                return;
            }
            9 if oncs.verify() => {
                (Kind::Other, rig.submit(queue, None, &IoCommand::Verify { nsid, slba, blocks: count }))
            }
            _ => (Kind::Read, rig.submit_read(queue, slba, count, &shape)),
        };
        self.lanes[lane] = Some(Flight { tag, kind, slba, blocks });
    }

    /// A Compare, where it is certain what the blocks hold.
    fn start_compare<D: Device>(
        &mut self,
        rig: &mut Rig<'_, D>,
        lane: usize,
        queue: usize,
        (slba, blocks): (u64, u64),
        shape: &Shape,
    ) {
        let held: Option<Vec<_>> = (slba..slba + blocks).map(|lba| self.oracle.certain(lba)).collect();
        let Some(held) = held else { return };
        let mut data = vec![0; held.len() * rig.block_size];
        held.iter().zip(data.chunks_mut(rig.block_size)).for_each(|(content, block)| content.fill(block));
        let equal = self.random.below(2) == 1;
        if !equal {
            let at = usize::try_from(self.random.below(data.len() as u64)).unwrap();
            data[at] ^= 1;
        }
        let buffer = rig.buffer(data.len(), shape);
        corelane::mem::copy_in(&data, rig.buffers.own(buffer));
        let with: Vec<Segment> = rig.cut(buffer, shape).iter().map(SegmentMut::read_only).collect();
        let (nsid, count) = (rig.nsid, u32::try_from(blocks).unwrap());
        let tag =
            rig.submit(queue, Some(buffer), &IoCommand::Compare { nsid, slba, blocks: count, with: &with });
        self.lanes[lane] = Some(Flight { tag, kind: Kind::Compare { equal }, slba, blocks });
    }

    /// Where data lies: mostly as a page does, sometimes at an odd place and in pieces.
    fn shape(&mut self, bytes: usize) -> Shape {
        let unit = [4096, 4, 1][usize::try_from(self.random.below(3)).unwrap()];
        let offset = usize::try_from(self.random.below(8192)).unwrap() / unit * unit;
        let cuts = (0..self.random.below(4))
            .map(|_| usize::try_from(self.random.below(bytes as u64)).unwrap() / unit * unit)
            .collect();
        Shape { offset, cuts }
    }

    fn written(&self, version: u64, slba: u64, blocks: u64, block_size: usize) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(blocks).unwrap() * block_size];
        for (lba, block) in (slba..).zip(bytes.chunks_mut(block_size)) {
            Content { version, lba }.fill(block);
        }
        bytes
    }

    fn learn(&mut self, block_size: usize, done: Done, allowed: Allowed<'_>) {
        let flying = |lane: &Option<Flight>| lane.as_ref().is_some_and(|flight| flight.tag == done.tag);
        // A command that completed inside its submission has no lane yet: only one on a controller that is gone does.
        let Some(lane) = self.lanes.iter().position(flying) else {
            assert_eq!(done.outcome, Err(Failure::Gone));
            return assert!(allowed(Failure::Gone));
        };
        let flight = self.lanes[lane].take().expect("just found");
        let lbas = flight.slba..flight.slba + flight.blocks;
        match (flight.kind, outcome_of(&flight.kind, done.outcome)) {
            (_, Err(failure)) if !allowed(failure) => panic!("{flight:?} failed: {failure}"),
            (Kind::Read, Ok(())) => {
                for (lba, block) in lbas.zip(done.bytes.chunks(block_size)) {
                    self.oracle.read(lba, block);
                }
            }
            (Kind::Write { version }, outcome) => {
                lbas.for_each(|lba| self.change(lba, Content { version, lba }, outcome.is_ok()));
            }
            (Kind::Zeroes, outcome) => {
                lbas.for_each(|lba| self.change(lba, Content::ZEROS, outcome.is_ok()));
            }
            // A hint: the device may follow it or not.
            (Kind::Deallocate, _) => lbas.for_each(|lba| self.change(lba, Content::ZEROS, false)),
            (Kind::Copy { from }, outcome) => {
                for (source, lba) in (from..).zip(lbas) {
                    match self.oracle.certain(source) {
                        Some(content) => self.change(lba, content, outcome.is_ok()),
                        None => self.oracle.forget(lba, source),
                    }
                }
            }
            (Kind::Read | Kind::Compare { .. } | Kind::Other, _) => {}
        }
    }

    fn change(&mut self, lba: u64, content: Content, certain: bool) {
        if certain { self.oracle.set(lba, content) } else { self.oracle.allow(lba, content) }
    }
}

/// A Compare that found what it was to find succeeded.
fn outcome_of(kind: &Kind, outcome: Outcome) -> Result<(), Failure> {
    use corelane::spec::status::Status;
    match (kind, outcome) {
        (Kind::Compare { equal: false }, Ok(_)) => panic!("a Compare did not find the difference"),
        (Kind::Compare { equal: false }, Err(Failure::Status(status)))
            if status.is(Status::COMPARE_FAILURE) =>
        {
            Ok(())
        }
        (_, outcome) => outcome.map(drop),
    }
}
