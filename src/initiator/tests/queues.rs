//! Queue pairs on a poll group, many commands at a time.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use corelane_reactors::poll_group::{Options, PollGroup, SocketId};

use super::commands::options;
use super::target::{BLOCK_BYTES, BLOCKS, CNTLID, Misdeed, NSID, Script, Target};
use crate::initiator::{
    CommandError, Completion, Kind, NotSubmitted, QueueOptions, QueuePair, Queues, Transfer, command,
};
use crate::mem::{self, Buffer, Pool};

const DEPTH: u16 = 32;
const BLOCKS_PER_COMMAND: u32 = 16;
const BYTES: usize = BLOCKS_PER_COMMAND as usize * BLOCK_BYTES;
const PATIENCE: Duration = Duration::from_secs(20);

/// A queue on its own poll group.
struct Rig {
    group: PollGroup,
    queues: Queues,
    queue: SocketId,
    buffers: Vec<Buffer>,
}

impl Rig {
    fn new(target: &Target, data_digest: bool, flow_control: bool) -> Self {
        let poll_group = Options { chunk_bytes: 16 << 10, chunks: 8, sockets_max: 2, chunks_per_socket: 2 };
        let mut group = PollGroup::new(&poll_group).unwrap();
        let mut queues = Queues::new(2);
        let queue_options = QueueOptions {
            kind: Kind::Io { qid: 1, cntlid: CNTLID },
            depth: DEPTH,
            header_digest: data_digest,
            data_digest,
            flow_control,
            in_capsule_bytes_max: 4096,
            transfer_bytes_max: 32 << 10,
        };
        let stream = TcpStream::connect(target.address).unwrap();
        let queue = queues.open(&mut group, stream, &options().identity, &queue_options).unwrap();
        let pool = Pool::new(DEPTH.into(), BYTES).unwrap();
        let buffers = std::iter::from_fn(|| pool.take(BYTES)).collect();
        Self { group, queues, queue, buffers }
    }

    fn ready(target: &Target, data_digest: bool, flow_control: bool) -> Self {
        let mut rig = Self::new(target, data_digest, flow_control);
        assert_eq!(rig.pair().submit(&command::flush(NSID), Transfer::None, 0), Err(NotSubmitted::NotReady));
        rig.until(|queues, queue| queues.pair(queue).unwrap().is_ready());
        assert_eq!(rig.pair().flow_control(), flow_control);
        rig
    }

    fn pair(&mut self) -> &mut QueuePair {
        self.queues.pair_mut(self.queue).unwrap()
    }

    /// Turns until `done`; returns what completed meanwhile.
    fn until(&mut self, done: impl Fn(&Queues, SocketId) -> bool) -> Vec<Completion> {
        let start = Instant::now();
        let mut completions = Vec::new();
        while !done(&self.queues, self.queue) {
            assert!(start.elapsed() < PATIENCE);
            self.queues.flush(&mut self.group);
            assert!(self.queues.forgets_nobody());
            self.queues.poll(&mut self.group, |_, completion| completions.push(completion));
            assert!(self.queues.forgets_nobody());
        }
        completions
    }

