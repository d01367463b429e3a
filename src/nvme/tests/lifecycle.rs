//! From power-up to the end: what a controller may do wrong, and what the driver makes of it.

use super::*;
use crate::nvme::{AdminCommand, AdminError, AdminReply, Condition, Event, FormatError, SubmitError};
use crate::spec::event::AsyncEvent;
use crate::spec::host::HostId;
use crate::spec::log_page::LogPageId;
use crate::spec::opcode::{AdminOpcode, NvmOpcode};
use crate::spec::register::{Cap, Cc, Csts};
use crate::spec::status::Status;

#[test]
fn a_controller_becomes_ready_and_reads() {
    let mut rig = Rig::ready(Fake::new(), &options());
    assert_eq!(rig.controller.condition(), Condition::Ready);
    assert_eq!(rig.controller.identity().serial, "SERIAL");
    assert_eq!(rig.controller.namespaces().len(), 1);
    let mut pair = rig.controller.take_queue_pair().unwrap();
    pair.submit(7, &rig.read(5, 8)).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(7, Ok(0))]);
    assert_eq!(rig.device.opcodes(), [NvmOpcode::READ]);
    assert_eq!(rig.device.inside().event_requests.len(), 4);
}

#[test]
fn what_is_no_controller_for_this_driver_is_refused() {
    type Change = fn(&mut Cap);
    let rows: [(&str, Change); 4] = [
        ("no NVMe controller", |cap| cap.set_css_nvm(false)),
        ("no NVMe controller", |cap| cap.set_mqes_z(0)),
        ("no memory pages below 65536 bytes", |cap| cap.set_mpsmin(4)),
        ("is gone", |cap| *cap = Cap::from_bits(u64::MAX)),
    ];
    for (message, change) in rows {
        let device = Fake::new();
        change(&mut device.inside().cap);
        let error = Controller::new(Arc::clone(&device), &options()).map(drop).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(device.extents(), 0);
    }
    let many = Options { io_queue_pairs: 256, ..options() };
    let device = Fake::new();
    device.inside().cap.set_dstrd(3);
    let error = Controller::new(device, &many).map(drop).unwrap_err();
    assert!(matches!(error, StartError::Registers { wanted, bytes } if wanted > bytes), "{error}");
}

#[test]
fn a_controller_that_does_not_come_up_is_cut_off() {
    type Change = fn(&Fake);
    let rows: [(&str, Change); 6] = [
        ("did not become ready within 1s", |device| device.inside().obeys = false),
        ("fatal error", |device| {
            device.inside().obeys = false;
            device.inside().csts = Csts::new().with_cfs(true);
        }),
        ("no active namespace", |device| device.inside().active.clear()),
        ("refuses Set Features, Number of Queues: Internal Error", |device| {
            device.inside().refused.push((AdminOpcode::SET_FEATURES, Status::INTERNAL_ERROR));
        }),
        ("does not answer Identify within 1s", |device| device.inside().silent.push(AdminOpcode::IDENTIFY)),
        ("refuses Create I/O Completion Queue", |device| {
            device.inside().refused.push((AdminOpcode::CREATE_CQ, Status::INTERNAL_ERROR));
        }),
    ];
    for (message, change) in rows {
        let device = Fake::new();
        change(&device);
        let mut rig = Rig::new(device, &options());
        assert_eq!(rig.controller.condition(), Condition::Starting);
        rig.run(20 * SECOND);
        let said = fault(&rig).map(ToString::to_string).unwrap_or_default();
        assert!(said.contains(message), "{message}: {said}");
        assert_eq!(rig.controller.condition(), Condition::Failed);
        assert!(rig.controller.take_queue_pair().is_none());
        assert_eq!((rig.device.extents(), rig.device.inside().cc.en()), (0, false), "{message}");
    }
}

#[test]
fn a_controller_that_somebody_has_enabled_is_disabled_first() {
    let device = Fake::new();
    device.inside().obeys = false;
    device.inside().cc = Cc::new().with_en(true);
    let mut rig = Rig::new(device, &options());
    rig.run(MOMENT);
    assert!(rig.device.inside().cc.en(), "EN was cleared before RDY was 1");
    rig.device.inside().csts = Csts::new().with_rdy(true);
    rig.device.inside().obeys = true;
    rig.run(MOMENT);
    assert!(rig.controller.is_ready());
}

