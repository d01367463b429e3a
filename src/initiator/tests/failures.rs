//! Targets that refuse, vanish or misbehave.

use std::mem::offset_of;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::commands::{connect, options};
use super::target::{BLOCK_BYTES, Misdeed, NSID, Script, Target};
use crate::initiator::End;
use crate::initiator::blocking::{Host, HostError, HostOptions, QueueName};
use crate::pdu::PduError;
use crate::spec::fabrics::{Connect, ConnectData, ConnectRefused};
use crate::spec::status::Status;
use crate::spec::tcp::FatalStatus;

#[test]
fn refused_connect_names_status_and_field() {
    let invalid = Status::CONNECT_INVALID_PARAMETERS.with_dnr();
    let subnqn = ConnectRefused::data(offset_of!(ConnectData, subnqn));
    let sqsize = ConnectRefused::command(offset_of!(Connect, sqsize_z));
    let rows = [
        (
            0,
            invalid,
            subnqn,
            "admin queue: Connect refused: Connect Invalid Parameters (1h/82h): SUBNQN (subsystem name)",
        ),
        (
            1,
            invalid,
            sqsize,
            "I/O queue 1: Connect refused: Connect Invalid Parameters (1h/82h): SQSIZE (queue size)",
        ),
        (
            0,
            invalid,
            ConnectRefused::data(900),
            "admin queue: Connect refused: Connect Invalid Parameters (1h/82h): byte 900 of the data",
        ),
        (
            0,
            Status::CONNECT_INVALID_HOST,
            ConnectRefused::new(),
            "admin queue: Connect refused: Connect Invalid Host (1h/84h)",
        ),
        (
            0,
            Status::INTERNAL_ERROR,
            ConnectRefused::new(),
            "admin queue: Connect refused: Internal Error (0h/06h)",
        ),
    ];
    for (qid, status, dw0, message) in rows {
        let target =
            Target::start(Script { refuse: Some((qid, status, dw0.into_bits())), ..Script::default() });
        let refused = Host::connect(target.address, &options()).err().unwrap();
        assert_eq!(refused.to_string(), message);
        assert_eq!(refused.status(), Some(status));
    }
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Host::connect(address, &options()).err().unwrap();
    assert!(matches!(error, HostError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()));
}

#[test]
fn silent_peer_is_given_up() {
    // The kernel accepts the connection; nobody else does.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let options = HostOptions { timeout: Duration::from_millis(30), ..options() };
    let error = Host::connect(listener.local_addr().unwrap(), &options).err().unwrap();
    assert!(matches!(error, HostError::ConnectTimedOut { queue: QueueName(0), .. }), "{error:?}");
}

#[test]
fn unanswered_command_ends_the_host() {
    let target = Target::start(Script { misdeed: Misdeed::IgnoreReads, ..Script::default() });
    let options = HostOptions { timeout: Duration::from_millis(100), ..options() };
    let mut host = Host::connect(target.address, &options).unwrap();
    let error = host.read(NSID, 0, 1).unwrap_err();
    assert!(matches!(error, HostError::TimedOut { queue: QueueName(1), .. }), "{error:?}");
    // A late answer would land in the buffer of the next command.
    assert!(matches!(host.flush(NSID), Err(HostError::Closed)));
}

#[test]
fn vanished_target_fails_the_command_and_all_that_follow() {
    let target = Target::start(Script { misdeed: Misdeed::CloseOnRead, ..Script::default() });
    let mut host = connect(&target);
    for _ in 0..2 {
        let error = host.read(NSID, 0, 1).unwrap_err();
        let HostError::Ended { queue: QueueName(1), end } = error else { panic!("{error:?}") };
        assert!(matches!(end, End::ClosedByPeer | End::Broken(_)), "{end:?}");
    }
    // The admin queue has a connection of its own.
    host.keep_alive().unwrap();
}

#[test]
fn read_without_its_data_is_an_error() {
    let target = Target::start(Script { misdeed: Misdeed::ReadNothing, ..Script::default() });
    let error = connect(&target).read(NSID, 0, 1).unwrap_err();
    assert_eq!(error.to_string(), "the data came damaged or short");
}

#[test]
fn write_completed_before_its_data_was_sent_ends_the_queue() {
    let target = Target::start(Script { misdeed: Misdeed::CompleteWritesEarly, ..Script::default() });
    let mut host = connect(&target);
    let error = host.write(NSID, 0, &[1; 32 * BLOCK_BYTES]).unwrap_err();
    let early = End::Protocol(PduError::EarlySuccess);
    assert!(matches!(error, HostError::Ended { end, .. } if end == early), "{error:?}");
}

#[test]
fn write_that_succeeds_without_its_data_ends_the_queue() {
    let target = Target::start(Script { misdeed: Misdeed::PretendWrites, ..Script::default() });
    let error = connect(&target).write(NSID, 0, &[1; 32 * BLOCK_BYTES]).unwrap_err();
    let words =
        "I/O queue 1: the controller broke the protocol: success of a command before its data was sent";
    assert_eq!(error.to_string(), words);
}

#[test]
fn write_that_fails_before_its_data_was_sent_tells_its_status_and_the_queue_goes_on() {
    let status = Status::TRANSIENT_TRANSPORT_ERROR;
    for misdeed in [Misdeed::FailWritesEarly, Misdeed::FailWritesUnasked] {
        let target = Target::start(Script { misdeed, ..Script::default() });
        let mut host = connect(&target);
        for _ in 0..3 {
            let error = host.write(NSID, 0, &[1; 32 * BLOCK_BYTES]).unwrap_err();
            assert_eq!(error.status(), Some(status), "{misdeed:?}: {error:?}");
            host.flush(NSID).unwrap();
        }
        target.change(|script| script.misdeed = Misdeed::None);
        host.write(NSID, 0, &[2; 32 * BLOCK_BYTES]).unwrap();
        assert_eq!(host.read(NSID, 0, 32).unwrap(), [2; 32 * BLOCK_BYTES]);
    }
}

#[test]
fn broken_protocol_is_answered_by_a_terminate_request() {
    let target = Target::start(Script { misdeed: Misdeed::SendGarbage, ..Script::default() });
    let mut host = connect(&target);
    let error = host.read(NSID, 0, 1).unwrap_err();
    assert!(matches!(error, HostError::Ended { end: End::Protocol(_), .. }), "{error:?}");
    drop(host);
    // The connection was served to its end, so the request has been seen.
    let terminations = target.stop().terminations;
    assert_eq!(terminations.len(), 1);
    assert_eq!(terminations[0].status, FatalStatus::INVALID_HEADER_FIELD);
}
