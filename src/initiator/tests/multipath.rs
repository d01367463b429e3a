//! Commands over several paths, to targets that come, go and change their minds.

use std::time::Duration;

use corelane_reactors::clock::Clock;

use super::commands;
use super::target::{BLOCK_BYTES, BLOCKS, Misdeed, NSID, Script, Target};
use crate::initiator::Backoff;
use crate::initiator::multipath::{
    Access, Cause, FormatError, Keeper, Lane, LookError, Options, Paths, Request, look,
};
use crate::mem::{self, Buffer, Pool};
use crate::spec::ana::AnaState;
use crate::spec::event::AsyncEvent;
use crate::spec::status::Status;

/// From any step to the next.
pub(super) const STEP_MAX: Duration = Duration::from_secs(20);
const BUFFERS: u32 = 16;

pub(crate) fn options(targets: &[&Target]) -> Options {
    Options {
        paths: targets.iter().map(|target| target.address).collect(),
        identity: commands::options().identity,
        lanes: 2,
        depth: 16,
        header_digest: false,
        data_digest: true,
        keep_alive: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
        no_path_timeout: Duration::from_secs(10),
        backoff: Backoff {
            first: Duration::from_millis(1),
            most: Duration::from_millis(20),
            ..Backoff::DEFAULT
        },
        transfer_bytes_max: 128 << 10,
    }
}

/// A lane with its keeper, driven by hand.
pub(super) struct Rig {
    pub(super) paths: Paths,
    keeper: Keeper,
    lane: Lane,
    pub(super) clock: Clock,
    pool: Pool,
    tag: u64,
}

impl Rig {
    pub(super) fn new(options: Options) -> Self {
        let found = look(&options, None, Duration::ZERO).unwrap();
        let paths = Paths::new(options, found);
        let keeper = Keeper::new(paths.clone()).unwrap();
        let lane = paths.lane().unwrap().unwrap();
        let pool = Pool::new(BUFFERS, 64 * BLOCK_BYTES).unwrap();
        Self { paths, keeper, lane, clock: Clock::real(), pool, tag: 0 }
    }

    fn buffer(&self) -> Buffer {
        self.pool.take(BLOCK_BYTES).unwrap()
    }

    /// Turns everything until `is_enough`; what ended meanwhile.
    fn until(&mut self, mut is_enough: impl FnMut(&Self, usize) -> bool) -> Vec<(u64, Result<(), Cause>)> {
        let end = self.clock.now() + STEP_MAX;
        let mut ended = Vec::new();
        while !is_enough(self, ended.len()) {
            assert!(self.clock.now() < end, "nothing happens: {:?}", self.paths.access());
            let _ = self.keeper.poll(self.clock.now());
            self.lane.poll(self.clock.now(), &mut |tag, outcome| {
                ended.push((tag, outcome.map_err(|failed| failed.cause)));
            });
            // The targets run on threads of the same machine.
            std::thread::yield_now();
        }
        ended
    }

    /// Turns the keeper alone: nobody polls a lane that has nothing to do.
    pub(super) fn keep_until(&mut self, access: Access) {
        let end = self.clock.now() + STEP_MAX;
        while self.paths.access() != [access] {
            assert!(self.clock.now() < end, "it does not become {access:?}");
            let _ = self.keeper.poll(self.clock.now());
            std::thread::yield_now();
        }
    }

    pub(super) fn until_access(&mut self, access: &[Access]) {
        let _ = self.until(|rig, _| rig.paths.access() == access);
    }

    fn submit(&mut self, request: Request) -> u64 {
        self.tag += 1;
        self.lane.submit(self.clock.now(), self.tag, request).unwrap();
        self.tag
    }

    fn run(&mut self, request: Request) -> Result<(), Cause> {
        let tag = self.submit(request);
        let ended = self.until(|_, count| count > 0);
        assert_eq!((ended.len(), ended[0].0), (1, tag));
        ended[0].1
    }

    pub(super) fn write(&mut self, lba: u64, fill: u8) -> Result<(), Cause> {
        let buffer = self.buffer();
        let bytes = buffer.segment_mut(0..BLOCK_BYTES);
        mem::copy_in(&[fill; BLOCK_BYTES], bytes);
        self.run(Request::Write { lba, from: bytes.read_only(), force_unit_access: false })
    }

