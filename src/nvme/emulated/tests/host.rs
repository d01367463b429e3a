//! A host of a few lines: one command at a time, queues and data at fixed places of one extent.

use std::sync::Arc;

use zerocopy::{FromBytes, IntoBytes};

use crate::mem::{self, Extent, Shared};
use crate::nvme::device::Device;
use crate::nvme::emulated::{Emulated, Options};
use crate::spec::cqe::Cqe;
use crate::spec::opcode::{AdminOpcode, NvmOpcode};
use crate::spec::prp::PrpPair;
use crate::spec::queue::{CompletionQueue, CreateQueue, SubmissionQueue};
use crate::spec::register::{Aqa, Cc, Csts, DOORBELLS, Property, completion_doorbell, submission_doorbell};
use crate::spec::sqe::Sqe;

/// Entries of every queue.
pub(super) const ENTRIES: u16 = 8;

/// Where data begins in the extent; the queues are before it.
pub(super) const DATA: usize = 16 << 12;

/// Steps within which every command is answered.
const STEPS_MAX: u32 = 100;

pub(super) struct Host {
    pub(super) device: Emulated,
    pub(super) extent: Arc<Extent>,
    pub(super) iova: u64,
    memory: Shared,
    rings: [Ring; 2],
    next_cid: u16,
}

#[derive(Clone, Copy, Default)]
struct Ring {
    tail: u16,
    head: u16,
    phase: bool,
}

impl Host {
    /// A device that is ready, with one I/O queue pair.
    pub(super) fn ready(options: &Options) -> Self {
        let mut host = Self::disabled(options);
        host.enable();
        for _ in 0..3 {
            host.device.step();
        }
        assert!(host.csts().rdy());
        host.create_queues();
        host
    }

    pub(super) fn disabled(options: &Options) -> Self {
        let device = Emulated::new("emulated", options).unwrap();
        let extent = Arc::new(Extent::ordinary(DATA + (1 << 20)).unwrap());
        let iova = device.map(&extent).unwrap().0;
        assert_ne!(iova, extent.address() as u64);
        let memory = Shared::new(Arc::clone(&extent), 0..extent.len());
        let rings = [Ring { phase: true, ..Ring::default() }; 2];
        Self { device, extent, iova, memory, rings, next_cid: 100 }
    }

    /// The same device after it was reset, ready again.
    pub(super) fn again(mut self) -> Self {
        self.rings = [Ring { phase: true, ..Ring::default() }; 2];
        mem::zero(self.extent.segment_mut(0..DATA));
        self.enable();
        for _ in 0..3 {
            self.device.step();
        }
        self.create_queues();
        self
    }

    pub(super) fn enable(&self) {
        let aqa = Aqa::new().with_asqs_z(ENTRIES - 1).with_acqs_z(ENTRIES - 1);
        self.device.write_u32(Property::AQA.0 as usize, aqa.into_bits());
        self.device.write_u64(Property::ASQ.0 as usize, self.iova);
        self.device.write_u64(Property::ACQ.0 as usize, self.iova + (1 << 12));
        let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
        self.device.write_u32(Property::CC.0 as usize, cc.into_bits());
    }

    pub(super) fn csts(&self) -> Csts {
        Csts::from_bits(self.device.read_u32(Property::CSTS.0 as usize))
    }

    fn create_queues(&mut self) {
        let queue = CreateQueue::new().with_qid(1).with_qsize_z(ENTRIES - 1).into_bits();
        let mut create = Sqe::with_prps(AdminOpcode::CREATE_CQ.0, 0, 0);
        create.cdw10.set(queue);
        create.cdw11.set(CompletionQueue::new().with_pc(true).into_bits());
        create.dptr = PrpPair::of(self.iova + (3 << 12), 0).into();
        assert!(self.run(0, create).status().is_success());
        create.opcode = AdminOpcode::CREATE_SQ.0;
        create.cdw11.set(SubmissionQueue::new().with_pc(true).with_cqid(1).into_bits());
        create.dptr = PrpPair::of(self.iova + (2 << 12), 0).into();
        assert!(self.run(0, create).status().is_success());
    }

