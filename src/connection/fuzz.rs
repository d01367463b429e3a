//! Both ends against arbitrary bytes: an open connection with commands outstanding, shown a stream piece by piece.
//!
//! The first three bytes choose digests, direct receive, how much is shown at a time, and alignment.

use std::ops::Range;

use crate::connection::{Payload, controller, host};
use crate::pdu::{digest, icreq, icresp};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

const ENTRIES: u16 = 4;
const READ_BYTES: u32 = 8192;
const WRITE_BYTES: u32 = 65_536;
const R2T_MAX: u16 = 2;
static ZEROS: [u8; WRITE_BYTES as usize] = [0; WRITE_BYTES as usize];

/// So many zeros.
#[derive(Clone, Copy, Debug)]
struct Zeros(u32);

impl Payload for Zeros {
    fn bytes(&self) -> usize {
        self.0 as usize
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        digest::append(0, &ZEROS[range])
    }
}

/// What the first bytes choose.
#[derive(Clone, Copy)]
struct Choice {
    header_digest: bool,
    data_digest: bool,
    direct: bool,
    step: usize,
    alignment: usize,
}

/// Runs both ends on `bytes`.
pub(super) fn run(bytes: &[u8]) {
    let Some((&[choice, step, alignment], stream)) = bytes.split_first_chunk() else { return };
    let choice = Choice {
        header_digest: choice & 1 != 0,
        data_digest: choice & 2 != 0,
        direct: choice & 4 != 0,
        step: 1 + usize::from(step) * usize::from(step),
        alignment: 4 + usize::from(alignment % 32) * 4,
    };
    run_controller(choice, stream);
    run_host(choice, stream);
}

fn run_controller(choice: Choice, stream: &[u8]) {
    let Choice { header_digest, data_digest, alignment, .. } = choice;
    let mut connection = controller::Connection::new(&controller::Options {
        entries: ENTRIES,
        capsule_bytes_max: 8192,
        h2c_data_bytes_max: 4096,
        header_digest,
        data_digest,
        alignment,
    });
    let mut first = [0; 128];
    icreq::encode(&mut first, &icreq::Request { header_digest, data_digest, alignment, r2t_max: 1 });
    assert!(matches!(connection.next(&first), Ok((128, controller::Event::Opened))));

    let mut awaited = [false; ENTRIES as usize];
    let mut window = 0..0;
    while window.end < stream.len() {
        let fresh = window.is_empty();
        window.end = stream.len().min(window.end + choice.step);
        if let Some(wanted) = connection.wanted().filter(|_| fresh && choice.direct) {
            let bytes = &stream[window.clone()][..window.len().min(wanted.bytes as usize)];
            connection.direct(count(bytes), |crc| digest::append(crc, bytes));
            window.start += bytes.len();
        }
        // What a hint is made of takes nothing, whatever the bytes are.
        let foreseen = connection.foresee(&stream[window.clone()]);
        assert!(foreseen.is_none_or(|(_, data_bytes, total)| data_bytes < total));
        loop {
            if !connection.has_room(awaited.iter().filter(|&&awaited| awaited).count()) {
                send_all(&mut connection);
            }
            let Ok((taken, event)) = connection.next(&stream[window.clone()]) else {
                assert!(connection.is_ended());
                return;
            };
            window.start += taken;
            assert!(window.start <= window.end);
            match event {
                controller::Event::Incomplete => break assert_eq!(taken, 0),
                controller::Event::Command { sqe, .. } => answer(&mut connection, sqe, &mut awaited),
                controller::Event::Transferred { ttag, .. } => {
                    assert!(std::mem::take(&mut awaited[usize::from(ttag)]), "a transfer ended twice");
                    connection.respond(&Cqe::default());
                }
                controller::Event::Data { ttag, offset, bytes } => {
                    assert!(awaited[usize::from(ttag)] && offset + count(bytes) <= WRITE_BYTES);
                }
                controller::Event::Opened => unreachable!("it was open"),
                controller::Event::Taken => {}
                controller::Event::Terminated(_) => return,
            }
        }
    }
}