#[test]
fn a_controller_that_stays_ready_has_its_function_reset() {
    let device = Fake::new();
    device.inside().obeys = false;
    device.inside().cc = Cc::new().with_en(true);
    device.inside().csts = Csts::new().with_rdy(true);
    let mut rig = Rig::new(Arc::clone(&device), &options());
    rig.run(2 * SECOND);
    assert_eq!(device.inside().function_resets, 1);
    assert!(rig.controller.is_ready());
    // And if that does not help, its memory is taken away, so that nothing is touched.
    let mut pair = rig.controller.take_queue_pair().unwrap();
    device.inside().holds = true;
    pair.submit(1, &rig.read(0, 8)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    device.inside().obeys = false;
    device.inside().function_reset_fails = true;
    device.inside().csts = Csts::new().with_rdy(true).with_cfs(true);
    assert_eq!(rig.run_with(&mut pair, MOMENT), []);
    assert_eq!(rig.run_with(&mut pair, 2 * SECOND), [(1, Err(Failure::Gone))]);
    assert_eq!(device.extents(), 0);
    assert!(matches!(fault(&rig), Some(StartError::NeverStopped(..))));
}

#[test]
fn fewer_queue_pairs_than_asked_for_are_what_there_is() {
    let device = Fake::new();
    device.inside().granted_z = 0;
    let mut rig = Rig::ready(device, &options());
    assert_eq!(rig.controller.queue_pairs(), 1);
    let pair = rig.controller.take_queue_pair();
    assert!(pair.is_some_and(|pair| pair.qid() == 1));
    assert!(rig.controller.take_queue_pair().is_none());
}

#[test]
fn a_format_with_metadata_is_refused_and_not_used() {
    let device = Fake::new();
    device.inside().format.ms.set(8);
    let mut rig = Rig::ready(device, &options());
    let info = rig.controller.namespaces()[0];
    assert_eq!(info.refused, Some(FormatError::Metadata { nsid: 1, bytes: 8 }));
    let mut pair = rig.controller.take_queue_pair().unwrap();
    assert_eq!(pair.submit(1, &rig.read(0, 8)), Err(SubmitError::Namespace));
    assert_eq!(pair.outstanding(), 0);
}

#[test]
fn what_is_in_flight_on_a_device_that_vanishes_is_gone() {
    let mut rig = Rig::ready(Fake::new(), &options());
    rig.device.inside().holds = true;
    let mut pairs = [rig.controller.take_queue_pair().unwrap(), rig.controller.take_queue_pair().unwrap()];
    pairs[0].submit(1, &rig.read(0, 8)).unwrap();
    pairs[0].commit();
    rig.run(MOMENT);
    rig.device.inside().gone = true;
    assert_eq!(rig.run_with(&mut pairs[0], MOMENT), [(1, Err(Failure::Gone))]);
    assert!(matches!(fault(&rig), Some(StartError::Gone)));
    for pair in &mut pairs {
        assert_eq!(pair.submit(2, &rig.read(0, 8)), Err(SubmitError::Gone));
        assert!(!pair.reset());
    }
    assert_eq!(rig.controller.take_event(), Some(Event::Failed));
    assert_eq!(rig.device.extents(), 0);
}

#[test]
fn a_fatal_error_resets_the_controller_and_it_works_again() {
    let mut rig = Rig::ready(Fake::new(), &options());
    let mut pair = rig.controller.take_queue_pair().unwrap();
    rig.device.inside().holds = true;
    for tag in 0..3 {
        pair.submit(tag, &rig.read(0, 8)).unwrap();
    }
    pair.commit();
    rig.run(MOMENT);
    rig.device.inside().csts.set_cfs(true);
    rig.device.inside().holds = false;
    assert_eq!(rig.run_with(&mut pair, MOMENT), [aborted(0), aborted(1), aborted(2)]);
    assert_eq!(rig.controller.take_event(), Some(Event::Resetting));
    rig.run_with(&mut pair, MOMENT);
    assert!(rig.controller.is_ready());
    pair.submit(9, &rig.read(0, 8)).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(9, Ok(0))]);
}

#[test]
fn a_controller_that_fails_again_and_again_is_given_up() {
    let mut rig = Rig::ready(Fake::new(), &options());
    for _ in 0..3 {
        rig.device.inside().csts.set_cfs(true);
        rig.run(MOMENT);
        assert!(fault(&rig).is_none());
    }
    rig.device.inside().csts.set_cfs(true);
    rig.run(MOMENT);
    assert!(matches!(fault(&rig), Some(StartError::Fatal)));
    // One that has worked in between is forgiven.
    let mut rig = Rig::ready(Fake::new(), &options());
    for _ in 0..8 {
        rig.device.inside().csts.set_cfs(true);
        rig.run(2 * SECOND);
        assert!(rig.controller.is_ready());
    }
}

