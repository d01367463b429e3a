//! Feature 82h (NVMe base 2.1, section 5.1.25.1.29).

use crate::nvmf::admin::Context;
use crate::nvmf::controller::Controller;
use crate::nvmf::controller::values::Values;
use crate::nvmf::persistence::Reservations;
use crate::spec::NSID_ALL;
use crate::spec::reservation::NotificationMask;
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
        attached(controller, context)
    } else {
        check_one(controller, context, nsid)?;
        vec![nsid]
    };
    controller.values.notices.set_mask(nsids, NotificationMask::from_bits(dword));
    Ok(())
}

/// Refuses an NSID that is not that of one attached namespace, in whatever way it is not.
fn check_one<'a>(
    controller: &'a Controller,
    context: &'a Context<'_>,
    nsid: u32,
) -> Result<&'a Reservations, Status> {
    let (served, namespaces) = context.served(controller).ok_or(Status::INVALID_FIELD)?;
    namespaces.find(nsid).map_err(|_| Status::INVALID_FIELD)?;
    served.reservations.as_ref().ok_or(Status::INVALID_FIELD)
}

/// NSIDs of all attached namespaces.
fn attached(controller: &Controller, context: &Context<'_>) -> Vec<u32> {
    let namespaces = context.served(controller).map(|(_, namespaces)| namespaces);
    namespaces.into_iter().flat_map(|all| all.iter()).map(|namespace| namespace.nsid).collect()
}
