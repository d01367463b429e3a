//! `has_room` keeps its word: what it allows in can be answered, even if the peer never reads.

use proptest::prelude::*;

use super::pair::{Blob, Random, cqe, pattern, queued, sqe};
use super::wire;
use crate::connection::controller::{Connection, Event, Options};
use crate::connection::{host, outbox::Payload};
use crate::pdu::{PduError, digest, icreq};
use crate::spec::cqe::Cqe;
use crate::spec::status::Status;

/// A target with commands outstanding, and a peer that reads little or nothing.
struct Stalled {
    connection: Connection<Blob>,
    entries: usize,
    header_digest: bool,
    data_digest: bool,
    random: Random,
    /// Reads, true where SUCCESS stands for the response.
    reads: Vec<bool>,
    /// Writes before their R2T, and transfer tags after it.
    writes: usize,
    ttags: Vec<u16>,
    /// Commands that wait for a response alone.
    plain: usize,
}

const WRITE_BYTES: u32 = 8;

impl Stalled {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (header_digest, data_digest) = (random.below(2) == 0, random.below(2) == 0);
        let options = Options {
            entries: u16::try_from(1 + random.below(9)).unwrap(),
            capsule_bytes_max: 8192,
            h2c_data_bytes_max: 4096,
            header_digest,
            data_digest,
            ..Options::default()
        };
        let mut connection = Connection::new(&options);
        let alignment = [4, 64, 128][random.below(3)];
        let request = icreq::Request { header_digest, data_digest, alignment, r2t_max: 1 };
        let bytes = wire::icreq(&request);
        assert!(matches!(connection.next(&bytes), Ok((128, Event::Opened))));
        if random.below(2) == 0 {
            connection.sent(128, |_| ());
        }
        let (reads, ttags) = (Vec::new(), Vec::new());
        let entries = usize::from(options.entries);
        Self { connection, entries, header_digest, data_digest, random, reads, writes: 0, ttags, plain: 0 }
    }

    fn outstanding(&self) -> usize {
        self.reads.len() + self.writes + self.ttags.len() + self.plain
    }

    /// Takes commands in for as long as there is room, and answers one now and then.
    fn fill(&mut self) {
        while self.connection.has_room(self.outstanding()) {
            if self.outstanding() == self.entries || self.random.below(3) == 0 {
                self.answer();
                continue;
            }
            let bytes = wire::capsule(&sqe(0, 1, 0, false), &[], self.header_digest, self.data_digest);
            let (taken, event) = self.connection.next(&bytes).unwrap();
            assert!(matches!(event, Event::Command { .. }));
            assert_eq!(taken, bytes.len());
            match self.random.below(4) {
                0 => self.plain += 1,
                1 => self.writes += 1,
                kind => self.reads.push(kind == 2),
            }
            if self.random.below(20) == 0 {
                let waiting = queued(self.connection.outbox()).len();
                let sent = self.random.below(waiting + 1);
                self.connection.sent(sent, |_| ());
            }
        }
    }

    /// One step towards the answer of one command.
    fn answer(&mut self) {
        match self.random.below(4) {
            0 if self.plain > 0 => {
                self.plain -= 1;
                self.connection.respond(&cqe(1));
            }
            1 if !self.reads.is_empty() => {
                let index = self.random.below(self.reads.len());
                let success = self.reads.swap_remove(index);
                assert_eq!(self.connection.send_data(1, pattern(1, 4), success), None);
                // A response may come at once or after other answers.
                match (success, self.random.below(2)) {
                    (true, _) => {}
                    (false, 0) => self.connection.respond(&cqe(1)),
                    (false, _) => self.plain += 1,
                }
            }
            2 if self.writes > 0 => {
                self.writes -= 1;
                let ttag = (0..).find(|ttag| !self.ttags.contains(ttag)).unwrap();
                self.ttags.push(ttag);
                self.connection.request_data(1, ttag, WRITE_BYTES);
            }
            3 if !self.ttags.is_empty() => {
                let ttag = self.ttags.pop().unwrap();
                let (header, data) = (self.header_digest, self.data_digest);
                let bytes = wire::h2c_data(1, ttag, 0, &[0; WRITE_BYTES as usize], true, header, data);
                self.show(&bytes);
                self.connection.respond(&cqe(1));
            }
            _ => {}
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        let mut from = 0;
        loop {
            match self.connection.next(&bytes[from..]).unwrap() {
                (0, Event::Incomplete) => break assert_eq!(from, bytes.len()),
                (taken, _) => from += taken,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_controller_can_answer_what_it_took_in(seed in any::<u64>()) {
        let mut target = Stalled::new(seed);
        target.fill();
        while target.outstanding() > 0 {
            target.answer();
        }
        // Even then there is room to tell the peer why the connection ends.
        let before = queued(target.connection.outbox()).len();
        prop_assert_eq!(target.connection.next(&[0xff; 8]).unwrap_err(), PduError::HeaderField { offset: 0 });
        prop_assert_eq!(queued(target.connection.outbox()).len(), before + 24 + 8);
    }

    #[test]
    fn a_host_can_submit_while_it_has_room(seed in any::<u64>()) {
        let mut random = Random(seed);
        let (header_digest, data_digest) = (random.below(2) == 0, random.below(2) == 0);
        let entries = u16::try_from(1 + random.below(9)).unwrap();
        let options = host::Options { entries, header_digest, data_digest, ..host::Options::default() };
        let mut host = host::Connection::new(&options);
        let cpda = [4, 72, 128][random.below(3)];
        let bytes = wire::icresp(header_digest, data_digest, cpda, 4096);
        assert!(matches!(host.next(&bytes), Ok((128, host::Event::Opened(_)))));
        // Submit, complete, ask for data: nothing is ever sent, so the CIDs of commands without data alone come around.
        let mut taken = vec![false; usize::from(entries)];
        for cid in (0..entries).cycle().take(200) {
            if !host.has_room() {
                break;
            }
            if taken[usize::from(cid)] {
                continue;
            }
            let data = pattern(cid, 65_536);
            let kind = random.below(3);
            match kind {
                0 => host.submit(&sqe(0, cid, 0, false), host::Data::None),
                1 => host.submit(&sqe(1, cid, 0, false), host::Data::InCapsule(data)),
                _ => {
                    host.submit(&sqe(1, cid, 0, false), host::Data::OnRequest(data.clone()));
                    let bytes = wire::r2t(cid, 9, 0, u32::try_from(data.bytes()).unwrap(), header_digest);
                    assert!(matches!(host.next(&bytes), Ok((_, host::Event::Taken))));
                }
            }
            let status = Status::TRANSIENT_TRANSPORT_ERROR;
            let bytes = wire::response(&Cqe::of(cid, status), header_digest);
            let (_, event) = host.next(&bytes).unwrap();
            let is_told = matches!(event, host::Event::Completed { .. });
            assert!(is_told || kind != 0);
            taken[usize::from(cid)] = !is_told;
        }
        let before = queued(host.outbox()).len();
        prop_assert_eq!(host.next(&[0xff; 8]).unwrap_err(), PduError::HeaderField { offset: 0 });
        prop_assert_eq!(queued(host.outbox()).len(), before + 24 + 8);
    }
}

#[test]
fn a_full_queue_fits_an_idle_outbox() {
    for entries in [1, 2, 128, 4096] {
        let options = Options { entries, ..Options::default() };
        let mut connection: Connection<Blob> = Connection::new(&options);
        let request = icreq::Request { header_digest: true, data_digest: true, alignment: 128, r2t_max: 1 };
        connection.next(&wire::icreq(&request)).unwrap();
        connection.sent(128, |_| ());
        for outstanding in 0..usize::from(entries) {
            assert!(connection.has_room(outstanding), "{outstanding} of {entries}");
        }
        assert!(!connection.has_room(usize::from(entries) * 2 + 4), "the outbox has a limit");
    }
}

#[test]
fn digests_of_payloads_are_asked_for_by_range() {
    let data = pattern(3, 100);
    assert_eq!(data.crc32c(10..20), digest::append(0, &data.0[10..20]));
}
