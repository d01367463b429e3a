//! A device that completes at once: what a bench of the driver alone is measured with. Its I/O queue does the least that a
//! device can do, so that its own cost is small and can be taken off. The side of the device may have another thread.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use corelane::mem::{self, Extent, Shared};
use corelane::nvme::{Controller, Device, Iova, MapError, Options, QueuePair, ResetError};
use corelane::spec::cqe::Cqe;
use corelane::spec::identify::Cns;
use corelane::spec::identify::controller::IdentifyController;
use corelane::spec::identify::namespace::IdentifyNamespace;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::register::{Cap, Csts, DOORBELLS, Property};
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane_reactors::clock::Time;
use zerocopy::{FromZeros, IntoBytes};

/// Entries of the rings, admin and I/O.
pub(crate) const ENTRIES: u16 = 256;

/// Registers, and the memory that was mapped: an IOVA is an address of this process.
#[derive(Default)]
pub(crate) struct Instant {
    enabled: AtomicU32,
    admin: [AtomicU64; 2],
    tails: [AtomicU32; 2],
    memory: Mutex<Vec<Arc<Extent>>>,
}

/// One queue pair as the device sees it.
pub(crate) struct Rings {
    sq: Shared,
    cq: Shared,
    head: u16,
    cq_tail: u16,
    phase: bool,
}

impl Instant {
    /// A controller that is ready, its I/O queue as the driver and as the device see it, and memory for data.
    pub(crate) fn ready() -> (Arc<Self>, Controller<Self>, QueuePair<Self>, Rings, Arc<Extent>) {
        let device = Arc::new(Self::default());
        let options = Options { entries: ENTRIES, admin_entries: ENTRIES, ..Options::default() };
        let mut controller = Controller::new(Arc::clone(&device), &options).expect("a controller");
        let data = Arc::new(Extent::ordinary(1 << 20).expect("memory"));
        controller.map(&data).expect("an extent");
        let (mut admin, mut io): (Option<Rings>, [u64; 2]) = (None, [0; 2]);
        let mut now = 0;
        while !controller.is_ready() {
            now += 1_000_000;
            controller.poll(Time::from_nanos(now));
            assert!(controller.fault().is_none(), "{:?}", controller.fault());
            if device.enabled.load(Ordering::Relaxed) == 1 {
                let places = [0, 1].map(|ring: usize| device.admin[ring].load(Ordering::Relaxed));
                let rings = admin.get_or_insert_with(|| device.rings(places));
                while let Some(sqe) = rings.fetch(device.tail(0)) {
                    let cqe = device.admin(&sqe, &mut io);
                    if sqe.admin_opcode() != AdminOpcode::ASYNC_EVENT_REQUEST {
                        rings.post(cqe);
                    }
                }
            }
        }
        let pair = controller.take_queue_pair().expect("a queue pair");
        let rings = device.rings(io);
        (device, controller, pair, rings, data)
    }

    fn admin(&self, sqe: &Sqe, io: &mut [u64; 2]) -> Cqe {
        let place = sqe.prps().prp1.get();
        match sqe.admin_opcode() {
            AdminOpcode::IDENTIFY => match Cns(sqe.identify().cns()) {
                Cns::CONTROLLER => {
                    let mut page = IdentifyController::new_zeroed();
                    page.nn.set(1);
                    self.write(place, page.as_bytes());
                }
                Cns::ACTIVE_NAMESPACES => self.write(place, &1u32.to_le_bytes()),
                Cns::NAMESPACE => {
                    let mut page = IdentifyNamespace::new_zeroed();
                    page.nsze.set(1 << 20);
                    page.lbaf[0].lbads = 12;
                    self.write(place, page.as_bytes());
                }
                _ => {}
            },
            AdminOpcode::CREATE_SQ => io[0] = place,
            AdminOpcode::CREATE_CQ => io[1] = place,
            _ => {}
        }
        Cqe::of(sqe.cid.get(), Status::SUCCESS)
    }

