//! How many lines of one kind the log takes. Most of what it says is brought about by peers, and whoever connects ten thousand
//! times a second shall not fill a disk with it.
//!
//! A kind is a place in the source that logs. Each has [`LINES_MAX`] lines at once, and gets one back each [`LINE_TIME`];
//! what is withheld is counted, and the next line of its kind is followed by the count. Lines for those who look for a fault
//! (debug, trace) are never withheld.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one kind at once: more than there are hosts in most places, for they all connect again after a restart.
pub(super) const LINES_MAX: u32 = 1000;
/// Time for which one line of a kind is allowed.
pub(super) const LINE_TIME: Duration = Duration::from_secs(1);

/// The lines of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    left: u32,
    /// Up to when `left` is right.
    since: Instant,
    withheld: u64,
}

impl Kind {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: LINES_MAX, since: now, withheld: 0 }
    }

    /// One more line: how many were withheld before it, or `None` if it is withheld, too.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.since).as_nanos() / LINE_TIME.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(LINES_MAX);
        self.since = if self.left == LINES_MAX { now } else { self.since + LINE_TIME * earned };
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.withheld))
            }
            None => {
                self.withheld += 1;
                None
            }
        }
    }
}

/// The lines of all kinds. There are as many kinds as places in the source.
#[derive(Debug, Default)]
pub(super) struct Quota {
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

impl<S: Subscriber> Layer<S> for Quota {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let withheld = {
            // Whoever panicked while he held it left whole numbers.
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.entry(event.metadata().callsite()).or_insert_with(|| Kind::new(now)).take(now)
        };
        if let Some(lines @ 1..) = withheld {
            tracing::warn!(lines, like = event.metadata().name(), "lines like the next one were withheld");
        }
        withheld.is_some()
    }
}
