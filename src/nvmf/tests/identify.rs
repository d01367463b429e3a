//! Identify: each structure, and each way to ask for one that there is not.

use std::sync::Arc;

use zerocopy::FromBytes;

use super::{DISK0, HOST, Rig, Wish, command, shape};
use crate::bdev::{Bdev, CopyLimits, Features, Malloc};
use crate::nvmf::controller::ControllerId;
use crate::nvmf::options::Options;
use crate::spec::identify::command_set::NvmController;
use crate::spec::identify::controller::{ControllerType, IdentifyController};
use crate::spec::identify::namespace::{IdentifyNamespace, IndependentNamespace};
use crate::spec::nqn::DISCOVERY_NQN;
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;
use crate::spec::text::nul_terminated;

fn identify(
    rig: &mut Rig,
    controller: ControllerId,
    cns: u32,
    nsid: u32,
    cdw11: u32,
) -> Result<Vec<u8>, Status> {
    let (status, _, data) = rig.done(controller, &command(AdminOpcode::IDENTIFY, nsid, cns, cdw11));
    if !status.is_success() {
        assert!(data.is_empty());
        return Err(status);
    }
    assert_eq!(data.len(), 4096);
    Ok(data)
}

fn controller_page(rig: &mut Rig, controller: ControllerId) -> IdentifyController {
    IdentifyController::read_from_bytes(&identify(rig, controller, 1, 0, 0).unwrap()).unwrap()
}

#[test]
fn a_controller_says_what_linux_wants_to_hear() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let page = controller_page(&mut rig, controller);
    assert_eq!(page.cntlid.get(), rig.target.association(controller).unwrap().cntlid);
    assert_eq!((&page.sn, &page.mn[..9]), (b"CL0001              ", &b"Corelane "[..]));
    assert_eq!((page.ver.get(), page.mdts, page.cntrltype), (0x0002_0100, 5, ControllerType::IO));
    assert_eq!((page.cmic, page.ctratt.get(), page.kas.get(), page.oaes.get()), (0b11, 1, 10, 1 << 8));
    assert_eq!((page.acl_z, page.aerl_z, page.frmw, page.lpa), (3, 3, 0b11, 0b10_0110));
    assert_eq!((page.elpe_z, page.crdt.map(|time| time.get())), (63, [1, 0, 0]));
    assert_eq!((page.anacap, page.anatt, page.anagrpmax.get(), page.nanagrpid.get()), (0, 0, 0, 0));
    assert_eq!((page.sqes, page.cqes, page.maxcmd.get()), (0x66, 0x44, 128));
    assert_eq!((page.nn.get(), page.mnan.get(), page.oncs.get(), page.vwc), (256, 256, 0b1_1001_1111, 0b100));
    assert_eq!((page.ioccsz.get(), page.iorcsz.get(), page.icdoff.get()), (516, 1, 0));
    assert_eq!((page.fcatt, page.msdbd, page.ofcs.get()), (0, 1, 0));
    assert_eq!(page.sgls.get(), 1 | 1 << 18 | 1 << 20 | 1 << 21);
    assert_eq!(nul_terminated(&page.subnqn), Some(DISK0));
}

#[test]
fn optional_commands_are_what_all_devices_have() {
    let none = Features::default();
    let rows = [
        (Features { compare: true, ..none }, false, 0b1_0001, 0b100),
        (Features { deallocate: true, ..none }, false, 0b1_0100, 0b100),
        (Features { write_zeroes: true, ..none }, true, 0b1_1000, 0b101),
        (Features { write_uncorrectable: true, ..none }, true, 0b1_0010, 0b101),
        (Features { verify: true, ..none }, true, 0b1001_0000, 0b101),
        (Features { copy: Some(CopyLimits::NONE), ..none }, true, 0b1_0001_0000, 0b101),
    ];
    for (features, cache, oncs, vwc) in rows {
        let mut rig = Rig::with(Options::default(), shape(512, cache, features));
        let controller = rig.ready();
        let page = controller_page(&mut rig, controller);
        assert_eq!((page.oncs.get(), page.vwc), (oncs, vwc), "{features:?}");
    }
}

#[test]
fn a_discovery_controller_identifies_itself_and_nothing_else() {
    let mut rig = Rig::new();
    let controller = rig.discovery(HOST);
    let page = controller_page(&mut rig, controller);
    assert_eq!((page.cntrltype, page.oaes.get(), page.nn.get()), (ControllerType::DISCOVERY, 1 << 31, 0));
    assert_eq!((page.kas.get(), page.aerl_z, page.lpa, page.ctratt.get()), (10, 3, 0b10_0110, 1));
    assert_eq!(nul_terminated(&page.subnqn), Some(DISCOVERY_NQN));
    for cns in (0..=255).filter(|cns| *cns != 1) {
        assert_eq!(
            identify(&mut rig, controller, cns, 1, 0),
            Err(Status::INVALID_FIELD.with_dnr()),
            "{cns:x}"
        );
    }
}

