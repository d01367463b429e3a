//! What a host that waits gets done.

use super::target::{BLOCK_BYTES, BLOCKS, CNTLID, Misdeed, NSID, Script, Target};
use crate::initiator::blocking::{Exchange, Geometry, Host, HostError, HostOptions};
use crate::initiator::command;
use crate::spec::nqn::Nqn;
use crate::spec::opcode::{AdminOpcode, FabricsType, NvmOpcode};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

pub(super) fn options() -> HostOptions {
    HostOptions::new(Nqn::parse("nqn.2026-11.io.corelane:test").unwrap())
}

pub(super) fn connect(target: &Target) -> Host {
    Host::connect(target.address, &options()).unwrap()
}

/// Bytes that differ from place to place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

#[test]
fn reads_what_was_written() {
    let rows = [
        // header digest, data digest, host wants flow control, target keeps it
        (false, false, false, false),
        (false, false, false, true),
        (false, false, true, false),
        (true, false, false, false),
        (false, true, true, false),
        (true, true, false, false),
    ];
    for row in rows {
        let (header_digest, data_digest, flow_control, keep_flow_control) = row;
        let target = Target::start(Script { keep_flow_control, ..Script::default() });
        let options = HostOptions { header_digest, data_digest, flow_control, ..options() };
        let mut host = Host::connect(target.address, &options).unwrap();
        assert_eq!(host.cntlid(), Some(CNTLID));
        // In a capsule; as much as fits one; one block more; as much as MDTS lets; several commands.
        for blocks in [1, 8, 9, 64, 200] {
            let data = pattern(blocks as usize * BLOCK_BYTES);
            host.write(NSID, 3, &data).unwrap();
            assert_eq!(host.read(NSID, 3, blocks).unwrap(), data, "{row:?}, {blocks} blocks");
        }
        // 200 blocks are three commands of 64, each asked for, and one of 8, which goes with its capsule.
        let writes = target.seen(|seen| (seen.in_capsule_writes, seen.requested_writes));
        assert_eq!(writes, (3, 5), "{row:?}");
        host.disconnect().unwrap();
    }
}

#[test]
fn other_commands_do_what_they_say() {
    let target = Target::start(Script::default());
    let mut host = connect(&target);
    assert_eq!(host.namespaces().unwrap(), [NSID]);
    let geometry = Geometry { block_size: u32::try_from(BLOCK_BYTES).unwrap(), blocks: BLOCKS };
    assert_eq!(host.geometry(NSID).unwrap(), geometry);

    let data = pattern(16 * BLOCK_BYTES);
    let zeros = vec![0; 16 * BLOCK_BYTES];
    host.write(NSID, 0, &data).unwrap();
    host.compare(NSID, 0, &data).unwrap();
    let different = host.compare(NSID, 0, &zeros).unwrap_err();
    assert_eq!(different.status(), Some(Status::COMPARE_FAILURE));
    host.write_zeroes(NSID, 4, 4, false).unwrap();
    assert_eq!(host.read(NSID, 4, 4).unwrap(), zeros[..4 * BLOCK_BYTES]);
    host.deallocate(NSID, &[(0, 2), (14, 2)]).unwrap();
    assert_eq!(host.read(NSID, 0, 2).unwrap(), zeros[..2 * BLOCK_BYTES]);
    assert_eq!(host.read(NSID, 2, 2).unwrap(), data[2 * BLOCK_BYTES..4 * BLOCK_BYTES]);
    assert_eq!(host.read(NSID, 14, 2).unwrap(), zeros[..2 * BLOCK_BYTES]);
    host.flush(NSID).unwrap();
    host.keep_alive().unwrap();
    host.disconnect().unwrap();
    assert!(target.seen(|seen| seen.commands.contains(&(1, NvmOpcode::FLUSH.0))));
    assert!(target.seen(|seen| seen.commands.contains(&(0, AdminOpcode::KEEP_ALIVE.0))));
}

#[test]
fn failed_command_leaves_the_host_usable() {
    let target = Target::start(Script::default());
    let mut host = connect(&target);
    let beyond = host.read(NSID, BLOCKS, 1).unwrap_err();
    assert_eq!(beyond.status(), Some(Status::LBA_OUT_OF_RANGE.with_dnr()));
    assert_eq!(beyond.to_string(), "LBA Out of Range (0h/80h DNR)");
    let unknown = host.admin(&Sqe::of(0xc0, 0, 0), Exchange::None).unwrap_err();
    assert_eq!(unknown.status(), Some(Status::INVALID_OPCODE.with_dnr()));
    let odd = host.write(NSID, 0, &[0; BLOCK_BYTES + 1]).unwrap_err();
    assert!(matches!(odd, HostError::Length { bytes: 513, block_size: 512 }));
    let read = command::read(NSID, 0, 1);
    let long = host.io(&read, Exchange::Receive(33 << 10)).unwrap_err();
    assert_eq!(long.to_string(), "33792 bytes are more than the 32768 that one command may transfer");
    assert_eq!(host.io(&read, Exchange::Receive(BLOCK_BYTES)).unwrap().data, [0; BLOCK_BYTES]);
}

#[test]
fn commands_take_the_queues_in_turn() {
    let target = Target::start(Script { queues: 3, ..Script::default() });
    let mut host = Host::connect(target.address, &HostOptions { io_queues: 5, ..options() }).unwrap();
    // The controller gives 3 of the 5.
    assert_eq!(host.io_queues(), 3);
    for _ in 0..6 {
        host.flush(NSID).unwrap();
    }
    let flushes: Vec<u16> = target.seen(|seen| {
        let flushes = seen.commands.iter().filter(|&&(qid, opcode)| qid > 0 && opcode == NvmOpcode::FLUSH.0);
        flushes.map(|&(qid, _)| qid).collect()
    });
    assert_eq!(flushes, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn controller_is_asked_until_it_is_ready() {
    let target = Target::start(Script { ready_after: 5, ..Script::default() });
    let host = connect(&target);
    let gets = (0, FabricsType::PROPERTY_GET.0);
    // CAP, and CSTS six times.
    assert_eq!(target.seen(|seen| seen.commands.iter().filter(|&&command| command == gets).count()), 7);
    drop(host);
}

#[test]
fn discovery_log_is_read_until_it_stays_the_same() {
    let target = Target::start(Script { log_changes: 3, ..Script::default() });
    let found = Host::discover(target.address).unwrap();
    let places: Vec<_> =
        found.iter().map(|found| (&*found.subsystem, &*found.address, &*found.port)).collect();
    let subsystem = "nqn.2026-11.io.corelane:test";
    assert_eq!(places, [(subsystem, "192.0.2.1", "4420"), (subsystem, "192.0.2.1", "8009")]);

    let target = Target::start(Script { log_changes: u64::MAX, ..Script::default() });
    assert!(matches!(Host::discover(target.address), Err(HostError::Unstable { times: 5 })));
}

#[test]
fn damaged_data_is_noticed_where_digests_are_in_use() {
    for data_digest in [false, true] {
        let target = Target::start(Script { misdeed: Misdeed::DamageReads, ..Script::default() });
        let options = HostOptions { data_digest, ..options() };
        let mut host = Host::connect(target.address, &options).unwrap();
        let read = host.read(NSID, 0, 1);
        assert_eq!(read.is_err(), data_digest, "{read:?}");
        // The connection goes on.
        host.flush(NSID).unwrap();
    }
}