fn answer(connection: &mut controller::Connection<Zeros>, sqe: &Sqe, awaited: &mut [bool]) {
    let cid = sqe.cid.get();
    let ttag = (0..ENTRIES).find(|&ttag| !awaited[usize::from(ttag)]);
    match (sqe.opcode & 3, ttag) {
        (1, Some(ttag)) => {
            awaited[usize::from(ttag)] = true;
            connection.request_data(cid, ttag, WRITE_BYTES);
        }
        (2, _) => assert!(connection.send_data(cid, Zeros(READ_BYTES), true).is_none()),
        (3, _) => {
            assert!(connection.send_data(cid, Zeros(READ_BYTES), false).is_none());
            connection.respond(&Cqe::default());
        }
        _ => connection.respond(&Cqe::default()),
    }
}

fn send_all(connection: &mut controller::Connection<Zeros>) {
    let waiting = connection.outbox().pieces().map(|piece| piece.len()).sum();
    connection.sent(waiting, drop);
}

fn run_host(choice: Choice, stream: &[u8]) {
    let Choice { header_digest, data_digest, alignment, .. } = choice;
    let mut connection = host::Connection::new(&host::Options {
        entries: ENTRIES,
        header_digest,
        data_digest,
        transfer_bytes_max: WRITE_BYTES,
        alignment,
        r2t_max: R2T_MAX,
        flow_control: false,
    });
    let mut first = [0; 128];
    let response = icresp::Response { header_digest, data_digest, alignment, h2c_data_bytes_max: 4096 };
    icresp::encode(&mut first, &response);
    assert!(matches!(connection.next(&first), Ok((128, host::Event::Opened(_)))));
    connection.sent(128);
    for cid in 0..ENTRIES {
        submit(&mut connection, cid);
    }
    // A connection that has sent all that it could, or one that is slow.
    let is_quick = choice.step.is_multiple_of(2);

    let mut window = 0..0;
    while window.end < stream.len() {
        let fresh = window.is_empty();
        window.end = stream.len().min(window.end + choice.step);
        if let Some(wanted) = connection.wanted().filter(|_| fresh && choice.direct) {
            let bytes = &stream[window.clone()][..window.len().min(wanted.bytes as usize)];
            connection.direct(count(bytes), |crc| digest::append(crc, bytes));
            window.start += bytes.len();
        }
        loop {
            if is_quick {
                send(&mut connection);
            }
            let Ok((taken, event)) = connection.next(&stream[window.clone()]) else {
                assert!(connection.is_ended());
                return;
            };
            window.start += taken;
            assert!(window.start <= window.end);
            match event {
                host::Event::Incomplete => break assert_eq!(taken, 0),
                host::Event::Completed { cqe, .. } => submit(&mut connection, cqe.cid.get()),
                host::Event::Data { cid, offset, bytes } => {
                    assert!(cid == 2 && offset + count(bytes) <= READ_BYTES);
                }
                host::Event::Opened(_) => unreachable!("it was open"),
                host::Event::Taken => {}
                host::Event::Terminated(_) => return,
            }
        }
    }
}

/// One kind of command for each CID, as [`answer`] reads opcodes; panics if the CID is still in use.
fn submit(connection: &mut host::Connection<Zeros>, cid: u16) {
    while !connection.has_room() {
        send(connection);
    }
    let mut sqe: Sqe = zerocopy::FromZeros::new_zeroed();
    sqe.cid = cid.into();
    let data = match cid {
        0 => host::Data::None,
        1 => host::Data::OnRequest(Zeros(WRITE_BYTES)),
        2 => host::Data::Read(READ_BYTES),
        _ => host::Data::InCapsule(Zeros(4096)),
    };
    connection.submit(&sqe, data);
}

fn send(connection: &mut host::Connection<Zeros>) {
    let waiting = connection.outbox().pieces().map(|piece| piece.len()).sum();
    connection.sent(waiting);
}

fn count(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a step is short")
}