#[test]
fn a_namespace_has_the_shape_of_its_device() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (nsid, shift) in [(1, 9), (3, 12)] {
        let page = identify(&mut rig, controller, 0x00, nsid, 0).unwrap();
        let page = IdentifyNamespace::read_from_bytes(&page).unwrap();
        assert_eq!(
            (page.nsze.get(), page.ncap.get(), page.nuse.get()),
            (0x1234_5678, 0x1234_5678, 0x1234_5678)
        );
        assert_eq!(page.nvmcap.get(), 0x1234_5678u128 << shift);
        assert_eq!((page.nlbaf_z, page.flbas, page.lbaf[0].lbads, page.lbaf[0].ms.get()), (0, 0, shift, 0));
        assert_eq!((page.nmic, page.dlfeat, page.rescap, page.nsfeat), (1, 0b1001, 0, 0b10));
        let page = identify(&mut rig, controller, 0x08, nsid, 0).unwrap();
        let page = IndependentNamespace::read_from_bytes(&page).unwrap();
        assert_eq!((page.nsfeat, page.nmic, page.nstat, page.rescap), (1 << 5, 1, 1, 0));
    }
}

#[test]
fn pairs_are_fused_where_every_device_compares() {
    let rows = [
        // 128 KiB; the other namespace has blocks of 4,096 bytes.
        (512, Features::ALL, (1, 31)),
        (65_536, Features::ALL, (1, 1)),
        (512, Features { compare: false, ..Features::ALL }, (0, 0)),
    ];
    for (block_size, features, expected) in rows {
        let mut rig = Rig::with(Options::default(), shape(block_size, false, features));
        let controller = rig.ready();
        let page = controller_page(&mut rig, controller);
        assert_eq!((page.fuses.get(), page.acwu_z.get()), expected, "{block_size}");
    }
}

#[test]
fn writes_are_as_atomic_as_the_device_says() {
    let plain = Malloc::new("plain", 1 << 20, 512).unwrap();
    let atomic = Malloc::new("atomic", 1 << 20, 4096).unwrap().with_atomic_writes();
    let rows: [(Arc<dyn Bdev>, _); 2] =
        [(Arc::new(plain), (0, 0, 0, 255)), (Arc::new(atomic), (31, 0, 31, 31))];
    for (bdev, expected) in rows {
        let mut rig = Rig::with(Options::default(), bdev);
        let controller = rig.ready();
        let page = identify(&mut rig, controller, 0x00, 1, 0).unwrap();
        let page = IdentifyNamespace::read_from_bytes(&page).unwrap();
        let said = (page.nawun_z.get(), page.nawupf_z.get(), page.nabsn_z.get(), page.nacwu_z.get());
        assert_eq!(said, expected);
        assert_eq!((page.nabo.get(), page.nabspf_z.get(), page.nsfeat), (0, 0, 0b10));
        let page = controller_page(&mut rig, controller);
        assert_eq!((page.awun_z.get(), page.awupf_z.get()), (0, 0));
    }
}

#[test]
fn copies_are_as_long_as_the_device_and_the_target_take() {
    let few = CopyLimits { range_blocks: 7, blocks: 9, ranges: 3 };
    let rows = [
        (512, Some(CopyLimits::NONE), (2048, 2048, 15)),
        (4096, Some(CopyLimits::NONE), (256, 256, 15)),
        (4096, Some(few), (7, 9, 2)),
        (512, None, (0, 0, 0)),
    ];
    for (block_size, copy, expected) in rows {
        let features = Features { copy, ..Features::ALL };
        let mut rig = Rig::with(Options::default(), shape(block_size, false, features));
        let controller = rig.ready();
        let page = identify(&mut rig, controller, 0x00, 1, 0).unwrap();
        let page = IdentifyNamespace::read_from_bytes(&page).unwrap();
        assert_eq!((page.mssrl.get(), page.mcl.get(), page.msrc_z), expected, "{copy:?}");
        assert_eq!(controller_page(&mut rig, controller).cdfs.get(), u16::from(copy.is_some()));
    }
}

