//! What the target says on its admin queue.

use zerocopy::{FromZeros, IntoBytes};

use super::{Answer, DONE, NSID, Script, Shared};
use crate::spec::ana::{AnaGroup, AnaHeader, AnaState, GROUPS_ONLY};
use crate::spec::discovery::{DiscoveryEntry, DiscoveryHeader};
use crate::spec::feature::{FeatureId, NumberOfQueues};
use crate::spec::identify::controller::{Cmic, IdentifyController, Oaes, Oncs, Vwc};
use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{Flbas, IdentifyNamespace};
use crate::spec::identify::{Cns, IDENTIFY_BYTES};
use crate::spec::log_page::LogPageId;
use crate::spec::opcode::AdminOpcode;
use crate::spec::register::{Cap, Csts, Property, Shutdown, ShutdownStatus};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text::{nul_padded, space_padded};

/// ANAGRPID of the namespace.
const GROUP: u32 = 3;

pub(super) fn property_get(shared: &mut Shared, property: Property) -> Answer {
    match property {
        Property::CAP => {
            let [low, high]: [u32; 2] =
                zerocopy::transmute!(Cap::new().with_mqes_z(127).with_to(1).into_bits());
            Answer::Complete(Status::SUCCESS, low, high)
        }
        Property::CSTS => {
            shared.csts_reads += 1;
            let ready = shared.cc.en() && shared.csts_reads > shared.script.ready_after;
            let shut = shared.cc.shn() == Shutdown::NORMAL;
            let shst = if shut { ShutdownStatus::COMPLETE } else { ShutdownStatus::NORMAL };
            let csts = Csts::new().with_rdy(ready).with_shst(shst);
            Answer::Complete(Status::SUCCESS, csts.into_bits(), 0)
        }
        _ => Answer::Complete(Status::INVALID_FIELD, 0, 0),
    }
}

/// An Asynchronous Event Request, which is not answered yet.
pub(super) fn waits(shared: &Shared, sqe: &Sqe) -> bool {
    shared.script.events && sqe.admin_opcode() == AdminOpcode::ASYNC_EVENT_REQUEST
}

pub(super) fn execute(shared: &mut Shared, sqe: &Sqe) -> Answer {
    match sqe.admin_opcode() {
        AdminOpcode::IDENTIFY => identify(&mut shared.script, Cns(sqe.identify().cns())),
        AdminOpcode::SET_FEATURES if sqe.set_features().fid() == FeatureId::ASYNC_EVENT_CONFIGURATION.0 => {
            DONE
        }
        AdminOpcode::SET_FEATURES => {
            let asked = NumberOfQueues::from_bits(sqe.cdw11.get());
            let queues_z = asked.submission_z().min(shared.script.queues - 1);
            let given = NumberOfQueues::new().with_submission_z(queues_z).with_completion_z(queues_z);
            Answer::Complete(Status::SUCCESS, given.into_bits(), 0)
        }
        AdminOpcode::GET_LOG_PAGE => match LogPageId(sqe.log_page().lid()) {
            LogPageId::ANA => Answer::Data(groups(&shared.script, sqe)),
            LogPageId::CHANGED_NAMESPACES => Answer::Data(vec![0; IDENTIFY_BYTES]),
            _ => discovery(shared, sqe),
        },
        AdminOpcode::KEEP_ALIVE => DONE,
        _ => Answer::Complete(Status::INVALID_OPCODE.with_dnr(), 0, 0),
    }
}

