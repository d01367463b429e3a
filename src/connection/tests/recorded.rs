//! Recorded connections of Linux. Each end of ours takes what Linux sent to it, and given the same decisions it says
//! byte for byte what Linux said.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::pair::{Blob, queued};
use crate::connection::{controller, host};
use crate::pdu::golden::{ALL, Capture, Recorded};
use crate::pdu::{Agreement, Layout, Role, capsule, data, header, icreq, icresp, r2t};
use crate::spec::tcp::PduType;

/// A recorded connection and what its ends agreed on.
struct Replay {
    name: &'static str,
    pdus: Vec<Recorded>,
    request: icreq::Request,
    response: icresp::Response,
}

impl Replay {
    fn new(capture: &Capture) -> Self {
        let pdus = capture.pdus();
        let request = icreq::decode(&pdus[0].bytes).unwrap();
        let response = icresp::decode(&pdus[1].bytes).unwrap();
        Self { name: capture.name, pdus, request, response }
    }

    fn layout(&self, index: usize) -> Layout {
        let agreed = Agreement {
            header_digest: self.response.header_digest,
            data_digest: self.response.data_digest,
            ..Agreement::NONE
        };
        let pdu = &self.pdus[index];
        header::layout(header::common(&pdu.bytes).unwrap(), pdu.from, &agreed).unwrap()
    }

    /// The payload of PDU `index`.
    fn payload(&self, index: usize) -> &[u8] {
        let layout = self.layout(index);
        &self.pdus[index].bytes[layout.data_start..][..layout.data_bytes]
    }

    /// What the data PDUs of type `pdu_type` that answer the command in PDU `index` carry together.
    fn data_of(&self, index: usize, pdu_type: PduType) -> Vec<u8> {
        let cid = capsule::decode_command(&self.pdus[index].bytes).unwrap().cid.get();
        let mut bytes = Vec::new();
        for later in index + 1..self.pdus.len() {
            let (layout, pdu) = (self.layout(later), &self.pdus[later].bytes);
            match layout.pdu_type {
                PduType::CAPSULE_RESP if capsule::decode_response(pdu).unwrap().cid.get() == cid => break,
                found if found == pdu_type => {
                    let chunk = data::decode(pdu, &layout).unwrap();
                    if chunk.cid == cid {
                        bytes.extend_from_slice(self.payload(later));
                    }
                    if chunk.cid == cid && chunk.success {
                        break;
                    }
                }
                _ => {}
            }
        }
        bytes
    }
}

/// Lets our target decide as that of Linux did.
fn replay_controller(replay: &Replay, step: usize) -> usize {
    let mut connection = controller::Connection::<Blob>::new(&controller::Options {
        entries: u16::MAX,
        capsule_bytes_max: 1 << 16,
        h2c_data_bytes_max: replay.response.h2c_data_bytes_max,
        header_digest: replay.response.header_digest,
        data_digest: replay.response.data_digest,
        alignment: replay.response.alignment,
    });
    let mut transferred = 0;
    for (index, pdu) in replay.pdus.iter().enumerate() {
        let layout = replay.layout(index);
        let bytes = &pdu.bytes;
        if pdu.from == Role::Host {
            let mut payload = Vec::new();
            let (mut taken, mut shown) = (0, 0);
            while shown < bytes.len() {
                shown = bytes.len().min(shown + step);
                loop {
                    let (more, event) = connection.next(&bytes[taken..shown]).unwrap();
                    taken += more;
                    match event {
                        controller::Event::Incomplete => break,
                        controller::Event::Taken | controller::Event::Opened => {}
                        controller::Event::Command { sqe, data, intact } => {
                            assert!(intact, "{}", replay.name);
                            assert_eq!(sqe, capsule::decode_command(bytes).unwrap());
                            payload.extend_from_slice(data);
                        }
                        controller::Event::Data { bytes, .. } => payload.extend_from_slice(bytes),
                        controller::Event::Transferred { intact, .. } => {
                            assert!(intact, "{}", replay.name);
                            transferred += 1;
                        }
                        controller::Event::Terminated(why) => panic!("{}: {why:?}", replay.name),
                    }
                }
            }
            assert_eq!(taken, bytes.len(), "{}", replay.name);
            assert_eq!(payload, replay.payload(index), "{}", replay.name);
            continue;
        }
        match layout.pdu_type {
            PduType::ICRESP => {}
            PduType::CAPSULE_RESP => connection.respond(capsule::decode_response(bytes).unwrap()),
            PduType::C2H_DATA => {
                let chunk = data::decode(bytes, &layout).unwrap();
                let data = Blob(replay.payload(index).into());
                assert!(connection.send_data(chunk.cid, data, chunk.success).is_none());
            }
            PduType::R2T => {
                let request = r2t::decode(bytes).unwrap();
                assert_eq!(request.offset, 0);
                connection.request_data(request.cid, request.ttag, request.bytes);
            }
            other => panic!("{}: {other:?}", replay.name),
        }
        assert_eq!(queued(connection.outbox()), *bytes, "{} {index}", replay.name);
        connection.sent(bytes.len(), drop);
    }
    transferred
}

