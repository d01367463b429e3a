//! The keep alive timer (NVMe base 2.1, section 3.9) and the idle limit of discovery controllers without one.
//!
//! It counts while the controller is ready, and only then (section 3.9.2): its host cannot send Keep Alive commands before,
//! nor during a reset or a shutdown. The [`Controller`](super::Controller) starts it again whenever it becomes ready.

use std::time::Duration;

use corelane_reactors::clock::Time;

use crate::spec::status::Status;

/// KAS: the granularity in units of 100 ms.
pub const KAS: u16 = 10;

const GRANULARITY_MS: u32 = KAS as u32 * 100;

/// What a discovery controller without a keep alive timer gets between two commands (base 2.1, section
/// 3.1.3.3.1: no less than two minutes).
const DISCOVERY_IDLE: Duration = Duration::from_secs(120);

/// When the association is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    kato: u32,
    kato_default: u32,
    /// The shortest timeout, and the longest.
    bounds: (u32, u32),
    idle_limit: bool,
    since: Time,
}

impl KeepAlive {
    /// A timer of `kato` milliseconds, rounded up to the shortest of `bounds` and to whole [`KAS`] units; 0 is none.
    /// `discovery` gives a limit on idleness where there is none.
    ///
    /// # Errors
    /// As [`KeepAlive::set`].
    pub fn new(now: Time, kato: u32, discovery: bool, bounds: (u32, u32)) -> Result<Self, Status> {
        let mut timer = Self { kato: 0, kato_default: 0, bounds, idle_limit: discovery, since: now };
        timer.set(now, kato)?;
        timer.kato_default = timer.kato;
        Ok(timer)
    }

    /// KATO in milliseconds, rounded.
    pub fn kato(&self) -> u32 {
        self.kato
    }

    /// What it was made with, rounded: the default.
    pub fn kato_default(&self) -> u32 {
        self.kato_default
    }

    /// Sets KATO, and starts the timer again.
    ///
    /// # Errors
    /// Keep Alive Timeout Invalid for one that is longer than the longest (NVMe base 2.1, figure 103); nothing changes.
    pub fn set(&mut self, now: Time, kato: u32) -> Result<(), Status> {
        let (shortest, longest) = self.bounds;
        if kato > longest {
            return Err(Status::KEEP_ALIVE_INVALID);
        }
        let kato = if kato == 0 { 0 } else { kato.max(shortest) };
        self.kato = kato.div_ceil(GRANULARITY_MS).saturating_mul(GRANULARITY_MS);
        self.since = now;
        Ok(())
    }

    /// A Keep Alive command came, or the controller became ready.
    pub fn restart(&mut self, now: Time) {
        self.since = now;
    }

    /// Some command came: only the idle limit counts those. Traffic based keep alive is not claimed.
    pub fn command(&mut self, now: Time) {
        if self.kato == 0 {
            self.since = now;
        }
    }

    /// When the association is lost if nothing comes and the controller stays ready.
    pub fn deadline(&self) -> Option<Time> {
        match self.kato {
            0 if self.idle_limit => Some(self.since + DISCOVERY_IDLE),
            0 => None,
            kato => Some(self.since + Duration::from_millis(kato.into())),
        }
    }
}
