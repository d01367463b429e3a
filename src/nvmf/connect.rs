//! Reads a Connect command: everything that can be refused without knowing the target (NVMe base 2.1, section
//! 6.3).

use std::mem::offset_of;

use zerocopy::FromBytes;

use crate::nvmf::host::HostId;
use crate::nvmf::target::Refusal;
use crate::spec::fabrics::{Connect, ConnectData, ConnectRefused};
use crate::spec::nqn::Nqn;
use crate::spec::opcode::FabricsType;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// A Connect command whose form is right.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// 0 for the admin queue.
    pub(super) qid: u16,
    /// 2 to 65,536.
    pub(super) entries: u32,
    /// The host keeps SQ flow control.
    pub(super) flow_control: bool,
    /// Milliseconds; 0 for none.
    pub(super) kato: u32,
    pub(super) cntlid: u16,
    pub(super) hostid: HostId,
    pub(super) subnqn: Nqn,
    pub(super) hostnqn: Nqn,
}

impl Request {
    /// Reads the command and its data.
    ///
    /// Invalid Field is never the answer to Connect (section 6.3).
    pub(super) fn read(sqe: &Sqe, data: &[u8]) -> Result<Self, Refusal> {
        if sqe.fabrics_type() != Some(FabricsType::CONNECT) {
            return Err(Refusal::of(Status::COMMAND_SEQUENCE_ERROR));
        }
        if !sqe.has_fabrics_psdt() {
            return Err(Refusal::in_command(offset_of!(Sqe, flags)));
        }
        let connect = sqe.as_connect();
        if connect.recfmt.get() != 0 {
            return Err(Refusal::of(Status::CONNECT_INCOMPATIBLE_FORMAT));
        }
        let data =
            ConnectData::ref_from_bytes(data).map_err(|_| Refusal::of(Status::DATA_SGL_LENGTH_INVALID))?;
        if connect.sqsize_z.get() == 0 {
            return Err(Refusal::in_command(offset_of!(Connect, sqsize_z)));
        }
        let name = |field, offset| Nqn::from_wire(field).map_err(|_| Refusal::in_data(offset));
        Ok(Self {
            qid: connect.qid.get(),
            entries: connect.entries(),
            flow_control: !connect.attributes().flow_control_disabled(),
            kato: connect.kato.get(),
            cntlid: data.cntlid.get(),
            hostid: HostId(data.hostid),
            subnqn: name(&data.subnqn, offset_of!(ConnectData, subnqn))?,
            hostnqn: name(&data.hostnqn, offset_of!(ConnectData, hostnqn))?,
        })
    }
}

impl Refusal {
    /// A refusal without a parameter. DNR is set except where trying again later may help.
    pub(super) fn of(status: Status) -> Self {
        let again = status.is(Status::CONNECT_CONTROLLER_BUSY);
        Self { status: if again { status } else { status.with_dnr() }, dw0: 0 }
    }

    /// Connect Invalid Parameters, pointing into the command.
    pub(super) fn in_command(offset: usize) -> Self {
        Self { dw0: ConnectRefused::command(offset).into(), ..Self::of(Status::CONNECT_INVALID_PARAMETERS) }
    }

    /// Connect Invalid Parameters, pointing into the data.
    pub(super) fn in_data(offset: usize) -> Self {
        Self { dw0: ConnectRefused::data(offset).into(), ..Self::of(Status::CONNECT_INVALID_PARAMETERS) }
    }
}
