//! The Identify command (NVMe base 2.1, section 5.1.13; NVM command set 1.0, section 4.1.5).

use zerocopy::{FromZeros, IntoBytes};

use crate::bdev::{Features, Geometry};
use crate::nvmf::admin::{Context, Reply};
use crate::nvmf::controller::{ACL_Z, AERL_Z, Controller, KAS, VERSION};
use crate::nvmf::errors::ENTRIES_MAX;
use crate::nvmf::io::{BLOCKS_SIZE_LOG2_PAGES, DATASET_RANGES_MAX, copy_limits, dataset_range_blocks};
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::nvmf::options::Options;
use crate::nvmf::policy::{ANA_GROUP_MAX, ANA_TRANSITION_SECONDS};
use crate::nvmf::subsystem::Served;
use crate::spec::ana::Anacap;
use crate::spec::identify::command_set::{CommandSets, NvmController};
use crate::spec::identify::controller::{
    Cmic, ControllerType, Ctratt, Frmw, IdentifyController, Lpa, Nwpc, Oaes, Oncs, Sgls, Vwc,
};
use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{
    Dlfeat, IdentifyNamespace, IndependentNamespace, IndependentNsfeat, NMIC_SHARED, NSATTR_WRITE_PROTECTED,
    NSTAT_READY, Nsfeat,
};
use crate::spec::identify::{Cns, Csi, IDENTIFY_BYTES};
use crate::spec::nqn::Nqn;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::{NSID_ALL, text};

/// CRDT1 in units of 100 ms: what a host with ACRE waits before it repeats a command that was interrupted.
const RETRY_DELAY: u16 = 1;

/// FUSES bit 0: the fused operation Compare and Write.
const FUSES_COMPARE_AND_WRITE: u16 = 1;

/// CNTID FFFFh: the controller that is asked.
const THIS_CONTROLLER: u16 = 0xffff;

pub(super) fn execute(controller: &Controller, context: &Context<'_>, sqe: &Sqe) -> Result<Reply, Status> {
    let cns = Cns(sqe.identify().cns());
    let mut page = match context.served(controller) {
        Some((served, namespaces)) => {
            let io = Io { controller, options: context.options, served, namespaces };
            io.page(cns, sqe)?
        }
        None if cns == Cns::CONTROLLER => {
            discovery_controller(controller, context.options).as_bytes().to_vec()
        }
        None => return Err(Status::INVALID_FIELD),
    };
    assert!(page.len() <= IDENTIFY_BYTES);
    page.resize(IDENTIFY_BYTES, 0);
    Reply::to_host(sqe, page)
}

/// What is identified on an I/O controller.
struct Io<'a> {
    controller: &'a Controller,
    options: &'a Options,
    served: &'a Served,
    namespaces: &'a NamespaceTable,
}

