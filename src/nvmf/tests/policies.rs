//! Policies: who may connect, who has which namespace, and how it is reached; and what of a change is told to whom.

use std::collections::BTreeMap;

use uuid::Uuid;
use zerocopy::FromBytes;

use super::{DISK0, HOST, Rig, STRANGER, Wish, at, command, shape};
use crate::bdev::Features;
use crate::nvmf::access::Way;
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::recover::Recovered;
use crate::nvmf::host::Hosts;
use crate::nvmf::namespace::Namespace;
use crate::nvmf::policy::{Ana, Duplicates, Policy};
use crate::nvmf::subsystem::SubsystemError;
use crate::nvmf::target::Action;
use crate::reservation;
use crate::spec::ana::AnaState;
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::namespace::{IdentifyNamespace, IndependentNamespace};
use crate::spec::nqn::Nqn;
use crate::spec::opcode::AdminOpcode;
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

const NAMESPACES_CHANGED: u32 = 0x0004_0002;
const ANA_CHANGED: u32 = 0x000c_0302;
const DISCOVERY_CHANGED: u32 = 0x0070_f002;

fn only(host: &str) -> Hosts {
    Hosts::Listed([Nqn::parse(host).unwrap()].into())
}

/// [`DISK0`] with ANA, on two listeners; namespace 3 is in group 7.
fn rig() -> Rig {
    let mut rig = Rig::new();
    let ana = Ana { groups: [(3, 7)].into(), states: BTreeMap::new() };
    let policy = Policy { ana: Some(ana), ..Policy::of(Hosts::Any) };
    rig.replace(DISK0, |subsystem| {
        subsystem.policy = policy;
        subsystem.listeners = vec![at("127.0.0.1:4420"), at("127.0.0.2:4420")];
    });
    rig
}

/// A controller of [`DISK0`], enabled, that wants to hear of everything.
fn ready(rig: &mut Rig, host: &str, local: &str) -> ControllerId {
    rig.arrival.local = at(local);
    let mut wish = Wish::admin(DISK0).from(host);
    wish.data.hostid = [host.len().to_le_bytes()[0]; 16];
    let controller = rig.admin_queue(&wish);
    rig.enable(controller);
    let configure = command(AdminOpcode::SET_FEATURES, 0, 0x0b, 1 << 8 | 1 << 11);
    assert_eq!(rig.status(controller, &configure), Status::SUCCESS);
    controller
}

fn change(rig: &mut Rig, change: impl FnOnce(&mut Policy)) {
    let mut policy = rig.target.policy(0).clone();
    change(&mut policy);
    rig.target.set_policy(rig.now, 0, policy);
}

fn set_state(rig: &mut Rig, listener: usize, group: u32, state: AnaState) {
    change(rig, |policy| {
        policy.ana.as_mut().unwrap().states.insert((listener, group), state);
    });
}

/// Lets the I/O queues take what they were given, and says what the hosts are told then.
fn told(rig: &mut Rig) -> Vec<(ControllerId, u32)> {
    let mut told = Vec::new();
    while let Some(action) = rig.target.next_action() {
        match action {
            Action::Access { controller, number, .. } => rig.target.access_taken(controller, number),
            Action::Complete { controller, dw0, .. } => told.push((controller, dw0)),
            other => panic!("{other:?}"),
        }
    }
    told
}

fn wait_for_event(rig: &mut Rig, controller: ControllerId, cid: u16) {
    let request = Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, cid, 0);
    assert_eq!(rig.send(controller, &request), Reply::Deferred);
}

fn log_page(rig: &mut Rig, controller: ControllerId, lid: u32) -> Vec<u8> {
    let read = command(AdminOpcode::GET_LOG_PAGE, 0, lid | 1023 << 16, 0);
    let (status, _, page) = rig.done(controller, &read);
    assert_eq!(status, Status::SUCCESS, "{lid:x}");
    page
}

