//! Associations that come up, stay up, and come back.

use std::mem::offset_of;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poll_group::{Options, PollGroup};

use super::commands;
use super::target::{BLOCK_BYTES, Misdeed, NSID, Script, Target};
use crate::initiator::association::Attempts;
use crate::initiator::{
    Association, AssociationOptions, Backoff, Change, End, Fault, QueueName, Queues, Transfer, command,
};
use crate::mem::Pool;
use crate::spec::fabrics::{Connect, ConnectRefused};
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

/// From any step to the next.
const STEP_MAX: Duration = Duration::from_secs(20);

fn options(address: SocketAddr) -> AssociationOptions {
    AssociationOptions {
        address,
        identity: commands::options().identity,
        io_queues: 2,
        queues_elsewhere: 0,
        depth: 4,
        header_digest: false,
        data_digest: false,
        flow_control: false,
        keep_alive: Duration::ZERO,
        timeout: Duration::from_secs(10),
        transfer_bytes_max: 1 << 16,
        backoff: Backoff { first: Duration::from_millis(1), ..Backoff::DEFAULT },
    }
}

/// An association with its sockets, driven by hand.
struct Rig {
    association: Association,
    group: PollGroup,
    queues: Queues,
    clock: Clock,
}

impl Rig {
    fn new(options: AssociationOptions) -> Self {
        let association = Association::new(options).unwrap();
        let sockets_max = association.sockets_max();
        let sizes =
            Options { chunk_bytes: 1 << 16, chunks: 2 * sockets_max, sockets_max, chunks_per_socket: 2 };
        let (group, queues) = (PollGroup::new(&sizes).unwrap(), Queues::new(sockets_max));
        Self { association, group, queues, clock: Clock::real() }
    }

    /// Drives it until something changes, or `is_enough`.
    fn until(&mut self, is_enough: impl Fn() -> bool) -> Option<Change> {
        let end = self.clock.now() + STEP_MAX;
        while self.clock.now() < end && !is_enough() {
            let change = self.association.advance(self.clock.now(), &mut self.group, &mut self.queues);
            if change.is_some() {
                return change;
            }
            self.queues.flush(&mut self.group);
            let admin = self.association.admin();
            self.queues.poll(&mut self.group, |socket, completion| {
                if Some(socket) == admin {
                    self.association.completed(completion);
                }
            });
        }
        assert!(is_enough(), "nothing happens");
        None
    }

    fn change(&mut self) -> Change {
        self.until(|| false).unwrap()
    }
}

#[test]
fn it_comes_up_with_all_queues_and_leaves_in_order() {
    let target = Target::start(Script { ready_after: 2, ..Script::default() });
    let mut rig = Rig::new(options(target.address));
    assert_eq!(rig.change(), Change::Up);
    for queue in 0..2 {
        let pair = rig.queues.pair(rig.association.io(queue).unwrap()).unwrap();
        assert!(pair.is_ready());
        assert_eq!(usize::from(pair.qid()), queue + 1);
    }
    assert_eq!(rig.association.io(2), None);
    rig.association.leave(rig.clock.now(), &mut rig.group, &mut rig.queues);
    assert_eq!(rig.change(), Change::Left);
    assert!(rig.association.is_over() && rig.association.admin().is_none());
}

#[test]
fn it_is_kept_alive() {
    let target = Target::start(Script::default());
    let mut rig = Rig::new(AssociationOptions {
        io_queues: 0,
        keep_alive: Duration::from_millis(20),
        ..options(target.address)
    });
    assert_eq!(rig.change(), Change::Up);
    let kept_alive = |seen: &super::target::Seen| {
        seen.commands.iter().filter(|&&(_, opcode)| opcode == AdminOpcode::KEEP_ALIVE.0).count()
    };
    assert_eq!(rig.until(|| target.seen(kept_alive) >= 3), None);
    drop(rig);
}

#[test]
fn it_comes_back_when_a_queue_ends() {
    let target = Target::start(Script { misdeed: Misdeed::CloseOnRead, ..Script::default() });
    let mut rig = Rig::new(options(target.address));
    let pool = Pool::new(1, BLOCK_BYTES).unwrap();
    let buffer = pool.take(BLOCK_BYTES).unwrap();
    for _ in 0..3 {
        assert_eq!(rig.change(), Change::Up);
        rig.association.worked();
        let socket = rig.association.io(1).unwrap();
        let pair = rig.queues.pair_mut(socket).unwrap();
        pair.submit(&command::read(NSID, 0, 1), Transfer::ToHost(buffer.segment_mut(0..BLOCK_BYTES)), 0)
            .unwrap();
        let Change::Down(fault) = rig.change() else { panic!("it is tried again") };
        assert!(matches!(
            fault,
            Fault::Ended { queue: QueueName(2), end: End::ClosedByPeer | End::Broken(_) }
        ));
        assert!(fault.is_loss());
        assert!(rig.queues.pair(socket).is_none(), "every queue is closed before it is told");
    }
    drop(rig);
}

#[test]
fn what_is_final_is_not_tried_again() {
    let sqsize = ConnectRefused::command(offset_of!(Connect, sqsize_z)).into_bits();
    let invalid = Status::CONNECT_INVALID_PARAMETERS;
    let rows = [
        (Script { refuse: Some((1, invalid.with_dnr(), sqsize)), ..Script::default() }, true),
        (Script { refuse: Some((1, invalid, sqsize)), ..Script::default() }, false),
        (Script { queues: 1, ..Script::default() }, true),
    ];
    for (script, is_final) in rows {
        let target = Target::start(script);
        let mut rig = Rig::new(options(target.address));
        let change = rig.change();
        assert_eq!(matches!(change, Change::GaveUp(_)), is_final, "{change:?}");
        assert_eq!(rig.association.is_over(), is_final);
        drop(rig);
    }
}

#[test]
fn nobody_there_is_given_up_after_a_while() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let backoff = Backoff { give_up_after: Duration::from_millis(10), ..options(address).backoff };
    let mut rig = Rig::new(AssociationOptions { backoff, ..options(address) });
    let mut attempts = 1;
    let last = loop {
        match rig.change() {
            Change::Down(fault) => assert!(matches!(fault, Fault::Unreachable(_)), "{fault}"),
            change => break change,
        }
        attempts += 1;
    };
    assert!(matches!(last, Change::GaveUp(Fault::Unreachable(_))), "{last:?}");
    assert!((2..=4).contains(&attempts), "waits of 1, 2 and 4 ms: {attempts}");
}

#[test]
fn waits_double_up_to_a_limit_and_begin_anew_when_something_worked() {
    let ms = Duration::from_millis;
    let backoff = Backoff { first: ms(10), most: ms(50), give_up_after: ms(200) };
    let mut attempts = Attempts::new(backoff);
    let mut now = Time::ORIGIN + ms(1000);
    for wait in [10, 20, 40, 50, 50] {
        let again = attempts.failed(now).unwrap();
        assert_eq!(again.since(now), ms(wait));
        now = again;
    }
    assert_eq!(attempts.failed(now), None, "170 ms have passed, and 50 more would be too many");
    attempts.worked();
    assert_eq!(attempts.failed(now), Some(now + ms(10)));
}