impl Io<'_> {
    /// The structure; zeros at its end may be left out.
    fn page(&self, cns: Cns, sqe: &Sqe) -> Result<Vec<u8>, Status> {
        let nsid = sqe.nsid.get();
        let nvm = Csi(sqe.identify_options().csi()) == Csi::NVM;
        match cns {
            Cns::NAMESPACE => self.of_active(nsid, |namespace| self.namespace(namespace).as_bytes().to_vec()),
            Cns::CONTROLLER => Ok(self.controller().as_bytes().to_vec()),
            Cns::ACTIVE_NAMESPACES => self.active_namespaces(nsid),
            Cns::NAMESPACE_DESCRIPTORS => self.descriptors(nsid),
            // Without protection information every field of the NVM command set's page is zero.
            Cns::COMMAND_SET_NAMESPACE if nvm => self.of_active(nsid, |_| Vec::new()),
            Cns::COMMAND_SET_CONTROLLER if nvm => Ok(nvm_controller(self.namespaces).as_bytes().to_vec()),
            Cns::COMMAND_SET_ACTIVE_NAMESPACES if nvm => self.active_namespaces(nsid),
            Cns::INDEPENDENT_NAMESPACE => {
                self.of_active(nsid, |namespace| self.independent_namespace(namespace).as_bytes().to_vec())
            }
            Cns::COMMAND_SETS => self.command_sets(sqe.identify().cntid()),
            _ => Err(Status::INVALID_FIELD),
        }
    }

    /// The page of an active namespace; zeros for an inactive one.
    fn of_active(&self, nsid: u32, page: impl Fn(&Namespace) -> Vec<u8>) -> Result<Vec<u8>, Status> {
        Ok(self.namespaces.find_active(nsid)?.map_or_else(Vec::new, page))
    }

    /// CNS 02h and 07h: active NSIDs above `after`, ascending, as many as fit.
    fn active_namespaces(&self, after: u32) -> Result<Vec<u8>, Status> {
        if after >= NSID_ALL - 1 {
            return Err(Status::INVALID_NAMESPACE);
        }
        let nsids = self.namespaces.iter().map(|namespace| namespace.nsid).filter(|nsid| *nsid > after);
        Ok(nsids.take(IDENTIFY_BYTES / size_of::<u32>()).flat_map(u32::to_le_bytes).collect())
    }

    /// CNS 03h: UUID and command set.
    fn descriptors(&self, nsid: u32) -> Result<Vec<u8>, Status> {
        let namespace = self.namespaces.find_active(nsid)?.ok_or(Status::INVALID_NAMESPACE)?;
        let head = |nidt, nidl| DescriptorHead { nidt, nidl, reserved: [0; 2] };
        let mut list = Vec::new();
        list.extend_from_slice(head(IdentifierType::UUID, 16).as_bytes());
        list.extend_from_slice(namespace.uuid.as_bytes());
        list.extend_from_slice(head(IdentifierType::CSI, 1).as_bytes());
        list.push(Csi::NVM.0);
        Ok(list)
    }

    /// CNS 1Ch: one combination, the NVM command set.
    fn command_sets(&self, cntid: u16) -> Result<Vec<u8>, Status> {
        if cntid != THIS_CONTROLLER && cntid != self.controller.cntlid {
            return Err(Status::INVALID_FIELD);
        }
        Ok(CommandSets::new().with_nvm(true).into_bits().to_le_bytes().to_vec())
    }

    fn controller(&self) -> IdentifyController {
        let subsystem = &self.served.subsystem;
        let options = self.options;
        let mut page = identity(self.controller, options, &subsystem.nqn);
        page.sn = text::space_padded(&subsystem.serial);
        page.mn = text::space_padded(&subsystem.model);
        page.cntrltype = ControllerType::IO;
        page.acl_z = ACL_Z;
        page.frmw = Frmw::new().with_slot_1_read_only(true).with_slots(1).into_bits();
        page.lpa = log_pages().into_bits();
        page.oaes.set(Oaes::new().with_namespace_attributes(true).into_bits());
        page.crdt[0].set(RETRY_DELAY);
        self.announce_ana(&mut page);
        page.sqes = 0x66;
        page.cqes = 0x44;
        page.nn.set(self.namespaces.nsid_max());
        page.mnan.set(self.namespaces.nsid_max());
        page.oncs.set(optional_commands(self.served).into_bits());
        let reservations = self.served.reservations.is_some();
        page.ctratt.set(Ctratt::from_bits(page.ctratt.get()).with_rhii(reservations).into_bits());
        page.nwpc = Nwpc::new().with_write_protect(self.served.protections.is_some()).into_bits();
        page.cdfs.set(optional_commands(self.served).copy().into());
        page.vwc = write_cache(self.namespaces).into_bits();
        if optional_commands(self.served).compare() {
            page.fuses.set(FUSES_COMPARE_AND_WRITE);
            let least = self.served.namespaces.iter().map(|namespace| self.fused_blocks(namespace)).min();
            page.acwu_z.set(least.unwrap_or(1) - 1);
        }
        page.ioccsz.set((64 + options.in_capsule_bytes) / 16);
        page.iorcsz.set(1);
        page
    }

    /// CMIC, and the fields of asymmetric access.
    fn announce_ana(&self, page: &mut IdentifyController) {
        let reported = self.served.subsystem.policy.ana.is_some();
        page.cmic = Cmic::new().with_mports(true).with_mctrs(true).with_anars(reported).into_bits();
        if !reported {
            return;
        }
        let events = Oaes::from_bits(page.oaes.get()).with_ana(true);
        page.oaes.set(events.into_bits());
        page.anatt = ANA_TRANSITION_SECONDS;
        let states = Anacap::new().with_optimized(true).with_non_optimized(true).with_inaccessible(true);
        page.anacap = states.with_persistent_loss(true).with_change(true).with_group(true).into_bits();
        page.anagrpmax.set(ANA_GROUP_MAX);
        page.nanagrpid.set(ANA_GROUP_MAX);
    }

    /// NSFEAT bit NSABP, and what it says is defined; blocks are 0-based.
    fn announce_atomicity(&self, page: &mut IdentifyNamespace, namespace: &Namespace) {
        let Geometry { atomicity, features, .. } = namespace.bdev.geometry();
        let zero_based = |blocks: u32| u16::try_from(blocks.saturating_sub(1)).unwrap_or(u16::MAX);
        page.nsfeat = Nsfeat::from_bits(page.nsfeat).with_atomics(true).into_bits();
        page.nawun_z.set(zero_based(atomicity.normal));
        page.nawupf_z.set(zero_based(atomicity.power_fail));
        page.nabsn_z.set(zero_based(atomicity.boundary));
        let fused = if features.compare { self.fused_blocks(namespace) } else { 1 };
        page.nacwu_z.set(fused - 1);
    }

    /// ACWU of a namespace: whatever one command moves (NVM command set 1.0, section 2.1.4).
    fn fused_blocks(&self, namespace: &Namespace) -> u16 {
        let bytes = self.options.transfer_bytes_max().unwrap_or(u64::MAX);
        let blocks = bytes / u64::from(namespace.bdev.geometry().block_size);
        u16::try_from(blocks).unwrap_or(u16::MAX).max(1)
    }

    /// ANAGRPID; 0 where there are no groups.
    fn group(&self, nsid: u32) -> u32 {
        self.served.subsystem.policy.ana.as_ref().map_or(0, |ana| ana.group(nsid))
    }

    fn namespace(&self, namespace: &Namespace) -> IdentifyNamespace {
        let geometry = namespace.bdev.geometry();
        let mut page = IdentifyNamespace::new_zeroed();
        page.nsze.set(geometry.blocks);
        page.ncap.set(geometry.blocks);
        // What is used is not known where the namespace cannot be reached (section 8.1.1.6).
        if self.controller.reaches(self.served, namespace.nsid).is_ok() {
            page.nuse.set(geometry.blocks);
            page.nvmcap.set(u128::from(geometry.bytes()));
        }
        page.anagrpid.set(self.group(namespace.nsid));
        page.nmic = NMIC_SHARED;
        let features = geometry.features;
        let zeros = features.deallocate && features.deallocated_reads_zeros;
        let dlfeat = Dlfeat::new().with_reads(if zeros { Dlfeat::READS_ZEROS } else { 0 });
        page.dlfeat = dlfeat.with_write_zeroes_deallocates(zeros && features.write_zeroes).into_bits();
        // A shift of a 32-bit block size is below 32.
        page.lbaf[0].lbads = u8::try_from(namespace.block_shift()).unwrap_or(u8::MAX);
        page.rescap = self.rescap(namespace);
        page.nsattr = self.attributes(namespace);
        self.announce_atomicity(&mut page, namespace);
        if let Some(limits) = copy_limits(geometry) {
            page.mssrl.set(u16::try_from(limits.range_blocks).unwrap_or(u16::MAX));
            page.mcl.set(limits.blocks);
            page.msrc_z = u8::try_from(limits.ranges - 1).unwrap_or(u8::MAX);
        }
        page
    }

    fn independent_namespace(&self, namespace: &Namespace) -> IndependentNamespace {
        let cached = namespace.bdev.geometry().volatile_write_cache;
        let mut page = IndependentNamespace::new_zeroed();
        page.nsfeat = IndependentNsfeat::new().with_no_volatile_write_cache(!cached).into_bits();
        page.nmic = NMIC_SHARED;
        page.nstat = NSTAT_READY;
        page.anagrpid.set(self.group(namespace.nsid));
        page.rescap = self.rescap(namespace);
        page.nsattr = self.attributes(namespace);
        page
    }

    /// NSATTR.
    fn attributes(&self, namespace: &Namespace) -> u8 {
        if self.served.is_protected(namespace.nsid) { NSATTR_WRITE_PROTECTED } else { 0 }
    }

    /// RESCAP; nothing without reservations.
    fn rescap(&self, namespace: &Namespace) -> u8 {
        let reservations = self.served.reservations.as_ref();
        reservations.map_or(0, |reservations| reservations.rescap(namespace.nsid).into_bits())
    }
}