    pub(super) fn read(&mut self, lba: u64) -> Result<Vec<u8>, Cause> {
        let buffer = self.buffer();
        let bytes = buffer.segment_mut(0..BLOCK_BYTES);
        self.run(Request::Read { lba, into: bytes })?;
        let mut contents = vec![0; BLOCK_BYTES];
        mem::copy_out(bytes.read_only(), &mut contents);
        Ok(contents)
    }
}

fn reads(target: &Target) -> usize {
    target.seen(|seen| seen.reads)
}

fn two(one: Option<AnaState>, other: Option<AnaState>) -> (Target, Target) {
    let first = Target::start(Script { ana: one, ..Script::default() });
    let second = first.beside(Script { ana: other, ..Script::default() });
    (first, second)
}

pub(super) const OPTIMIZED: Option<AnaState> = Some(AnaState::OPTIMIZED);
const NON_OPTIMIZED: Option<AnaState> = Some(AnaState::NON_OPTIMIZED);

#[test]
fn optimized_paths_take_turns() {
    let (first, second) = two(OPTIMIZED, OPTIMIZED);
    let mut rig = Rig::new(options(&[&first, &second]));
    rig.until_access(&[Access::Optimized; 2]);
    rig.write(3, 0x5a).unwrap();
    // The first command may be faster than the second connection.
    while reads(&first) == 0 || reads(&second) == 0 {
        assert_eq!(rig.read(3), Ok(vec![0x5a; BLOCK_BYTES]));
    }
    let before = (reads(&first), reads(&second));
    for _ in 0..10 {
        assert_eq!(rig.read(3), Ok(vec![0x5a; BLOCK_BYTES]));
    }
    assert_eq!((reads(&first) - before.0, reads(&second) - before.1), (5, 5));
}

#[test]
fn a_path_that_is_not_optimized_is_used_when_no_other_is_there() {
    let (first, second) = two(NON_OPTIMIZED, OPTIMIZED);
    let mut rig = Rig::new(options(&[&first, &second]));
    rig.until_access(&[Access::NonOptimized, Access::Optimized]);
    let _ = rig.until(|rig, _| rig.paths.access()[1] == Access::Optimized);
    rig.write(1, 1).unwrap();
    // From when the optimized one is connected on, it has all.
    while reads(&second) == 0 {
        rig.read(1).unwrap();
    }
    let before = reads(&first);
    for _ in 0..5 {
        rig.read(1).unwrap();
    }
    assert_eq!(reads(&first), before);

    second.change(|script| script.ana = Some(AnaState::INACCESSIBLE));
    second.report(AsyncEvent::ANA_CHANGED);
    rig.until_access(&[Access::NonOptimized, Access::Blocked]);
    for _ in 0..5 {
        assert_eq!(rig.read(1), Ok(vec![1; BLOCK_BYTES]));
    }
    assert!(reads(&first) >= before + 5);
}

#[test]
fn each_state_of_a_path_is_followed() {
    let (first, second) = two(OPTIMIZED, OPTIMIZED);
    let mut rig = Rig::new(options(&[&first, &second]));
    let rows = [
        (AnaState::NON_OPTIMIZED, Access::NonOptimized),
        (AnaState::INACCESSIBLE, Access::Blocked),
        (AnaState::CHANGE, Access::Blocked),
        (AnaState::PERSISTENT_LOSS, Access::Lost),
        (AnaState(0xb), Access::Blocked),
        (AnaState::OPTIMIZED, Access::Optimized),
    ];
    for (state, access) in rows {
        first.change(|script| script.ana = Some(state));
        first.report(AsyncEvent::ANA_CHANGED);
        rig.until_access(&[access, Access::Optimized]);
        rig.write(0, 7).unwrap();
        assert_eq!(rig.read(0), Ok(vec![7; BLOCK_BYTES]));
    }
}

