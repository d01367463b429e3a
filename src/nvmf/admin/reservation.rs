//! Features 82h and 83h (NVMe base 2.1, sections 5.1.25.1.29 and 5.1.25.1.30).
//!
//! What hosts set of 83h is not so before it is durable: the command waits, and nothing here changes.

use crate::nvmf::admin::features::reach;
use crate::nvmf::admin::{Context, Reply};
use crate::nvmf::controller::Controller;
use crate::nvmf::controller::values::Values;
use crate::nvmf::persistence::{Persistence, Reservations};
use crate::nvmf::target::Action;
use crate::spec::NSID_ALL;
use crate::spec::reservation::{NotificationMask, Persistence as PersistenceDword};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// DW0 of feature 82h out of `values`.
pub(super) fn mask(
    values: &Values,
    controller: &Controller,
    context: &Context<'_>,
    nsid: u32,
) -> Result<u32, Status> {
    check_one(controller, context, nsid)?;
    Ok(values.notices.mask(nsid).into_bits())
}

/// Sets feature 82h of one namespace, or of all.
pub(super) fn set_mask(
    controller: &mut Controller,
    context: &Context<'_>,
    nsid: u32,
    dword: u32,
) -> Result<(), Status> {
    let nsids = if nsid == NSID_ALL {
        reach(controller, context, nsid)?;
        attached(controller, context)
    } else {
        check_one(controller, context, nsid)?;
        vec![nsid]
    };
    controller.values.notices.set_mask(nsids, NotificationMask::from_bits(dword));
    Ok(())
}

/// DW0 of feature 83h: what is so, or the default.
pub(super) fn persistence(
    current: bool,
    controller: &Controller,
    context: &Context<'_>,
    nsid: u32,
) -> Result<u32, Status> {
    let reservations = check_one(controller, context, nsid)?;
    let ptpl = current && reservations.persistence(nsid) == Persistence::On;
    Ok(PersistenceDword::new().with_ptpl(ptpl).into_bits())
}

/// Asks for feature 83h of one namespace, or of all that support it.
pub(super) fn set_persistence(
    controller: &mut Controller,
    context: &mut Context<'_>,
    sqe: &Sqe,
) -> Result<Reply, Status> {
    let nsid = sqe.nsid.get();
    let ptpl = PersistenceDword::from_bits(sqe.cdw11.get()).ptpl();
    let nsids = if nsid == NSID_ALL {
        reach(controller, context, nsid)?;
        let supported = |nsid: &u32| is_supported(controller, context, *nsid);
        attached(controller, context).into_iter().filter(supported).collect()
    } else {
        let supported = check_one(controller, context, nsid)?.is_supported(nsid);
        if ptpl && !supported {
            return Err(Status::INVALID_FIELD);
        }
        if supported { vec![nsid] } else { Vec::new() }
    };
    if nsids.is_empty() {
        return Ok(Reply::success());
    }
    let cid = sqe.cid.get();
    controller.defer(sqe);
    context.actions.push_back(Action::SetPersistence { controller: controller.id, cid, nsids, ptpl });
    Ok(Reply::Deferred)
}

/// Refuses an NSID that is not that of one attached namespace, in whatever way it is not.
fn check_one<'a>(
    controller: &'a Controller,
    context: &'a Context<'_>,
    nsid: u32,
) -> Result<&'a Reservations, Status> {
    let (served, namespaces) = context.served(controller).ok_or(Status::INVALID_FIELD)?;
    namespaces.find(nsid).map_err(|_| Status::INVALID_FIELD)?;
    controller.reaches(served, nsid)?;
    served.reservations.as_ref().ok_or(Status::INVALID_FIELD)
}

fn is_supported(controller: &Controller, context: &Context<'_>, nsid: u32) -> bool {
    check_one(controller, context, nsid).is_ok_and(|reservations| reservations.is_supported(nsid))
}

/// NSIDs of all attached namespaces.
fn attached(controller: &Controller, context: &Context<'_>) -> Vec<u32> {
    let namespaces = context.served(controller).map(|(_, namespaces)| namespaces);
    namespaces.into_iter().flat_map(|all| all.iter()).map(|namespace| namespace.nsid).collect()
}
