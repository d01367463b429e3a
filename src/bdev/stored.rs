//! A command that is kept for later: its lists are copied into vectors that are used again and again.

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::{Blocks, Command};

/// Room for one command at a time.
#[derive(Debug)]
pub(super) struct StoredCommand {
    kind: Kind,
    into: Vec<SegmentMut>,
    from: Vec<Segment>,
    ranges: Vec<Blocks>,
}

impl StoredCommand {
    /// Room that holds a flush.
    pub(super) fn new() -> Self {
        Self { kind: Kind::Flush, into: Vec::new(), from: Vec::new(), ranges: Vec::new() }
    }

    /// Room that holds a flush, and lists of so many segments without growing.
    pub(super) fn with_room(segments: usize) -> Self {
        Self {
            kind: Kind::Flush,
            into: Vec::with_capacity(segments),
            from: Vec::with_capacity(segments),
            ranges: Vec::with_capacity(segments),
        }
    }

    /// Replaces what is kept.
    pub(super) fn store(&mut self, command: &Command<'_>) {
        self.into.clear();
        self.from.clear();
        self.ranges.clear();
        self.kind = match *command {
            Command::Read { blocks, into } => {
                self.into.extend_from_slice(into);
                Kind::Read { blocks }
            }
            Command::Write { blocks, from, force_unit_access } => {
                self.from.extend_from_slice(from);
                Kind::Write { blocks, force_unit_access }
            }
            Command::Flush => Kind::Flush,
            Command::WriteZeroes { blocks, deallocate, force_unit_access } => {
                Kind::WriteZeroes { blocks, deallocate, force_unit_access }
            }
            Command::Deallocate { ranges } => {
                self.ranges.extend_from_slice(ranges);
                Kind::Deallocate
            }
            Command::Compare { blocks, with } => {
                self.from.extend_from_slice(with);
                Kind::Compare { blocks }
            }
            Command::Verify { blocks } => Kind::Verify { blocks },
            Command::WriteUncorrectable { blocks } => Kind::WriteUncorrectable { blocks },
            Command::Copy { ranges, to, force_unit_access } => {
                self.ranges.extend_from_slice(ranges);
                Kind::Copy { to, force_unit_access }
            }
        };
    }

    /// The command as it was stored.
    pub(super) fn command(&self) -> Command<'_> {
        match self.kind {
            Kind::Read { blocks } => Command::Read { blocks, into: &self.into },
            Kind::Write { blocks, force_unit_access } => {
                Command::Write { blocks, from: &self.from, force_unit_access }
            }
            Kind::Flush => Command::Flush,
            Kind::WriteZeroes { blocks, deallocate, force_unit_access } => {
                Command::WriteZeroes { blocks, deallocate, force_unit_access }
            }
            Kind::Deallocate => Command::Deallocate { ranges: &self.ranges },
            Kind::Compare { blocks } => Command::Compare { blocks, with: &self.from },
            Kind::Verify { blocks } => Command::Verify { blocks },
            Kind::WriteUncorrectable { blocks } => Command::WriteUncorrectable { blocks },
            Kind::Copy { to, force_unit_access } => {
                Command::Copy { ranges: &self.ranges, to, force_unit_access }
            }
        }
    }
}

/// A command without its lists.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Read { blocks: Blocks },
    Write { blocks: Blocks, force_unit_access: bool },
    Flush,
    WriteZeroes { blocks: Blocks, deallocate: bool, force_unit_access: bool },
    Deallocate,
    Compare { blocks: Blocks },
    Verify { blocks: Blocks },
    WriteUncorrectable { blocks: Blocks },
    Copy { to: u64, force_unit_access: bool },
}