#[test]
fn a_path_that_sends_commands_back_is_looked_at_without_an_event() {
    for state in [AnaState::INACCESSIBLE, AnaState::CHANGE] {
        let (first, second) = two(OPTIMIZED, OPTIMIZED);
        let mut rig = Rig::new(options(&[&first, &second]));
        rig.until_access(&[Access::Optimized; 2]);
        first.change(|script| script.ana = Some(state));
        // Whichever is asked first, each is answered. A path whose queue is not connected yet is passed over: so they are sent
        // until one meets the state.
        let (end, mut fill) = (rig.clock.now() + STEP_MAX, 0_u8);
        while rig.paths.access() != [Access::Blocked, Access::Optimized] {
            assert!(rig.clock.now() < end, "nobody saw {state:?}");
            rig.write(0, fill).unwrap();
            fill = fill.wrapping_add(1);
        }
        // Without an event, too, it is seen to come back.
        first.change(|script| script.ana = OPTIMIZED);
        rig.until_access(&[Access::Optimized; 2]);
    }
}

#[test]
fn commands_fail_over_without_an_error_and_in_the_end_all_of_them_are_there() {
    let (first, second) = two(OPTIMIZED, NON_OPTIMIZED);
    let mut rig = Rig::new(options(&[&first, &second]));
    rig.until_access(&[Access::Optimized, Access::NonOptimized]);
    let buffers: Vec<_> = (0..BUFFERS).map(|_| rig.buffer()).collect();
    for round in 0..8_u8 {
        for (lba, buffer) in (0..).zip(&buffers) {
            let bytes = buffer.segment_mut(0..BLOCK_BYTES);
            mem::copy_in(&[round * 16 + lba; BLOCK_BYTES], bytes);
            rig.submit(Request::Write { lba: lba.into(), from: bytes.read_only(), force_unit_access: true });
        }
        rig.lane.commit();
        // One path is lost while commands are under way; the other one is there.
        if round % 2 == 0 {
            first.cut()
        } else {
            second.cut()
        }
        let ended = rig.until(|_, count| count == buffers.len());
        assert!(ended.iter().all(|(_, outcome)| outcome.is_ok()), "round {round}: {ended:?}");
    }
    drop(buffers);
    for lba in 0..16 {
        assert_eq!(rig.read(lba.into()), Ok(vec![7 * 16 + lba; BLOCK_BYTES]));
    }
}

#[test]
fn commands_wait_for_the_only_path_to_come_back() {
    let target = Target::start(Script::default());
    let mut rig = Rig::new(options(&[&target]));
    rig.write(5, 5).unwrap();
    target.change(|script| script.closed = true);
    rig.until_access(&[Access::Down]);
    let buffer = rig.buffer();
    let tag = rig.submit(Request::Read { lba: 5, into: buffer.segment_mut(0..BLOCK_BYTES) });
    let since = rig.clock.now();
    let waited = rig.until(|rig, _| rig.clock.now().since(since) > Duration::from_millis(100));
    assert_eq!(waited, []);
    target.change(|script| script.closed = false);
    assert_eq!(rig.until(|_, count| count > 0), [(tag, Ok(()))]);
}

#[test]
fn commands_that_find_no_path_in_time_fail_and_so_do_those_that_follow_at_once() {
    let target = Target::start(Script::default());
    let limit = Duration::from_millis(100);
    let mut rig = Rig::new(Options { no_path_timeout: limit, ..options(&[&target]) });
    rig.write(5, 5).unwrap();
    target.change(|script| script.closed = true);
    rig.until_access(&[Access::Down]);
    let since = rig.clock.now();
    assert_eq!(rig.read(5), Err(Cause::NoPath));
    assert!(rig.clock.now().since(since) >= limit);
    assert_eq!(rig.write(5, 6), Err(Cause::NoPath));
    // One that waits can be taken back.
    let mut rig = Rig { lane: rig.paths.lane().unwrap().unwrap(), ..rig };
    let tag = rig.submit(Request::Flush);
    assert!(rig.lane.abort(tag) && !rig.lane.abort(tag));
    assert_eq!(rig.until(|_, count| count > 0), [(tag, Err(Cause::Aborted))]);
    target.change(|script| script.closed = false);
    rig.until_access(&[Access::Optimized]);
    // The path is there, and the lane's own queue takes as long as it takes.
    assert_eq!(rig.read(5), Ok(vec![5; BLOCK_BYTES]));
}

