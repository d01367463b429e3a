//! Feature 84h (NVMe base 2.1, sections 5.1.25.1.31 and 8.1.16). What hosts set is not so before it is durable and every
//! write that was begun before is over: the command waits, and nothing here changes.
//!
//! There are two states, No Write Protect and Write Protect. The other two need the Write Protection Control of an RPMB,
//! which there is none of. What an operator protects, hosts cannot change.

use crate::nvmf::admin::features::reach;
use crate::nvmf::admin::{Context, Reply};
use crate::nvmf::controller::Controller;
use crate::nvmf::fence::keeper::Protection;
use crate::nvmf::target::Action;
use crate::spec::NSID_ALL;
use crate::spec::feature::{WriteProtection, WriteProtectionState};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// DW0 of feature 84h: what is so, or the default.
pub(super) fn state(
    current: bool,
    controller: &Controller,
    context: &Context<'_>,
    nsid: u32,
) -> Result<u32, Status> {
    let protection = find(controller, context, nsid)?;
    let is_on = current && protection.ok_or(Status::INTERNAL_ERROR)?.is_on();
    let wps = if is_on { WriteProtectionState::PROTECTED } else { WriteProtectionState::NONE };
    Ok(WriteProtection::new().with_wps(wps).into_bits())
}

/// Asks for feature 84h of one namespace, or of all.
pub(super) fn set(
    controller: &mut Controller,
    context: &mut Context<'_>,
    sqe: &Sqe,
) -> Result<Reply, Status> {
    let nsid = sqe.nsid.get();
    let protected = match WriteProtection::from_bits(sqe.cdw11.get()).wps() {
        WriteProtectionState::NONE => false,
        WriteProtectionState::PROTECTED => true,
        // States that NWPC does not announce, and reserved ones.
        _ => return Err(Status::INVALID_FIELD),
    };
    let nsids = if nsid == NSID_ALL {
        reach(controller, context, nsid)?;
        let (_, namespaces) = context.served(controller).ok_or(Status::INVALID_FIELD)?;
        namespaces.iter().map(|namespace| namespace.nsid).collect()
    } else {
        vec![nsid]
    };
    for nsid in &nsids {
        let by_operator = find(controller, context, *nsid)?.is_some_and(|found| found.operator);
        if by_operator && !protected {
            return Err(Status::FEATURE_NOT_CHANGEABLE);
        }
    }
    if nsids.is_empty() {
        return Ok(Reply::success());
    }
    let cid = sqe.cid.get();
    controller.defer(sqe);
    context.actions.push_back(Action::SetProtection { controller: controller.id, cid, nsids, protected });
    Ok(Reply::Deferred)
}

/// The protection of one namespace that is attached and reached; refuses an NSID that is not that of one.
fn find(controller: &Controller, context: &Context<'_>, nsid: u32) -> Result<Option<Protection>, Status> {
    let (served, namespaces) = context.served(controller).ok_or(Status::INVALID_FIELD)?;
    namespaces.find(nsid)?;
    controller.reaches(served, nsid)?;
    let protections = served.protections.as_ref().ok_or(Status::INVALID_FIELD)?;
    Ok(protections.get(nsid))
}