    fn shared(&self, place: u64, bytes: usize) -> Shared {
        let memory = self.memory.lock().expect("nobody panicked");
        let place = usize::try_from(place).expect("an address");
        let extent =
            memory.iter().find(|extent| (extent.address()..extent.address() + extent.len()).contains(&place));
        let extent = extent.expect("mapped memory");
        let start = place - extent.address();
        Shared::new(Arc::clone(extent), start..start + bytes)
    }

    fn write(&self, place: u64, bytes: &[u8]) {
        mem::copy_in(bytes, self.shared(place, bytes.len()).segment_mut());
    }

    fn rings(&self, [sq, cq]: [u64; 2]) -> Rings {
        let entries = usize::from(ENTRIES);
        let (sq, cq) = (self.shared(sq, entries * 64), self.shared(cq, entries * 16));
        Rings { sq, cq, head: 0, cq_tail: 0, phase: true }
    }

    /// The tail that the driver rang last. `Acquire`, with the `Release` of the doorbell: what the driver wrote into the
    /// ring before is found there.
    pub(crate) fn tail(&self, qid: usize) -> u16 {
        u16::try_from(self.tails[qid].load(Ordering::Acquire)).expect("below the entries")
    }
}

impl Rings {
    /// Completes every command up to `tail`: looks at its identifier, and nothing else.
    pub(crate) fn complete(&mut self, tail: u16) {
        while self.head != tail {
            let [_, _, low, high] = self.sq.load_u32(usize::from(self.head) * 64).to_le_bytes();
            let cid = u16::from_le_bytes([low, high]);
            self.head = (self.head + 1) % ENTRIES;
            self.post(Cqe::of(cid, Status::SUCCESS));
        }
    }

    fn fetch(&mut self, tail: u16) -> Option<Sqe> {
        let mut sqe = Sqe::new_zeroed();
        let entry = usize::from(self.head) * 64;
        mem::copy_out(self.sq.segment().slice(entry..entry + 64), sqe.as_mut_bytes());
        (self.head != tail).then(|| {
            self.head = (self.head + 1) % ENTRIES;
            sqe
        })
    }

    fn post(&mut self, cqe: Cqe) {
        self.cq.store_all(usize::from(self.cq_tail) * 16, &cqe.with_phase(self.phase).double_words());
        self.cq_tail = (self.cq_tail + 1) % ENTRIES;
        self.phase ^= self.cq_tail == 0;
    }
}

impl Device for Instant {
    fn name(&self) -> &str {
        "instant"
    }

    fn register_bytes(&self) -> usize {
        DOORBELLS + 4096
    }

    fn read_u32(&self, offset: usize) -> u32 {
        let enabled = self.enabled.load(Ordering::Relaxed) == 1;
        if offset == Property::CSTS.0 as usize { Csts::new().with_rdy(enabled).into_bits() } else { 0 }
    }

    fn read_u64(&self, _: usize) -> u64 {
        Cap::new().with_mqes_z(ENTRIES - 1).with_css_nvm(true).into_bits()
    }

    fn write_u32(&self, offset: usize, value: u32) {
        match offset.checked_sub(DOORBELLS) {
            Some(0) => self.tails[0].store(value, Ordering::Release),
            Some(8) => self.tails[1].store(value, Ordering::Release),
            None if offset == Property::CC.0 as usize => self.enabled.store(value & 1, Ordering::Relaxed),
            Some(_) | None => {}
        }
    }

    fn write_u64(&self, offset: usize, value: u64) {
        let ring = usize::from(offset == Property::ACQ.0 as usize);
        self.admin[ring].store(value, Ordering::Relaxed);
    }

    fn map(&self, extent: &Arc<Extent>) -> Result<Iova, MapError> {
        self.memory.lock().expect("nobody panicked").push(Arc::clone(extent));
        Ok(Iova(extent.address() as u64))
    }

    fn unmap(&self, _: Iova) {}

    fn reset(&self) -> Result<(), ResetError> {
        Err(ResetError::Unsupported)
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
