//! What goes wrong, and when: written down before it happens, or drawn from a seed.

use std::collections::VecDeque;
use std::ops::Range;

use super::random::Random;
use crate::spec::opcode::AdminOpcode;
use crate::spec::status::Status;

/// What becomes of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is carried out, and answered, this many steps later: others overtake it.
    Late(u32),
    /// It is never answered, and its memory is read or written again and again until its queue ends.
    Lost,
    /// It is answered twice.
    Twice,
    /// It is answered under an identifier that no command has.
    WrongCid,
    /// It is answered under the identifier of the command that its queue answered before it.
    StaleCid,
    /// Its answer has the old phase, so that nobody sees it, nor any that follows.
    StuckPhase,
    /// Its answer names another submission queue.
    WrongSqid,
    /// It is not carried out, and is answered with this status.
    Fails(Status),
    /// It is not carried out: the controller reports a fatal error instead (CSTS.CFS).
    Fatal,
}

/// Which command a [`Fault`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The next I/O command.
    Io,
    /// The next admin command of this opcode.
    Admin(AdminOpcode),
}

/// Everything that is wrong with a controller. By default nothing is.
#[derive(Debug, Default)]
pub struct Faults {
    /// CSTS.RDY never becomes 1.
    pub never_ready: bool,
    /// CSTS.RDY never becomes 0 again, and the controller goes on working.
    pub never_unready: bool,
    /// [`crate::nvme::Device::reset`] fails.
    pub never_reset: bool,
    /// The controller grants only so many I/O queue pairs.
    pub queue_pairs: Option<u16>,
    /// I/O queues of this identifier, and of higher ones, are not created.
    pub refused_queue: Option<(u16, Status)>,
    /// Admin commands that are never answered.
    pub silent: Vec<AdminOpcode>,
    /// I/O commands that touch these blocks are answered with this status, and not carried out.
    pub failing: Vec<(Range<u64>, Status)>,
    /// Asynchronous events that are reported one after the other.
    pub event_flood: u32,
    next: VecDeque<(On, Fault)>,
    chaos: Option<Chaos>,
}

#[derive(Debug)]
struct Chaos {
    random: Random,
    odds: Vec<(Fault, u32)>,
}

impl Faults {
    /// The next command of this kind meets this fault; one after the other, if there are several.
    pub fn next(&mut self, on: On, fault: Fault) {
        self.next.push_back((on, fault));
    }

    /// From now on an I/O command meets each fault once in so many times. The same seed gives the same faults to the
    /// same commands.
    pub fn at_random(&mut self, seed: u64, odds: &[(Fault, u32)]) {
        self.chaos = Some(Chaos { random: Random::new(seed), odds: odds.to_vec() });
    }

    /// Nothing goes wrong any more.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    pub(super) fn of_admin(&mut self, opcode: AdminOpcode) -> Option<Fault> {
        if self.silent.contains(&opcode) {
            return Some(Fault::Lost);
        }
        self.take(On::Admin(opcode))
    }

    pub(super) fn of_io(&mut self) -> Option<Fault> {
        if let Some(fault) = self.take(On::Io) {
            return Some(fault);
        }
        let chaos = self.chaos.as_mut()?;
        chaos.odds.iter().find(|(_, odds)| chaos.random.once_in(*odds)).map(|(fault, _)| *fault)
    }

    /// What an I/O command on these blocks fails with.
    pub(super) fn of_blocks(&self, blocks: &Range<u64>) -> Option<Status> {
        let failing = self.failing.iter();
        let mut touched = failing.filter(|(range, _)| range.start < blocks.end && blocks.start < range.end);
        touched.next().map(|(_, status)| *status)
    }

    fn take(&mut self, on: On) -> Option<Fault> {
        let at = self.next.iter().position(|(wanted, _)| *wanted == on)?;
        self.next.remove(at).map(|(_, fault)| fault)
    }
}
