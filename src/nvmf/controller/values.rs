//! Current values of the features of one controller, and the reservation notices that passed its masks. None is
//! saveable: a reset brings the defaults back.

use std::collections::BTreeMap;

use zerocopy::FromZeros;

use crate::reservation::Notices;
use crate::spec::feature::{
    Arbitration, AsyncEventConfiguration, ErrorRecovery, HostBehavior, NumberOfQueues, WriteAtomicity,
};

/// The over temperature threshold after a reset: the largest, so that it is never crossed.
const TEMPERATURE_OVER: u16 = 0xffff;

/// Values that hosts set.
#[derive(Clone, Debug)]
pub(in crate::nvmf) struct Values {
    pub(in crate::nvmf) arbitration: Arbitration,
    /// Over and under threshold of the composite temperature in kelvins.
    pub(in crate::nvmf) temperature: [u16; 2],
    /// By NSID; absent is the default. Bounded by the number of namespaces.
    pub(in crate::nvmf) error_recovery: BTreeMap<u32, ErrorRecovery>,
    /// What Set Features granted; `None` before it was asked.
    pub(in crate::nvmf) queues: Option<NumberOfQueues>,
    pub(in crate::nvmf) write_atomicity: WriteAtomicity,
    pub(in crate::nvmf) async_events: AsyncEventConfiguration,
    pub(in crate::nvmf) host_behavior: HostBehavior,
    /// Masks of reservation notices, and the pages to read.
    pub(in crate::nvmf) notices: Notices,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            arbitration: Arbitration::new(),
            temperature: [TEMPERATURE_OVER, 0],
            error_recovery: BTreeMap::new(),
            queues: None,
            write_atomicity: WriteAtomicity::new(),
            async_events: AsyncEventConfiguration::new(),
            host_behavior: HostBehavior::new_zeroed(),
            notices: Notices::new(),
        }
    }
}
