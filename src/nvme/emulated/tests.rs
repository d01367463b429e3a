//! The controller without the driver: what it answers, and what it does not let pass.

use super::*;
use crate::spec::identify::Cns;
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::namespace::IdentifyNamespace;
use crate::spec::opcode::{AdminOpcode, NvmOpcode};
use crate::spec::prp::PrpPair;
use crate::spec::reservation::{AcquireData, RegisterAction, RegisterData, RegisterDword};
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::{Psdt, Sqe};
use crate::spec::status::Status;
use host::Host;
use zerocopy::IntoBytes;

mod host;

fn identify(cns: Cns, nsid: u32) -> Sqe {
    let mut sqe = Sqe::with_prps(AdminOpcode::IDENTIFY.0, 0, nsid);
    sqe.cdw10.set(u32::from(cns.0));
    sqe
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 7 + at / 256) % 251).unwrap()).collect()
}

#[test]
fn it_becomes_ready_and_unready_in_its_own_time() {
    let host = Host::disabled(&Options { ready_steps: 3, ..Options::default() });
    host.enable();
    for ready in [false, false, true, true] {
        host.device.step();
        assert_eq!(host.csts().rdy(), ready);
    }
    host.device.write_u32(Property::CC.0 as usize, 0);
    for ready in [true, true, false] {
        host.device.step();
        assert_eq!(host.csts().rdy(), ready);
    }
    host.device.faults(|faults| faults.never_ready = true);
    host.enable();
    for _ in 0..100 {
        host.device.step();
    }
    assert!(!host.csts().rdy());
    assert_eq!(host.device.violations(), []);
}

#[test]
fn it_tells_what_it_is() {
    let options = Options {
        namespaces: vec![
            NamespaceOptions { block_size: 4096, blocks: 100, ..NamespaceOptions::default() },
            NamespaceOptions { metadata: 8, ..NamespaceOptions::default() },
        ],
        dstrd: 2,
        ..Options::default()
    };
    let mut host = Host::ready(&options);
    let controller: IdentifyController = host.page(identify(Cns::CONTROLLER, 0));
    assert_eq!((controller.nn.get(), controller.mdts, controller.sqes), (2, 5, 0x66));
    let one: IdentifyNamespace = host.page(identify(Cns::NAMESPACE, 1));
    assert_eq!((one.nsze.get(), one.lbaf[usize::from(one.flbas)].lbads), (100, 12));
    let two: IdentifyNamespace = host.page(identify(Cns::NAMESPACE, 2));
    assert_eq!((two.lbaf[1].lbads, two.lbaf[1].ms.get()), (9, 8));
    let list: [u32; 1024] = host.page(identify(Cns::ACTIVE_NAMESPACES, 0));
    assert_eq!(list[..3], [1, 2, 0]);
    host.device.attach(1, false);
    let list: [u32; 1024] = host.page(identify(Cns::ACTIVE_NAMESPACES, 0));
    assert_eq!(list[..2], [2, 0]);
    assert_eq!(host.device.violations(), []);
}

#[test]
fn it_keeps_what_was_written_and_finds_it_through_prps_and_sgls() {
    let mut host = Host::ready(&Options::default());
    let bytes = pattern(8192);
    host.put(0, &bytes);
    assert!(host.run(1, host.transfer(NvmOpcode::WRITE, 3, 16)).status().is_success());

    // From the middle of a page on, the rest in a list.
    let entries: Vec<u8> =
        [4096, 8192].iter().flat_map(|at| host.data(0x20_000 + at).to_le_bytes()).collect();
    host.put(0x1_0008, &entries);
    let mut read = host.transfer(NvmOpcode::READ, 3, 16);
    read.dptr = PrpPair::of(host.data(0x20_000 + 2048), host.data(0x1_0008)).into();
    assert!(host.run(1, read).status().is_success());
    assert!(host.get(0x20_000 + 2048, 8192) == bytes);

    // Three odd pieces.
    let pieces = [(0x30_001, 100), (0x31_003, 8000), (0x34_000, 92)];
    let list: Vec<u8> = pieces
        .iter()
        .flat_map(|(at, bytes)| SglDescriptor::data_block(host.data(*at), *bytes).as_bytes().to_vec())
        .collect();
    host.put(0x1_0000, &list);
    read.flags = Psdt::SGL.0 << 6;
    read.dptr = SglDescriptor::last_segment(host.data(0x1_0000), 48);
    assert!(host.run(1, read).status().is_success());
    let found: Vec<u8> =
        pieces.iter().flat_map(|(at, bytes)| host.get(*at, usize::try_from(*bytes).unwrap())).collect();
    assert!(found == bytes);
    assert_eq!(host.device.violations(), []);
}

