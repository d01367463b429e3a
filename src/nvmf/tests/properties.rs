//! Property Get and Set, other fabrics commands, and what is refused before a controller is enabled.

use super::{DISK0, ENABLE, Rig, Wish, command};
use crate::nvmf::admin::Reply;
use crate::spec::fabrics::{FabricsHeader, PropertySet, PropertySize};
use crate::spec::opcode::{AdminOpcode, FabricsType};
use crate::spec::register::{Cap, Property};
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

use zerocopy::IntoBytes;

const FOUR: PropertySize = PropertySize::FOUR;
const EIGHT: PropertySize = PropertySize::EIGHT;

fn value(dw0: u32, dw1: u32) -> Reply {
    Reply::Done { status: Status::SUCCESS, dw0, dw1, data: Vec::new() }
}

fn invalid() -> Reply {
    Reply::Done { status: Status::INVALID_FIELD.with_dnr(), dw0: 0, dw1: 0, data: Vec::new() }
}

#[test]
fn properties_have_the_values_that_linux_expects() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let Reply::Done { dw0, dw1, .. } = rig.property(controller, Property::CAP, EIGHT) else { panic!() };
    let cap = Cap::from_bits(u64::from(dw0) | u64::from(dw1) << 32);
    assert_eq!((cap.queue_entries_max(), cap.cqr(), cap.to(), cap.mpsmin()), (128, true, 30, 0));
    assert!(cap.css_nvm() && cap.css_iocs() && cap.crwms() && !cap.crims() && !cap.nssrs());
    let rows =
        [(Property::VS, 0x0002_0100), (Property::CC, ENABLE), (Property::CSTS, 1), (Property::CRTO, 30)];
    for (property, expected) in rows {
        assert_eq!(rig.property(controller, property, FOUR), value(expected, 0), "{property:?}");
        assert_eq!(rig.property(controller, property, EIGHT), invalid(), "{property:?}");
    }
    assert_eq!(rig.property(controller, Property::CAP, FOUR), invalid());
    for offset in [0x04, 0x0c, 0x10, 0x20, 0x24, 0x28, 0x30, 0x38, 0x64, 0x1000, 0xffff_fff8] {
        assert_eq!(rig.property(controller, Property(offset), FOUR), invalid(), "{offset:x}");
        assert_eq!(rig.property(controller, Property(offset), EIGHT), invalid(), "{offset:x}");
    }
    assert_eq!(rig.property(controller, Property::VS, PropertySize(2)), invalid());
    assert_eq!(rig.property(controller, Property::VS, PropertySize(0xf8)), value(0x0002_0100, 0));
}

#[test]
fn only_cc_can_be_set() {
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISK0));
    for property in [Property::CAP, Property::VS, Property::CSTS, Property::NSSR, Property(0x77)] {
        let status = rig.set_property(controller, property, FOUR, ENABLE);
        assert_eq!(status, Status::INVALID_FIELD.with_dnr());
    }
    assert_eq!(rig.set_property(controller, Property::CC, EIGHT, ENABLE), Status::INVALID_FIELD.with_dnr());
    assert!(!rig.csts(controller).rdy());
    rig.enable(controller);
}

#[test]
fn a_controller_fails_when_it_is_enabled_with_what_there_is_not() {
    let rows = [
        ("Linux", ENABLE, true),
        ("all command sets", ENABLE | 0b110 << 4, true),
        ("admin command set", ENABLE | 0b111 << 4, false),
        ("other command set", ENABLE | 0b001 << 4, false),
        ("8 KiB pages", ENABLE | 1 << 7, false),
        ("weighted round robin", ENABLE | 1 << 11, false),
        ("ready without media", ENABLE | 1 << 24, true),
        ("no entry sizes", 1, true),
        ("128-byte commands", 0x0047_0001, true),
        ("32-byte completions", 0x0056_0001, true),
    ];
    for (name, cc, supported) in rows {
        let mut rig = Rig::new();
        let controller = rig.admin_queue(&Wish::admin(DISK0));
        assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS, "{name}");
        let csts = rig.csts(controller);
        assert_eq!((csts.rdy(), csts.cfs()), (supported, !supported), "{name}");
        // CRIME can only be read.
        let expected = value(cc & !(1 << 24), 0);
        assert_eq!(rig.property(controller, Property::CC, FOUR), expected, "{name}");
        assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
        rig.enable(controller);
    }
}

