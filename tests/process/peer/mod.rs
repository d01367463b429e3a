//! A scripted NVMe/TCP host on a raw socket: it sends any bytes in any order, and reads what comes back PDU by PDU.
//!
//! Nothing here keeps a script from breaking the protocol. Right PDUs are made here, wrong ones of them in [`wrong`], and
//! [`pace`] says how fast they are sent and how the connection ends. A whole association is a
//! [`Session`](crate::session::Session). Every wait has a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corelane::pdu::header::{self, Agreement, HEADER_BYTES_MAX, Role};
use corelane::pdu::{self, data, digest, icreq};
use corelane::spec::cqe::Cqe;
use corelane::spec::sgl::SglDescriptor;
use corelane::spec::sqe::Sqe;
use corelane::spec::tcp::{CapsuleResp, CommonHeader, DIGEST_BYTES, Icresp, PduType, R2t, TermReq, flags};
use zerocopy::FromBytes;

pub(crate) mod pace;
pub(crate) mod wrong;

pub(crate) use pace::Leaves;
pub(crate) use wrong::{Wrong, capsule, icreq as plain_icreq};

/// From a request to its answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a peer asks for in its ICReq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) header: bool,
    pub(crate) data: bool,
}

impl Digests {
    pub(crate) const NONE: Self = Self { header: false, data: false };
    pub(crate) const ALL: [Self; 4] = [
        Self::NONE,
        Self { header: true, data: false },
        Self { header: false, data: true },
        Self { header: true, data: true },
    ];
}

/// A PDU as it came.
#[derive(Debug)]
pub(crate) struct Pdu {
    pub(crate) common: CommonHeader,
    pub(crate) bytes: Vec<u8>,
}

/// A connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) agreement: Agreement,
}

impl Peer {
    /// Connects, and says nothing.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, ANSWER_MAX).expect("connecting to the target"))
    }

    /// Connects, and exchanges ICReq and ICResp.
    pub(crate) fn opened(address: SocketAddr, digests: Digests) -> Self {
        Self::new(address).open(digests)
    }

    /// Connects, and exchanges this ICReq for an ICResp.
    pub(crate) fn opened_with(address: SocketAddr, request: &icreq::Request) -> Self {
        Self::new(address).open_with(request)
    }

    /// Exchanges ICReq and ICResp.
    pub(crate) fn open(self, digests: Digests) -> Self {
        self.open_with(&request(digests))
    }

    fn open_with(mut self, request: &icreq::Request) -> Self {
        let digests = Digests { header: request.header_digest, data: request.data_digest };
        self.send(&icreq_of(request));
        let response = self.receive().expect("an ICResp");
        assert_eq!(response.common.pdu_type, PduType::ICRESP);
        let (response, _) = Icresp::ref_from_prefix(&response.bytes).expect("128 bytes");
        let agreed = (response.dgst & 1 != 0, response.dgst & 2 != 0);
        assert_eq!(agreed, (digests.header, digests.data), "the target agrees to the digests asked for");
        self.agreement = Self::agreed(digests);
        self
    }

    /// What both ends agree on after an ICReq that asks for `digests`.
    pub(crate) fn agreed(digests: Digests) -> Agreement {
        Agreement { header_digest: digests.header, data_digest: digests.data, ..Agreement::NONE }
    }

    /// Sends `bytes`, all of them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sending to the target");
    }

    /// Sends as much of `bytes` as the target takes before it closes.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) {
        // The target may close at any byte, and that is what some scripts are about.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a command with `data` in its capsule.
    pub(crate) fn command(&mut self, sqe: &Sqe, data: &[u8]) {
        let bytes = command(sqe, data, &self.agreement);
        self.send(&bytes);
    }

    /// Sends a command and returns its completion; R2Ts and data that come before are dropped.
    pub(crate) fn execute(&mut self, sqe: &Sqe, data: &[u8]) -> Cqe {
        self.command(sqe, data);
        self.completion()
    }

    /// The next completion; R2Ts and data that come before are dropped.
    pub(crate) fn completion(&mut self) -> Cqe {
        loop {
            let pdu = self.receive().expect("a completion, and not the end of the connection");
            match pdu.common.pdu_type {
                PduType::CAPSULE_RESP => return pdu.cqe(),
                PduType::C2H_DATA | PduType::R2T => {}
                other => panic!("{other:?} where a completion was expected: {pdu:?}"),
            }
        }
    }

    /// The next PDU, an R2T.
    pub(crate) fn ready_to_transfer(&mut self) -> R2t {
        let pdu = self.receive().expect("an R2T, and not the end of the connection");
        assert_eq!(pdu.common.pdu_type, PduType::R2T, "an R2T was expected");
        R2t::read_from_prefix(&pdu.bytes).expect("24 bytes").0
    }

    /// Sends `bytes` as the data that `request` asks for, from offset 0 on, in one PDU.
    pub(crate) fn transfer(&mut self, request: &R2t, bytes: &[u8]) {
        let pdu = self.data(&chunk(request, 0, bytes.len(), true), bytes);
        self.send(&pdu);
    }

    /// An H2CData PDU with digests as agreed on.
    pub(crate) fn data(&self, chunk: &data::Chunk, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES_MAX];
        let start = data::encode(&mut out, Role::Host, chunk, &self.agreement);
        with_data(out, start, bytes, &self.agreement)
    }

    /// The next PDU; `None` when the target has closed the connection. Panics when neither happens in time.
    pub(crate) fn receive(&mut self) -> Option<Pdu> {
        let mut bytes = self.read(header::COMMON_BYTES)?;
        let common = *header::common(&bytes).expect("eight bytes");
        let plen = common.plen.get() as usize;
        assert!((8..=(1 << 20) + 256).contains(&plen), "a PDU of {plen} bytes");
        let rest = self.read(plen - bytes.len()).expect("the whole PDU before the end of the connection");
        bytes.extend(rest);
        let pdu = Pdu { common, bytes };
        pdu.check_digests();
        Some(pdu)
    }

    /// The connection ends with a C2HTermReq of this FES and FEI, after whatever was under way.
    pub(crate) fn terminated(&mut self) -> (u16, u32) {
        loop {
            let pdu = self.receive().expect("a C2HTermReq before the end of the connection");
            if pdu.common.pdu_type != PduType::C2H_TERM_REQ {
                continue;
            }
            let (request, _) = TermReq::read_from_prefix(&pdu.bytes).expect("24 bytes");
            assert!(self.receive().is_none(), "nothing follows a C2HTermReq");
            return (request.fes.get(), request.fei.get());
        }
    }

    /// The target closes the connection without another word than answers to what came before.
    pub(crate) fn closed(&mut self) {
        while let Some(pdu) = self.receive() {
            assert_ne!(pdu.common.pdu_type, PduType::C2H_TERM_REQ, "the target closes without a C2HTermReq");
        }
    }

    /// The target closes the connection, perhaps inside an answer: what its socket has not taken yet is given up.
    pub(crate) fn cut_off(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the target does not close the connection: {error}"),
            }
        }
    }

    /// `count` bytes; `None` if the connection ends before the first.
    fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut have = 0;
        while have < count {
            match self.stream.read(&mut bytes[have..]) {
                Ok(0) if have == 0 => return None,
                Ok(0) => panic!("the connection ended inside a PDU, after {have} of {count} bytes"),
                Ok(more) => have += more,
                Err(error) if error.kind() == ErrorKind::ConnectionReset && have == 0 => return None,
                Err(error) => panic!("no answer of the target: {error} ({have} of {count} bytes)"),
            }
        }
        Some(bytes)
    }
}

