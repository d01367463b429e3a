//! Log page 80h, its asynchronous event, and the mask (feature 82h).

use zerocopy::FromBytes;

use super::{ALL, FIRST, MASK, SECOND, get, ok, ready, rig};
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::host::HostId;
use crate::nvmf::target::Action;
use crate::nvmf::tests::{DISK0, DISK1, ENABLE, Rig, SHUT_DOWN, command};
use crate::reservation::NoticeKind::{RegistrationPreempted, ReservationPreempted, ReservationReleased};
use crate::reservation::{Notice, NoticeKind};
use crate::spec::opcode::AdminOpcode;
use crate::spec::reservation::NotificationPage;
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// DW0 of the event: type 110b, information 00h, page 80h.
const EVENT: u32 = 0x0080_0006;
const RAE: u32 = 1 << 15;
const SGL_TYPE_INVALID: Status = Status::SGL_TYPE_INVALID.with_dnr();

fn notify(rig: &mut Rig, nsid: u32, host: HostId, kind: NoticeKind) {
    rig.target.notify(0, nsid, &[Notice { host, kind }]);
}

fn read_command(rae: u32) -> Sqe {
    let mut sqe = command(AdminOpcode::GET_LOG_PAGE, ALL, 0x80 | rae | 15 << 16, 0);
    sqe.dptr = SglDescriptor::transport(64);
    sqe
}

/// Reads one page: its count, what it tells, of which namespace, and how many more there are.
fn read(rig: &mut Rig, controller: ControllerId) -> (u64, u8, u32, u8) {
    read_with(rig, controller, 0)
}

fn read_with(rig: &mut Rig, controller: ControllerId, rae: u32) -> (u64, u8, u32, u8) {
    let (status, _, data) = rig.done(controller, &read_command(rae));
    assert_eq!((status, data.len()), (Status::SUCCESS, 64));
    let page = NotificationPage::read_from_bytes(&data).unwrap();
    (page.count.get(), page.kind.0, page.nsid.get(), page.available)
}

const EMPTY: (u64, u8, u32, u8) = (0, 0, 0, 0);

fn request(rig: &mut Rig, controller: ControllerId, cid: u16) -> Reply {
    let mut sqe = command(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0, 0);
    sqe.cid.set(cid);
    rig.send(controller, &sqe)
}

fn told(controller: ControllerId, cid: u16) -> Action {
    Action::Complete { controller, cid, status: Status::SUCCESS, dw0: EVENT }
}

fn told_at_once() -> Reply {
    Reply::Done { status: Status::SUCCESS, dw0: EVENT, dw1: 0, data: Vec::new() }
}

#[test]
fn each_read_takes_the_oldest_notice() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    assert_eq!(read(&mut rig, controller), EMPTY);
    notify(&mut rig, 1, FIRST, RegistrationPreempted);
    notify(&mut rig, 3, FIRST, ReservationReleased);
    notify(&mut rig, 1, FIRST, ReservationPreempted);
    assert_eq!(read(&mut rig, controller), (1, 1, 1, 2));
    assert_eq!(read_with(&mut rig, controller, RAE), (2, 2, 3, 1));
    assert_eq!(read(&mut rig, controller), (3, 3, 1, 0));
    assert_eq!(read(&mut rig, controller), EMPTY);
    notify(&mut rig, 1, FIRST, ReservationReleased);
    assert_eq!(read(&mut rig, controller), (4, 2, 1, 0));
}

#[test]
fn a_refused_read_takes_nothing_and_a_short_one_does() {
    type Change = fn(&mut Sqe);
    let rows: [(&str, Change, Status, u64); 7] = [
        ("beyond the end", |sqe| sqe.cdw12.set(68), Status::INVALID_FIELD.with_dnr(), 1),
        ("more than MDTS", |sqe| sqe.cdw11.set(1), Status::INVALID_FIELD.with_dnr(), 1),
        ("no room", |sqe| sqe.dptr.length.set(60), Status::DATA_SGL_LENGTH_INVALID.with_dnr(), 1),
        ("in the capsule", |sqe| sqe.dptr = SglDescriptor::in_capsule(0, 64), SGL_TYPE_INVALID, 1),
        ("an address", |sqe| sqe.dptr = SglDescriptor::data_block(0, 64), SGL_TYPE_INVALID, 1),
        ("4 bytes", |sqe| sqe.cdw10.set(0x80), Status::SUCCESS, 2),
        ("its end", |sqe| sqe.cdw12.set(32), Status::SUCCESS, 2),
    ];
    for (name, change, status, next) in rows {
        let mut rig = rig();
        let controller = ready(&mut rig, DISK0, FIRST);
        notify(&mut rig, 1, FIRST, ReservationReleased);
        notify(&mut rig, 1, FIRST, ReservationReleased);
        let mut sqe = read_command(0);
        change(&mut sqe);
        assert_eq!(rig.status(controller, &sqe), status, "{name}");
        assert_eq!(read(&mut rig, controller).0, next, "{name}");
    }
}

#[test]
fn every_controller_of_the_host_with_the_subsystem_is_told() {
    let mut rig = rig();
    let told = [ready(&mut rig, DISK0, FIRST), ready(&mut rig, DISK0, FIRST)];
    let others = [ready(&mut rig, DISK0, SECOND)];
    let elsewhere = ready(&mut rig, DISK1, FIRST);
    notify(&mut rig, 3, FIRST, ReservationPreempted);
    for controller in told {
        assert_eq!(read(&mut rig, controller), (1, 3, 3, 0));
        assert_eq!(read(&mut rig, controller), EMPTY);
    }
    for controller in others {
        assert_eq!(read(&mut rig, controller), EMPTY);
    }
    assert_eq!(rig.status(elsewhere, &read_command(0)), Status::INVALID_LOG_PAGE.with_dnr());
    assert!(matches!(request(&mut rig, elsewhere, 5), Reply::Deferred));
}