    fn until_idle(&mut self) -> Vec<Completion> {
        self.until(|queues, queue| queues.pair(queue).unwrap().outstanding() == 0)
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn deep_queue_keeps_commands_and_their_data_apart() {
    for (row, (data_digest, flow_control)) in
        [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
    {
        let mut seed = 0x5eed + row as u64;
        println!("seed {seed:#x}");
        let target = Target::start(Script::default());
        let mut rig = Rig::ready(&target, data_digest, flow_control);
        let mut disk = vec![0; usize::try_from(BLOCKS).unwrap() * BLOCK_BYTES];
        for _round in 0..20 {
            // Each command of a round has its own part of the namespace, so that their order does not matter.
            let mut expected = vec![None; usize::from(DEPTH)];
            for slot in 0..DEPTH {
                let random = next(&mut seed);
                let lba = u64::from(slot) * u64::from(BLOCKS_PER_COMMAND) * 2 + random % 16;
                let blocks = u32::try_from(random >> 8).unwrap_or(9) % BLOCKS_PER_COMMAND + 1;
                let bytes = blocks as usize * BLOCK_BYTES;
                let place = usize::try_from(lba).unwrap() * BLOCK_BYTES;
                let place = &mut disk[place..place + bytes];
                let buffer = &rig.buffers[usize::from(slot)];
                let (sqe, transfer) = if random >> 63 == 0 {
                    let data = vec![random.to_le_bytes()[6]; bytes];
                    place.copy_from_slice(&data);
                    mem::copy_in(&data, buffer.segment_mut(0..bytes));
                    let write = command::write(NSID, lba, blocks, false);
                    (write, Transfer::ToController(buffer.segment(0..bytes)))
                } else {
                    expected[usize::from(slot)] = Some(place.to_vec());
                    (command::read(NSID, lba, blocks), Transfer::ToHost(buffer.segment_mut(0..bytes)))
                };
                rig.pair().submit(&sqe, transfer, slot.into()).unwrap();
            }
            assert_eq!(rig.pair().submit(&command::flush(NSID), Transfer::None, 99), Err(NotSubmitted::Full));
            let mut tags: Vec<u64> = rig
                .until_idle()
                .into_iter()
                .map(|completion| {
                    completion.outcome.unwrap();
                    completion.tag
                })
                .collect();
            tags.sort_unstable();
            assert!(tags.into_iter().eq(0..u64::from(DEPTH)));
            for (buffer, expected) in rig.buffers.iter().zip(expected) {
                let Some(expected) = expected else { continue };
                let mut read = vec![0; expected.len()];
                mem::copy_out(buffer.segment(0..expected.len()), &mut read);
                assert!(read == expected);
            }
        }
        rig.queues.close_all(&mut rig.group);
    }
}

#[test]
fn every_command_is_told_when_the_connection_ends() {
    let target = Target::start(Script { misdeed: Misdeed::CloseOnRead, ..Script::default() });
    let mut rig = Rig::ready(&target, false, false);
    for slot in 0..3 {
        let into = rig.buffers[slot].segment_mut(0..BLOCK_BYTES);
        rig.pair().submit(&command::read(NSID, 0, 1), Transfer::ToHost(into), slot as u64).unwrap();
    }
    let mut completions = rig.until_idle();
    completions.sort_unstable_by_key(|completion| completion.tag);
    let outcome = Err(CommandError::Disconnected);
    assert_eq!(completions, [0, 1, 2].map(|tag| Completion { tag, outcome }));
    assert!(rig.pair().end().is_some());
    assert_eq!(rig.pair().submit(&command::flush(NSID), Transfer::None, 0), Err(NotSubmitted::NotReady));
    let Rig { group, queues, queue, .. } = &mut rig;
    queues.close(group, *queue);
    assert!(queues.pair(*queue).is_none());
}

#[test]
fn a_connect_that_ends_with_its_connection_is_told_to_nobody() {
    let target = Target::start(Script { misdeed: Misdeed::CloseOnConnect, ..Script::default() });
    let mut rig = Rig::new(&target, false, false);
    let mut completions = rig.until(|queues, queue| queues.pair(queue).unwrap().end().is_some());
    completions.extend(rig.until_idle());
    assert_eq!(completions, []);
    drop(rig);
}

#[test]
fn refused_submission_changes_nothing() {
    let target = Target::start(Script::default());
    let mut rig = Rig::ready(&target, false, false);
    let pool = Pool::new(1, 64 << 10).unwrap();
    let buffer = pool.take(64 << 10).unwrap();
    let long = Transfer::ToController(buffer.segment(0..40 << 10));
    let refused = rig.pair().submit(&command::write(NSID, 0, 80, false), long, 1);
    assert_eq!(refused, Err(NotSubmitted::TooLong { bytes: 40 << 10, max: 32 << 10 }));
    assert_eq!(rig.pair().outstanding(), 0);
    rig.pair().submit(&command::flush(NSID), Transfer::None, 2).unwrap();
    let completions = rig.until_idle();
    assert_eq!(completions.len(), 1);
    assert_eq!(completions[0].tag, 2);
    drop(rig);
}