#[test]
fn what_a_driver_may_not_do_is_refused_and_recorded() {
    let refused = |change: fn(&Host, &mut Sqe), status: Status| {
        let mut host = Host::ready(&Options { sgls: false, mdts: 1, ..Options::default() });
        let mut sqe = host.transfer(NvmOpcode::READ, 0, 16);
        change(&host, &mut sqe);
        let cqe = host.run(1, sqe);
        assert!(cqe.status().is(status), "{:?}", cqe.status());
        assert_eq!(host.device.violations().len(), 1, "{:?}", host.device.violations());
        assert!(host.get(0, 8192).iter().all(|&byte| byte == 0));
    };
    let process = |host: &Host| host.extent.address() as u64 + host::DATA as u64;
    refused(
        |host, sqe| sqe.dptr = PrpPair::of(host.data(1), host.data(4096)).into(),
        Status::PRP_OFFSET_INVALID,
    );
    refused(
        |host, sqe| sqe.dptr = PrpPair::of(host.data(0), host.data(4)).into(),
        Status::PRP_OFFSET_INVALID,
    );
    refused(|_, sqe| sqe.flags = Psdt::SGL.0 << 6, Status::INVALID_FIELD);
    refused(|_, sqe| sqe.cdw12.set(16), Status::INVALID_FIELD);
    let mut host = Host::ready(&Options::default());
    let mut sqe = host.transfer(NvmOpcode::READ, 0, 8);
    sqe.dptr = PrpPair::of(process(&host), 0).into();
    assert!(host.run(1, sqe).status().is(Status::DATA_TRANSFER_ERROR));
    assert!(host.device.violations().iter().any(|found| matches!(found, Violation::Memory { .. })));
}

#[test]
fn unflushed_writes_may_be_lost_with_power_and_others_not() {
    let mut lost = 0;
    for seed in 0..8 {
        let mut host = Host::ready(&Options::default());
        host.put(0, &pattern(4096));
        assert!(host.run(1, host.transfer(NvmOpcode::WRITE, 0, 1)).status().is_success());
        let flush = Sqe::with_prps(NvmOpcode::FLUSH.0, 0, 1);
        assert!(host.run(1, flush).status().is_success());
        let mut forced = host.transfer(NvmOpcode::WRITE, 1, 1);
        forced.cdw12.set(1 << 30);
        assert!(host.run(1, forced).status().is_success());
        assert!(host.run(1, host.transfer(NvmOpcode::WRITE, 2, 1)).status().is_success());
        host.device.lose_power(seed);
        assert!(!host.csts().rdy());
        let mut host = host.again();
        assert!(host.run(1, host.transfer(NvmOpcode::READ, 0, 3)).status().is_success());
        let kept = pattern(512);
        assert!(host.get(0, 512) == kept && host.get(512, 512) == kept, "seed {seed}");
        lost += u32::from(host.get(1024, 512) == [0; 512]);
    }
    assert!((1..8).contains(&lost), "{lost}");
}

#[test]
fn a_lost_command_touches_its_memory_until_its_queue_ends() {
    let mut host = Host::ready(&Options::default());
    host.device.faults(|faults| faults.next(On::Io, Fault::Lost));
    host.put(0, &[0xAA; 512]);
    host.submit(1, host.transfer(NvmOpcode::READ, 0, 1));
    host.device.step();
    host.device.step();
    assert_eq!(host.get(0, 512), [0; 512]);
    assert!(host.reap(1).is_none());
    let mut delete = Sqe::with_prps(AdminOpcode::DELETE_SQ.0, 0, 0);
    delete.cdw10.set(1);
    assert!(host.run(0, delete).status().is_success());
    host.put(0, &[0xAA; 512]);
    host.device.step();
    assert_eq!(host.get(0, 512), [0xAA; 512]);
}

#[test]
fn completions_go_wrong_as_told() {
    let rows = [Fault::Twice, Fault::WrongCid, Fault::StaleCid, Fault::StuckPhase, Fault::WrongSqid];
    for fault in rows {
        let mut host = Host::ready(&Options::default());
        let first = host.run(1, host.transfer(NvmOpcode::READ, 0, 1)).cid.get();
        host.device.faults(|faults| faults.next(On::Io, fault));
        let cid = host.submit(1, host.transfer(NvmOpcode::READ, 0, 1));
        host.device.step();
        let found: Vec<_> = std::iter::from_fn(|| host.reap(1)).collect();
        let found: Vec<_> = found.iter().map(|cqe| (cqe.cid.get(), cqe.sqid.get())).collect();
        match fault {
            Fault::Twice => assert_eq!(found, [(cid, 1), (cid, 1)]),
            Fault::WrongCid => assert!(found.len() == 1 && found[0].0 != cid && found[0].0 != first),
            Fault::StaleCid => assert_eq!(found, [(first, 1)]),
            Fault::StuckPhase => assert_eq!(found, []),
            _ => assert!(found.len() == 1 && found[0].0 == cid && found[0].1 != 1),
        }
    }
}