#[test]
fn what_finds_no_room_raises_the_count_of_the_last_page() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    for _ in 0..257 {
        notify(&mut rig, 1, FIRST, ReservationReleased);
    }
    for count in 1..=254 {
        assert_eq!(read(&mut rig, controller), (count, 2, 1, u8::try_from(255 - count).unwrap()));
    }
    assert_eq!(read(&mut rig, controller), (257, 2, 1, 0));
    assert_eq!(read(&mut rig, controller), EMPTY);
}

#[test]
fn a_masked_notice_is_neither_a_page_nor_counted_nor_an_event() {
    let kinds = [(1, RegistrationPreempted), (2, ReservationReleased), (3, ReservationPreempted)];
    for (bit, masked) in kinds {
        let mut rig = rig();
        let [controller, other] = [(); 2].map(|()| ready(&mut rig, DISK0, FIRST));
        assert_eq!(rig.status(controller, &set_mask(1, 1 << bit)), Status::SUCCESS);
        assert_eq!(get(&mut rig, controller, 1, MASK), ok(1 << bit));
        assert!(matches!(request(&mut rig, controller, 5), Reply::Deferred));
        notify(&mut rig, 1, FIRST, masked);
        assert_eq!((rig.actions(), read(&mut rig, controller)), (vec![], EMPTY), "{masked:?}");
        assert_eq!(read(&mut rig, other).0, 1, "the mask is that of one controller");
        notify(&mut rig, 3, FIRST, masked);
        assert_eq!(read(&mut rig, controller).0, 1, "the mask is that of one namespace");
        for (_, kind) in kinds.into_iter().filter(|(other, _)| *other != bit) {
            notify(&mut rig, 1, FIRST, kind);
        }
        assert_eq!(read(&mut rig, controller).0, 2);
        assert_eq!(read(&mut rig, controller).0, 3);
    }
}

fn set_mask(nsid: u32, mask: u32) -> Sqe {
    command(AdminOpcode::SET_FEATURES, nsid, MASK, mask)
}

#[test]
fn the_mask_of_all_namespaces_is_set_at_once_and_reserved_bits_are_dropped() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    assert_eq!(rig.status(controller, &set_mask(ALL, 0xffff_ffff)), Status::SUCCESS);
    assert_eq!(rig.status(controller, &set_mask(3, 0b0100)), Status::SUCCESS);
    for (nsid, mask) in [(1, 0b1110), (3, 0b0100)] {
        assert_eq!(get(&mut rig, controller, nsid, MASK), ok(mask), "{nsid}");
        assert_eq!(get(&mut rig, controller, nsid, MASK | 1 << 8), ok(0), "{nsid}: default");
        assert_eq!(get(&mut rig, controller, nsid, MASK | 2 << 8), ok(0), "{nsid}: saved");
    }
}

#[test]
fn an_event_is_sent_once_until_the_page_is_read() {
    let mut rig = rig();
    let controller = ready(&mut rig, DISK0, FIRST);
    assert!(matches!(request(&mut rig, controller, 5), Reply::Deferred));
    assert!(matches!(request(&mut rig, controller, 6), Reply::Deferred));
    notify(&mut rig, 1, FIRST, ReservationReleased);
    assert_eq!(rig.actions(), [told(controller, 5)]);
    notify(&mut rig, 1, FIRST, ReservationReleased);
    assert_eq!(rig.actions(), []);
    assert_eq!(read_with(&mut rig, controller, RAE).0, 1);
    notify(&mut rig, 1, FIRST, ReservationReleased);
    assert_eq!(rig.actions(), [], "the event was retained");
    assert_eq!(read(&mut rig, controller).0, 2);
    notify(&mut rig, 1, FIRST, ReservationReleased);
    assert_eq!(rig.actions(), [told(controller, 6)]);
    // Without a request the event waits for one.
    assert_eq!(read(&mut rig, controller).0, 3);
    notify(&mut rig, 1, FIRST, ReservationReleased);
    assert_eq!(rig.actions(), []);
    assert_eq!(request(&mut rig, controller, 7), told_at_once());
    assert!(matches!(request(&mut rig, controller, 8), Reply::Deferred));
}

#[test]
fn a_controller_level_reset_forgets_pages_masks_count_and_event() {
    for first in [0, SHUT_DOWN] {
        let mut rig = rig();
        let controller = ready(&mut rig, DISK0, FIRST);
        assert_eq!(rig.status(controller, &set_mask(3, 0b1110)), Status::SUCCESS);
        notify(&mut rig, 1, FIRST, ReservationReleased);
        for cc in [first, 0, ENABLE] {
            assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS);
        }
        assert!(matches!(request(&mut rig, controller, 5), Reply::Deferred));
        assert_eq!(get(&mut rig, controller, 3, MASK), ok(0));
        assert_eq!(read(&mut rig, controller), EMPTY);
        notify(&mut rig, 3, FIRST, RegistrationPreempted);
        assert_eq!(rig.actions(), [told(controller, 5)]);
        assert_eq!(read(&mut rig, controller), (1, 1, 3, 0));
    }
}
