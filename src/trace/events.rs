//! A ring of rare events: small records of one size, of which the newest overwrite the oldest. One reactor writes;
//! others read at any time, without holding it up.
//!
//! Invariants: event `n` lies in record `n % EVENTS_KEPT`; a record's stamp is `2 * (n + 1)` while it holds event `n`,
//! and odd while it is written. A reader that sees the same even stamp before and after has read one whole event.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use corelane_reactors::clock::Time;

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

/// A record. Relaxed accesses throughout: the stamps and the fences beside them order what lies between.
#[derive(Default)]
#[repr(align(64))]
struct Record {
    stamp: AtomicU64,
    time: AtomicU64,
    what: AtomicU64,
    values: [AtomicU64; 3],
}

/// The newest [`EVENTS_KEPT`] events of one reactor: 64 KiB.
pub struct EventRing {
    records: Box<[Record]>,
    /// Events that were written. Only the writer stores.
    written: AtomicU64,
}

impl EventRing {
    /// Writes an event. Only the owning reactor may call it.
    pub fn write(&self, time: Time, what: What, values: [u64; 3]) {
        let number = self.written.load(Ordering::Relaxed);
        let record = &self.records[place(number)];
        record.stamp.store(2 * number + 1, Ordering::Relaxed);
        // Partner: the Acquire fence in `read`. Who has seen a field of this event sees that the record is written.
        fence(Ordering::Release);
        record.time.store(time.as_nanos(), Ordering::Relaxed);
        record.what.store(what as u64, Ordering::Relaxed);
        for (place, value) in record.values.iter().zip(values) {
            place.store(value, Ordering::Relaxed);
        }
        // Partner: the Acquire load in `read`. Who sees this stamp sees the fields.
        record.stamp.store(2 * (number + 1), Ordering::Release);
        // Partner: the load in `events`, which then finds the record.
        self.written.store(number + 1, Ordering::Release);
    }

    /// Events that were written since the ring was made, those that were overwritten included.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The events that are kept, oldest first. Those that are overwritten meanwhile are left out.
    pub fn events(&self) -> Vec<Event> {
        let written = self.written();
        let first = written.saturating_sub(EVENTS_KEPT as u64);
        (first..written).filter_map(|number| self.read(number)).collect()
    }

    fn read(&self, number: u64) -> Option<Event> {
        let record = &self.records[place(number)];
        let stamp = 2 * (number + 1);
        if record.stamp.load(Ordering::Acquire) != stamp {
            return None;
        }
        let time = Time::from_nanos(record.time.load(Ordering::Relaxed));
        let what = record.what.load(Ordering::Relaxed);
        let values = record.values.each_ref().map(|value| value.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if record.stamp.load(Ordering::Relaxed) != stamp {
            return None;
        }
        let what = What::ALL.into_iter().find(|known| *known as u64 == what)?;
        Some(Event { number, time, what, values })
    }
}

impl Default for EventRing {
    fn default() -> Self {
        Self { records: (0..EVENTS_KEPT).map(|_| Record::default()).collect(), written: AtomicU64::new(0) }
    }
}

impl std::fmt::Debug for EventRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventRing").field("written", &self.written()).finish_non_exhaustive()
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % EVENTS_KEPT as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
