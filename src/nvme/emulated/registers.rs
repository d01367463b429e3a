//! The registers as drivers read them, and the doorbells as they ring them. No lock: any thread may do either at any
//! time, as on a bus.
//!
//! Only the device side stores to `csts`; it alone decides what a write to the others means.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::options::Options;
use crate::spec::register::{
    Cap, Csts, DOORBELLS, Property, Vs, completion_doorbell, doorbell_stride, submission_doorbell,
};

/// I/O queue pairs that there are doorbells for, whether they are granted or not.
const QUEUE_PAIRS_MAX: usize = 128;

pub(super) struct Registers {
    cap: Cap,
    vs: Vs,
    dstrd: u8,
    // Acquire and Release throughout: what a side stored to memory before it wrote a register is seen by the other once
    // it has read that register.
    pub(super) cc: AtomicU32,
    csts: AtomicU32,
    pub(super) aqa: AtomicU32,
    pub(super) asq: AtomicU64,
    pub(super) acq: AtomicU64,
    doorbells: Box<[AtomicU32]>,
    /// Doorbells rung. `Relaxed`: it orders nothing.
    rung: AtomicU64,
}

impl Registers {
    pub(super) fn new(options: &Options) -> Self {
        assert!((2..=1 << 16).contains(&options.queue_entries_max));
        assert!(
            (1..=QUEUE_PAIRS_MAX).contains(&usize::from(options.queue_pairs_max))
                && options.dstrd <= 8
                && options.page_shift < 8
        );
        let cap = Cap::new()
            .with_mqes_z(u16::try_from(options.queue_entries_max - 1).expect("checked"))
            .with_cqr(true)
            .with_to(options.ready_timeout)
            .with_dstrd(options.dstrd)
            .with_nssrs(true)
            .with_css_nvm(true)
            .with_mpsmin(options.page_shift)
            .with_mpsmax(options.page_shift);
        let doorbells = (0..2 * (QUEUE_PAIRS_MAX + 1)).map(|_| AtomicU32::new(0));
        Self {
            cap,
            vs: Vs::new().with_mjr(2),
            dstrd: options.dstrd,
            cc: AtomicU32::new(0),
            csts: AtomicU32::new(0),
            aqa: AtomicU32::new(0),
            asq: AtomicU64::new(0),
            acq: AtomicU64::new(0),
            doorbells: doorbells.collect(),
            rung: AtomicU64::new(0),
        }
    }

    /// Bytes up to the end of the last doorbell.
    pub(super) fn bytes(&self) -> usize {
        DOORBELLS + self.doorbells.len() * doorbell_stride(self.dstrd)
    }

    pub(super) fn vs(&self) -> Vs {
        self.vs
    }

    pub(super) fn csts(&self) -> Csts {
        Csts::from_bits(self.csts.load(Ordering::Acquire))
    }

    pub(super) fn set_csts(&self, csts: Csts) {
        self.csts.store(csts.into_bits(), Ordering::Release);
    }

    /// The double word at a register; zeros where there is none.
    pub(super) fn read_u64(&self, offset: usize) -> u64 {
        u64::from(self.read_u32(offset)) | u64::from(self.read_u32(offset + 4)) << 32
    }

    /// The word at a register; zeros where there is none.
    pub(super) fn read_u32(&self, offset: usize) -> u32 {
        let half = |value: u64, upper: bool| {
            let value = if upper { value >> 32 } else { value & u64::from(u32::MAX) };
            u32::try_from(value).expect("half of a double word")
        };
        let property = |property: Property| property.0 as usize;
        let wide = [
            (property(Property::CAP), self.cap.into_bits()),
            (property(Property::ASQ), self.asq.load(Ordering::Acquire)),
            (property(Property::ACQ), self.acq.load(Ordering::Acquire)),
        ];
        if let Some((start, value)) = wide.into_iter().find(|(start, _)| *start == offset - offset % 8) {
            return half(value, offset > start);
        }
        match Property(u32::try_from(offset).unwrap_or(u32::MAX)) {
            Property::VS => self.vs.into_bits(),
            Property::CC => self.cc.load(Ordering::Acquire),
            Property::CSTS => self.csts.load(Ordering::Acquire),
            Property::AQA => self.aqa.load(Ordering::Acquire),
            _ => 0,
        }
    }

    /// Rings a doorbell; false where there is none.
    pub(super) fn ring(&self, offset: usize, value: u32) -> bool {
        let (at, stride) = (offset - DOORBELLS, doorbell_stride(self.dstrd));
        self.rung.fetch_add(1, Ordering::Relaxed);
        match self.doorbells.get(at / stride) {
            Some(doorbell) if at.is_multiple_of(stride) => {
                doorbell.store(value, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    /// Doorbells rung since the controller was made.
    pub(super) fn rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    /// What was last written to the tail doorbell of a submission queue.
    pub(super) fn tail(&self, qid: u16) -> u32 {
        self.doorbell(submission_doorbell(qid, self.dstrd)).load(Ordering::Acquire)
    }

    /// What was last written to the head doorbell of a completion queue.
    pub(super) fn head(&self, qid: u16) -> u32 {
        self.doorbell(completion_doorbell(qid, self.dstrd)).load(Ordering::Acquire)
    }

    /// Sets the tail of a new submission queue to zero.
    pub(super) fn clear_tail(&self, qid: u16) {
        self.doorbell(submission_doorbell(qid, self.dstrd)).store(0, Ordering::Release);
    }

    /// Sets the head of a new completion queue to zero.
    pub(super) fn clear_head(&self, qid: u16) {
        self.doorbell(completion_doorbell(qid, self.dstrd)).store(0, Ordering::Release);
    }

    /// All registers as after a controller reset; `all`: those of the admin queues too.
    pub(super) fn reset(&self, all: bool) {
        self.set_csts(Csts::new());
        for doorbell in &self.doorbells {
            doorbell.store(0, Ordering::Release);
        }
        if all {
            self.cc.store(0, Ordering::Release);
            self.aqa.store(0, Ordering::Release);
            self.asq.store(0, Ordering::Release);
            self.acq.store(0, Ordering::Release);
        }
    }

    fn doorbell(&self, slot: usize) -> &AtomicU32 {
        &self.doorbells[slot / doorbell_stride(self.dstrd)]
    }
}