    /// Puts a command into a queue and rings; returns its identifier.
    pub(super) fn submit(&mut self, qid: u16, mut sqe: Sqe) -> u16 {
        self.next_cid += 1;
        sqe.cid.set(self.next_cid);
        let dstrd = self.dstrd();
        let ring = &mut self.rings[usize::from(qid)];
        let at = ((usize::from(qid) * 2) << 12) + usize::from(ring.tail) * 64;
        ring.tail = (ring.tail + 1) % ENTRIES;
        self.memory.store_all(at, &sqe.double_words());
        let doorbell = DOORBELLS + submission_doorbell(qid, dstrd);
        self.device.write_u32(doorbell, u32::from(ring.tail));
        self.next_cid
    }

    /// The next completion of a queue, if there is one.
    pub(super) fn reap(&mut self, qid: u16) -> Option<Cqe> {
        let dstrd = self.dstrd();
        let ring = &mut self.rings[usize::from(qid)];
        let at = ((usize::from(qid) * 2 + 1) << 12) + usize::from(ring.head) * 16;
        let mut bytes = [0; 16];
        mem::copy_out(self.extent.segment(at..at + 16), &mut bytes);
        let cqe = Cqe::read_from_bytes(&bytes).unwrap();
        if (cqe.status_wire.get() & 1 == 1) != ring.phase {
            return None;
        }
        ring.head = (ring.head + 1) % ENTRIES;
        ring.phase ^= ring.head == 0;
        let head = u32::from(ring.head);
        self.device.write_u32(DOORBELLS + completion_doorbell(qid, dstrd), head);
        Some(cqe)
    }

    /// Carries out one command.
    pub(super) fn run(&mut self, qid: u16, sqe: Sqe) -> Cqe {
        let cid = self.submit(qid, sqe);
        for _ in 0..STEPS_MAX {
            self.device.step();
            if let Some(cqe) = self.reap(qid) {
                assert_eq!((cqe.cid.get(), cqe.sqid.get()), (cid, qid));
                return cqe;
            }
        }
        panic!("command {cid} of queue {qid} is not answered");
    }

    /// A read or write of blocks, its data from the start of the data on, in at most two pages.
    pub(super) fn transfer(&self, opcode: NvmOpcode, lba: u64, blocks: u16) -> Sqe {
        let mut sqe = Sqe::with_prps(opcode.0, 0, 1);
        sqe.set_starting_lba(lba);
        sqe.cdw12.set(u32::from(blocks - 1));
        sqe.dptr = PrpPair::of(self.data(0), self.data(4096)).into();
        sqe
    }

    /// The device's address of a byte of the data.
    pub(super) fn data(&self, offset: usize) -> u64 {
        self.iova + (DATA + offset) as u64
    }

    pub(super) fn put(&self, offset: usize, bytes: &[u8]) {
        mem::copy_in(bytes, self.extent.segment_mut(DATA + offset..DATA + offset + bytes.len()));
    }

    pub(super) fn get(&self, offset: usize, bytes: usize) -> Vec<u8> {
        let mut copy = vec![0; bytes];
        mem::copy_out(self.extent.segment(DATA + offset..DATA + offset + bytes), &mut copy);
        copy
    }

    /// Carries out an Identify or another admin command that sends a page; returns the page.
    pub(super) fn page<T: FromBytes + IntoBytes>(&mut self, mut sqe: Sqe) -> T {
        self.put(0, &vec![0xEE; size_of::<T>()]);
        sqe.dptr = PrpPair::of(self.data(0), 0).into();
        assert!(self.run(0, sqe).status().is_success());
        T::read_from_bytes(&self.get(0, size_of::<T>())).unwrap()
    }

    fn dstrd(&self) -> u8 {
        crate::spec::register::Cap::from_bits(self.device.read_u64(0)).dstrd()
    }
}