#[test]
fn descriptors_name_the_uuid_and_the_command_set() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let page = identify(&mut rig, controller, 0x03, 3, 0).unwrap();
    let mut expected = vec![3, 16, 0, 0];
    expected.extend_from_slice(&[0; 15]);
    expected.extend_from_slice(&[3, 4, 1, 0, 0, 0]);
    assert_eq!(page[..expected.len()], expected);
    assert!(page[expected.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn active_namespaces_are_listed_above_the_one_that_is_named() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (after, expected) in [(0, vec![1, 3]), (1, vec![3]), (2, vec![3]), (3, vec![]), (0xffff_fffd, vec![])]
    {
        for cns in [0x02, 0x07] {
            let page = identify(&mut rig, controller, cns, after, 0).unwrap();
            let nsids = page.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
            assert_eq!(nsids.take_while(|nsid| *nsid != 0).collect::<Vec<_>>(), expected, "{cns:x} {after}");
        }
    }
}

#[test]
fn the_nvm_command_set_is_the_only_one() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let page = identify(&mut rig, controller, 0x06, 0, 0).unwrap();
    let page = NvmController::read_from_bytes(&page).unwrap();
    assert_eq!((page.vsl, page.wusl), (8, 8));
    assert_eq!((page.wzsl, page.dmrl, page.dmrsl.get(), page.dmsl.get()), (8, 8, 1024, 8192));
    assert_eq!(identify(&mut rig, controller, 0x05, 1, 0).unwrap(), [0; 4096]);
    let cntlid = u32::from(rig.target.association(controller).unwrap().cntlid);
    for cntid in [0xffff, cntlid] {
        let page = identify(&mut rig, controller, 0x1c | cntid << 16, 0, 0).unwrap();
        assert_eq!(u64::from_le_bytes(page[..8].try_into().unwrap()), 1);
        assert!(page[8..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn each_wrong_identify_has_its_status() {
    let (invalid, namespace) = (Status::INVALID_FIELD, Status::INVALID_NAMESPACE);
    let csi = 2 << 24;
    let rows = [
        ("no namespace", 0x00, 0, 0, namespace),
        ("all namespaces", 0x00, 0xffff_ffff, 0, namespace),
        ("above NN", 0x00, 257, 0, namespace),
        ("no namespace", 0x08, 0, 0, namespace),
        ("all namespaces", 0x08, 0xffff_ffff, 0, namespace),
        ("no namespace", 0x05, 0, 0, namespace),
        ("descriptors of none", 0x03, 0, 0, namespace),
        ("descriptors of an inactive one", 0x03, 2, 0, namespace),
        ("descriptors above NN", 0x03, 257, 0, namespace),
        ("list above FFFFFFFEh", 0x02, 0xffff_fffe, 0, namespace),
        ("list above FFFFFFFFh", 0x02, 0xffff_ffff, 0, namespace),
        ("list above FFFFFFFEh", 0x07, 0xffff_fffe, 0, namespace),
        ("zoned namespace", 0x05, 1, csi, invalid),
        ("zoned controller", 0x06, 0, csi, invalid),
        ("zoned list", 0x07, 0, csi, invalid),
        ("other controller's command sets", 0x1c | 0x7777 << 16, 0, 0, invalid),
        ("UUID list", 0x17, 0, 0, invalid),
        ("allocated namespaces", 0x10, 0, 0, invalid),
        ("controller list", 0x13, 0, 0, invalid),
        ("reserved", 0xff, 0, 0, invalid),
    ];
    let mut rig = Rig::new();
    let controller = rig.ready();
    for (name, cns, nsid, cdw11, status) in rows {
        assert_eq!(
            identify(&mut rig, controller, cns, nsid, cdw11),
            Err(status.with_dnr()),
            "{cns:x}: {name}"
        );
    }
    for cns in [0x00, 0x05, 0x08] {
        assert_eq!(
            identify(&mut rig, controller, cns, 2, 0).unwrap(),
            [0; 4096],
            "{cns:x} of an inactive one"
        );
    }
}

#[test]
fn a_page_that_does_not_fit_is_refused() {
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISK0));
    rig.enable(controller);
    for (length, status) in [(0, Status::DATA_SGL_LENGTH_INVALID), (4095, Status::DATA_SGL_LENGTH_INVALID)] {
        let mut sqe = command(AdminOpcode::IDENTIFY, 0, 1, 0);
        sqe.dptr.length.set(length);
        assert_eq!(rig.status(controller, &sqe), status.with_dnr());
    }
    let mut sqe = command(AdminOpcode::IDENTIFY, 0, 1, 0);
    sqe.dptr.length.set(8192);
    assert_eq!(rig.done(controller, &sqe).2.len(), 4096);
}