fn words(page: &[u8]) -> Vec<u32> {
    page.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

/// Of a group: identifier, change count, state, NSIDs.
type Group = (u32, u32, u32, Vec<u32>);

/// The change count, and the groups.
fn ana(rig: &mut Rig, controller: ControllerId) -> (u32, Vec<Group>) {
    let page = words(&log_page(rig, controller, 0x0c));
    let (mut at, mut groups) = (4, Vec::new());
    for _ in 0..page[2] {
        let nsids = usize::try_from(page[at + 1]).unwrap();
        let all = page[at + 8..at + 8 + nsids].to_vec();
        groups.push((page[at], page[at + 2], page[at + 4], all));
        at += 8 + nsids;
    }
    (page[0], groups)
}

fn identify(rig: &mut Rig, controller: ControllerId, cns: u32, nsid: u32) -> Vec<u8> {
    rig.done(controller, &command(AdminOpcode::IDENTIFY, nsid, cns, 0)).2
}

#[test]
fn asymmetric_access_is_announced_where_it_is_configured() {
    let mut rig = rig();
    let controller = ready(&mut rig, HOST, "127.0.0.1:4420");
    let page = IdentifyController::read_from_bytes(&identify(&mut rig, controller, 1, 0)).unwrap();
    assert_eq!((page.cmic, page.oaes.get()), (0b1011, 1 << 8 | 1 << 11));
    assert_eq!((page.anatt, page.anacap), (10, 0b1001_1111));
    assert_eq!((page.anagrpmax.get(), page.nanagrpid.get()), (128, 128));
    for (nsid, group) in [(1, 1), (3, 7)] {
        let page = IdentifyNamespace::read_from_bytes(&identify(&mut rig, controller, 0, nsid)).unwrap();
        assert_eq!(page.anagrpid.get(), group);
        let page = IndependentNamespace::read_from_bytes(&identify(&mut rig, controller, 8, nsid)).unwrap();
        assert_eq!(page.anagrpid.get(), group);
    }
    assert_eq!(log_page(&mut rig, controller, 0)[0x0c * 4] & 1, 1);
    assert_eq!(ana(&mut rig, controller), (0, vec![(1, 0, 1, vec![1]), (7, 0, 1, vec![3])]));
    let only_groups = command(AdminOpcode::GET_LOG_PAGE, 0, 0x0c | 1 << 8 | 1023 << 16, 0);
    let page = words(&rig.done(controller, &only_groups).2);
    assert_eq!((page[2], page[4], page[5], page[12], page[13]), (2, 1, 0, 7, 0));
    // Hosts read as much as there may ever be, in parts.
    for (offset, status) in
        [(4096, Status::SUCCESS), (5136, Status::SUCCESS), (5140, Status::INVALID_FIELD.with_dnr())]
    {
        let mut part = only_groups;
        part.cdw12.set(offset);
        assert_eq!(rig.status(controller, &part), status, "{offset}");
    }
}

#[test]
fn a_change_of_state_is_told_on_the_listener_where_it_happened() {
    let mut rig = rig();
    let here = ready(&mut rig, HOST, "127.0.0.1:4420");
    let there = ready(&mut rig, HOST, "127.0.0.2:4420");
    wait_for_event(&mut rig, here, 1);
    wait_for_event(&mut rig, there, 1);
    set_state(&mut rig, 0, 7, AnaState::INACCESSIBLE);
    assert_eq!(told(&mut rig), [(here, ANA_CHANGED)]);
    // Once, until the page is read; and each change counts.
    wait_for_event(&mut rig, here, 2);
    set_state(&mut rig, 0, 7, AnaState::NON_OPTIMIZED);
    assert_eq!(told(&mut rig), []);
    assert_eq!(ana(&mut rig, here), (2, vec![(1, 0, 1, vec![1]), (7, 2, 2, vec![3])]));
    assert_eq!(ana(&mut rig, there), (0, vec![(1, 0, 1, vec![1]), (7, 0, 1, vec![3])]));
    set_state(&mut rig, 0, 1, AnaState::CHANGE);
    assert_eq!(told(&mut rig), [(here, ANA_CHANGED)]);
    assert_eq!(ana(&mut rig, here), (3, vec![(1, 3, 15, vec![1]), (7, 2, 2, vec![3])]));
    // The same again is no change.
    wait_for_event(&mut rig, here, 3);
    set_state(&mut rig, 0, 1, AnaState::CHANGE);
    assert_eq!(told(&mut rig), []);
    // A reset counts from 0.
    assert_eq!(rig.set_cc(here, 0), Status::SUCCESS);
    rig.enable(here);
    assert_eq!(ana(&mut rig, here), (0, vec![(1, 0, 15, vec![1]), (7, 0, 2, vec![3])]));
}

#[test]
fn an_event_whose_page_was_not_read_holds_back_no_other() {
    let mut rig = rig();
    let host = ready(&mut rig, STRANGER, "127.0.0.1:4420");
    wait_for_event(&mut rig, host, 1);
    wait_for_event(&mut rig, host, 2);
    set_state(&mut rig, 0, 7, AnaState::INACCESSIBLE);
    assert_eq!(told(&mut rig), [(host, ANA_CHANGED)]);
    change(&mut rig, |policy| policy.masks = [(3, only(HOST))].into());
    assert_eq!(told(&mut rig), [(host, NAMESPACES_CHANGED)]);
}

#[test]
fn a_namespace_that_moves_to_another_group_is_an_ana_change_alone() {
    let mut rig = rig();
    let controller = ready(&mut rig, HOST, "127.0.0.1:4420");
    wait_for_event(&mut rig, controller, 1);
    wait_for_event(&mut rig, controller, 2);
    change(&mut rig, |policy| policy.ana.as_mut().unwrap().groups = [(1, 9), (3, 9)].into());
    assert_eq!(told(&mut rig), [(controller, ANA_CHANGED)]);
    assert_eq!(ana(&mut rig, controller), (1, vec![(9, 1, 1, vec![1, 3])]));
    assert_eq!(log_page(&mut rig, controller, 4), [0; 4096]);
}

#[test]
fn each_state_has_its_status_for_what_needs_the_namespace() {
    let rows = [
        (AnaState::OPTIMIZED, Status::SUCCESS, false),
        (AnaState::NON_OPTIMIZED, Status::SUCCESS, false),
        (AnaState::INACCESSIBLE, Status::ANA_INACCESSIBLE, true),
        (AnaState::PERSISTENT_LOSS, Status::ANA_PERSISTENT_LOSS, true),
        (AnaState::CHANGE, Status::ANA_TRANSITION, true),
    ];
    for (state, status, unknown) in rows {
        let mut rig = rig();
        rig.target.enable_reservations(&Nqn::parse(DISK0).unwrap());
        rig.target.enable_write_protection(&Nqn::parse(DISK0).unwrap());
        let controller = ready(&mut rig, HOST, "127.0.0.1:4420");
        set_state(&mut rig, 0, 1, state);
        told(&mut rig);
        let get = |nsid, fid| command(AdminOpcode::GET_FEATURES, nsid, fid, 0);
        let set = |nsid, fid| command(AdminOpcode::SET_FEATURES, nsid, fid, 0);
        for fid in [0x05, 0x82, 0x83, 0x84] {
            assert_eq!(rig.status(controller, &get(1, fid)), status, "{state:?} {fid:x}");
            assert_eq!(rig.status(controller, &get(3, fid)), Status::SUCCESS, "{state:?} {fid:x}");
        }
        // Where the namespace is reached, feature 84h is answered later.
        let set_at_once: &[u32] = if status.is_success() { &[0x05, 0x82] } else { &[0x05, 0x82, 0x84] };
        for &fid in set_at_once {
            for nsid in [1, u32::MAX] {
                assert_eq!(rig.status(controller, &set(nsid, fid)), status, "{state:?} {fid:x} {nsid}");
            }
        }
        // What is not about the namespace goes on.
        assert_eq!(rig.status(controller, &get(0, 0x01)), Status::SUCCESS);
        let page = IdentifyNamespace::read_from_bytes(&identify(&mut rig, controller, 0, 1)).unwrap();
        assert_eq!((page.nuse.get() == 0, page.nvmcap.get() == 0), (unknown, unknown), "{state:?}");
        assert_eq!(page.nsze.get(), 0x1234_5678);
        let access = rig.target_access(controller);
        let expected = if status.is_success() { Ok(()) } else { Err(status) };
        assert_eq!((access.judge(1), access.judge(3)), (expected, Ok(())), "{state:?}");
    }
}

#[test]
fn a_masked_namespace_is_there_for_nobody_else() {
    let mut rig = rig();
    change(&mut rig, |policy| policy.masks = [(3, only(HOST))].into());
    let host = ready(&mut rig, HOST, "127.0.0.1:4420");
    let stranger = ready(&mut rig, STRANGER, "127.0.0.1:4420");
    for (controller, sees) in [(host, true), (stranger, false)] {
        let list: Vec<_> = words(&identify(&mut rig, controller, 2, 0)).into_iter().take(2).collect();
        assert_eq!(list, if sees { [1, 3] } else { [1, 0] });
        assert_eq!(identify(&mut rig, controller, 0, 3) == [0; 4096], !sees);
        assert_eq!(identify(&mut rig, controller, 8, 3) == [0; 4096], !sees);
        let descriptors = rig.status(controller, &command(AdminOpcode::IDENTIFY, 3, 3, 0));
        assert_eq!(descriptors.is_success(), sees);
        let recovery = rig.status(controller, &command(AdminOpcode::GET_FEATURES, 3, 0x05, 0));
        assert_eq!(recovery.is_success(), sees);
        assert_eq!(ana(&mut rig, controller).1.len(), if sees { 2 } else { 1 });
        let page = IdentifyController::read_from_bytes(&identify(&mut rig, controller, 1, 0)).unwrap();
        assert_eq!(page.nn.get(), 256);
    }
    rig.arrival.local = at("127.0.0.1:4420");
    let cntlid = rig.target.association(stranger).unwrap().cntlid;
    let mut wish = Wish::io(DISK0, cntlid, 1).from(STRANGER);
    wish.data.hostid = [0; 16];
    let Ok(crate::nvmf::target::Connected::Io { ticket, .. }) = rig.connect(&wish) else { panic!() };
    assert_eq!((ticket.access.way(1), ticket.access.way(3)), (Way::OPEN, Way::Hidden));
    assert_eq!(ticket.access.judge(3), Err(Status::INVALID_FIELD.with_dnr()));
    assert_eq!(ticket.access.way(0), Way::Hidden);
    assert_eq!(ticket.access.way(u32::MAX), Way::Hidden);
}

#[test]
fn a_change_of_masks_is_told_to_those_whom_it_concerns() {
    let mut rig = rig();
    let host = ready(&mut rig, HOST, "127.0.0.1:4420");
    let stranger = ready(&mut rig, STRANGER, "127.0.0.1:4420");
    for controller in [host, stranger] {
        wait_for_event(&mut rig, controller, 1);
        wait_for_event(&mut rig, controller, 2);
    }
    change(&mut rig, |policy| policy.masks = [(3, only(HOST))].into());
    // Its group is gone with it.
    assert_eq!(told(&mut rig), [(stranger, NAMESPACES_CHANGED), (stranger, ANA_CHANGED)]);
    assert_eq!(log_page(&mut rig, host, 4), [0; 4096]);
    let retain = command(AdminOpcode::GET_LOG_PAGE, 0, 0x04 | 1 << 15 | 1023 << 16, 0);
    for _ in 0..2 {
        assert_eq!(words(&rig.done(stranger, &retain).2)[..2], [3, 0]);
    }
    wait_for_event(&mut rig, stranger, 3);
    change(&mut rig, |policy| policy.masks = [(1, only(HOST))].into());
    assert_eq!(told(&mut rig), []);
    // A read that fails takes nothing away, and makes no room for an event.
    let mut wrong = command(AdminOpcode::GET_LOG_PAGE, 0, 0x04 | 1023 << 16, 0);
    wrong.dptr = SglDescriptor::in_capsule(0, 4096);
    assert_eq!(rig.status(stranger, &wrong), Status::SGL_TYPE_INVALID.with_dnr());
    change(&mut rig, |policy| policy.masks = [(1, only(HOST)), (3, only(HOST))].into());
    change(&mut rig, |policy| policy.masks = [(1, only(HOST))].into());
    assert_eq!(told(&mut rig), []);
    assert_eq!(words(&log_page(&mut rig, stranger, 4))[..3], [1, 3, 0]);
    assert_eq!(words(&log_page(&mut rig, stranger, 4))[..3], [0, 0, 0]);
    change(&mut rig, |policy| policy.masks.clear());
    assert_eq!(told(&mut rig), [(stranger, NAMESPACES_CHANGED)]);
}

fn add(rig: &mut Rig, nsid: u32) -> Result<(), SubsystemError> {
    let namespace =
        Namespace { nsid, uuid: Uuid::from_u128(nsid.into()), bdev: shape(512, false, Features::ALL) };
    rig.target.add_namespace(0, namespace, Recovered::Fenced, reservation::Options { ptpl: false })
}

#[test]
fn a_namespace_comes_and_those_who_have_it_are_told() {
    let mut rig = rig();
    let host = ready(&mut rig, HOST, "127.0.0.1:4420");
    let stranger = ready(&mut rig, STRANGER, "127.0.0.1:4420");
    for controller in [host, stranger] {
        wait_for_event(&mut rig, controller, 1);
        wait_for_event(&mut rig, controller, 2);
    }
    assert_eq!(add(&mut rig, 2), Ok(()));
    assert_eq!(told(&mut rig), []);
    change(&mut rig, |policy| policy.masks = [(2, only(HOST))].into());
    // Its group has one more.
    assert_eq!(told(&mut rig), [(host, NAMESPACES_CHANGED), (host, ANA_CHANGED)]);
    assert_eq!(words(&log_page(&mut rig, host, 4))[..2], [2, 0]);
    assert_eq!(words(&identify(&mut rig, host, 2, 0))[..4], [1, 2, 3, 0]);
    assert_eq!(words(&identify(&mut rig, stranger, 2, 0))[..3], [1, 3, 0]);
    assert_ne!(identify(&mut rig, host, 0, 2), [0; 4096]);
    change(&mut rig, |policy| policy.masks = [(2, Hosts::Listed([].into()))].into());
    assert_eq!(words(&identify(&mut rig, host, 2, 0))[..3], [1, 3, 0]);
    assert_eq!(identify(&mut rig, host, 0, 2), [0; 4096]);
    assert_eq!(words(&log_page(&mut rig, host, 4))[..2], [2, 0]);
    // Its queues know it already: what comes back is what went.
    let (table, _) = rig.target.attachable(host).unwrap();
    assert_eq!(table.iter().map(|namespace| namespace.nsid).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_namespace_that_cannot_come_changes_nothing() {
    let mut rig = rig();
    let host = ready(&mut rig, HOST, "127.0.0.1:4420");
    let rows = [
        (0, SubsystemError::Nsid(0)),
        (u32::MAX, SubsystemError::Nsid(u32::MAX)),
        (3, SubsystemError::DuplicateNsid(3)),
        (257, SubsystemError::NsidAboveNn(257)),
    ];
    for (nsid, error) in rows {
        assert_eq!(add(&mut rig, nsid), Err(error));
    }
    assert_eq!(words(&identify(&mut rig, host, 2, 0))[..3], [1, 3, 0]);
}

#[test]
fn a_host_that_is_taken_off_the_list_is_closed() {
    let mut rig = rig();
    let host = ready(&mut rig, HOST, "127.0.0.1:4420");
    let stranger = ready(&mut rig, STRANGER, "127.0.0.1:4420");
    let watching = rig.discovery(STRANGER);
    let untouched = rig.discovery(HOST);
    for controller in [watching, untouched] {
        let configure = command(AdminOpcode::SET_FEATURES, 0, 0x0b, 1 << 31);
        assert_eq!(rig.status(controller, &configure), Status::SUCCESS);
        wait_for_event(&mut rig, controller, 1);
    }
    change(&mut rig, |policy| policy.hosts = only(HOST));
    let told =
        Action::Complete { controller: watching, cid: 1, status: Status::SUCCESS, dw0: DISCOVERY_CHANGED };
    assert_eq!(rig.actions(), [told, Action::CloseAdmin { controller: stranger }]);
    assert!(rig.csts(host).rdy());
    let refused = rig.connect(&Wish::admin(DISK0).from(STRANGER)).unwrap_err();
    assert_eq!(refused.status, Status::CONNECT_INVALID_HOST.with_dnr());
    change(&mut rig, |policy| policy.hosts = Hosts::Any);
    rig.connect(&Wish::admin(DISK0).from(STRANGER)).unwrap();
}

#[test]
fn duplicate_hosts_are_treated_as_the_policy_says() {
    let clone = |mut wish: Wish| {
        wish = wish.from(STRANGER);
        wish
    };
    let (busy, invalid) = (Status::CONNECT_CONTROLLER_BUSY, Status::CONNECT_INVALID_HOST.with_dnr());
    let rows = [
        // policy, again here, again on another listener, a clone
        (Duplicates::Allow, None, None, None),
        (Duplicates::RefuseClones, None, None, Some(invalid)),
        (Duplicates::OnePerListener, Some(busy), None, Some(invalid)),
    ];
    for (duplicates, here, there, cloned) in rows {
        let mut rig = rig();
        change(&mut rig, |policy| policy.duplicates = duplicates);
        let first = rig.admin_queue(&Wish::admin(DISK0));
        let mut attempt = |wish: &Wish, local| {
            rig.arrival.local = at(local);
            rig.connect(wish).err().map(|refusal| refusal.status)
        };
        let again = Wish::admin(DISK0);
        assert_eq!(attempt(&again, "127.0.0.1:4420"), here, "{duplicates:?}");
        assert_eq!(attempt(&again, "127.0.0.2:4420"), there, "{duplicates:?}");
        assert_eq!(attempt(&clone(Wish::admin(DISK0)), "127.0.0.1:4420"), cloned, "{duplicates:?}");
        if duplicates == Duplicates::OnePerListener {
            rig.target.admin_closed(rig.now, first);
            rig.arrival.local = at("127.0.0.1:4420");
            rig.connect(&again).unwrap();
        }
    }
}

#[test]
fn queues_come_by_the_listener_of_their_controller_where_paths_differ() {
    let mut rig = rig();
    rig.arrival.local = at("127.0.0.1:4420");
    let controller = rig.ready();
    rig.arrival.local = at("127.0.0.2:4420");
    let refused = rig.io_queue(controller, 1).unwrap_err();
    assert_eq!(refused.status, Status::CONNECT_INVALID_PARAMETERS.with_dnr());
    rig.arrival.local = at("127.0.0.1:4420");
    rig.io_queue(controller, 1).unwrap();
}

#[test]
fn advanced_retry_reaches_the_queues() {
    let mut rig = rig();
    let controller = ready(&mut rig, HOST, "127.0.0.1:4420");
    assert!(!rig.target_access(controller).has_advanced_retry());
    let set = command(AdminOpcode::SET_FEATURES, 0, 0x16, 0);
    let mut behavior = [0; 512];
    behavior[0] = 1;
    let reply = rig.target.admin(rig.now, controller, &set, &behavior);
    assert!(matches!(reply, Reply::Done { status: Status::SUCCESS, .. }));
    let [Action::Access { access, .. }] = &rig.actions()[..] else { panic!() };
    assert!(access.has_advanced_retry());
    assert!(rig.target_access(controller).has_advanced_retry());
    // A reset brings the default back.
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    rig.actions();
    rig.target.queue_closed(rig.now, controller, 1);
    rig.target.queue_closed(rig.now, controller, 2);
    rig.enable(controller);
    assert!(!rig.target_access(controller).has_advanced_retry());
}
