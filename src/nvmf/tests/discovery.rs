//! The discovery log: who sees what, under which address.

use zerocopy::FromBytes;

use super::{DISK0, DISK1, HOST, Rig, STRANGER, Wish, at, command, subsystem};
use crate::nvmf::admin::Reply;
use crate::nvmf::discovery::Referral;
use crate::nvmf::host::Hosts;
use crate::nvmf::subsystem::SubsystemError;
use crate::nvmf::target::{Action, Target};
use crate::spec::discovery::{AddressFamily, DiscoveryEntry, DiscoveryHeader, SubsystemType, TransportType};
use crate::spec::nqn::{DISCOVERY_NQN, Nqn};
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text::nul_terminated;

/// Reads the log as a host does: the header, then entry after entry.
fn log(rig: &mut Rig, host: &str) -> (DiscoveryHeader, Vec<DiscoveryEntry>) {
    let controller = rig.discovery(host);
    let mut read = |offset: u32| {
        let mut sqe = command(AdminOpcode::GET_LOG_PAGE, 0, 0x70 | 255 << 16, 0);
        sqe.cdw12.set(offset);
        let (status, _, data) = rig.done(controller, &sqe);
        assert_eq!((status, data.len()), (Status::SUCCESS, 1024));
        data
    };
    let header = DiscoveryHeader::read_from_bytes(&read(0)).unwrap();
    let records = u32::try_from(header.numrec.get()).unwrap();
    let entries = (1..=records).map(|index| DiscoveryEntry::read_from_bytes(&read(index * 1024)).unwrap());
    (header, entries.collect())
}

/// The entries of NVM subsystems.
fn nvm(rig: &mut Rig, host: &str) -> Vec<DiscoveryEntry> {
    let mut entries = log(rig, host).1;
    entries.retain(|entry| entry.subtype == SubsystemType::NVM);
    entries
}

fn names(entries: &[DiscoveryEntry]) -> Vec<&str> {
    entries.iter().map(|entry| nul_terminated(&entry.subnqn).unwrap()).collect()
}

fn address(entry: &DiscoveryEntry) -> String {
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).unwrap().trim_end().to_owned();
    format!("{} {}", text(&entry.traddr), text(&entry.trsvcid))
}

#[test]
fn hosts_see_what_they_may_use() {
    let mut rig = Rig::new();
    assert_eq!(names(&nvm(&mut rig, HOST)), [DISK0, DISK1]);
    assert_eq!(names(&nvm(&mut rig, STRANGER)), [DISK0]);
}

#[test]
fn an_entry_says_all_that_a_host_needs_to_connect() {
    let mut rig = Rig::new();
    let (header, entries) = log(&mut rig, HOST);
    assert_eq!((header.recfmt.get(), header.numrec.get()), (0, 3));
    let entry = entries[0];
    assert_eq!((entry.trtype, entry.adrfam), (TransportType::TCP, AddressFamily::IPV4));
    assert_eq!((entry.subtype, entry.treq), (SubsystemType::NVM, 0b110));
    assert_eq!((entry.portid.get(), entry.cntlid.get(), entry.asqsz.get()), (1, 0xffff, 128));
    assert_eq!(address(&entry), "127.0.0.1 4420");
    assert_eq!((entry.trsvcid[31], entry.traddr[255], entry.tsas), (b' ', b' ', [0; 256]));
}

#[test]
fn wildcard_listeners_are_reported_as_the_address_the_host_came_to() {
    let rows = [
        ("0.0.0.0:4420", "10.0.0.5:4420", Some("10.0.0.5 4420")),
        ("0.0.0.0:4421", "10.0.0.5:4420", Some("10.0.0.5 4421")),
        ("[::]:4420", "[fd00::1]:4420", Some("fd00::1 4420")),
        ("[::]:4420", "[::ffff:10.0.0.5]:4420", Some("10.0.0.5 4420")),
        ("0.0.0.0:4420", "[fd00::1]:4420", None),
        ("[fd00::2]:4420", "10.0.0.5:4420", Some("fd00::2 4420")),
    ];
    for (listener, local, reported) in rows {
        let mut rig = Rig::new();
        rig.target = Target::new(rig.target.options().clone());
        let mut disk = subsystem(DISK0, Hosts::Any, Vec::new());
        disk.listeners = vec![at(listener)];
        rig.target.add_subsystem(disk).unwrap();
        rig.arrival.local = at(local);
        let entries = nvm(&mut rig, HOST);
        let found: Vec<_> = entries.iter().map(address).collect();
        assert_eq!(found, reported.into_iter().collect::<Vec<_>>(), "{listener} {local}");
        let v6 = reported.is_some_and(|text| text.contains(':'));
        let family = if v6 { AddressFamily::IPV6 } else { AddressFamily::IPV4 };
        assert!(entries.iter().all(|entry| entry.adrfam == family));
        let here = rig.connect(&Wish::admin(DISK0)).is_ok();
        assert_eq!(
            here,
            reported.is_some() && at(listener).port() == 4420 && !listener.starts_with("[fd00::2")
        );
    }
}

