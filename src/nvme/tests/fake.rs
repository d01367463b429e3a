//! A controller of a few registers and two kinds of queues, stepped by hand: what a test of the driver's own states needs
//! and nothing more. It answers well, or not at all, or with what it is told.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use zerocopy::{FromZeros, IntoBytes};

use crate::mem::{self, Extent};
use crate::nvme::{Device, Iova, MapError, ResetError};
use crate::spec::cqe::Cqe;
use crate::spec::event::AsyncEvent;
use crate::spec::identify::Cns;
use crate::spec::identify::command_set::NvmController;
use crate::spec::identify::controller::{IdentifyController, Oncs};
use crate::spec::identify::namespace::{IdentifyNamespace, LbaFormat};
use crate::spec::opcode::{AdminOpcode, NvmOpcode};
use crate::spec::register::{Aqa, Cap, Cc, Csts, DOORBELLS, Property, Shutdown, ShutdownStatus, Vs};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// Bytes of registers: doorbells of eight queue pairs.
const REGISTER_BYTES: usize = DOORBELLS + 4096;
const PAGE: u64 = 4096;

/// The device, and what a test sees of it.
pub(crate) struct Fake(Mutex<Inside>);

/// Everything about the device; a test may turn any of it.
pub(crate) struct Inside {
    pub(crate) cap: Cap,
    pub(crate) cc: Cc,
    pub(crate) csts: Csts,
    aqa: Aqa,
    asq: u64,
    acq: u64,
    /// RDY follows EN.
    pub(crate) obeys: bool,
    pub(crate) gone: bool,
    /// Admin opcodes that are never answered.
    pub(crate) silent: Vec<AdminOpcode>,
    /// Answers of admin commands instead of success.
    pub(crate) refused: Vec<(AdminOpcode, Status)>,
    /// I/O commands are fetched, and wait in `held` to be answered by the test.
    pub(crate) holds: bool,
    pub(crate) held: VecDeque<(u16, Sqe)>,
    pub(crate) mdts: u8,
    pub(crate) wzsl: u8,
    pub(crate) sgls: u32,
    pub(crate) oncs: Oncs,
    pub(crate) blocks: u64,
    /// LBADS and metadata bytes.
    pub(crate) format: LbaFormat,
    /// Active namespaces.
    pub(crate) active: Vec<u32>,
    /// Number of queue pairs granted, 0-based.
    pub(crate) granted_z: u16,
    /// What was asked of the admin queue, in order.
    pub(crate) asked: Vec<AdminOpcode>,
    /// What I/O commands were carried out.
    pub(crate) done: Vec<Sqe>,
    pub(crate) event_requests: Vec<u16>,
    pub(crate) function_resets: usize,
    pub(crate) function_reset_fails: bool,
    queues: BTreeMap<u16, Queue>,
    extents: Vec<(u64, Arc<Extent>)>,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    sq: u64,
    cq: u64,
    entries: u16,
    head: u16,
    tail: u16,
    cq_tail: u16,
    cq_phase: bool,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let cap = Cap::new().with_mqes_z(1023).with_cqr(true).with_to(1).with_css_nvm(true);
        Arc::new(Self(Mutex::new(Inside {
            cap,
            cc: Cc::new(),
            csts: Csts::new(),
            aqa: Aqa::new(),
            asq: 0,
            acq: 0,
            obeys: true,
            gone: false,
            silent: Vec::new(),
            refused: Vec::new(),
            holds: false,
            held: VecDeque::new(),
            mdts: 0,
            wzsl: 0,
            sgls: 0,
            oncs: Oncs::from_bits(0x1ff),
            blocks: 1 << 20,
            format: LbaFormat { ms: 0.into(), lbads: 9, rp: 0 },
            active: vec![1],
            granted_z: 7,
            asked: Vec::new(),
            done: Vec::new(),
            event_requests: Vec::new(),
            function_resets: 0,
            function_reset_fails: false,
            queues: BTreeMap::new(),
            extents: Vec::new(),
        })))
    }

    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// Fetches and answers everything that was announced.
    pub(crate) fn step(&self) {
        self.inside().step();
    }

    /// Answers a command that is held.
    pub(crate) fn answer(&self, index: usize, status: Status) {
        let mut inside = self.inside();
        let (qid, sqe) = inside.held.remove(index).unwrap();
        inside.post(qid, Cqe::of(sqe.cid.get(), status));
    }

    /// Answers an event request.
    pub(crate) fn event(&self, event: AsyncEvent) {
        let mut inside = self.inside();
        let cid = inside.event_requests.remove(0);
        inside.post(0, Cqe { dw0: event.into_bits().into(), ..Cqe::of(cid, Status::SUCCESS) });
    }

    /// Posts any completion.
    pub(crate) fn post(&self, qid: u16, cqe: Cqe) {
        self.inside().post(qid, cqe);
    }
}

