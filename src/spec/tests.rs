//! Layouts against bytes that were written by hand from the specification.

use zerocopy::{FromBytes, IntoBytes};

use super::event::AsyncEvent;
use super::fabrics::{Connect, ConnectRefused, FabricsHeader};
use super::log_page::CommandEffect;
use super::nqn::DISCOVERY_NQN;
use super::opcode::{AdminCommand, AdminOpcode, Direction, FabricsType, NvmCommand, NvmOpcode};
use super::register::{Cap, Cc, Csts, Shutdown, ShutdownStatus, Vs};
use super::reservation::{
    AcquireAction, AcquireDword, NotificationMask, PersistChange, RegisterAction, RegisterDword,
    ReleaseAction, ReleaseDword, ReservationType,
};
use super::sgl::SglDescriptor;
use super::sqe::{Psdt, Sqe};
use super::status::{Status, StatusType};
use super::text;

#[test]
fn a_read_command_is_read_from_its_bytes() {
    let mut bytes = [0u8; 64];
    bytes[0] = 0x02;
    bytes[1] = 0x40;
    bytes[2..4].copy_from_slice(&0x1234u16.to_le_bytes());
    bytes[4..8].copy_from_slice(&7u32.to_le_bytes());
    bytes[32..36].copy_from_slice(&4096u32.to_le_bytes());
    bytes[39] = 0x5a;
    bytes[40..48].copy_from_slice(&0x0102_0304_0506_0708u64.to_le_bytes());
    bytes[48..52].copy_from_slice(&0x4000_0007u32.to_le_bytes());
    let sqe = Sqe::read_from_bytes(&bytes).unwrap();
    assert_eq!((sqe.cid.get(), sqe.nsid.get(), sqe.psdt()), (0x1234, 7, Psdt::SGL));
    assert!(sqe.dptr.is_transport() && sqe.dptr.length.get() == 4096);
    assert_eq!((sqe.starting_lba(), sqe.blocks_z(), sqe.blocks()), (0x0102_0304_0506_0708, 7, 8));
    assert!(sqe.force_unit_access());
    let mut written = Sqe::of(0x02, 0x1234, 7);
    written.dptr = SglDescriptor::transport(4096);
    written.set_starting_lba(0x0102_0304_0506_0708);
    written.cdw12.set(0x4000_0007);
    assert_eq!(written.as_bytes(), bytes);
}

#[test]
fn a_connect_command_is_written_where_the_specification_says() {
    let connect = Connect {
        header: FabricsHeader::of(FabricsType::CONNECT, 9, SglDescriptor::in_capsule(0, 1024)),
        recfmt: 0.into(),
        qid: 3.into(),
        sqsize_z: 127.into(),
        cattr: 0x04,
        reserved: 0,
        kato: 5000.into(),
        reserved_end: [0; 12],
    };
    let sqe = Sqe::from(connect);
    let bytes = sqe.as_bytes();
    assert_eq!((bytes[0], bytes[1], bytes[4], bytes[39]), (0x7f, 0x40, 0x01, 0x01));
    assert_eq!((bytes[42], bytes[44], bytes[46], &bytes[48..52]), (3, 127, 4, &5000u32.to_le_bytes()[..]));
    assert_eq!(sqe.fabrics_type(), Some(FabricsType::CONNECT));
    assert_eq!(sqe.as_connect().entries(), 128);
    assert!(sqe.as_connect().attributes().flow_control_disabled());
}

