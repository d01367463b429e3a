//! Whoever waits for a run at a terminal: signals, and progress on standard error.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::app;
use crate::perf::{Progress, Watch};

/// How progress is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    Nothing,
    /// One line, written over and over.
    InPlace,
    Lines,
}

/// Waits for signals.
pub(in crate::cli) struct Console<'a> {
    signals: UnixStream,
    asked: usize,
    tell: Tell,
    errors: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    /// From here on SIGINT and SIGTERM end runs, and not the process.
    pub(in crate::cli) fn new(progress: bool, errors: &'a mut dyn Write) -> io::Result<Self> {
        let signals = app::watch_signals()?;
        signals.set_nonblocking(true)?;
        let tell = match (io::stderr().is_terminal(), progress) {
            (true, _) => Tell::InPlace,
            (false, true) => Tell::Lines,
            (false, false) => Tell::Nothing,
        };
        Ok(Self { signals, asked: 0, tell, errors })
    }

    /// Somebody has asked for the end.
    pub(in crate::cli) fn is_asked(&self) -> bool {
        self.asked > 0
    }

    /// Says something that is not progress.
    pub(in crate::cli) fn say(&mut self, line: &str) {
        self.end_line();
        // When standard error is gone there is nobody left to tell.
        let _ = writeln!(self.errors, "corelane: {line}");
    }

    /// Removes what stands in the line of the terminal.
    pub(in crate::cli) fn end_line(&mut self) {
        if self.tell == Tell::InPlace {
            let _ = write!(self.errors, "\r\x1b[K");
        }
    }
}

impl Watch for Console<'_> {
    fn wait(&mut self, at_most: Duration) -> usize {
        let limit = Timespec::try_from(at_most).ok();
        // A signal interrupts the wait, or makes the stream readable; both end it.
        let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], limit.as_ref());
        let mut bytes = [0; 16];
        if let Ok(count) = self.signals.read(&mut bytes) {
            self.asked += count;
        }
        self.asked
    }

    fn progress(&mut self, progress: &Progress) {
        let _ = match self.tell {
            Tell::Nothing => Ok(()),
            Tell::InPlace => write!(self.errors, "\r\x1b[K{progress}").and_then(|()| self.errors.flush()),
            Tell::Lines => writeln!(self.errors, "{progress}"),
        };
    }
}