impl Inside {
    fn step(&mut self) {
        if !self.csts.rdy() || self.gone {
            return;
        }
        let qids: Vec<u16> = self.queues.keys().copied().collect();
        for qid in qids {
            while let Some(queue) = self.queues.get(&qid).copied().filter(|queue| queue.head != queue.tail) {
                let mut sqe = Sqe::new_zeroed();
                self.read(queue.sq + u64::from(queue.head) * 64, sqe.as_mut_bytes());
                self.queues.get_mut(&qid).unwrap().head = (queue.head + 1) % queue.entries;
                if qid == 0 {
                    self.admin(&sqe);
                } else if self.holds {
                    self.held.push_back((qid, sqe));
                } else {
                    self.done.push(sqe);
                    self.post(qid, Cqe::of(sqe.cid.get(), Status::SUCCESS));
                }
            }
        }
    }

    fn admin(&mut self, sqe: &Sqe) {
        let opcode = sqe.admin_opcode();
        self.asked.push(opcode);
        if self.silent.contains(&opcode) {
            return;
        }
        let mut cqe = Cqe::of(sqe.cid.get(), Status::SUCCESS);
        if let Some((_, status)) = self.refused.iter().find(|(refused, _)| *refused == opcode) {
            return self.post(0, Cqe::of(sqe.cid.get(), *status));
        }
        let create = sqe.create_queue();
        match opcode {
            AdminOpcode::IDENTIFY => self.identify(sqe),
            AdminOpcode::SET_FEATURES if sqe.set_features().fid() == 7 => {
                let granted = u32::from(self.granted_z);
                cqe.dw0.set(granted << 16 | granted);
            }
            AdminOpcode::ASYNC_EVENT_REQUEST => {
                self.event_requests.push(sqe.cid.get());
                return;
            }
            AdminOpcode::CREATE_CQ => {
                let queue = Queue { cq: sqe.prps().prp1.get(), cq_phase: true, ..Queue::default() };
                self.queues.insert(create.qid(), queue);
            }
            AdminOpcode::CREATE_SQ => {
                let queue = self.queues.get_mut(&create.qid()).unwrap();
                queue.sq = sqe.prps().prp1.get();
                queue.entries = create.qsize_z() + 1;
            }
            AdminOpcode::DELETE_SQ => self.held.retain(|(qid, _)| *qid != create.qid()),
            AdminOpcode::DELETE_CQ => drop(self.queues.remove(&create.qid())),
            _ => {}
        }
        self.post(0, cqe);
    }

    fn identify(&mut self, sqe: &Sqe) {
        let to = sqe.prps().prp1.get();
        match Cns(sqe.identify().cns()) {
            Cns::CONTROLLER => {
                let mut page = IdentifyController::new_zeroed();
                page.sn = *b"SERIAL              ";
                page.nn.set(8);
                page.mdts = self.mdts;
                if self.wzsl > 0 {
                    page.ver.set(Vs::new().with_mjr(2).into_bits());
                }
                page.sgls.set(self.sgls);
                page.oncs.set(self.oncs.into_bits());
                page.oaes.set(1 << 8);
                page.acl_z = 3;
                page.aerl_z = 3;
                self.write(to, page.as_bytes());
            }
            Cns::COMMAND_SET_CONTROLLER => {
                let mut page = NvmController::new_zeroed();
                page.wzsl = self.wzsl;
                self.write(to, page.as_bytes());
            }
            Cns::ACTIVE_NAMESPACES => {
                let list: Vec<u8> = self.active.iter().flat_map(|id| id.to_le_bytes()).collect();
                self.write(to, &list);
            }
            Cns::NAMESPACE => {
                let mut page = IdentifyNamespace::new_zeroed();
                page.nsze.set(self.blocks);
                page.lbaf[0] = self.format;
                (page.mssrl, page.mcl, page.msrc_z) = (16_u16.into(), 32_u32.into(), 3);
                self.write(to, page.as_bytes());
            }
            _ => {}
        }
    }

    pub(crate) fn post(&mut self, qid: u16, cqe: Cqe) {
        let queue = self.queues.get_mut(&qid).unwrap();
        let cqe = cqe.with_phase(queue.cq_phase);
        let at = queue.cq + u64::from(queue.cq_tail) * 16;
        queue.cq_tail = (queue.cq_tail + 1) % queue.entries;
        queue.cq_phase ^= queue.cq_tail == 0;
        self.write(at, cqe.as_bytes());
    }

    /// Where the memory is that the device sees at `iova`.
    fn place(&self, iova: u64, bytes: usize) -> (&Arc<Extent>, usize) {
        let found = self.extents.iter().find(|(start, extent)| {
            iova.checked_sub(*start).is_some_and(|offset| offset + bytes as u64 <= extent.len() as u64)
        });
        let (start, extent) = found.unwrap_or_else(|| panic!("{iova:#x} is not mapped"));
        (extent, usize::try_from(iova - start).unwrap())
    }