#[test]
fn bit_fields_have_the_values_of_the_specification() {
    let rows = [
        ("VS 2.1.0", u64::from(Vs::new().with_mjr(2).with_mnr(1).into_bits()), 0x0002_0100),
        (
            "CC as Linux writes it",
            u64::from(Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).into_bits()),
            0x46_0001,
        ),
        ("CC.SHN normal", u64::from(Cc::new().with_shn(Shutdown::NORMAL).into_bits()), 0x4000),
        ("CSTS.SHST complete", u64::from(Csts::new().with_shst(ShutdownStatus::COMPLETE).into_bits()), 0x8),
        ("CAP.TO", Cap::new().with_to(0x1e).into_bits(), 0x1e << 24),
        ("CAP.CSS NVM", Cap::new().with_css_nvm(true).into_bits(), 1 << 37),
        ("CAP.CSS IOCSS", Cap::new().with_css_iocs(true).into_bits(), 1 << 43),
        ("CAP.MPSMAX", Cap::new().with_mpsmax(0xf).into_bits(), 0xf << 52),
        ("CAP.CRMS", Cap::new().with_crwms(true).into_bits(), 1 << 59),
        ("discovery notice", u64::from(AsyncEvent::DISCOVERY_CHANGED.into_bits()), 0x0070_f002),
        ("namespace notice", u64::from(AsyncEvent::NAMESPACE_CHANGED.into_bits()), 0x0004_0002),
        ("ANA notice", u64::from(AsyncEvent::ANA_CHANGED.into_bits()), 0x000c_0302),
        ("effect CSE", u64::from(CommandEffect::new().with_csupp(true).with_cse(1).into_bits()), 0x0001_0001),
        (
            "CDW10 of a Register that ignores the key, replaces it, and sets PTPL",
            u64::from(
                RegisterDword::new()
                    .with_rrega(RegisterAction::REPLACE)
                    .with_iekey(true)
                    .with_cptpl(PersistChange::SET)
                    .into_bits(),
            ),
            0xc000_000a,
        ),
        (
            "CDW10 of an Acquire that preempts and aborts for type 5",
            u64::from(
                AcquireDword::new()
                    .with_racqa(AcquireAction::PREEMPT_AND_ABORT)
                    .with_rtype(ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS)
                    .into_bits(),
            ),
            0x0502,
        ),
        (
            "CDW10 of a Release that clears",
            u64::from(ReleaseDword::new().with_rrela(ReleaseAction::CLEAR).with_iekey(true).into_bits()),
            0x0009,
        ),
        (
            "notices of type 2 masked",
            u64::from(NotificationMask::new().with_reservation_released(true).into_bits()),
            0x4,
        ),
        ("IPO in data", u64::from(ConnectRefused::data(256).into_bits()), 0x0001_0100),
    ];
    for (name, got, expected) in rows {
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn a_status_survives_the_wire() {
    let rows = [
        (Status::SUCCESS, 0x0000),
        (Status::INVALID_FIELD.with_dnr(), 0x8004),
        (Status::CONNECT_INVALID_PARAMETERS.with_dnr(), 0x8304),
        (Status::COMPARE_FAILURE, 0x050a),
        (Status::NAMESPACE_NOT_READY.with_retry_delay(2), 0x2104),
        (Status::INTERNAL_ERROR.with_more(), 0x400c),
    ];
    for (status, wire) in rows {
        assert_eq!(status.to_wire(), wire, "{status:?}");
        assert_eq!(Status::from_wire(wire | 1), status);
    }
    assert_eq!(Status::RESERVATION_CONFLICT.kind(), StatusType::GENERIC);
    assert_eq!(format!("{:?}", Status::INVALID_FIELD.with_dnr()), "Invalid Field in Command (0h/02h DNR)");
}

#[test]
fn directions_follow_the_low_bits() {
    let rows = [
        (0x00, Direction::None),
        (0x01, Direction::ToController),
        (0x02, Direction::ToHost),
        (0x7f, Direction::Both),
    ];
    for (opcode, direction) in rows {
        assert_eq!(Direction::of(opcode), direction);
    }
}

#[test]
fn text_fields_are_padded_and_ended() {
    assert_eq!(&text::space_padded::<6>("Cé"), b"C??   ");
    assert_eq!(&text::space_padded::<2>("abc"), b"ab");
    let field = text::nul_padded::<256>(DISCOVERY_NQN);
    assert_eq!(text::nul_terminated(&field), Some(DISCOVERY_NQN));
    assert_eq!(text::nul_terminated(&[b'a'; 256]), None);
    assert_eq!(text::nul_terminated(&[0xff, 0]), None);
}

#[test]
fn known_opcodes_and_commands_are_the_same() {
    for opcode in 0..=0xff {
        let (admin, nvm) = (AdminOpcode(opcode), NvmOpcode(opcode));
        assert_eq!(admin.known().map(AdminCommand::opcode), admin.known().map(|_| admin));
        assert_eq!(nvm.known().map(NvmCommand::opcode), nvm.known().map(|_| nvm));
        assert!(admin.known().is_none() || !admin.is_vendor_specific());
        assert!(nvm.known().is_none() || !nvm.is_vendor_specific());
    }
    let named = (0..=0xff).filter(|&opcode| NvmOpcode(opcode).known().is_some()).count();
    assert_eq!(named, NvmCommand::ALL.len());
    let named = (0..=0xff).filter(|&opcode| AdminOpcode(opcode).known().is_some()).count();
    assert_eq!(named, AdminCommand::ALL.len());
}