/// CNS 01h of a discovery controller.
fn discovery_controller(controller: &Controller, options: &Options) -> IdentifyController {
    let mut page = identity(controller, options, &Nqn::discovery());
    page.sn = text::space_padded("");
    page.mn = text::space_padded("Corelane discovery");
    page.oaes.set(Oaes::new().with_discovery(true).into_bits());
    page.cntrltype = ControllerType::DISCOVERY;
    page.lpa = log_pages().into_bits();
    page
}

/// What all controllers of this target say.
fn identity(controller: &Controller, options: &Options, subnqn: &Nqn) -> IdentifyController {
    let entries = if controller.is_discovery() { options.admin_entries_max } else { options.io_entries_max };
    let mut page = IdentifyController::new_zeroed();
    page.fr = text::space_padded(&options.firmware);
    page.mdts = options.mdts;
    page.cntlid.set(controller.cntlid);
    page.ver.set(VERSION.into_bits());
    page.ctratt.set(Ctratt::new().with_hids(true).into_bits());
    page.aerl_z = AERL_Z;
    page.elpe_z = u8::try_from(ENTRIES_MAX - 1).unwrap_or(u8::MAX);
    page.kas.set(KAS);
    page.maxcmd.set(u16::try_from(entries).unwrap_or(u16::MAX));
    page.sgls.set(
        Sgls::new().with_support(1).with_longer(true).with_offset(true).with_transport(true).into_bits(),
    );
    page.subnqn = subnqn.to_wire();
    page.msdbd = 1;
    page
}

