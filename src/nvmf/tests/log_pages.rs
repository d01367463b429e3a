//! Get Log Page: the pages, and the part of a page that is asked for.

use zerocopy::FromBytes;

use super::{HOST, Rig, command, shape};
use crate::bdev::Features;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::errors::Failed;
use crate::nvmf::options::Options;
use crate::spec::log_page::{CommandEffects, ErrorEntry, FirmwareSlots, Smart};
use crate::spec::opcode::{AdminOpcode, FabricsType};
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// Get Log Page for `bytes` bytes, with room for as many.
fn read_command(lid: u32, nsid: u32, bytes: u32, offset: u64) -> Sqe {
    let dwords_z = bytes / 4 - 1;
    let mut sqe = command(AdminOpcode::GET_LOG_PAGE, nsid, lid | dwords_z << 16, dwords_z >> 16);
    sqe.dptr = SglDescriptor::transport(bytes);
    let [low, high] = [offset & 0xffff_ffff, offset >> 32].map(|half| u32::try_from(half).unwrap());
    sqe.cdw12.set(low);
    sqe.cdw13.set(high);
    sqe
}

fn read(rig: &mut Rig, controller: ControllerId, lid: u32, bytes: u32) -> Vec<u8> {
    let (status, _, data) = rig.done(controller, &read_command(lid, 0xffff_ffff, bytes, 0));
    assert_eq!((status, data.len()), (Status::SUCCESS, usize::try_from(bytes).unwrap()), "{lid:x}");
    data
}

#[test]
fn smart_says_what_was_counted_and_no_more() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    rig.pass(2 * 3_600_000);
    let page = Smart::read_from_bytes(&read(&mut rig, controller, 0x02, 512)).unwrap();
    assert_eq!((page.data_units_read.get(), page.data_units_written.get()), (1, 2));
    assert_eq!((page.host_read_commands.get(), page.host_write_commands.get()), (3, 4));
    assert_eq!((page.media_errors.get(), page.power_on_hours.get()), (5, 2));
    assert_eq!((page.critical_warning, page.available_spare, page.composite_temperature.get()), (0, 100, 0));
    assert_eq!(rig.status(controller, &read_command(0x02, 0, 512, 0)), Status::SUCCESS);
    assert_eq!(rig.status(controller, &read_command(0x02, 1, 512, 0)), Status::INVALID_FIELD.with_dnr());
}

#[test]
fn the_other_pages_have_their_layout() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    assert_eq!(read(&mut rig, controller, 0x01, 4096), [0; 4096]);
    assert_eq!(read(&mut rig, controller, 0x04, 4096), [0; 4096]);
    assert_eq!(read(&mut rig, controller, 0x13, 1024), [0; 1024]);
    let slots = FirmwareSlots::read_from_bytes(&read(&mut rig, controller, 0x03, 512)).unwrap();
    assert_eq!((slots.afi, &slots.revisions[0][..5]), (1, &env!("CARGO_PKG_VERSION").as_bytes()[..5]));
    let supported = read(&mut rig, controller, 0x00, 1024);
    let set: Vec<_> = (0..256).filter(|lid| supported[lid * 4] & 1 == 1).collect();
    assert_eq!(set, [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x12, 0x13]);
    let discovery = rig.discovery(HOST);
    let supported = read(&mut rig, discovery, 0x00, 1024);
    let set: Vec<_> = (0..256).filter(|lid| supported[lid * 4] & 1 == 1).collect();
    assert_eq!(set, [0x00, 0x01, 0x05, 0x12, 0x70]);
}

#[test]
fn the_effects_are_those_of_the_commands_that_are_there() {
    let only_compare = Features { compare: true, ..Features::default() };
    let rows = [
        (
            Features::ALL,
            vec![
                (0x00, 1),
                (0x01, 3),
                (0x02, 1),
                (0x04, 3),
                (0x05, 1),
                (0x08, 3),
                (0x09, 3),
                (0x0c, 1),
                (0x19, 3),
            ],
        ),
        (only_compare, vec![(0x00, 1), (0x01, 3), (0x02, 1), (0x05, 1)]),
    ];
    for (features, expected) in rows {
        let mut rig = Rig::with(Options::default(), shape(512, false, features));
        let controller = rig.ready();
        let page = CommandEffects::read_from_bytes(&read(&mut rig, controller, 0x05, 4096)).unwrap();
        assert!(page.admin.iter().all(|entry| (entry.get() == 0) == (entry.get() >> 20 == 0)));
        let io = page.io.iter().map(|entry| entry.get()).enumerate().filter(|(_, bits)| *bits != 0);
        assert_eq!(io.collect::<Vec<_>>(), expected);
        let admin: Vec<_> = (0..256).filter(|opcode| page.admin[*opcode].get() != 0).collect();
        assert_eq!(admin, [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18]);
    }
}

#[test]
fn the_features_are_those_that_can_be_read() {
    let mut rig = Rig::with(Options::default(), shape(512, true, Features::ALL));
    for controller in [rig.ready(), rig.discovery(HOST)] {
        let page = read(&mut rig, controller, 0x12, 1024);
        for (fid, effect) in (0..=255).zip(page.chunks(4)) {
            let effect = u32::from_le_bytes(effect.try_into().unwrap());
            let (nsid, exhid) = (if fid == 0x05 { 1 } else { 0 }, 1);
            let exhid = if fid == 0x81 { exhid } else { 0 };
            let get = command(AdminOpcode::GET_FEATURES, nsid, fid, exhid);
            assert_eq!(rig.status(controller, &get).is_success(), effect & 1 == 1, "{fid:x}");
            let scope = if fid == 0x05 { 1 << 20 } else { 1 << 21 };
            assert!(effect == 0 || effect == scope | 1, "{fid:x}: {effect:x}");
        }
    }
}