#[test]
fn only_fabrics_commands_are_taken_before_a_controller_is_enabled() {
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISK0));
    for opcode in (0..=255).filter(|opcode| *opcode != AdminOpcode::FABRICS.0) {
        let status = rig.status(controller, &command(AdminOpcode(opcode), 0, 1, 0));
        assert_eq!(status, Status::COMMAND_SEQUENCE_ERROR.with_dnr(), "{opcode:x}");
    }
    rig.enable(controller);
    assert_eq!(rig.status(controller, &command(AdminOpcode::KEEP_ALIVE, 0, 0, 0)), Status::SUCCESS);
    for opcode in [0x00, 0x01, 0x04, 0x05, 0x0d, 0x10, 0x80, 0xc0, 0xff] {
        let status = rig.status(controller, &command(AdminOpcode(opcode), 0, 0, 0));
        assert_eq!(status, Status::INVALID_OPCODE.with_dnr(), "{opcode:x}");
    }
}

#[test]
fn fused_commands_and_prps_are_invalid() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    for flags in [0x00, 0x80, 0xc0, 0x41, 0x42] {
        let mut sqe = command(AdminOpcode::KEEP_ALIVE, 0, 0, 0);
        sqe.flags = flags;
        assert_eq!(rig.status(controller, &sqe), Status::INVALID_FIELD.with_dnr(), "{flags:x}");
    }
}

#[test]
fn fabrics_commands_have_a_psdt_of_their_own() {
    let rows = [
        (FabricsType::PROPERTY_GET, Status::SUCCESS),
        (FabricsType::PROPERTY_SET, Status::SUCCESS),
        (FabricsType::DISCONNECT, Status::DISCONNECT_INVALID_QUEUE_TYPE.with_dnr()),
    ];
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (kind, status) in rows {
        for (flags, taken) in
            [(0x00, true), (0x40, true), (0x80, true), (0xc0, false), (0x41, false), (0x02, false)]
        {
            let mut sqe: Sqe = PropertySet {
                header: FabricsHeader::of(kind, 1, SglDescriptor::default()),
                attrib: FOUR,
                reserved: [0; 3],
                ofst: Property::CC.0.into(),
                value: u64::from(ENABLE).into(),
                reserved_end: [0; 8],
            }
            .into();
            sqe.flags = flags;
            let expected = if taken { status } else { Status::INVALID_FIELD.with_dnr() };
            assert_eq!(rig.status(controller, &sqe), expected, "{kind:?} {flags:x}");
        }
    }
}

#[test]
fn other_fabrics_commands_on_an_admin_queue_have_their_own_status() {
    let rows = [
        (FabricsType::CONNECT, Status::COMMAND_SEQUENCE_ERROR),
        (FabricsType::DISCONNECT, Status::DISCONNECT_INVALID_QUEUE_TYPE),
        (FabricsType::AUTHENTICATION_SEND, Status::INVALID_OPCODE),
        (FabricsType::AUTHENTICATION_RECEIVE, Status::INVALID_OPCODE),
        (FabricsType(0xc0), Status::INVALID_OPCODE),
    ];
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (kind, status) in rows {
        let mut sqe = Sqe::of(AdminOpcode::FABRICS.0, 1, 0);
        sqe.as_mut_bytes()[4] = kind.0;
        assert_eq!(rig.status(controller, &sqe), status.with_dnr(), "{kind:?}");
    }
}