#[test]
fn every_listener_is_an_entry_of_its_own_port() {
    let mut rig = Rig::new();
    rig.target = Target::new(rig.target.options().clone());
    let mut disk = subsystem(DISK0, Hosts::Any, Vec::new());
    disk.listeners = vec![at("127.0.0.1:4420"), at("127.0.0.2:4421")];
    rig.target.add_subsystem(disk).unwrap();
    let entries = nvm(&mut rig, HOST);
    let found: Vec<_> = entries.iter().map(|entry| (entry.portid.get(), address(entry))).collect();
    assert_eq!(found, [(1, "127.0.0.1 4420".to_owned()), (2, "127.0.0.2 4421".to_owned())]);
}

#[test]
fn the_discovery_subsystem_tells_of_itself_and_of_others() {
    let referral = Referral { address: at("[fd00::7]:8009") };
    for (second, flags) in [("127.0.0.2:4421", 0b11), ("0.0.0.0:4421", 0b10)] {
        let mut rig = Rig::new();
        rig.target = Target::new(rig.target.options().clone());
        let mut disk = subsystem(DISK0, Hosts::Any, Vec::new());
        disk.listeners = vec![at("127.0.0.1:4420"), at(second)];
        rig.target.add_subsystem(disk.clone()).unwrap();
        disk.nqn = Nqn::parse(DISK1).unwrap();
        rig.target.add_subsystem(disk).unwrap();
        rig.target.set_referrals(vec![referral]);
        let (_, entries) = log(&mut rig, HOST);
        assert_eq!(names(&entries[..4]), [DISK0, DISK0, DISK1, DISK1]);
        let [first, other, referred] = entries[4..] else { panic!("{}", entries.len()) };
        for (entry, subtype, flags) in [
            (first, SubsystemType::CURRENT_DISCOVERY, flags),
            (other, SubsystemType::CURRENT_DISCOVERY, flags),
            (referred, SubsystemType::REFERRAL, 0),
        ] {
            assert_eq!((entry.subtype, entry.eflags.get()), (subtype, flags), "{second}");
            assert_eq!(names(&[entry]), [DISCOVERY_NQN]);
        }
        assert_eq!((first.portid.get(), address(&first)), (1, "127.0.0.1 4420".to_owned()));
        assert_eq!(other.portid.get(), 2);
        assert_eq!((referred.adrfam, address(&referred)), (AddressFamily::IPV6, "fd00::7 8009".to_owned()));
        assert_eq!((first.asqsz.get(), referred.asqsz.get()), (128, 32));
    }
}

#[test]
fn a_change_of_referrals_is_told() {
    let mut rig = Rig::new();
    let watching = rig.discovery(HOST);
    let configure = command(AdminOpcode::SET_FEATURES, 0, 0x0b, 1 << 31);
    assert_eq!(rig.status(watching, &configure), Status::SUCCESS);
    let request = Sqe::of(AdminOpcode::ASYNC_EVENT_REQUEST.0, 4, 0);
    assert_eq!(rig.send(watching, &request), Reply::Deferred);
    let (before, _) = log(&mut rig, HOST);
    rig.target.set_referrals(vec![Referral { address: at("10.0.0.1:8009") }]);
    assert!(matches!(rig.actions()[..], [Action::Complete { cid: 4, dw0: 0x0070_f002, .. }]));
    assert_eq!(log(&mut rig, HOST).0.genctr.get(), before.genctr.get() + 1);
    rig.target.set_referrals(vec![Referral { address: at("10.0.0.1:8009") }]);
    assert_eq!(log(&mut rig, HOST).0.genctr.get(), before.genctr.get() + 1);
}

#[test]
fn a_new_subsystem_changes_the_generation() {
    let mut rig = Rig::new();
    let (before, _) = log(&mut rig, HOST);
    rig.target.add_subsystem(subsystem("nqn.2026-11.io.corelane:more", Hosts::Any, Vec::new())).unwrap();
    let (after, entries) = log(&mut rig, HOST);
    assert_ne!(before.genctr.get(), after.genctr.get());
    assert_eq!(entries.len(), 4);
}

#[test]
fn impossible_subsystems_are_refused() {
    let mut rig = Rig::new();
    let discovery = Nqn::discovery();
    let mut disk = subsystem(DISK0, Hosts::Any, Vec::new());
    assert_eq!(rig.target.add_subsystem(disk.clone()), Err(SubsystemError::Duplicate(disk.nqn.clone())));
    disk.nqn = discovery.clone();
    assert_eq!(rig.target.add_subsystem(disk), Err(SubsystemError::Discovery(discovery)));
    assert_eq!(DISCOVERY_NQN, Nqn::discovery().as_str());
    let namespace = |nsid| crate::nvmf::namespace::Namespace {
        nsid,
        uuid: uuid::Uuid::nil(),
        bdev: super::shape(512, false, crate::bdev::Features::ALL),
    };
    let rows = [
        (vec![0], SubsystemError::Nsid(0)),
        (vec![1, u32::MAX], SubsystemError::Nsid(u32::MAX)),
        (vec![2, 1, 2], SubsystemError::DuplicateNsid(2)),
    ];
    for (nsids, error) in rows {
        let namespaces = nsids.into_iter().map(namespace).collect();
        let disk = subsystem("nqn.2026-11.io.corelane:odd", Hosts::Any, namespaces);
        assert_eq!(rig.target.add_subsystem(disk), Err(error));
    }
}
