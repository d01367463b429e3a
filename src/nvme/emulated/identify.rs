//! The Identify command (NVMe base 2.1, section 5.1.13).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::admin::EVENT_REQUESTS_MAX;
use super::controller::Controller;
use super::errors::ERRORS_MAX;
use super::options::ShadowDoorbells;
use super::registers::Registers;
use crate::spec::NSID_ALL;
use crate::spec::identify::controller::{
    ControllerType, Ctratt, IdentifyController, Lpa, Oacs, Oaes, Oncs, Sgls, Vwc,
};
use crate::spec::identify::namespace::IdentifyNamespace;
use crate::spec::identify::{Cns, IDENTIFY_BYTES};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text::{nul_padded, space_padded};

impl Controller {
    pub(super) fn identify(&mut self, registers: &Registers, sqe: &Sqe) -> Result<u32, Status> {
        let nsid = sqe.nsid.get();
        match Cns(sqe.identify().cns()) {
            Cns::NAMESPACE => {
                if nsid == 0 || nsid == NSID_ALL || nsid as usize > self.namespaces.len() {
                    return Err(Status::INVALID_NAMESPACE.with_dnr());
                }
                // One that is not attached is all zeros (NVM command set 1.0, section 4.1.5.1).
                let page = self.namespace(nsid).map(|namespace| namespace.identify());
                let page = page.unwrap_or_else(|_| IdentifyNamespace::new_zeroed());
                self.send(sqe, page.as_bytes())
            }
            Cns::CONTROLLER => {
                let page = self.identify_controller(registers);
                self.send(sqe, page.as_bytes())
            }
            Cns::ACTIVE_NAMESPACES => {
                let mut page = [0; IDENTIFY_BYTES];
                let active =
                    self.namespaces.iter().filter(|namespace| namespace.attached && namespace.nsid > nsid);
                for (entry, namespace) in page.chunks_exact_mut(4).zip(active) {
                    entry.copy_from_slice(&namespace.nsid.to_le_bytes());
                }
                self.send(sqe, &page)
            }
            Cns::NAMESPACE_DESCRIPTORS => {
                let page = self.namespace(nsid)?.descriptors();
                self.send(sqe, &page)
            }
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        }
    }

    fn identify_controller(&self, registers: &Registers) -> IdentifyController {
        let mut page = IdentifyController::new_zeroed();
        let options = &self.options;
        page.sn = space_padded("EMULATED0001");
        page.mn = space_padded("Corelane emulated NVMe controller");
        page.fr = space_padded("1.0");
        page.subnqn = nul_padded("nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00005eed0000");
        page.mdts = options.mdts;
        page.cntlid = U16::new(self.admin.cntlid());
        page.ver = U32::new(registers.vs().into_bits());
        page.oaes = U32::new(Oaes::new().with_namespace_attributes(true).into_bits());
        page.ctratt = U32::new(Ctratt::new().with_hids(true).into_bits());
        page.cntrltype = ControllerType::IO;
        let shadow = options.shadow_doorbells != ShadowDoorbells::None;
        page.oacs = U16::new(Oacs::new().with_doorbell_buffer(shadow).into_bits());
        page.acl_z = 3;
        page.aerl_z = u8::try_from(EVENT_REQUESTS_MAX - 1).expect("a few");
        page.elpe_z = u8::try_from(ERRORS_MAX - 1).expect("a few");
        page.lpa = Lpa::new().with_extended_data(true).into_bits();
        (page.sqes, page.cqes) = (0x66, 0x44);
        page.nn = U32::new(u32::try_from(self.namespaces.len()).expect("few namespaces"));
        if options.optional_commands {
            let oncs = Oncs::new()
                .with_compare(true)
                .with_dataset_management(true)
                .with_write_zeroes(true)
                .with_reservations(true)
                .with_verify(true)
                .with_write_uncorrectable(true)
                .with_copy(true);
            page.oncs = U16::new(oncs.into_bits());
            page.cdfs = U16::new(1);
        }
        let flush_all = Vwc::FLUSH_ALL_NOT_SUPPORTED;
        page.vwc =
            Vwc::new().with_present(options.volatile_write_cache).with_flush_all(flush_all).into_bits();
        if options.sgls {
            page.sgls = U32::new(Sgls::new().with_support(Sgls::UNALIGNED).into_bits());
        }
        page
    }
}
