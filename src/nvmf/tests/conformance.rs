//! docs/conformance.md: what it says of commands, features, log pages and Identify structures is so. What it says of the
//! fields of Identify is looked at in [`fields`](super::fields).

use std::collections::BTreeMap;

use super::{DISK0, HOST, Rig, command, shape};
use crate::bdev::Features;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::options::Options;
use crate::nvmf::policy::Ana;
use crate::spec::nqn::Nqn;
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

const PAGE: &str = include_str!("../../../docs/conformance.md");

/// Of each row of a table whose identifier is one number: whether I/O and discovery controllers have it, all options on.
fn table(section: &str, identifier: usize) -> BTreeMap<u8, [bool; 2]> {
    let (_, rest) = PAGE.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no {section}"));
    let rows = rest.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let one = |cells: Vec<&str>| {
        let number = u8::from_str_radix(cells[identifier].strip_suffix('h')?, 16).ok()?;
        Some((number, [2, 3].map(|column| cells[column] != "no")))
    };
    cells.filter_map(one).collect()
}

/// An I/O controller with everything that is optional, and a discovery controller.
fn controllers() -> (Rig, [ControllerId; 2]) {
    let mut rig = Rig::with(Options::default(), shape(512, true, Features::ALL));
    let mut policy = rig.target.policy(0).clone();
    policy.ana = Some(Ana::default());
    rig.replace(DISK0, |subsystem| {
        subsystem.policy = policy;
        subsystem.namespaces[0].bdev = shape(512, true, Features::ALL);
    });
    rig.target.enable_reservations(&Nqn::parse(DISK0).unwrap());
    rig.target.enable_write_protection(&Nqn::parse(DISK0).unwrap());
    let both = [rig.ready(), rig.discovery(HOST)];
    (rig, both)
}

fn log_page(rig: &mut Rig, controller: ControllerId, lid: u32) -> Vec<u32> {
    let read = command(AdminOpcode::GET_LOG_PAGE, 0, lid | 1023 << 16, 0);
    let (status, _, page) = rig.done(controller, &read);
    assert_eq!(status, Status::SUCCESS, "{lid:x}");
    page.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

fn says(table: &BTreeMap<u8, [bool; 2]>, number: u8, which: usize) -> bool {
    table.get(&number).is_some_and(|row| row[which])
}

#[test]
fn log_pages_are_those_of_the_page() {
    let (mut rig, both) = controllers();
    let table = table("Log pages", 1);
    for (which, controller) in both.into_iter().enumerate() {
        let supported = log_page(&mut rig, controller, 0);
        for lid in 0..=u8::MAX {
            let mut read = command(AdminOpcode::GET_LOG_PAGE, 0, u32::from(lid) | 3 << 16, 0);
            read.cid.set(77);
            let answered = !rig.status(controller, &read).is(Status::INVALID_LOG_PAGE);
            assert_eq!(answered, says(&table, lid, which), "{lid:x}h of {which}");
            assert_eq!(supported[usize::from(lid)] & 1 == 1, answered, "{lid:x}h of {which}");
        }
    }
}

#[test]
fn features_are_those_of_the_page() {
    let (mut rig, both) = controllers();
    let table = table("Features", 1);
    for (which, controller) in both.into_iter().enumerate() {
        let supported = log_page(&mut rig, controller, 0x12);
        for fid in 0..=u8::MAX {
            let selected = command(AdminOpcode::GET_FEATURES, 1, u32::from(fid) | 3 << 8, 0);
            let answered = rig.status(controller, &selected).is_success();
            assert_eq!(answered, says(&table, fid, which), "{fid:x}h of {which}");
            assert_eq!(supported[usize::from(fid)] & 1 == 1, answered, "{fid:x}h of {which}");
        }
    }
}

#[test]
fn admin_commands_are_those_of_the_page() {
    let (mut rig, both) = controllers();
    let table = table("Admin commands", 1);
    for (which, controller) in both.into_iter().enumerate() {
        let effects = log_page(&mut rig, controller, 0x05);
        for opcode in (0..=u8::MAX).filter(|opcode| *opcode != AdminOpcode::FABRICS.0) {
            let sqe = Sqe::of(opcode, 9, 0);
            let mut sqe = Sqe { dptr: command(AdminOpcode::IDENTIFY, 0, 0, 0).dptr, ..sqe };
            // An abort of a command that is not there.
            sqe.cdw10.set(if opcode == AdminOpcode::ABORT.0 { 0x7777_0000 } else { 0 });
            let answered = match rig.send(controller, &sqe) {
                crate::nvmf::admin::Reply::Done { status, .. } => !status.is(Status::INVALID_OPCODE),
                crate::nvmf::admin::Reply::Deferred => true,
            };
            assert_eq!(answered, says(&table, opcode, which), "{opcode:x}h of {which}");
            assert_eq!(effects[usize::from(opcode)] & 1 == 1, answered, "{opcode:x}h of {which}");
        }
    }
}

#[test]
fn identify_structures_are_those_of_the_page() {
    let (mut rig, both) = controllers();
    let table = table("Identify", 0);
    for (which, controller) in both.into_iter().enumerate() {
        for cns in 0..=u8::MAX {
            let answered =
                rig.status(controller, &command(AdminOpcode::IDENTIFY, 1, u32::from(cns) | 0xffff << 16, 0));
            assert_eq!(answered.is_success(), says(&table, cns, which), "{cns:x}h of {which}");
        }
    }
}