/// LPA: pages 00h, 05h, 12h and 13h, and offsets.
fn log_pages() -> Lpa {
    Lpa::new().with_command_effects(true).with_extended_data(true).with_supported_pages(true)
}

/// ONCS: what the devices of all namespaces can do, and what needs no device.
pub(super) fn optional_commands(served: &Served) -> Oncs {
    let all = |what: fn(&Features) -> bool| served.namespaces.all(|n| what(&n.bdev.geometry().features));
    Oncs::new()
        .with_compare(all(|features| features.compare))
        .with_dataset_management(all(|features| features.deallocate))
        .with_write_zeroes(all(|features| features.write_zeroes))
        .with_save_select(true)
        .with_verify(all(|features| features.verify))
        .with_write_uncorrectable(all(|features| features.write_uncorrectable))
        .with_copy(all(|features| features.copy.is_some()))
        .with_reservations(served.reservations.is_some())
}

/// VWC. Flush takes one namespace at a time.
pub(super) fn write_cache(namespaces: &NamespaceTable) -> Vwc {
    let none = namespaces.all(|namespace| !namespace.bdev.geometry().volatile_write_cache);
    Vwc::new().with_present(!none).with_flush_all(Vwc::FLUSH_ALL_NOT_SUPPORTED)
}

/// CNS 06h: limits beside MDTS.
fn nvm_controller(namespaces: &NamespaceTable) -> NvmController {
    let blocks = dataset_range_blocks(namespaces);
    let ranges = u8::try_from(DATASET_RANGES_MAX).unwrap_or(u8::MAX);
    let mut page = NvmController::new_zeroed();
    page.vsl = BLOCKS_SIZE_LOG2_PAGES;
    page.wzsl = BLOCKS_SIZE_LOG2_PAGES;
    page.wusl = BLOCKS_SIZE_LOG2_PAGES;
    page.dmrl = ranges;
    page.dmrsl.set(blocks);
    page.dmsl.set(u64::from(blocks) * u64::from(ranges));
    page
}