impl Pdu {
    /// The completion in a response capsule.
    pub(crate) fn cqe(&self) -> Cqe {
        assert_eq!(self.common.pdu_type, PduType::CAPSULE_RESP);
        CapsuleResp::read_from_prefix(&self.bytes).expect("24 bytes").0.cqe
    }

    /// The data of a C2HData PDU.
    pub(crate) fn payload(&self) -> &[u8] {
        assert_eq!(self.common.pdu_type, PduType::C2H_DATA);
        let digest = if self.common.flags & flags::DATA_DIGEST != 0 { DIGEST_BYTES } else { 0 };
        &self.bytes[usize::from(self.common.pdo)..self.bytes.len() - digest]
    }

    fn check_digests(&self) {
        let hlen = usize::from(self.common.hlen);
        let has_digests = !matches!(self.common.pdu_type, PduType::ICRESP | PduType::C2H_TERM_REQ);
        if has_digests && self.common.flags & flags::HEADER_DIGEST != 0 {
            let expected = digest::header(&self.bytes[..hlen]);
            assert_eq!(self.bytes[hlen..hlen + DIGEST_BYTES], expected, "the header digest of the target");
        }
        if self.common.pdu_type == PduType::C2H_DATA && self.common.flags & flags::DATA_DIGEST != 0 {
            let expected = digest::data(digest::append(0, self.payload()));
            assert!(self.bytes.ends_with(&expected), "the data digest of the target");
        }
    }
}

/// An ICReq.
pub(crate) fn icreq(digests: Digests) -> Vec<u8> {
    icreq_of(&request(digests))
}

fn request(digests: Digests) -> icreq::Request {
    icreq::Request { header_digest: digests.header, data_digest: digests.data, alignment: 4, r2t_max: 1 }
}

fn icreq_of(request: &icreq::Request) -> Vec<u8> {
    let mut out = vec![0; 128];
    let length = icreq::encode(&mut out, request);
    assert_eq!(length, 128);
    out
}

/// A command capsule; with data, the data pointer must say so, and here it need not.
pub(crate) fn command(sqe: &Sqe, data: &[u8], agreement: &Agreement) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES_MAX];
    let start = pdu::capsule::encode_command(&mut out, sqe, data.len(), agreement);
    with_data(out, start, data, agreement)
}

/// What `request` asks for, from `offset` on: the header of such an H2CData PDU.
pub(crate) fn chunk(request: &R2t, offset: usize, bytes: usize, last: bool) -> data::Chunk {
    let length = |bytes| u32::try_from(bytes).expect("shorter than 4 GiB");
    data::Chunk {
        cid: request.cccid.get(),
        ttag: request.ttag.get(),
        offset: length(offset),
        bytes: length(bytes),
        last,
        success: false,
    }
}

/// `sqe` with this CID, and the data pointer for `bytes` in its capsule.
pub(crate) fn in_capsule(mut sqe: Sqe, cid: u16, bytes: usize) -> Sqe {
    sqe.cid = cid.into();
    sqe.dptr = SglDescriptor::in_capsule(0, u32::try_from(bytes).expect("shorter than 4 GiB"));
    sqe
}

/// `sqe` with this CID, and the data pointer for `bytes` that move in PDUs of their own.
pub(crate) fn by_transport(mut sqe: Sqe, cid: u16, bytes: usize) -> Sqe {
    sqe.cid = cid.into();
    sqe.dptr = SglDescriptor::transport(u32::try_from(bytes).expect("shorter than 4 GiB"));
    sqe
}

fn with_data(mut out: Vec<u8>, start: usize, data: &[u8], agreement: &Agreement) -> Vec<u8> {
    out.truncate(start);
    out.extend_from_slice(data);
    if agreement.data_digest && !data.is_empty() {
        out.extend_from_slice(&digest::data(digest::append(0, data)));
    }
    out
}
