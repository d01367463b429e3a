//! R2Ts as a controller may send them: several for one command, of any length, those of several commands in any order;
//! and what SUCCESS is good for.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::pair::{Blob, Random, cqe, pattern, queued, sqe};
use super::wire;
use crate::connection::host::{Connection, Data, Event, Options};
use crate::pdu::header::{self, Role};
use crate::pdu::{Agreement, PduError, data, digest};

/// What an R2T asked for and has not come.
#[derive(Debug)]
struct Asked {
    cid: u16,
    ttag: u16,
    /// Offset of the next byte, and of the end.
    next: u32,
    end: u32,
}

/// A controller that asks for parts, and judges what comes.
struct Asker {
    host: Connection<Blob>,
    agreement: Agreement,
    random: Random,
    h2c_data_bytes_max: u32,
    r2t_max: u16,
    /// For each CID: how much was asked for, of how much.
    writes: Vec<(u32, u32)>,
    /// In the order of the R2Ts.
    asked: VecDeque<Asked>,
    ttag: u16,
    inbox: Vec<u8>,
    /// Data PDUs that came.
    pdus: usize,
}

const WRITES: u16 = 5;

impl Asker {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (header_digest, data_digest) = (random.below(2) == 0, random.below(2) == 0);
        let r2t_max = 1 + u16::try_from(random.below(6)).unwrap();
        let options = Options { entries: WRITES, header_digest, data_digest, r2t_max, ..Options::default() };
        let mut host = Connection::new(&options);
        let icreq = queued(host.outbox());
        assert_eq!(icreq[12..16], u32::from(r2t_max - 1).to_le_bytes(), "MAXR2T");
        host.sent(128);
        let alignment = 4 * (1 + random.below(32));
        let h2c_data_bytes_max = 4096 + 4 * u32::try_from(random.below(2000)).unwrap();
        host.next(&wire::icresp(header_digest, data_digest, alignment, h2c_data_bytes_max)).unwrap();
        let mut writes = Vec::new();
        for cid in 0..WRITES {
            let bytes = 4 * (1 + u32::try_from(random.below(20_000)).unwrap());
            host.submit(&sqe(1, cid, bytes, false), Data::OnRequest(pattern(cid, bytes)));
            writes.push((0, bytes));
        }
        host.sent(queued(host.outbox()).len());
        let agreement = Agreement {
            header_digest,
            data_digest,
            alignment,
            capsule_bytes_max: 0,
            data_bytes_max: h2c_data_bytes_max,
        };
        Self {
            host,
            agreement,
            random,
            h2c_data_bytes_max,
            r2t_max,
            writes,
            asked: VecDeque::new(),
            ttag: 0,
            inbox: Vec::new(),
            pdus: 0,
        }
    }

    /// R2Ts of `cid` whose data has not all come.
    fn outstanding(&self, cid: u16) -> usize {
        self.asked.iter().filter(|asked| asked.cid == cid).count()
    }

    /// Asks for the next part of some command; false if there is none that may be asked for.
    fn ask(&mut self) -> bool {
        let start = self.random.below(usize::from(WRITES));
        let cids = (0..WRITES).cycle().skip(start).take(usize::from(WRITES));
        let mut open = cids.filter(|&cid| {
            let (next, bytes) = self.writes[usize::from(cid)];
            next < bytes && self.outstanding(cid) < usize::from(self.r2t_max)
        });
        let Some(cid) = open.next() else { return false };
        let (next, bytes) = self.writes[usize::from(cid)];
        let left = usize::try_from((bytes - next) / 4).unwrap();
        let part = 4 * u32::try_from(1 + self.random.below(left)).unwrap();
        self.ttag = self.ttag.wrapping_add(0x1111);
        let r2t = wire::r2t(cid, self.ttag, next, part, self.agreement.header_digest);
        let (taken, event) = self.host.next(&r2t).unwrap();
        assert!(matches!(event, Event::Taken) && taken == r2t.len());
        self.asked.push_back(Asked { cid, ttag: self.ttag, next, end: next + part });
        self.writes[usize::from(cid)].0 = next + part;
        true
    }

    /// Takes some of what the host has to say.
    fn take(&mut self) {
        let bytes = queued(self.host.outbox());
        let some = if bytes.is_empty() { 0 } else { 1 + self.random.below(bytes.len()) };
        self.inbox.extend_from_slice(&bytes[..some]);
        self.host.sent(some);
        while let Some(common) = header::common(&self.inbox) {
            let layout = header::layout(common, Role::Host, &self.agreement).unwrap();
            if self.inbox.len() < layout.total {
                return;
            }
            let pdu: Vec<u8> = self.inbox.drain(..layout.total).collect();
            header::check_digest(&pdu, &layout).unwrap();
            let chunk = data::decode(&pdu, &layout).unwrap();
            let payload = &pdu[layout.data_start..][..layout.data_bytes];
            if layout.data_digest {
                assert_eq!(
                    pdu[layout.data_start + layout.data_bytes..],
                    digest::data(digest::append(0, payload))
                );
            }
            self.judge(&chunk, payload);
        }
    }

    fn judge(&mut self, chunk: &data::Chunk, payload: &[u8]) {
        self.pdus += 1;
        assert!(chunk.bytes <= self.h2c_data_bytes_max, "MAXH2CDATA");
        // Those of one command are served in the order in which they were sent (section 3.3.2.2).
        let first = self.asked.iter().position(|asked| asked.cid == chunk.cid).expect("it was asked for");
        let asked = &mut self.asked[first];
        assert_eq!((chunk.ttag, chunk.offset), (asked.ttag, asked.next));
        asked.next += chunk.bytes;
        assert!(asked.next <= asked.end, "not beyond what was asked for");
        assert_eq!(chunk.last, asked.next == asked.end, "LAST_PDU ends the data of an R2T");
        let (_, bytes) = self.writes[usize::from(chunk.cid)];
        let expected = &pattern(chunk.cid, bytes).0[chunk.offset as usize..][..payload.len()];
        assert_eq!(payload, expected);
        if chunk.last {
            self.asked.remove(first);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_host_serves_requests_of_any_split_in_any_order(seed in any::<u64>()) {
        let mut asker = Asker::new(seed);
        let mut steps = 0;
        loop {
            let asked = asker.random.below(3) > 0 && asker.ask();
            asker.take();
            steps += 1;
            prop_assert!(steps < 1_000_000, "it comes to an end");
            if !asked && asker.asked.is_empty() && asker.writes.iter().all(|(next, bytes)| next == bytes) {
                break;
            }
        }
        prop_assert!(asker.pdus >= usize::from(WRITES));
        prop_assert!(asker.inbox.is_empty() && asker.host.outbox().is_empty());
        for cid in 0..WRITES {
            let response = wire::response(&cqe(cid), asker.agreement.header_digest);
            let (_, event) = asker.host.next(&response).unwrap();
            let completed = matches!(event, Event::Completed { intact: true, .. });
            prop_assert!(completed);
        }
    }
}

/// A host that announced `r2t_max`, with writes of more than its outbox can hold.
fn announcing(r2t_max: u16) -> Connection<Blob> {
    let mut host = Connection::new(&Options { entries: 2, r2t_max, ..Options::default() });
    host.sent(128);
    host.next(&wire::icresp(false, false, 4, 4096)).unwrap();
    for cid in 0..2 {
        host.submit(&sqe(1, cid, 0, false), Data::OnRequest(pattern(cid, 400_000)));
    }
    host.sent(queued(host.outbox()).len());
    host
}

#[test]
fn one_request_more_than_announced_exceeds_the_limit() {
    for r2t_max in [1, 2, 3, 16, 64] {
        let mut host = announcing(r2t_max);
        // None of these is served in full before room is made.
        host.next(&wire::r2t(0, 0, 0, 200_000, false)).unwrap();
        let mut offset = 200_000;
        for ttag in 1..r2t_max {
            host.next(&wire::r2t(0, ttag, offset, 4, false)).unwrap();
            offset += 4;
        }
        // Another command has a count of its own.
        host.next(&wire::r2t(1, 900, 0, 4, false)).unwrap();
        let error = host.next(&wire::r2t(0, r2t_max, offset, 4, false)).unwrap_err();
        assert_eq!(error, PduError::LimitExceeded, "MAXR2T {r2t_max}");
        assert!(host.is_ended());
    }
}

#[test]
fn a_request_that_was_served_counts_no_more() {
    let mut host = announcing(2);
    for part in 0..50 {
        for half in 0..2 {
            let offset = part * 8000 + half * 4000;
            host.next(&wire::r2t(0, 7, offset, 4000, false)).unwrap();
        }
        host.sent(queued(host.outbox()).len());
    }
    assert!(!host.is_ended());
}

#[test]
fn several_requests_of_one_command_are_contiguous() {
    let rows = [
        ("a gap", 4100, PduError::Sequence),
        ("the same again", 0, PduError::Sequence),
        ("an overlap", 4092, PduError::Sequence),
        ("behind the end", 400_000, PduError::OutOfRange),
    ];
    for (name, offset, error) in rows {
        let mut host = announcing(8);
        host.next(&wire::r2t(0, 1, 0, 4096, false)).unwrap();
        assert_eq!(host.next(&wire::r2t(0, 2, offset, 4, false)).unwrap_err(), error, "{name}");
    }
}

/// A host with a read of 512 bytes outstanding.
fn reading(flow_control: bool) -> Connection<Blob> {
    let mut host = Connection::new(&Options { entries: 2, flow_control, ..Options::default() });
    host.sent(128);
    host.next(&wire::icresp(false, false, 4, 4096)).unwrap();
    host.submit(&sqe(2, 1, 0, false), Data::Read(512));
    host.sent(queued(host.outbox()).len());
    host
}

#[test]
fn success_is_for_hosts_without_flow_control() {
    let field = PduError::HeaderField { offset: 1 };
    //  SQ flow control, FLAGS -> what comes of it; LAST_PDU is 4, SUCCESS is 8
    let rows = [
        (false, 4, Ok(())),
        (false, 12, Ok(())),
        (false, 8, Err(field)),
        (false, 0, Err(field)),
        (true, 4, Ok(())),
        (true, 12, Err(field)),
        (true, 8, Err(field)),
    ];
    for (flow_control, flags, expected) in rows {
        let mut host = reading(flow_control);
        let mut pdu = wire::c2h_data(1, 0, &[7; 512], true, false);
        pdu[1] = flags;
        let first = host.next(&pdu).map(|(taken, _)| assert_eq!(taken, 24));
        assert_eq!(first, expected, "flow control {flow_control}, FLAGS {flags}");
        if first.is_err() {
            assert_eq!(queued(host.outbox())[..14], [2, 0, 24, 0, 48, 0, 0, 0, 1, 0, 1, 0, 0, 0]);
            continue;
        }
        host.next(&pdu[24..]).unwrap();
        let (_, event) = host.next(&[]).unwrap();
        if flags & 8 == 0 {
            assert!(matches!(event, Event::Incomplete), "there is a response to come");
            let response = wire::response(&cqe(1), false);
            let (_, event) = host.next(&response).unwrap();
            assert!(matches!(event, Event::Completed { intact: true, .. }));
        } else {
            // Status and DW0 of the completion that the host makes up are 0 (section 3.3.2.1).
            let Event::Completed { cqe, intact: true } = event else { panic!("{event:?}") };
            assert_eq!((cqe.cid.get(), cqe.dw0.get(), cqe.dw1.get(), cqe.status_wire.get()), (1, 0, 0, 0));
        }
    }
}
