//! The health event: told when a record cannot be read or kept, to those who want to hear of it, until they have looked.

use zerocopy::FromBytes;

use super::{DISK0, HOST, Rig, STRANGER, Wish, command};
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::target::Action;
use crate::spec::log_page::Smart;
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// The bit of Feature 0Bh, and of the Critical Warning.
const RELIABILITY: u32 = 1 << 2;
const EVENT: u32 = 0x0002_0001;
const REQUEST: u16 = 70;

fn ready(rig: &mut Rig, host: &str) -> ControllerId {
    let mut wish = Wish::admin(DISK0).from(host);
    wish.data.hostid = [host.len().to_le_bytes()[0]; 16];
    let controller = rig.admin_queue(&wish);
    rig.enable(controller);
    controller
}

fn configure(rig: &mut Rig, controller: ControllerId, events: u32) {
    let sqe = command(AdminOpcode::SET_FEATURES, 0, 0x0b, events);
    assert_eq!(rig.status(controller, &sqe), Status::SUCCESS);
}

/// An Asynchronous Event Request; the event, if there is one at once.
fn request(rig: &mut Rig, controller: ControllerId) -> Option<u32> {
    match rig.send(controller, &Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, REQUEST, 0)) {
        Reply::Deferred => None,
        Reply::Done { dw0, .. } => Some(dw0),
    }
}

/// The Critical Warning; reading it makes room for the next event unless `retains`.
fn warning(rig: &mut Rig, controller: ControllerId, retains: bool) -> u32 {
    let read = command(AdminOpcode::GET_LOG_PAGE, 0, 2 | u32::from(retains) << 15 | 127 << 16, 0);
    let (status, _, page) = rig.done(controller, &read);
    assert_eq!(status, Status::SUCCESS);
    Smart::read_from_bytes(&page).unwrap().critical_warning.into()
}

fn health(rig: &mut Rig, nsid: u32, sound: bool) {
    rig.target.set_health_known(NamespaceKey { subsystem: 0, nsid }, sound);
}

fn told(controller: ControllerId) -> Action {
    Action::Complete { controller, cid: REQUEST, status: Status::SUCCESS, dw0: EVENT }
}

#[test]
fn who_wants_to_hear_of_it_is_told_once_until_the_page_was_read() {
    let mut rig = Rig::new();
    let [wants, does_not] = [HOST, STRANGER].map(|host| ready(&mut rig, host));
    configure(&mut rig, wants, RELIABILITY);
    configure(&mut rig, does_not, 0x3f & !RELIABILITY | 1 << 8);
    for controller in [wants, does_not] {
        assert_eq!(request(&mut rig, controller), None);
        assert_eq!(warning(&mut rig, controller, false), 0);
    }
    health(&mut rig, 1, true);
    assert_eq!(rig.actions(), [], "all is well");
    health(&mut rig, 1, false);
    assert_eq!(rig.actions(), [told(wants)]);
    health(&mut rig, 3, false);
    health(&mut rig, 1, false);
    for controller in [wants, does_not] {
        assert_eq!(warning(&mut rig, controller, true), RELIABILITY);
    }
    // One namespace is well again, and the other is not.
    health(&mut rig, 1, true);
    assert_eq!(warning(&mut rig, wants, true), RELIABILITY);
    health(&mut rig, 3, true);
    assert_eq!(warning(&mut rig, wants, true), 0);
    assert_eq!(request(&mut rig, wants), None);
    health(&mut rig, 1, false);
    assert_eq!(rig.actions(), [], "the page was not read without RAE");
    assert_eq!(warning(&mut rig, wants, false), RELIABILITY);
    health(&mut rig, 1, true);
    health(&mut rig, 1, false);
    assert_eq!(rig.actions(), [told(wants)]);
}

#[test]
fn a_warning_that_is_there_is_told_to_who_begins_to_listen_and_keeps_until_it_asks() {
    let mut rig = Rig::new();
    health(&mut rig, 3, false);
    let controller = ready(&mut rig, HOST);
    assert_eq!(warning(&mut rig, controller, false), RELIABILITY);
    configure(&mut rig, controller, 1 << 8);
    assert_eq!(request(&mut rig, controller), None, "nobody asked for it");
    configure(&mut rig, controller, RELIABILITY);
    assert_eq!(rig.actions(), [told(controller)]);
    let later = ready(&mut rig, STRANGER);
    configure(&mut rig, later, RELIABILITY);
    assert_eq!(rig.actions(), []);
    assert_eq!(request(&mut rig, later), Some(EVENT), "the event has waited for a request");
}
