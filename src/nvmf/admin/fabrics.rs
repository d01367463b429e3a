//! Fabrics commands on an admin queue that is connected (NVMe base 2.1, section 6).

use zerocopy::little_endian::{U32, U64};

use crate::nvmf::admin::{Context, Reply};
use crate::nvmf::controller::{Controller, Value};
use crate::spec::fabrics::PropertySize;
use crate::spec::opcode::FabricsType;
use crate::spec::register::{Cc, Property};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

pub(super) fn execute(
    controller: &mut Controller,
    context: &mut Context<'_>,
    sqe: &Sqe,
) -> Result<Reply, Status> {
    match sqe.fabrics_type() {
        Some(FabricsType::PROPERTY_GET) => property_get(controller, context, sqe),
        Some(FabricsType::PROPERTY_SET) => property_set(controller, context, sqe),
        // The queue exists (section 3.3.2.3).
        Some(FabricsType::CONNECT) => Err(Status::COMMAND_SEQUENCE_ERROR),
        // Only I/O queues can be disconnected (section 6.4).
        Some(FabricsType::DISCONNECT) => Err(Status::DISCONNECT_INVALID_QUEUE_TYPE),
        _ => Err(Status::INVALID_OPCODE),
    }
}

/// Section 6.5: the value, in DW0 and DW1.
fn property_get(controller: &Controller, context: &Context<'_>, sqe: &Sqe) -> Result<Reply, Status> {
    let command = sqe.as_property_get();
    let value = controller.read_property(Property(command.ofst.get()), context.options);
    match (value, command.attrib.kind()) {
        (Some(Value::Four(value)), PropertySize::FOUR) => Ok(Reply::value(value)),
        (Some(Value::Eight(value)), PropertySize::EIGHT) => {
            let [low, high]: [U32; 2] = zerocopy::transmute!(U64::new(value));
            Ok(Reply::Done { status: Status::SUCCESS, dw0: low.get(), dw1: high.get(), data: Vec::new() })
        }
        _ => Err(Status::INVALID_FIELD),
    }
}

/// Section 6.6: CC is the only property that can be set.
fn property_set(controller: &mut Controller, context: &mut Context<'_>, sqe: &Sqe) -> Result<Reply, Status> {
    let command = sqe.as_property_set();
    if (Property(command.ofst.get()), command.attrib.kind()) != (Property::CC, PropertySize::FOUR) {
        return Err(Status::INVALID_FIELD);
    }
    let [value, _]: [U32; 2] = zerocopy::transmute!(command.value);
    controller.write_cc(context.now, Cc::from_bits(value.get()), context.actions)?;
    Ok(Reply::success())
}
