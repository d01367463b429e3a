//! Parts of the transport that need no socket. Whole targets are driven in the crate's `tests/transport`.

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Mailbox;
use corelane_reactors::sim::Simulation;
use zerocopy::{FromZeros, IntoBytes};

use crate::nvmf::controller::ControllerId;
use crate::nvmf::options::Options;
use crate::nvmf::target::{Arrival, Connected, Target};
use crate::spec::fabrics::{CNTLID_DYNAMIC, Connect, ConnectData, FabricsHeader};
use crate::spec::nqn::DISCOVERY_NQN;
use crate::spec::opcode::FabricsType;
use crate::spec::sgl::SglDescriptor;
use crate::spec::status::Status;
use crate::spec::text::nul_padded;
use crate::transport::message::IoMail;
use crate::transport::slots::Slots;
use crate::transport::submission::SubmissionQueue;
use crate::transport::{Management, Nearest, Placement, command};

/// A target with one controller.
fn target() -> (Target, ControllerId) {
    let mut target = Target::new(Options::default());
    let connect = Connect {
        header: FabricsHeader::of(FabricsType::CONNECT, 0, SglDescriptor::in_capsule(0, 1024)),
        recfmt: 0.into(),
        qid: 0.into(),
        sqsize_z: 31.into(),
        cattr: 0,
        reserved: 0,
        kato: 0.into(),
        reserved_end: [0; 12],
    };
    let mut data = ConnectData::new_zeroed();
    data.hostid = [7; 16];
    data.cntlid.set(CNTLID_DYNAMIC);
    data.subnqn = nul_padded(DISCOVERY_NQN);
    data.hostnqn = nul_padded("nqn.2026-11.io.corelane:host");
    let here = "127.0.0.1:4420".parse().unwrap();
    let arrival = Arrival { local: here, peer: here };
    match target.connect(Time::ORIGIN, &connect.into(), data.as_bytes(), &arrival) {
        Ok(Connected::Admin { controller, .. }) => (target, controller),
        other => panic!("{other:?}"),
    }
}

fn closed(mailbox: &mut Mailbox<IoMail>) -> Option<u16> {
    match mailbox.receive()? {
        IoMail::Close { qid, .. } => Some(qid),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_that_found_no_room_keep_their_order() {
    let sim = Simulation::new(1, 1).unwrap();
    let (to_management, _mail) = sim.group().mailbox(0, 1);
    let (to_io, mut mailbox) = sim.group().mailbox(0, 1);
    let (target, controller) = target();
    let mut management = Management::new(target, to_management, vec![to_io]);
    let close = |qid| IoMail::Close { controller, qid };
    management.send(0, close(1));
    management.send(0, close(2));
    assert_eq!(closed(&mut mailbox), Some(1));
    management.send(0, close(3));
    for expected in [2, 3] {
        assert!(management.tick(Time::ORIGIN));
        assert_eq!(closed(&mut mailbox), Some(expected));
    }
    assert!(!management.tick(Time::ORIGIN));
    assert_eq!(closed(&mut mailbox), None);
}

#[test]
fn slots_are_free_exactly_while_they_are_empty() {
    let mut slots = Slots::new(3);
    let indexes: Vec<_> = ["a", "b", "c"].map(|value| slots.insert(value)).into();
    assert_eq!((slots.used(), slots.next()), (3, None));
    assert_eq!(slots.remove(indexes[1]), Some("b"));
    assert_eq!(slots.remove(indexes[1]), None);
    assert_eq!(slots.find(indexes[1]), None);
    assert_eq!(slots.remove(7), None);
    assert_eq!(slots.next(), Some(indexes[1]));
    let left: Vec<_> = slots.iter().map(|(index, value)| (index, *value)).collect();
    assert_eq!(left, [(indexes[0], "a"), (indexes[2], "c")]);
}

#[test]
fn the_head_wraps_at_the_end_of_the_queue() {
    for entries in [2, 3, 65_536] {
        let mut queue = SubmissionQueue::connected(entries, true);
        for fetched in 1..2 * entries {
            let head = u16::try_from(fetched % entries).unwrap();
            assert_eq!(queue.cqe(9, Status::SUCCESS).sqhd.get(), head);
            queue.fetched();
        }
    }
}

#[test]
fn a_tag_names_socket_and_slot() {
    let untagged = command::untag(0x0001_2345_ffff);
    assert_eq!(untagged, (0x1_2345, 0xffff));
}

/// Lanes chosen one after the other, each queue staying where it was put.
fn spread(mut placement: Placement, lanes: usize, cpus: &[Option<usize>]) -> Vec<usize> {
    let mut queues = vec![0; lanes];
    let mut place = |cpu: &Option<usize>| {
        let lane = placement.choose(lanes, |lane| queues[lane], || *cpu);
        queues[lane] += 1;
        lane
    };
    cpus.iter().map(&mut place).collect()
}

#[test]
fn queues_go_where_the_placement_says() {
    let mut nearest = Nearest::new(3);
    nearest.set(4, vec![1]);
    nearest.set(5, vec![0, 2]);
    let incoming = Placement::IncomingCpu(nearest);
    let rows = [
        //  placement                packets come on      lanes
        (Placement::round_robin(), vec![Some(4); 5], vec![0, 1, 2, 0, 1]),
        (Placement::LeastLoaded, vec![Some(4); 5], vec![0, 1, 2, 0, 1]),
        (incoming.clone(), vec![Some(4); 3], vec![1, 1, 1]),
        (incoming.clone(), vec![Some(5); 3], vec![0, 2, 0]),
        // Core 0 is near nobody, 9 is not known, and a kernel may not say: the one with the fewest.
        (incoming, vec![Some(4), Some(0), Some(9), None], vec![1, 0, 2, 0]),
    ];
    for (placement, cpus, lanes) in rows {
        assert_eq!(spread(placement.clone(), 3, &cpus), lanes, "{placement:?} {cpus:?}");
    }
}

#[test]
fn one_after_the_other_heeds_no_load() {
    let mut placement = Placement::round_robin();
    let mut next = || placement.choose(2, |lane| [9, 0][lane], || None);
    assert_eq!([next(), next(), next()], [0, 1, 0]);
    assert_eq!(Placement::LeastLoaded.choose(2, |lane| [9, 0][lane], || None), 1);
}