#[test]
fn a_namespace_that_grows_is_reported_with_both_sizes() {
    let mut rig = Rig::ready(Fake::new(), &options());
    rig.device.inside().blocks = 1 << 21;
    rig.device.inside().active.push(5);
    rig.device.event(AsyncEvent::NAMESPACE_CHANGED);
    rig.run(MOMENT);
    let Some(Event::NamespaceChanged { before, after }) = rig.controller.take_event() else {
        panic!("no event")
    };
    assert_eq!((before.blocks, after.blocks), (1 << 20, 1 << 21));
    assert_eq!(rig.controller.take_event(), Some(Event::NamespaceAdded(5)));
    assert!(rig.device.inside().asked.contains(&AdminOpcode::GET_LOG_PAGE));
    assert_eq!(rig.device.inside().event_requests.len(), 4, "not armed again");
    let warning = AsyncEvent::new().with_kind(AsyncEvent::SMART).with_lid(2);
    rig.device.event(warning);
    rig.run(MOMENT);
    assert_eq!(rig.controller.take_event(), Some(Event::Notice(warning)));
}

#[test]
fn a_shutdown_is_announced_and_ends_what_is_in_flight() {
    let mut rig = Rig::ready(Fake::new(), &options());
    rig.device.inside().holds = true;
    let mut pair = rig.controller.take_queue_pair().unwrap();
    pair.submit(1, &rig.read(0, 8)).unwrap();
    pair.commit();
    rig.controller.shutdown(rig.now);
    assert_eq!(rig.controller.condition(), Condition::Closing);
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(1, Err(Failure::Gone))]);
    assert!(matches!(fault(&rig), Some(StartError::ShutDown)));
    assert_eq!((rig.device.extents(), rig.device.inside().cc.en()), (0, false));
    assert_eq!(pair.submit(1, &IoCommand::Flush { nsid: 1 }), Err(SubmitError::Gone));
}

#[test]
fn a_controller_is_retired_without_being_asked() {
    let mut rig = Rig::ready(Fake::new(), &options());
    rig.device.inside().holds = true;
    let mut pair = rig.controller.take_queue_pair().unwrap();
    pair.submit(1, &rig.read(0, 8)).unwrap();
    pair.commit();
    rig.run(MOMENT);
    rig.controller.retire(rig.now);
    assert!(!rig.device.inside().cc.en());
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(1, Err(Failure::Gone))]);
    assert!(matches!(fault(&rig), Some(StartError::ShutDown)));
    // On its way up, too.
    let mut rig = Rig::new(Fake::new(), &options());
    rig.controller.poll(rig.now);
    rig.controller.retire(rig.now);
    rig.run(MOMENT);
    assert!(matches!(fault(&rig), Some(StartError::ShutDown)));
    assert_eq!((rig.device.extents(), rig.device.inside().cc.en()), (0, false));
}

#[test]
fn admin_commands_of_users_are_answered_or_ended_by_a_reset() {
    let mut rig = Rig::ready(Fake::new(), &options());
    let asked = [
        AdminCommand::Smart,
        AdminCommand::Errors { entries: 64 },
        AdminCommand::LogPage { lid: LogPageId::FIRMWARE_SLOT, bytes: 512, nsid: u32::MAX },
        AdminCommand::SetHostIdentifier(HostId([7; 16])),
    ];
    let tags = asked.map(|command| rig.controller.submit_admin(&command, rig.now).unwrap());
    rig.run(MOMENT);
    let replies: Vec<_> = std::iter::from_fn(|| rig.controller.take_reply()).collect();
    assert_eq!(replies.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), tags);
    assert!(matches!(&replies[0].1, Ok(AdminReply::Smart(smart)) if smart.power_cycles.get() == 0));
    assert_eq!(replies[1].1, Ok(AdminReply::Errors(Vec::new())));
    assert_eq!(replies[2].1, Ok(AdminReply::Page(vec![0; 512])));
    for (entries, error) in [(0, AdminError::Length), (65, AdminError::Length)] {
        let command = AdminCommand::Errors { entries };
        assert_eq!(rig.controller.submit_admin(&command, rig.now), Err(error));
    }
    rig.device.inside().silent.push(AdminOpcode::GET_LOG_PAGE);
    let tag = rig.controller.submit_admin(&AdminCommand::Smart, rig.now).unwrap();
    rig.run(2 * SECOND);
    assert_eq!(rig.controller.take_reply(), Some((tag, Err(Failure::Aborted))));
    assert_eq!(rig.controller.take_event(), Some(Event::Resetting));
    assert!(rig.controller.is_ready());
}