#[test]
fn a_command_that_is_not_answered_is_sent_again_on_a_new_connection() {
    let target = Target::start(Script { misdeed: Misdeed::IgnoreReads, ..Script::default() });
    let mut rig = Rig::new(Options { timeout: Duration::from_millis(150), ..options(&[&target]) });
    let buffer = rig.buffer();
    let tag = rig.submit(Request::Read { lba: 0, into: buffer.segment_mut(0..BLOCK_BYTES) });
    let _ = rig.until(|_, _| reads(&target) > 0);
    target.change(|script| script.misdeed = Misdeed::None);
    assert_eq!(rig.until(|_, count| count > 0), [(tag, Ok(()))]);
    assert_eq!(reads(&target), 2);
}

#[test]
fn data_that_comes_damaged_is_read_again_but_not_for_ever() {
    let target = Target::start(Script { misdeed: Misdeed::DamageReads, ..Script::default() });
    let mut rig = Rig::new(options(&[&target]));
    assert_eq!(rig.read(0), Err(Cause::ReadFault));
    assert_eq!(reads(&target), 4);
}

#[test]
fn statuses_are_told_as_what_they_are_and_those_of_the_path_are_not_told() {
    let target = Target::start(Script::default());
    let mut rig = Rig::new(options(&[&target]));
    let rows = [
        (Status::LBA_OUT_OF_RANGE.with_dnr(), Err(Cause::OutOfRange)),
        (Status::COMPARE_FAILURE, Err(Cause::Miscompare)),
        (Status::WRITE_FAULT, Err(Cause::WriteFault)),
        (Status::UNRECOVERED_READ_ERROR, Err(Cause::ReadFault)),
        (Status::WRITE_PROTECTED.with_dnr(), Err(Cause::WriteProtected)),
        (Status::CAPACITY_EXCEEDED, Err(Cause::NoSpace)),
        (Status::INVALID_OPCODE.with_dnr(), Err(Cause::Unsupported)),
        (Status::ABORT_REQUESTED, Err(Cause::Aborted)),
        (Status::INTERNAL_ERROR, Err(Cause::Device { again: true })),
        (Status::INTERNAL_ERROR.with_dnr(), Err(Cause::Device { again: false })),
        (Status::TRANSIENT_TRANSPORT_ERROR, Ok(())),
        (Status::TRANSIENT_TRANSPORT_ERROR.with_dnr(), Err(Cause::Device { again: false })),
        (Status::INTERNAL_PATH_ERROR, Ok(())),
        (Status::ANA_TRANSITION, Ok(())),
        (Status::ANA_INACCESSIBLE, Ok(())),
        (Status::INVALID_NAMESPACE, Ok(())),
        (Status::ABORTED_SQ_DELETION, Ok(())),
    ];
    for (status, outcome) in rows {
        target.change(|script| script.fail = Some((status, 1)));
        assert_eq!(rig.write(0, 1), outcome, "{status:?}");
    }
    // What comes damaged again and again is not sent for ever.
    for (times, outcome) in [(3, Ok(())), (4, Err(Cause::Device { again: true }))] {
        target.change(|script| script.fail = Some((Status::TRANSIENT_TRANSPORT_ERROR, times)));
        assert_eq!(rig.write(0, 1), outcome, "{times} times");
    }
}

#[test]
fn a_namespace_that_is_not_the_same_any_more_is_not_touched() {
    let changes: [fn(&mut Script); 3] =
        [|script| script.blocks = 0, |script| script.blocks = BLOCKS / 2, |script| script.uuid = 2];
    for change in changes {
        let target = Target::start(Script::default());
        let mut rig = Rig::new(options(&[&target]));
        rig.write(9, 9).unwrap();
        target.change(change);
        target.report(AsyncEvent::NAMESPACE_CHANGED);
        rig.until_access(&[Access::Lost]);
        assert_eq!(rig.write(9, 1), Err(Cause::Gone));
        target.change(|script| (script.blocks, script.uuid) = (BLOCKS, 1));
        target.report(AsyncEvent::NAMESPACE_CHANGED);
        rig.until_access(&[Access::Optimized]);
        assert_eq!(rig.read(9), Ok(vec![9; BLOCK_BYTES]));
        // The same behind a new connection, on a target that reports nothing.
        target.change(|script| script.events = false);
        target.change(change);
        target.cut();
        rig.until_access(&[Access::Lost]);
        assert_eq!(rig.write(9, 1), Err(Cause::Gone));
        target.change(|script| (script.blocks, script.uuid) = (BLOCKS * 2, 1));
        rig.until_access(&[Access::Optimized]);
        assert_eq!(rig.read(9), Ok(vec![9; BLOCK_BYTES]));
    }
}

