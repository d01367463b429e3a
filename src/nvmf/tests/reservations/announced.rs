//! Identify, the pages that say what there is, and who is connected.

use std::sync::Arc;

use corelane_reactors::sim::Simulation;
use zerocopy::FromBytes;

use super::{FIRST, SECOND, ready, rig};
use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::Snapshot;
use crate::nvmf::tests::{DISK0, DISK1, Rig, command};
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::namespace::{IdentifyNamespace, IndependentNamespace};
use crate::spec::log_page::CommandEffects;
use crate::spec::nqn::Nqn;
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

fn identify(rig: &mut Rig, controller: ControllerId, cns: u32, nsid: u32) -> Vec<u8> {
    let (status, _, data) = rig.done(controller, &command(AdminOpcode::IDENTIFY, nsid, cns, 0));
    assert_eq!(status, Status::SUCCESS);
    data
}

fn log_page(rig: &mut Rig, controller: ControllerId, lid: u32) -> Vec<u8> {
    let (status, _, data) = rig.done(controller, &command(AdminOpcode::GET_LOG_PAGE, 0, lid | 1023 << 16, 0));
    assert_eq!(status, Status::SUCCESS);
    data
}

#[test]
fn only_a_subsystem_with_reservations_announces_them() {
    let mut rig = rig();
    for (subsystem, reservations) in [(DISK0, true), (DISK1, false)] {
        let controller = ready(&mut rig, subsystem, FIRST);
        let page = IdentifyController::read_from_bytes(&identify(&mut rig, controller, 1, 0)).unwrap();
        assert_eq!(page.oncs.get() >> 5 & 1 == 1, reservations, "ONCS of {subsystem}");
        assert_eq!(page.ctratt.get(), if reservations { 1 | 1 << 18 } else { 1 }, "CTRATT of {subsystem}");
        let effects = CommandEffects::read_from_bytes(&log_page(&mut rig, controller, 0x05)).unwrap();
        for opcode in [0x0d, 0x0e, 0x11, 0x15] {
            assert_eq!(effects.io[opcode].get(), u32::from(reservations), "{opcode:x} of {subsystem}");
        }
        let supported = log_page(&mut rig, controller, 0x00);
        assert_eq!(supported[0x80 * 4] & 1 == 1, reservations, "log page 80h of {subsystem}");
    }
}

#[test]
fn a_namespace_says_whether_its_reservations_can_persist() {
    let mut rig = rig();
    rig.target.forbid_persistence(0, 3);
    let controller = ready(&mut rig, DISK0, FIRST);
    for (nsid, rescap) in [(1, 0xff), (3, 0xfe), (2, 0)] {
        let page = IdentifyNamespace::read_from_bytes(&identify(&mut rig, controller, 0x00, nsid)).unwrap();
        assert_eq!(page.rescap, rescap, "namespace {nsid}");
        let page =
            IndependentNamespace::read_from_bytes(&identify(&mut rig, controller, 0x08, nsid)).unwrap();
        assert_eq!(page.rescap, rescap, "namespace {nsid}, CNS 08h");
    }
}

#[test]
fn a_host_is_reported_by_its_lowest_connected_controller() {
    let mut rig = rig();
    let controllers = [(DISK0, SECOND), (DISK0, FIRST), (DISK0, FIRST), (DISK1, FIRST)]
        .map(|(subsystem, host)| ready(&mut rig, subsystem, host));
    let cntlids = controllers.map(|controller| rig.target.association(controller).unwrap().cntlid);
    assert_eq!(rig.target.controller_of(0, SECOND), Some(cntlids[0]));
    assert_eq!(rig.target.controller_of(0, FIRST), Some(cntlids[1]));
    assert_eq!(rig.target.controller_of(1, FIRST), Some(cntlids[3]));
    assert_eq!(rig.target.controller_of(1, SECOND), None);
    // The controller stays while its I/O queue closes, but its host has left it.
    rig.io_queue(controllers[2], 1).unwrap();
    rig.target.admin_closed(rig.now, controllers[1]);
    assert_eq!(rig.target.controller_of(0, FIRST), Some(cntlids[2]));
    rig.target.admin_closed(rig.now, controllers[2]);
    assert!(rig.target.association(controllers[2]).is_some());
    assert_eq!(rig.target.controller_of(0, FIRST), None);
}

#[test]
fn an_io_queue_knows_the_index_of_its_subsystem() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    let ticket = rig.io_queue(controller, 1).unwrap();
    assert_eq!(Some(ticket.subsystem), rig.target.subsystem_index(&Nqn::parse(DISK0).unwrap()));
    assert_eq!(rig.target.subsystem_index(&Nqn::parse(DISK1).unwrap()), Some(1));
    assert_eq!(rig.target.subsystem_index(&Nqn::discovery()), None);
}

#[test]
fn the_slot_of_a_host_is_free_again_when_its_queues_are_closed() {
    let mut rig = rig();
    let simulation = Simulation::new(1, 1).unwrap();
    rig.target.fences().add(0, simulation.group().published(Arc::new(Snapshot::default())), []);
    let [first, second] = [FIRST, SECOND].map(|host| ready(&mut rig, DISK0, host));
    let slot = |rig: &mut Rig, controller, qid| rig.io_queue(controller, qid).unwrap().fence.unwrap().1;
    assert_eq!([slot(&mut rig, first, 1), slot(&mut rig, first, 2)], [0, 0]);
    rig.target.queue_closed(rig.now, first, 1);
    assert_eq!(slot(&mut rig, second, 1), 1, "the host still has a queue");
    rig.target.queue_closed(rig.now, first, 2);
    // Told twice, it is no other queue's end.
    rig.target.queue_closed(rig.now, first, 2);
    rig.target.queue_closed(rig.now, second, 1);
    let both = [slot(&mut rig, second, 1), slot(&mut rig, first, 1)];
    assert_eq!(both.iter().sum::<u32>(), 1, "no slot is lost, none is given twice: {both:?}");
}
