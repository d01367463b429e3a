//! A ring of rare events: small records of one size, of which the newest overwrite the oldest. One reactor writes;
//! others read at any time, without holding it up.

use corelane_reactors::clock::Time;

use super::ring::Ring;

/// Events that a ring keeps.
pub const EVENTS_KEPT: usize = 1024;

/// What happened. The three values of an [`Event`] are what [`What::values`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// A host connected: its admin queue is open.
    Connected,
    /// An admin queue ended.
    Disconnected,
    /// An I/O queue arrived on its reactor.
    QueueOpened,
    /// An I/O queue ended.
    QueueClosed,
    /// A peer broke the protocol; its connection ends.
    ProtocolError,
    /// A command failed on its medium.
    MediaError,
    /// A reservation command was answered.
    Reservation,
    /// The commands of preempted hosts have to end.
    Fence,
    /// A harsher means was used against commands that did not end: 0 for an abort, 1 for a reset of the device's queue, 2
    /// for the end of the block device's service, 3 for a word in the log.
    FenceEscalated,
    /// A preempted host that did not read lost its connection.
    FenceClosed,
    /// An I/O queue arrived from another reactor, this long after it took no more commands there.
    QueueMoved,
}

impl What {
    const ALL: [Self; 11] = [
        Self::Connected,
        Self::Disconnected,
        Self::QueueOpened,
        Self::QueueClosed,
        Self::ProtocolError,
        Self::MediaError,
        Self::Reservation,
        Self::Fence,
        Self::FenceEscalated,
        Self::FenceClosed,
        Self::QueueMoved,
    ];

    /// Its name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::QueueOpened => "queue_opened",
            Self::QueueClosed => "queue_closed",
            Self::ProtocolError => "protocol_error",
            Self::MediaError => "media_error",
            Self::Reservation => "reservation",
            Self::Fence => "fence",
            Self::FenceEscalated => "fence_escalated",
            Self::FenceClosed => "fence_closed",
            Self::QueueMoved => "queue_moved",
        }
    }

    /// What its values are; empty for those that are not used. `subsystem` is the place in the configuration, from 0;
    /// `controller` a number that is never used twice; `status` a status code type (bits 10:8) and code.
    pub fn values(self) -> [&'static str; 3] {
        match self {
            Self::Connected | Self::Disconnected => ["controller", "cntlid", ""],
            Self::QueueOpened => ["controller", "qid", "subsystem"],
            Self::QueueClosed => ["controller", "qid", "commands"],
            Self::ProtocolError => ["controller", "qid", ""],
            Self::MediaError => ["controller", "nsid", "status"],
            Self::Reservation => ["controller", "nsid", "status"],
            Self::Fence => ["subsystem", "nsid", "hosts"],
            Self::FenceEscalated => ["subsystem", "nsid", "means"],
            Self::FenceClosed => ["controller", "subsystem", "nsid"],
            Self::QueueMoved => ["controller", "qid", "pause_ns"],
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number on its ring, from 0.
    pub number: u64,
    /// The turn in which it happened, by the clock of the reactors.
    pub time: Time,
    /// What happened.
    pub what: What,
    /// To whom or to what: see [`What::values`].
    pub values: [u64; 3],
}

/// The newest [`EVENTS_KEPT`] events of one reactor: 64 KiB.
pub struct EventRing(Ring<5>);

impl EventRing {
    /// Writes an event. Only the owning reactor may call it.
    pub fn write(&self, time: Time, what: What, [first, second, third]: [u64; 3]) {
        self.0.write([time.as_nanos(), what as u64, first, second, third]);
    }

    /// Events that were written since the ring was made, those that were overwritten included.
    pub fn written(&self) -> u64 {
        self.0.written()
    }

    /// The events that are kept, oldest first. Those that are overwritten meanwhile are left out.
    pub fn events(&self) -> Vec<Event> {
        let event = |(number, [time, what, first, second, third]): (u64, [u64; 5])| {
            let what = What::ALL.into_iter().find(|known| *known as u64 == what)?;
            Some(Event { number, time: Time::from_nanos(time), what, values: [first, second, third] })
        };
        self.0.since(0).into_iter().filter_map(event).collect()
    }
}

impl Default for EventRing {
    fn default() -> Self {
        Self(Ring::new(EVENTS_KEPT))
    }
}

impl std::fmt::Debug for EventRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventRing").field("written", &self.written()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
