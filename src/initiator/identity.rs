//! Who connects, and to what: the same for all queues of an association.

use zerocopy::FromZeros;
use zerocopy::little_endian::U16;

use crate::spec::fabrics::ConnectData;
use crate::spec::nqn::Nqn;

/// The names that Connect carries.
#[derive(Clone, Debug)]
pub struct Identity {
    /// HOSTNQN: the host.
    pub host: Nqn,
    /// HOSTID: the host identifier; not zero.
    pub host_id: [u8; 16],
    /// SUBNQN: the subsystem.
    pub subsystem: Nqn,
}

impl Identity {
    /// The data of a Connect command to controller `cntlid`.
    pub(super) fn connect_data(&self, cntlid: u16) -> ConnectData {
        let mut data = ConnectData::new_zeroed();
        data.hostid = self.host_id;
        data.cntlid = U16::new(cntlid);
        data.subnqn = self.subsystem.to_wire();
        data.hostnqn = self.host.to_wire();
        data
    }
}