    pub(crate) fn read(&self, iova: u64, bytes: &mut [u8]) {
        let (extent, offset) = self.place(iova, bytes.len());
        mem::copy_out(extent.segment(offset..offset + bytes.len()), bytes);
    }

    pub(crate) fn write(&self, iova: u64, bytes: &[u8]) {
        let (extent, offset) = self.place(iova, bytes.len());
        mem::copy_in(bytes, extent.segment_mut(offset..offset + bytes.len()));
    }

    /// The pages of a command's PRPs, as address and length.
    pub(crate) fn pages(&self, sqe: &Sqe, bytes: u64) -> Vec<(u64, u64)> {
        let (first, second) = (sqe.prps().prp1.get(), sqe.prps().prp2.get());
        let mut pages = vec![(first, bytes.min(PAGE - first % PAGE))];
        let mut left = bytes - pages[0].1;
        let mut list = (left > PAGE).then_some(second);
        while left > 0 {
            let mut page = second.to_le_bytes();
            if let Some(entry) = &mut list {
                self.read(*entry, &mut page);
                *entry += 8;
            }
            pages.push((u64::from_le_bytes(page), left.min(PAGE)));
            left -= left.min(PAGE);
        }
        pages
    }

    fn set_cc(&mut self, cc: Cc) {
        let before = std::mem::replace(&mut self.cc, cc);
        if cc.shn() != Shutdown::NONE {
            self.csts.set_shst(ShutdownStatus::COMPLETE);
        }
        if !self.obeys || before.en() == cc.en() {
            return;
        }
        self.csts = Csts::new().with_rdy(cc.en());
        self.queues.clear();
        self.held.clear();
        self.event_requests.clear();
        if cc.en() {
            let entries = self.aqa.asqs_z() + 1;
            let queue = Queue { sq: self.asq, cq: self.acq, entries, cq_phase: true, ..Queue::default() };
            self.queues.insert(0, queue);
        }
    }

    fn ring(&mut self, offset: usize, value: u32) {
        let (index, value) = ((offset - DOORBELLS) / 4, u16::try_from(value).unwrap());
        let qid = u16::try_from(index / 2).unwrap();
        if let Some(queue) = self.queues.get_mut(&qid).filter(|_| index.is_multiple_of(2)) {
            assert!(value < queue.entries);
            queue.tail = value;
        }
    }
}

impl Device for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn register_bytes(&self) -> usize {
        REGISTER_BYTES
    }

    fn read_u32(&self, offset: usize) -> u32 {
        let inside = self.inside();
        match Property(u32::try_from(offset).unwrap()) {
            _ if inside.gone => u32::MAX,
            Property::CC => inside.cc.into_bits(),
            Property::CSTS => inside.csts.into_bits(),
            _ => 0,
        }
    }

    fn read_u64(&self, offset: usize) -> u64 {
        let inside = self.inside();
        match Property(u32::try_from(offset).unwrap()) {
            _ if inside.gone => u64::MAX,
            Property::CAP => inside.cap.into_bits(),
            _ => 0,
        }
    }

    fn write_u32(&self, offset: usize, value: u32) {
        let mut inside = self.inside();
        match Property(u32::try_from(offset).unwrap()) {
            _ if inside.gone => {}
            Property::CC => inside.set_cc(Cc::from_bits(value)),
            Property::AQA => inside.aqa = Aqa::from_bits(value),
            _ if offset >= DOORBELLS => inside.ring(offset, value),
            _ => {}
        }
    }

    fn write_u64(&self, offset: usize, value: u64) {
        let mut inside = self.inside();
        match Property(u32::try_from(offset).unwrap()) {
            Property::ASQ => inside.asq = value,
            Property::ACQ => inside.acq = value,
            _ => {}
        }
    }

    fn map(&self, extent: &Arc<Extent>) -> Result<Iova, MapError> {
        let mut inside = self.inside();
        let iova = (inside.extents.len() as u64 + 1) << 32;
        inside.extents.push((iova, Arc::clone(extent)));
        Ok(Iova(iova))
    }

    fn unmap(&self, iova: Iova) {
        self.inside().extents.retain(|(start, _)| *start != iova.0);
    }

    fn reset(&self) -> Result<(), ResetError> {
        let mut inside = self.inside();
        inside.function_resets += 1;
        if inside.function_reset_fails {
            return Err(ResetError::Unsupported);
        }
        inside.obeys = true;
        inside.cc = Cc::new();
        inside.csts = Csts::new();
        inside.queues.clear();
        inside.held.clear();
        inside.event_requests.clear();
        Ok(())
    }

    fn is_gone(&self) -> bool {
        self.inside().gone
    }

    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// How many extents the device can reach.
impl Fake {
    pub(crate) fn extents(&self) -> usize {
        self.inside().extents.len()
    }

    /// Opcodes of the I/O commands that were carried out.
    pub(crate) fn opcodes(&self) -> Vec<NvmOpcode> {
        self.inside().done.iter().map(Sqe::nvm_opcode).collect()
    }
}
