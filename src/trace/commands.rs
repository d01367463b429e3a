//! Commands of one connection, or of one namespace on one reactor: how many, how much data, what failed, how long.

use corelane_reactors::stats::{Counter, Distribution, Histogram, Sample};

/// Kinds of commands that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Compare.
    Compare,
    /// Write Zeroes.
    WriteZeroes,
    /// Dataset Management: deallocation and hints.
    Dataset,
    /// Flush.
    Flush,
    /// Verify.
    Verify,
    /// Write Uncorrectable.
    WriteUncorrectable,
    /// Copy.
    Copy,
    /// Reservation Register, Acquire, Release and Report.
    Reservation,
    /// What is none of these: nothing of it ever succeeds.
    Other,
}

/// Kinds whose latencies are kept in one histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// [`Kind::Read`].
    Read,
    /// [`Kind::Write`].
    Write,
    /// All other kinds.
    Other,
}

/// Why a command failed, as far as it is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The medium: data was lost, or could not be stored.
    Media,
    /// Anything else.
    Other,
}

const KINDS: usize = Kind::ALL.len();
const CLASSES: usize = Class::ALL.len();

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::Write,
        Self::Compare,
        Self::WriteZeroes,
        Self::Dataset,
        Self::Flush,
        Self::Verify,
        Self::WriteUncorrectable,
        Self::Copy,
        Self::Reservation,
        Self::Other,
    ];

    /// Its name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Compare => "compare",
            Self::WriteZeroes => "write_zeroes",
            Self::Dataset => "dataset_management",
            Self::Flush => "flush",
            Self::Verify => "verify",
            Self::WriteUncorrectable => "write_uncorrectable",
            Self::Copy => "copy",
            Self::Reservation => "reservation",
            Self::Other => "other",
        }
    }

    /// Where its latencies are kept.
    pub fn class(self) -> Class {
        match self {
            Self::Read => Class::Read,
            Self::Write => Class::Write,
            Self::Compare
            | Self::WriteZeroes
            | Self::Dataset
            | Self::Flush
            | Self::Verify
            | Self::WriteUncorrectable
            | Self::Copy
            | Self::Reservation
            | Self::Other => Class::Other,
        }
    }
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Other];

    /// Its name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Other => "other",
        }
    }
}

/// Where one reactor counts the commands of a connection or of a namespace: 25 KiB, aligned so that no two reactors
/// write one pair of cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CommandTrace {
    succeeded: [Counter; KINDS],
    failed: [Counter; KINDS],
    bytes: [Counter; KINDS],
    media_errors: Counter,
    latencies: [Histogram; CLASSES],
}

impl CommandTrace {
    /// Counts `commands` that succeeded and moved `bytes` altogether. Only the owning reactor may call it.
    #[inline]
    pub fn succeeded(&self, kind: Kind, commands: u64, bytes: u64) {
        self.succeeded[kind as usize].add(commands);
        self.bytes[kind as usize].add(bytes);
    }

    /// Counts `commands` that failed. Only the owning reactor may call it.
    pub fn failed(&self, kind: Kind, fault: Fault, commands: u64) {
        self.failed[kind as usize].add(commands);
        if fault == Fault::Media {
            self.media_errors.add(commands);
        }
    }

    /// Notes how many nanoseconds each of `commands`, at least one, took. Only the owning reactor may call it.
    #[inline]
    pub fn took(&self, class: Class, nanoseconds: Sample, commands: u64) {
        self.latencies[class as usize].add_many(nanoseconds, commands);
    }

    /// Commands so far, of all kinds, failed ones included.
    pub fn commands(&self) -> u64 {
        self.succeeded.iter().chain(&self.failed).map(Counter::read).sum()
    }

    /// Bytes that successful commands moved, verified or copied so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.iter().map(Counter::read).sum()
    }

    /// What was counted so far.
    pub fn counts(&self) -> CommandCounts {
        let read = |counters: &[Counter; KINDS]| counters.each_ref().map(Counter::read);
        CommandCounts {
            succeeded: read(&self.succeeded),
            failed: read(&self.failed),
            bytes: read(&self.bytes),
            media_errors: self.media_errors.read(),
            latencies: self.latencies.each_ref().map(Histogram::distribution),
        }
    }
}

/// What was counted, as a value that can be added to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandCounts {
    succeeded: [u64; KINDS],
    failed: [u64; KINDS],
    bytes: [u64; KINDS],
    /// Commands that the medium failed.
    pub media_errors: u64,
    latencies: [Distribution; CLASSES],
}

impl CommandCounts {
    /// Commands of a kind that succeeded.
    pub fn succeeded(&self, kind: Kind) -> u64 {
        self.succeeded[kind as usize]
    }

    /// Commands of a kind that failed, for whatever reason.
    pub fn failed(&self, kind: Kind) -> u64 {
        self.failed[kind as usize]
    }

    /// Bytes that successful commands of a kind moved, verified or copied.
    pub fn bytes(&self, kind: Kind) -> u64 {
        self.bytes[kind as usize]
    }

    /// Latencies in nanoseconds, of successful and failed commands.
    pub fn latency(&self, class: Class) -> &Distribution {
        &self.latencies[class as usize]
    }

    /// Adds what another reactor counted.
    pub fn merge(&mut self, other: &Self) {
        for kind in Kind::ALL.map(|kind| kind as usize) {
            self.succeeded[kind] += other.succeeded[kind];
            self.failed[kind] += other.failed[kind];
            self.bytes[kind] += other.bytes[kind];
        }
        self.media_errors += other.media_errors;
        for (latency, other) in self.latencies.iter_mut().zip(&other.latencies) {
            latency.merge(other);
        }
    }
}

#[cfg(test)]
mod tests;