fn identify(script: &mut Script, cns: Cns) -> Answer {
    if let Some((_, status, times)) = script.fail_identify.take_if(|(which, ..)| *which == cns) {
        script.fail_identify = (times > 1).then(|| (cns, status, times - 1));
        return Answer::Complete(status, 0, 0);
    }
    let mut list = vec![0; IDENTIFY_BYTES];
    match cns {
        Cns::CONTROLLER => {
            let mut page = IdentifyController::new_zeroed();
            page.mdts = script.mdts;
            page.oncs = Oncs::new()
                .with_compare(true)
                .with_write_zeroes(true)
                .with_dataset_management(true)
                .with_verify(true)
                .with_write_uncorrectable(true)
                .with_copy(true)
                .into_bits()
                .into();
            page.vwc = Vwc::new().with_present(true).into_bits();
            page.cmic = Cmic::new().with_anars(script.ana.is_some()).into_bits();
            let events = Oaes::new().with_namespace_attributes(script.events).with_ana(script.events);
            page.oaes = events.into_bits().into();
            page.ioccsz = ((64 + 4096) / 16).into();
            list.copy_from_slice(page.as_bytes());
        }
        Cns::NAMESPACE => {
            let mut page = IdentifyNamespace::new_zeroed();
            page.nsze = script.blocks.into();
            page.anagrpid = GROUP.into();
            (page.mssrl, page.mcl, page.msrc_z) = (16.into(), 24.into(), 3);
            let (format, metadata) = script.format;
            page.nlbaf_z = format;
            let flbas = Flbas::new().with_format_low(format & 0xf).with_format_high(format >> 4);
            page.flbas = flbas.into_bits();
            // The format that whoever looks at half of its number finds.
            page.lbaf[usize::from(format & 0xf)].lbads = 12;
            let format = &mut page.lbaf[usize::from(format)];
            (format.lbads, format.ms) = (9, metadata.into());
            list.copy_from_slice(page.as_bytes());
        }
        Cns::NAMESPACE_DESCRIPTORS => {
            let head = DescriptorHead { nidt: IdentifierType::UUID, nidl: 16, reserved: [0; 2] };
            list[..4].copy_from_slice(head.as_bytes());
            list[4] = script.uuid;
        }
        Cns::ACTIVE_NAMESPACES => list[..4].copy_from_slice(&NSID.to_le_bytes()),
        _ => return Answer::Complete(Status::INVALID_FIELD.with_dnr(), 0, 0),
    }
    Answer::Data(list)
}

fn discovery(shared: &mut Shared, sqe: &Sqe) -> Answer {
    let mut header = DiscoveryHeader::new_zeroed();
    header.genctr = shared.log_reads.min(shared.script.log_changes).into();
    header.numrec = 2.into();
    shared.log_reads += u64::from(sqe.log_page_offset() == 0);
    let mut log = header.as_bytes().to_vec();
    for port in ["4420", "8009"] {
        let mut entry = DiscoveryEntry::new_zeroed();
        entry.subnqn = nul_padded("nqn.2026-11.io.corelane:test");
        entry.traddr = space_padded("192.0.2.1");
        entry.trsvcid = space_padded(port);
        log.extend_from_slice(entry.as_bytes());
    }
    let start = usize::try_from(sqe.log_page_offset()).unwrap();
    Answer::Data(log[start..][..usize::try_from(sqe.log_page_bytes()).unwrap()].to_vec())
}

/// Two groups, the second of which is that of the namespace. Whoever does not ask for groups alone gets their namespaces.
fn groups(script: &Script, sqe: &Sqe) -> Vec<u8> {
    let mut header = AnaHeader::new_zeroed();
    header.nagd = 2.into();
    let mut log = header.as_bytes().to_vec();
    for (agid, state, nsid) in
        [(GROUP + 1, AnaState::PERSISTENT_LOSS, 9), (GROUP, script.ana.unwrap_or(AnaState::OPTIMIZED), NSID)]
    {
        let alone = sqe.log_page().lsp() & GROUPS_ONLY != 0;
        let mut group = AnaGroup::new_zeroed();
        (group.agid, group.state) = (agid.into(), state.0);
        group.nnv = u32::from(!alone).into();
        log.extend_from_slice(group.as_bytes());
        if !alone {
            log.extend_from_slice(&u32::to_le_bytes(nsid));
        }
    }
    log.resize(usize::try_from(sqe.log_page_bytes()).unwrap(), 0);
    log
}