#[test]
fn a_late_command_is_overtaken_and_can_be_aborted() {
    let mut host = Host::ready(&Options::default());
    host.device.faults(|faults| faults.next(On::Io, Fault::Late(2)));
    let late = host.submit(1, host.transfer(NvmOpcode::READ, 0, 1));
    let early = host.submit(1, host.transfer(NvmOpcode::READ, 0, 1));
    let mut order = Vec::new();
    for _ in 0..4 {
        host.device.step();
        order.extend(host.reap(1).map(|cqe| cqe.cid.get()));
    }
    assert_eq!(order, [early, late]);

    host.device.faults(|faults| faults.next(On::Io, Fault::Late(1000)));
    let late = host.submit(1, host.transfer(NvmOpcode::READ, 0, 1));
    host.device.step();
    let mut abort = Sqe::with_prps(AdminOpcode::ABORT.0, 0, 0);
    abort.cdw10.set(u32::from(late) << 16 | 1);
    assert_eq!(host.run(0, abort).dw0.get(), 0);
    let aborted = host.reap(1).unwrap();
    assert_eq!((aborted.cid.get(), aborted.status()), (late, Status::ABORT_REQUESTED));
    assert_eq!(host.run(0, abort).dw0.get(), 1);
}

#[test]
fn events_wait_for_requests_and_for_the_page_of_the_last_one() {
    let mut host = Host::ready(&Options::default());
    let request = Sqe::with_prps(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, 0);
    host.device.warn(1);
    host.device.warn(2);
    host.submit(0, request);
    host.device.step();
    host.device.step();
    assert_eq!(host.reap(0).unwrap().dw0.get(), 0x0002_0101);
    host.submit(0, request);
    host.device.step();
    assert!(host.reap(0).is_none(), "masked until the page is read");
    let mut log = Sqe::with_prps(AdminOpcode::GET_LOG_PAGE.0, 0, 0);
    log.cdw10.set(127 << 16 | 2);
    let page: crate::spec::log_page::Smart = {
        log.dptr = PrpPair::of(host.data(0), 0).into();
        let cid = host.submit(0, log);
        host.device.step();
        assert_eq!(host.reap(0).unwrap().cid.get(), cid);
        zerocopy::FromBytes::read_from_bytes(&host.get(0, 512)).unwrap()
    };
    assert_eq!(page.critical_warning, 2);
    host.device.step();
    assert!(host.reap(0).is_some());
}

#[test]
fn another_hosts_reservation_conflicts_until_it_is_preempted() {
    let mut host = Host::ready(&Options::default());
    let mut identity = Sqe::with_prps(AdminOpcode::SET_FEATURES.0, 0, 0);
    identity.cdw10.set(0x81);
    identity.cdw11.set(1);
    identity.dptr = PrpPair::of(host.data(0), 0).into();
    host.put(0, &[1; 16]);
    assert!(host.run(0, identity).status().is_success());
    host.device.intrude(1, HostId([2; 16]), 0x22, ReservationType::WRITE_EXCLUSIVE);
    let write = host.transfer(NvmOpcode::WRITE, 0, 1);
    assert!(host.run(1, write).status().is(Status::RESERVATION_CONFLICT));
    assert!(host.run(1, host.transfer(NvmOpcode::READ, 0, 1)).status().is_success());

    let mut register = Sqe::with_prps(NvmOpcode::RESERVATION_REGISTER.0, 0, 1);
    register.cdw10.set(RegisterDword::new().with_rrega(RegisterAction::REGISTER).into_bits());
    register.dptr = PrpPair::of(host.data(0), 0).into();
    host.put(0, RegisterData { crkey: 0.into(), nrkey: 0x11.into() }.as_bytes());
    assert!(host.run(1, register).status().is_success());
    let mut acquire = Sqe::with_prps(NvmOpcode::RESERVATION_ACQUIRE.0, 0, 1);
    acquire.dptr = register.dptr;
    host.put(0, AcquireData { crkey: 0x11.into(), prkey: 0x22.into() }.as_bytes());
    acquire.cdw10.set(1 << 8);
    assert!(host.run(1, acquire).status().is(Status::RESERVATION_CONFLICT));
    acquire.cdw10.set(1 << 8 | 1);
    assert!(host.run(1, acquire).status().is_success());
    assert!(host.run(1, write).status().is_success());
    assert_eq!(host.device.violations(), []);
}

#[test]
fn nothing_is_left_of_a_removed_device() {
    let mut host = Host::ready(&Options::default());
    host.submit(1, host.transfer(NvmOpcode::READ, 0, 1));
    host.device.remove();
    host.put(0, &[0xAA; 512]);
    assert_eq!((host.device.step(), host.get(0, 512)), (0, vec![0xAA; 512]));
    assert_eq!((host.device.read_u32(0), host.device.read_u64(8)), (u32::MAX, u64::MAX));
    host.device.write_u32(Property::CC.0 as usize, 0);
    assert!(host.device.is_gone() && host.device.reset().is_err());
}