#[test]
fn the_error_log_has_every_command_that_failed() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    // But for Connect commands.
    let mut connect = Sqe::of(AdminOpcode::FABRICS.0, 8, 0);
    connect.nsid.set(FabricsType::CONNECT.0.into());
    assert_eq!(rig.status(controller, &connect), Status::COMMAND_SEQUENCE_ERROR.with_dnr());
    rig.target.admin_refused(rig.now, controller, &connect, Status::TRANSIENT_TRANSPORT_ERROR);
    let wrong = command(AdminOpcode::IDENTIFY, 0x77, 0xff, 0);
    assert_eq!(rig.status(controller, &wrong), Status::INVALID_FIELD.with_dnr());
    let ticket = rig.io_queue(controller, 2).unwrap();
    let failed = Failed { cid: 3, status: Status::LBA_OUT_OF_RANGE.with_dnr(), nsid: 1, lba: 99, opcode: 2 };
    ticket.failures.note(rig.now, &failed);
    let entries = |rig: &mut Rig| {
        let page = read(rig, controller, 0x01, 4096);
        let all = page.chunks(64).map(|entry| ErrorEntry::read_from_bytes(entry).unwrap());
        all.filter(|entry| entry.error_count.get() != 0).collect::<Vec<_>>()
    };
    let found = entries(&mut rig);
    let what = |entry: &ErrorEntry| (entry.sqid.get(), entry.cid.get(), entry.opcode, entry.status.get());
    assert_eq!(found.iter().map(what).collect::<Vec<_>>(), [(2, 3, 2, 0x8100), (0, 9, 6, 0x8004)]);
    assert_eq!(found.iter().map(|entry| entry.nsid.get()).collect::<Vec<_>>(), [1, 0x77]);
    // It outlives the queue, and a reset of the controller.
    rig.target.queue_closed(rig.now, controller, 2);
    assert_eq!(rig.set_cc(controller, 0), Status::SUCCESS);
    rig.enable(controller);
    assert_eq!(entries(&mut rig), found);
    let page = Smart::read_from_bytes(&read(&mut rig, controller, 0x02, 512)).unwrap();
    assert_eq!(page.error_log_entries.get(), 2);
    let other = rig.ready();
    assert_eq!(read(&mut rig, other, 0x01, 64), [0; 64]);
}

#[test]
fn any_part_of_a_page_can_be_read() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let whole = read(&mut rig, controller, 0x02, 512);
    for (offset, bytes) in [(0, 4), (32, 16), (508, 4), (500, 64), (512, 4), (0, 4096)] {
        let (status, _, data) = rig.done(controller, &read_command(0x02, 0, bytes, offset));
        assert_eq!(status, Status::SUCCESS, "{offset} {bytes}");
        let offset = usize::try_from(offset).unwrap();
        let expected: Vec<u8> =
            whole[offset..].iter().copied().chain(std::iter::repeat(0)).take(data.len()).collect();
        assert_eq!((data.len(), data), (usize::try_from(bytes).unwrap(), expected));
    }
}

#[test]
fn each_wrong_get_log_page_has_its_status() {
    type Change = fn(&mut Sqe);
    let rows: [(&str, u32, Status, Change); 9] = [
        ("effects of zoned commands", 0x05, Status::INVALID_FIELD, |sqe| sqe.cdw14.set(2 << 24)),
        ("features of zoned namespaces", 0x12, Status::INVALID_FIELD, |sqe| sqe.cdw14.set(2 << 24)),
        ("beyond the end", 0x02, Status::INVALID_FIELD, |sqe| sqe.cdw12.set(516)),
        ("far beyond the end", 0x02, Status::INVALID_FIELD, |sqe| sqe.cdw13.set(u32::MAX)),
        ("between dwords", 0x02, Status::INVALID_FIELD, |sqe| sqe.cdw12.set(6)),
        ("by index", 0x02, Status::INVALID_FIELD, |sqe| sqe.cdw14.set(1 << 23)),
        ("more than MDTS", 0x02, Status::INVALID_FIELD, |sqe| sqe.cdw11.set(1)),
        ("more than there is room for", 0x02, Status::DATA_SGL_LENGTH_INVALID, |sqe| {
            sqe.dptr.length.set(508)
        }),
        ("unknown page", 0x02, Status::INVALID_LOG_PAGE, |sqe| sqe.cdw10.set(0xc0)),
    ];
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (name, lid, status, change) in rows {
        let mut sqe = read_command(lid, 0, 512, 0);
        change(&mut sqe);
        assert_eq!(rig.status(controller, &sqe), status.with_dnr(), "{name}");
    }
    let discovery = rig.discovery(HOST);
    for lid in (0..=255).filter(|lid| !matches!(lid, 0x00 | 0x01 | 0x05 | 0x12 | 0x70)) {
        assert_eq!(rig.status(discovery, &read_command(lid, 0, 64, 0)), Status::INVALID_LOG_PAGE.with_dnr());
    }
    for lid in (0..=255).filter(|lid| !matches!(lid, 0x00..=0x05 | 0x12 | 0x13)) {
        assert_eq!(rig.status(controller, &read_command(lid, 0, 64, 0)), Status::INVALID_LOG_PAGE.with_dnr());
    }
}
