//! Controller properties as Property Get and Set see them (NVMe base 2.1, sections 3.1.4, 6.5 and 6.6).

use std::time::Duration;

use crate::nvmf::options::Options;
use crate::spec::register::{Cap, Cc, Crto, Csts, Property, Vs};

/// CAP.TO: how long closing the queues may take, in units of 500 ms.
const TO: u8 = 30;

/// How long closing the queues may take before the controller has failed.
pub(super) const CLOSING: Duration = Duration::from_millis(TO as u64 * 500);

/// VS: 2.1.0.
pub const VERSION: Vs = Vs::new().with_mjr(2).with_mnr(1);

/// A property's value, with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// 4 bytes.
    Four(u32),
    /// 8 bytes.
    Eight(u64),
}

/// CAP: what controllers of this target can do.
pub fn cap(options: &Options) -> Cap {
    let entries_z = u16::try_from(options.io_entries_max - 1).unwrap_or(u16::MAX);
    let command_sets = Cap::new().with_css_nvm(true).with_css_iocs(true);
    command_sets.with_mqes_z(entries_z).with_cqr(true).with_to(TO).with_crwms(true)
}

/// The value of a property; `None` for one that there is not on fabrics, or not here.
pub(super) fn read(property: Property, options: &Options, cc: Cc, csts: Csts) -> Option<Value> {
    match property {
        Property::CAP => Some(Value::Eight(cap(options).into_bits())),
        Property::VS => Some(Value::Four(VERSION.into_bits())),
        Property::CC => Some(Value::Four(cc.into_bits())),
        Property::CSTS => Some(Value::Four(csts.into_bits())),
        Property::CRTO => Some(Value::Four(Crto::new().with_crwmt(TO.into()).into_bits())),
        _ => None,
    }
}

/// Whether a controller can be enabled with this CC: round robin, 4 KiB pages, the NVM command set by itself
/// or with all others.
pub(super) fn is_supported(cc: Cc) -> bool {
    matches!(cc.css(), Cc::CSS_NVM | Cc::CSS_ALL) && cc.mps() == 0 && cc.ams() == 0
}

/// Whether I/O queues can be created with this CC: their entries are of 64 and 16 bytes. Hosts may say so as late as then.
pub(super) fn has_entry_sizes(cc: Cc) -> bool {
    cc.iosqes() == 6 && cc.iocqes() == 4
}

/// What CC becomes when this is written: CRIME can only be read where CAP.CRMS is not 11b.
pub(super) fn written(cc: Cc) -> Cc {
    cc.with_crime(false)
}
