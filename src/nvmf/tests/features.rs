//! Get and Set Features, feature by feature.

use zerocopy::IntoBytes;

use super::{HOSTID, Rig, STRANGER, command, shape};
use crate::bdev::Features;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::options::Options;
use crate::spec::feature::HostBehavior;
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

use zerocopy::FromZeros;

const ALL: u32 = 0xffff_ffff;
const NONE: u32 = 0;

fn get(rig: &mut Rig, controller: ControllerId, nsid: u32, cdw10: u32, cdw11: u32) -> (Status, u32) {
    let (status, dw0, _) = rig.done(controller, &command(AdminOpcode::GET_FEATURES, nsid, cdw10, cdw11));
    (status, dw0)
}

fn set(rig: &mut Rig, controller: ControllerId, nsid: u32, cdw10: u32, cdw11: u32) -> (Status, u32) {
    let (status, dw0, _) = rig.done(controller, &command(AdminOpcode::SET_FEATURES, nsid, cdw10, cdw11));
    (status, dw0)
}

fn ok(dw0: u32) -> (Status, u32) {
    (Status::SUCCESS, dw0)
}

fn failed(status: Status) -> (Status, u32) {
    (status.with_dnr(), 0)
}

#[test]
fn what_is_set_is_what_is_read() {
    let rows = [
        // FID, NSID, CDW11 of set, CDW11 of get, default, value
        (0x01, NONE, 0x0a0b_0c07, 0, 0, 0x0a0b_0c07),
        (0x02, NONE, 0, 0, 0, 0),
        (0x04, NONE, 0x0150, 0, 0xffff, 0x0150),
        (0x04, NONE, 0x10_0120, 0x10_0000, 0, 0x0120),
        (0x04, NONE, 0xf_0160, 0, 0xffff, 0x0160),
        (0x05, 1, 0x0017, 0, 0, 0x0017),
        (0x05, 3, 0x0018, 0, 0, 0x0018),
        (0x0a, NONE, 1, 0, 0, 1),
        (0x0b, NONE, 0x13f, 0, 0, 0x13f),
        (0x0f, ALL, 15_000, 0, 0, 15_000),
        (0x19, NONE, 0, 0, 0, 0),
    ];
    for (fid, nsid, written, asked, default, read) in rows {
        let mut rig = Rig::new();
        let controller = rig.ready();
        assert_eq!(get(&mut rig, controller, nsid, fid, asked), ok(default), "{fid:x}");
        assert_eq!(set(&mut rig, controller, nsid, fid, written), ok(0), "{fid:x}");
        assert_eq!(get(&mut rig, controller, nsid, fid, asked), ok(read), "{fid:x}");
        assert_eq!(get(&mut rig, controller, nsid, fid | 1 << 8, asked), ok(default), "{fid:x} default");
        assert_eq!(get(&mut rig, controller, nsid, fid | 2 << 8, asked), ok(default), "{fid:x} saved");
        let capabilities = if fid == 0x05 { 0b110 } else { 0b100 };
        assert_eq!(get(&mut rig, controller, nsid, fid | 3 << 8, asked), ok(capabilities), "{fid:x}");
        assert_eq!(
            get(&mut rig, controller, nsid, fid | 4 << 8, asked),
            failed(Status::INVALID_FIELD),
            "{fid:x}"
        );
        let saved = set(&mut rig, controller, nsid, fid | 1 << 31, written);
        assert_eq!(saved, failed(Status::FEATURE_NOT_SAVEABLE), "{fid:x}");
    }
}

#[test]
fn wrong_values_change_nothing() {
    let rows = [
        ("power state 1", 0x02, NONE, 1, Status::INVALID_FIELD),
        ("temperature sensor 1", 0x04, NONE, 0x1_0150, Status::INVALID_FIELD),
        ("temperature threshold type 2", 0x04, NONE, 0x20_0150, Status::INVALID_FIELD),
        ("errors of deallocated blocks", 0x05, 1, 1 << 16, Status::INVALID_FIELD),
        ("inactive namespace", 0x05, 2, 5, Status::INVALID_FIELD),
        ("no namespace", 0x05, 0, 5, Status::INVALID_NAMESPACE),
        ("invalid namespace", 0x05, 257, 5, Status::INVALID_NAMESPACE),
        ("firmware notices", 0x0b, NONE, 1 << 9, Status::INVALID_FIELD),
        ("telemetry notices", 0x0b, NONE, 1 << 10, Status::INVALID_FIELD),
        ("ANA notices without ANA", 0x0b, NONE, 1 << 11, Status::INVALID_FIELD),
        ("discovery notices", 0x0b, NONE, 1 << 31, Status::INVALID_FIELD),
        ("command set combination 1", 0x19, NONE, 1, Status::INVALID_FIELD),
        ("host identifier", 0x81, NONE, 1, Status::COMMAND_SEQUENCE_ERROR),
        ("arbitration of a namespace", 0x01, 1, 7, Status::FEATURE_NOT_NAMESPACE_SPECIFIC),
        ("65,536 submission queues", 0x07, NONE, 0x0000_ffff, Status::INVALID_FIELD),
        ("65,536 completion queues", 0x07, NONE, 0xffff_0000, Status::INVALID_FIELD),
    ];
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (name, fid, nsid, cdw11, status) in rows {
        assert_eq!(set(&mut rig, controller, nsid, fid, cdw11), failed(status), "{name}");
    }
    for (fid, value) in [(0x01, 0), (0x02, 0), (0x04, 0xffff), (0x0b, 0), (0x07, 0x3f_003f)] {
        assert_eq!(get(&mut rig, controller, NONE, fid, 0), ok(value), "{fid:x}");
    }
}

