//! Megabytes in both directions at once, with sizes, pauses, kept leases and direct receives by chance.

use std::{collections::VecDeque, env, sync::LazyLock, time::SystemTime};

use super::{Group, Handler, drive, group, pair, pattern, pattern_at};
use crate::{
    buffer::{Lease, Segment, SegmentMut},
    poll_group::{Closed, Errno, Probation, Sent, SocketId, Taken},
};

on_both_engines! {
    megabytes_arrive_in_both_directions_whatever_the_receiver_does,
    megabytes_arrive_while_probations_end_and_sockets_move,
}

const BYTES: usize = 6 << 20;
const LEASES_MAX: usize = 40;
const PROBATIONS: usize = 3;

/// Xorshift: good enough to mix sizes.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One direction of the transfer, seen from its receiver.
struct End {
    id: SocketId,
    received: usize,
    sent: usize,
    blocked: bool,
    paused: bool,
    over: bool,
    /// Leases and the position of their first byte.
    kept: VecDeque<(usize, Lease)>,
}

struct Ends {
    chance: Chance,
    ends: Vec<End>,
    /// Bytes received directly are not looked at, their number is.
    scratch: SegmentMut,
}

impl Ends {
    fn end(&mut self, id: SocketId) -> &mut End {
        self.ends.iter_mut().find(|end| end.id == id).expect("one of two")
    }
}

impl Handler for Ends {
    fn received(&mut self, id: SocketId, bytes: &Lease) -> Taken {
        let take = match self.chance.below(4) {
            0 => bytes.len(),
            1 => self.chance.below(bytes.len() + 1),
            // Whole messages of 72 bytes or of 1000, as a protocol would.
            2 => bytes.len() / 72 * 72,
            _ => bytes.len() / 1000 * 1000,
        };
        let take = if bytes.len() >= 2048 { take.max(1) } else { take };
        let (keep, pause) = (self.chance.one_in(3), self.chance.one_in(10));
        let end = self.end(id);
        // Nothing follows the last bytes, so they would not be shown again.
        let last = end.received + bytes.len() == BYTES;
        let take = if last { bytes.len() } else { take };
        for (at, byte) in bytes.as_ref().iter().enumerate() {
            assert_eq!(*byte, pattern_at(end.received + at), "at {} of {id:?}", end.received + at);
        }
        if keep && take > 0 {
            end.kept.push_back((end.received, bytes.slice(0..take)));
        }
        end.received += take;
        end.paused = pause;
        Taken { bytes: take, pause }
    }

    fn wanted(&mut self, _: SocketId) -> Option<SegmentMut> {
        let end = 1 + self.chance.below(self.scratch.len());
        self.chance.one_in(4).then(|| self.scratch.slice(0..end))
    }

    fn received_direct(&mut self, id: SocketId, bytes: usize) {
        self.end(id).received += bytes;
    }

    fn sent(&mut self, id: SocketId, result: Result<usize, Errno>) {
        let end = self.end(id);
        assert!(end.blocked);
        end.blocked = false;
        end.sent += result.expect("the connection lives");
    }

    fn writable(&mut self, id: SocketId) {
        let end = self.end(id);
        assert!(end.blocked);
        end.blocked = false;
    }

    fn closed(&mut self, id: SocketId, reason: Closed) {
        assert_eq!(reason, Closed::ByPeer);
        self.end(id).over = true;
    }
}

impl Ends {
    /// Sends, resumes and drops leases by chance.
    fn act(&mut self, group: &mut Group, stream: &'static [u8]) {
        for end in &mut self.ends {
            if end.paused && self.chance.one_in(3) {
                end.paused = false;
                group.resume(end.id);
            }
            while end.kept.len() > LEASES_MAX || !end.kept.is_empty() && self.chance.one_in(2) {
                let at = self.chance.below(end.kept.len());
                let (first, lease) = end.kept.swap_remove_back(at).expect("in range");
                assert!(lease.as_ref() == &stream[first..first + lease.len()]);
            }
            if end.blocked || end.sent == stream.len() {
                continue;
            }
            let mut segments = Vec::new();
            let mut to = end.sent;
            for _ in 0..self.chance.below(50) {
                let next = stream.len().min(to + self.chance.below(5000));
                segments.push(Segment::of(&stream[to..next]));
                to = next;
            }
            match group.group.send(end.id, &segments) {
                Sent::Bytes(taken) => {
                    end.blocked = end.sent + taken < to;
                    end.sent += taken;
                }
                Sent::Blocked | Sent::Pending => end.blocked = true,
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Ends {
    /// Takes a socket out of the group and puts it back, now and then.
    fn move_one(&mut self, group: &mut Group) {
        for end in &mut self.ends {
            // What the kernel is still sending cannot move.
            if !end.blocked && self.chance.one_in(100) {
                let (stream, unread) = group.detach(end.id);
                end.id = group.add(stream, &unread).expect("the place that it had");
                end.paused = false;
            }
        }
    }
}

fn megabytes_arrive_in_both_directions_whatever_the_receiver_does() {
    transfer(group(60, 24), &mut chance(), false);
}

/// However little the kernel takes and whenever that changes, it says when it takes more.
fn megabytes_arrive_while_probations_end_and_sockets_move() {
    let mut chance = chance();
    for _ in 0..PROBATIONS {
        let most = [1, 5000, 128 << 10][chance.below(3)];
        let unsent_bytes = u32::try_from(1 + chance.below(most)).expect("small");
        let probation = Probation { unsent_bytes, ends_after_bytes: 1 + chance.below(BYTES) };
        println!("{probation:?}");
        let mut group = group(60, 24);
        group.put_on_probation(probation);
        transfer(group, &mut chance, true);
    }
}

/// From the variable SEED, or from the time; says which.
fn chance() -> Chance {
    let seed = match env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().map_or(1, |time| u64::from(time.subsec_nanos()) | 1),
    };
    println!("SEED={seed}");
    Chance(seed)
}

/// Sends [`BYTES`] both ways; `moves`: the sockets leave the group and come back.
fn transfer(mut group: Group, chance: &mut Chance, moves: bool) {
    static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(BYTES));
    let stream: &'static [u8] = &STREAM;
    let (one, other) = pair();
    let ends = [one, other].map(|near| {
        let id = group.add(near, &[]).unwrap();
        End { id, received: 0, sent: 0, blocked: false, paused: false, over: false, kept: VecDeque::new() }
    });
    let chance = Chance(1 | chance.below(usize::MAX) as u64);
    let mut ends = Ends { chance, ends: Vec::from(ends), scratch: SegmentMut::of(vec![0; 10_000].leak()) };
    let mut turns = 0_u64;
    while ends.ends.iter().any(|end| end.received < BYTES) {
        group.poll(&mut ends);
        ends.act(&mut group, stream);
        if moves {
            ends.move_one(&mut group);
        }
        turns += 1;
        assert!(turns < 20_000_000, "the transfer hangs");
        assert!(ends.ends.iter().all(|end| end.received <= BYTES && !end.over));
        if turns.is_multiple_of(1024) {
            std::thread::yield_now();
        }
    }
    // The first end closes; the other one learns it once it is not paused any more.
    let first = ends.ends[0].id;
    group.close(first);
    let second = ends.ends[1].id;
    drive(&mut group, &mut ends, |ends| ends.ends[1].over || ends.ends[1].paused);
    if ends.ends[1].paused {
        group.resume(second);
        drive(&mut group, &mut ends, |ends| ends.ends[1].over);
    }
}
