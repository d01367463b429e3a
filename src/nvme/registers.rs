//! The registers of a controller by name, over the seam.

use std::sync::Arc;

use super::{Device, Iova};
use crate::spec::register::{
    Aqa, Cap, Cc, Crto, Csts, DOORBELLS, Property, completion_doorbell, submission_doorbell,
};

/// The device is gone: a register that cannot hold ones did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// The registers of one device.
pub(super) struct Registers<D> {
    device: Arc<D>,
}

impl<D: Device> Registers<D> {
    pub(super) fn new(device: Arc<D>) -> Self {
        Self { device }
    }

    pub(super) fn device(&self) -> &Arc<D> {
        &self.device
    }

    /// CAP; its reserved bits are zero, so all ones come from no controller.
    pub(super) fn cap(&self) -> Result<Cap, Gone> {
        let bits = self.device.read_u64(offset(Property::CAP));
        if bits == u64::MAX { Err(Gone) } else { Ok(Cap::from_bits(bits)) }
    }

    /// CC.
    pub(super) fn cc(&self) -> Cc {
        Cc::from_bits(self.device.read_u32(offset(Property::CC)))
    }

    pub(super) fn set_cc(&self, cc: Cc) {
        self.device.write_u32(offset(Property::CC), cc.into_bits());
    }

    /// CSTS; its reserved bits are zero, so all ones come from no controller.
    pub(super) fn csts(&self) -> Result<Csts, Gone> {
        let bits = self.device.read_u32(offset(Property::CSTS));
        if bits == u32::MAX || self.device.is_gone() { Err(Gone) } else { Ok(Csts::from_bits(bits)) }
    }

    /// CRTO.
    pub(super) fn crto(&self) -> Crto {
        Crto::from_bits(self.device.read_u32(offset(Property::CRTO)))
    }

    /// AQA, ASQ and ACQ: an admin queue pair of `entries` entries. Only while the controller is disabled.
    pub(super) fn set_admin_queues(&self, entries: u16, submission: Iova, completion: Iova) {
        assert!(entries >= 2);
        let aqa = Aqa::new().with_asqs_z(entries - 1).with_acqs_z(entries - 1);
        self.device.write_u32(offset(Property::AQA), aqa.into_bits());
        self.device.write_u64(offset(Property::ASQ), submission.0);
        self.device.write_u64(offset(Property::ACQ), completion.0);
    }
}

impl<D> Clone for Registers<D> {
    fn clone(&self) -> Self {
        Self { device: Arc::clone(&self.device) }
    }
}

/// Where the two doorbells of a queue pair are, as offsets of registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doorbells {
    pub(super) submission: usize,
    pub(super) completion: usize,
}

impl Doorbells {
    /// The doorbells of queue pair `qid`.
    pub(super) fn of(qid: u16, dstrd: u8) -> Self {
        Self {
            submission: DOORBELLS + submission_doorbell(qid, dstrd),
            completion: DOORBELLS + completion_doorbell(qid, dstrd),
        }
    }

    /// Bytes of registers that it takes to reach both.
    pub(super) fn end(self) -> usize {
        self.completion + size_of::<u32>()
    }
}

fn offset(property: Property) -> usize {
    // Properties are below 1000h: lossless.
    property.0 as usize
}