/// Lets our host decide as that of Linux did.
fn replay_host(replay: &Replay, step: usize) -> (usize, usize) {
    let mut connection = host::Connection::<Blob>::new(&host::Options {
        entries: u16::MAX,
        header_digest: replay.request.header_digest,
        data_digest: replay.request.data_digest,
        transfer_bytes_max: 1 << 20,
        alignment: replay.request.alignment,
        ..host::Options::default()
    });
    let mut reads: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    let (mut commands, mut completions) = (0, 0);
    for (index, pdu) in replay.pdus.iter().enumerate() {
        let bytes = &pdu.bytes;
        if pdu.from == Role::Host {
            if replay.layout(index).pdu_type == PduType::CAPSULE_CMD {
                let sqe = capsule::decode_command(bytes).unwrap();
                let written: Rc<[u8]> = replay.data_of(index, PduType::H2C_DATA).into();
                let read = replay.data_of(index, PduType::C2H_DATA);
                let data = match (replay.payload(index), written.len(), read.len()) {
                    ([], 0, 0) => host::Data::None,
                    ([], 0, bytes) => host::Data::Read(bytes.try_into().unwrap()),
                    ([], _, _) => host::Data::OnRequest(Blob(written)),
                    (data, _, _) => host::Data::InCapsule(Blob(data.into())),
                };
                reads.insert(sqe.cid.get(), read);
                connection.submit(sqe, data);
                commands += 1;
            }
            assert_eq!(queued(connection.outbox())[..bytes.len()], *bytes, "{} {index}", replay.name);
            connection.sent(bytes.len());
            continue;
        }
        let (mut taken, mut shown) = (0, 0);
        while shown < bytes.len() {
            shown = bytes.len().min(shown + step);
            loop {
                let (more, event) = connection.next(&bytes[taken..shown]).unwrap();
                taken += more;
                match event {
                    host::Event::Incomplete => break,
                    host::Event::Taken => {}
                    host::Event::Opened(response) => assert_eq!(response, replay.response),
                    host::Event::Data { cid, offset, bytes } => {
                        assert_eq!(reads[&cid][offset as usize..][..bytes.len()], *bytes);
                    }
                    host::Event::Completed { cqe, intact } => {
                        assert!(intact, "{} {cqe:?}", replay.name);
                        completions += 1;
                    }
                    host::Event::Terminated(why) => panic!("{}: {why:?}", replay.name),
                }
            }
        }
        assert_eq!(taken, bytes.len(), "{}", replay.name);
    }
    assert!(connection.outbox().is_empty(), "{}", replay.name);
    (commands, completions)
}

#[test]
fn our_target_says_what_that_of_linux_said() {
    for capture in &ALL {
        let replay = Replay::new(capture);
        for step in [1, 100, 1 << 20] {
            let transferred = replay_controller(&replay, step);
            assert_eq!(transferred > 0, replay.name.starts_with("io"), "{}", replay.name);
        }
    }
}

#[test]
fn our_host_says_what_that_of_linux_said() {
    for capture in &ALL {
        let replay = Replay::new(capture);
        for step in [1, 100, 1 << 20] {
            let (commands, completions) = replay_host(&replay, step);
            assert!(completions > 5, "{}", replay.name);
            // Asynchronous event requests are outstanding at the end.
            assert!((completions..=completions + 4).contains(&commands), "{}: {commands}", replay.name);
        }
    }
}