#[test]
fn features_that_are_not_there_are_invalid() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    for fid in [0x00, 0x03, 0x06, 0x08, 0x09, 0x0c, 0x0d, 0x0e, 0x10, 0x11, 0x80, 0x82, 0x83, 0xc0, 0xff] {
        assert_eq!(get(&mut rig, controller, NONE, fid, 0), failed(Status::INVALID_FIELD), "{fid:x}");
        assert_eq!(set(&mut rig, controller, NONE, fid, 0), failed(Status::INVALID_FIELD), "{fid:x}");
    }
    let discovery = rig.discovery(STRANGER);
    for fid in (0..=255).filter(|fid| !matches!(fid, 0x0b | 0x0f)) {
        assert_eq!(get(&mut rig, discovery, NONE, fid, 0), failed(Status::INVALID_FIELD), "{fid:x}");
    }
    assert_eq!(get(&mut rig, discovery, NONE, 0x0f, 0), ok(30_000));
}

#[test]
fn queues_are_granted_up_to_the_limit_and_before_there_are_any() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (asked, granted) in
        [(0x0001_0003, 0x0001_0003), (0x00ff_00ff, 0x003f_003f), (0x00ff_0000, 0x003f_0000)]
    {
        assert_eq!(set(&mut rig, controller, NONE, 0x07, asked), ok(granted));
        assert_eq!(get(&mut rig, controller, NONE, 0x07, 0), ok(granted));
    }
    rig.io_queue(controller, 1).unwrap();
    assert_eq!(set(&mut rig, controller, NONE, 0x07, 0), failed(Status::COMMAND_SEQUENCE_ERROR));
    assert_eq!(get(&mut rig, controller, NONE, 0x07, 0), ok(0x003f_0000));
}

#[test]
fn a_write_cache_cannot_be_switched_off() {
    let mut rig = Rig::with(Options::default(), shape(512, true, Features::ALL));
    let controller = rig.ready();
    assert_eq!(get(&mut rig, controller, NONE, 0x06, 0), ok(1));
    assert_eq!(set(&mut rig, controller, NONE, 0x06, 1), ok(0));
    assert_eq!(set(&mut rig, controller, NONE, 0x06, 0), failed(Status::FEATURE_NOT_CHANGEABLE));
    assert_eq!(get(&mut rig, controller, NONE, 0x06 | 3 << 8, 0), ok(0));
}

#[test]
fn error_recovery_belongs_to_a_namespace() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    assert_eq!(set(&mut rig, controller, ALL, 0x05, 9), ok(0));
    assert_eq!(set(&mut rig, controller, 3, 0x05, 4), ok(0));
    assert_eq!(get(&mut rig, controller, 1, 0x05, 0), ok(9));
    assert_eq!(get(&mut rig, controller, 3, 0x05, 0), ok(4));
    for nsid in [ALL, NONE, 257] {
        assert_eq!(get(&mut rig, controller, nsid, 0x05, 0), failed(Status::INVALID_NAMESPACE), "{nsid:x}");
        let default = get(&mut rig, controller, nsid, 0x05 | 1 << 8, 0);
        assert_eq!(default, failed(Status::INVALID_NAMESPACE), "{nsid:x}");
    }
    assert_eq!(get(&mut rig, controller, 2, 0x05, 0), failed(Status::INVALID_FIELD));
}

#[test]
fn the_host_identifier_is_that_of_connect() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let read = command(AdminOpcode::GET_FEATURES, 0, 0x81, 1);
    assert_eq!(rig.done(controller, &read), (Status::SUCCESS, 0, HOSTID.to_vec()));
    let short = command(AdminOpcode::GET_FEATURES, 0, 0x81, 0);
    assert_eq!(rig.status(controller, &short), Status::INVALID_FIELD.with_dnr());
    let mut narrow = read;
    narrow.dptr.length.set(15);
    assert_eq!(rig.status(controller, &narrow), Status::DATA_SGL_LENGTH_INVALID.with_dnr());
}

#[test]
fn host_behavior_is_kept_as_it_was_sent() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let read = command(AdminOpcode::GET_FEATURES, 0, 0x16, 0);
    let write = command(AdminOpcode::SET_FEATURES, 0, 0x16, 0);
    let mut behavior = HostBehavior::new_zeroed();
    assert_eq!(rig.done(controller, &read), (Status::SUCCESS, 0, behavior.as_bytes().to_vec()));
    behavior.acre = 1;
    behavior.lbafee = 1;
    let mut bad = behavior;
    bad.etdas = 2;
    let mut copies = behavior;
    copies.cdfe = [4, 0];
    let rows = [
        (bad.as_bytes(), Status::INVALID_FIELD.with_dnr(), HostBehavior::new_zeroed()),
        (copies.as_bytes(), Status::INVALID_FIELD.with_dnr(), HostBehavior::new_zeroed()),
        (&behavior.as_bytes()[..511], Status::DATA_SGL_LENGTH_INVALID.with_dnr(), HostBehavior::new_zeroed()),
        (behavior.as_bytes(), Status::SUCCESS, behavior),
    ];
    for (data, expected, kept) in rows {
        let reply = rig.target.admin(rig.now, controller, &write, data);
        assert!(matches!(reply, crate::nvmf::admin::Reply::Done { status, .. } if status == expected));
        assert_eq!(rig.done(controller, &read).2, kept.as_bytes());
    }
}
