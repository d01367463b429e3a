//! Enabling and disabling a controller (NVMe base 2.1, sections 3.5.1 and 3.6.1): registers as they were read and the
//! time go in, what to write comes out. Never blocks, reads no clock.
//!
//! ```text
//!            stop                   RDY=1, CFS, late: clear EN
//!  (EN=1,RDY=0)────▶ Settling ─────────────────┐
//!  (EN=1,RDY=1)──────────clear EN──────────────┤
//!  (EN=0)──────────────────────────────────────┤
//!                                              ▼
//!      ┌───────────────RDY=0──────────────  Stopping ──late──▶ NeverStopped
//!      ▼           start: set EN
//!   Stopped ────────────────────▶ Starting ──RDY=1──▶ Ready
//!                                    │ CFS: Fatal       │ CFS: Fatal
//!                                    │ late: NeverReady │ RDY=0: Lost
//! ```
//!
//! EN may be cleared only after RDY has become 1, and set only after it has become 0 (section 3.1.4.5), hence Settling.
//! Stopped proves that the controller does nothing any more: no command is in flight, no memory is touched.

#[cfg(test)]
mod tests;

use std::time::Duration;

use corelane_reactors::clock::Time;

use crate::spec::register::{Cap, Crto, Csts};

/// CAP.TO and the fields of CRTO count in this.
const UNIT: Duration = Duration::from_millis(500);

/// How far a controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Enabled by somebody, and not ready yet: it may not be disabled before it is.
    Settling { until: Time },
    /// EN is 0, RDY may still be 1.
    Stopping { until: Time },
    /// EN and RDY are 0.
    Stopped,
    /// EN is 1, RDY is not yet.
    Starting { until: Time },
    /// EN and RDY are 1.
    Ready,
}

/// What has to be written after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    Wait,
    /// CC.EN = 0.
    ClearEnable,
}

/// Why a controller does not get where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnableError {
    /// RDY stayed 1. The controller may still touch memory.
    NeverStopped,
    /// RDY stayed 0.
    NeverReady,
    /// CSTS.CFS.
    Fatal,
    /// RDY became 0 by itself.
    Lost,
}

/// How long the controller may take, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) stop: Duration,
    pub(super) start: Duration,
}

impl Limits {
    /// CAP.TO for both, and CRTO.CRWMT for the start where the controller has it: CC.CRIME stays 0, so that it is ready
    /// when its media are (sections 3.1.4.1, 3.1.4.19, 3.5.4). One unit more, because the controller rounds.
    pub(super) fn of(cap: Cap, crto: Crto) -> Self {
        let general = u32::from(cap.to()) + 1;
        let media = if cap.crwms() { u32::from(crto.crwmt()) + 1 } else { 0 };
        Self { stop: UNIT * general, start: UNIT * general.max(media) }
    }
}

impl Stage {
    /// The way down begins, from wherever the controller is.
    pub(super) fn stop(enabled: bool, csts: Csts, limits: &Limits, now: Time) -> (Self, Act) {
        let until = now + limits.stop;
        match (enabled, csts.rdy() || csts.cfs()) {
            (true, false) => (Self::Settling { until: now + limits.start }, Act::Wait),
            (true, true) => (Self::Stopping { until }, Act::ClearEnable),
            (false, _) => (Self::Stopping { until }, Act::Wait),
        }
    }

    /// EN is being set.
    ///
    /// # Panics
    /// If the controller is not stopped.
    pub(super) fn start(self, limits: &Limits, now: Time) -> Self {
        assert!(self == Self::Stopped);
        Self::Starting { until: now + limits.start }
    }

    /// What a look at CSTS changes.
    pub(super) fn step(self, csts: Csts, limits: &Limits, now: Time) -> Result<(Self, Act), EnableError> {
        match self {
            Self::Settling { until } if csts.rdy() || csts.cfs() || now >= until => {
                Ok((Self::Stopping { until: now + limits.stop }, Act::ClearEnable))
            }
            Self::Stopping { .. } if !csts.rdy() => Ok((Self::Stopped, Act::Wait)),
            Self::Stopping { until } if now >= until => Err(EnableError::NeverStopped),
            Self::Starting { .. } | Self::Ready if csts.cfs() => Err(EnableError::Fatal),
            Self::Starting { .. } if csts.rdy() => Ok((Self::Ready, Act::Wait)),
            Self::Starting { until } if now >= until => Err(EnableError::NeverReady),
            Self::Ready if !csts.rdy() => Err(EnableError::Lost),
            Self::Settling { .. } | Self::Stopping { .. } | Self::Stopped => Ok((self, Act::Wait)),
            Self::Starting { .. } | Self::Ready => Ok((self, Act::Wait)),
        }
    }
}