#[test]
fn long_commands_are_sent_in_parts() {
    // MDTS 1: 8 KiB.
    let target = Target::start(Script { mdts: 1, ..Script::default() });
    let mut rig = Rig::new(options(&[&target]));
    let buffer = rig.pool.take(64 * BLOCK_BYTES).unwrap();
    let bytes = buffer.segment_mut(0..50 * BLOCK_BYTES);
    let contents: Vec<u8> =
        (0..bytes.len()).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect();
    mem::copy_in(&contents, bytes);
    rig.run(Request::Write { lba: 11, from: bytes.read_only(), force_unit_access: false }).unwrap();
    mem::zero(bytes);
    rig.run(Request::Read { lba: 11, into: bytes }).unwrap();
    assert_eq!(reads(&target), 4, "25 KiB in parts of 8");
    let mut read = vec![0; bytes.len()];
    mem::copy_out(bytes.read_only(), &mut read);
    assert!(read == contents);
    rig.run(Request::Compare { lba: 11, with: bytes.read_only() }).unwrap();
    rig.run(Request::WriteZeroes { lba: 60, blocks: 1, deallocate: true, force_unit_access: true }).unwrap();
    assert_eq!(rig.run(Request::Compare { lba: 11, with: bytes.read_only() }), Err(Cause::Miscompare));
}

#[test]
fn a_keeper_takes_leave() {
    let (first, second) = two(None, None);
    let mut rig = Rig::new(options(&[&first, &second]));
    rig.until_access(&[Access::Optimized; 2]);
    rig.keeper.leave(rig.clock.now());
    let _ = rig.until(|rig, _| rig.keeper.has_left());
    assert_eq!(rig.paths.access(), [Access::Down; 2]);
}

#[test]
fn lanes_are_as_many_as_were_asked_for() {
    let target = Target::start(Script::default());
    let rig = Rig::new(options(&[&target]));
    let second = rig.paths.lane().unwrap();
    assert!(second.is_some() && rig.paths.lane().unwrap().is_none());
    drop(second);
    assert!(rig.paths.lane().unwrap().is_some());
}

#[test]
fn what_cannot_be_used_is_refused_in_the_beginning() {
    let refused = |script: Script, nsid, change: fn(&mut Options)| {
        let target = Target::start(script);
        let mut options = options(&[&target]);
        change(&mut options);
        look(&options, nsid, Duration::ZERO).unwrap_err()
    };
    let few = refused(Script { queues: 1, ..Script::default() }, None, |_| {});
    assert!(matches!(few, LookError::Queues { given: 1, wanted: 2, .. }), "{few}");
    let other = refused(Script::default(), Some(NSID + 1), |_| {});
    assert!(other.to_string().ends_with("no active namespace 2; it has 1"), "{other}");
    let empty = refused(Script { blocks: 0, ..Script::default() }, None, |_| {});
    assert!(matches!(empty, LookError::Format { error: FormatError::Empty, .. }), "{empty}");
    let refuse = Some((0, Status::CONNECT_INVALID_HOST.with_dnr(), 0));
    let host = refused(Script { refuse, ..Script::default() }, None, |_| {});
    assert!(host.to_string().ends_with("Connect refused: Connect Invalid Host (1h/84h)"), "{host}");
    // The second path answers.
    let (first, second) = two(None, None);
    first.change(|script| script.closed = true);
    assert!(look(&options(&[&first, &second]), None, Duration::ZERO).is_ok());
}
