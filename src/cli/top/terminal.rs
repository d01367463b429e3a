//! The terminal: a screen of one's own, keys, and signals.
//!
//! What must hold: [`Screen`] and [`Waiting`] give back what they took when they are dropped.

use std::io::{self, IsTerminal, Read, Stdin, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};

/// The whole screen, without a cursor.
const SCREEN: &str = "\x1b[?1049h\x1b[?25l";
/// The screen that was there before.
const NO_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
/// Back to the upper left corner.
const HOME: &str = "\x1b[H";
/// Away with the rest of the line, and of the screen.
const END_LINE: &str = "\x1b[K";
const END_SCREEN: &str = "\x1b[J";
/// Rows and columns of a terminal that does not know its size.
const SIZE: (usize, usize) = (24, 80);
/// The key that ends it.
const QUIT: u8 = b'q';

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The time.
    Elapsed,
    /// A new size of the terminal.
    Resized,
    /// Somebody who wants it to end.
    End,
}

/// Waits for time, signals and keys.
pub(super) struct Waiting {
    /// A byte for each SIGINT and SIGTERM.
    ended: UnixStream,
    /// A byte for each SIGWINCH.
    resized: UnixStream,
    keys: Option<Keys>,
}

impl Waiting {
    /// With `keys`, standard input is read key by key, without echo, if it is a terminal.
    pub(super) fn new(keys: bool) -> io::Result<Self> {
        let ended = watch(&[SIGINT, SIGTERM])?;
        let resized = watch(&[SIGWINCH])?;
        let keys = if keys && io::stdin().is_terminal() { Some(Keys::take()?) } else { None };
        Ok(Self { ended, resized, keys })
    }

    /// Waits until then at most.
    pub(super) fn next(&self, until: Instant) -> io::Result<Next> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let keys =
                self.keys.as_ref().map(|keys| PollFd::from_borrowed_fd(keys.input.as_fd(), PollFlags::IN));
            let signals =
                [&self.ended, &self.resized].map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
            let mut descriptors: Vec<PollFd<'_>> = signals.into_iter().chain(keys).collect();
            match poll(&mut descriptors, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let key = descriptors.get(2).is_some_and(|keys| !keys.revents().is_empty());
            if said(&self.ended) || key && self.keys.as_ref().is_some_and(Keys::quit) {
                return Ok(Next::End);
            }
            if said(&self.resized) {
                return Ok(Next::Resized);
            }
            if left.is_zero() {
                return Ok(Next::Elapsed);
            }
        }
    }
}

/// What can be read once one of the signals has come.
fn watch(signals: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

fn said(mut signals: &UnixStream) -> bool {
    signals.read(&mut [0; 64]).is_ok_and(|count| count > 0)
}

/// Standard input, key by key; as it was when it is dropped.
struct Keys {
    input: Stdin,
    before: Termios,
}

impl Keys {
    fn take() -> io::Result<Self> {
        let input = io::stdin();
        let before = tcgetattr(&input)?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(&input, OptionalActions::Now, &modes)?;
        Ok(Self { input, before })
    }

    /// Whether what was typed has the key that ends it. So does a terminal that is gone. To be asked when there is something.
    fn quit(&self) -> bool {
        let mut typed = [0; 64];
        match rustix::io::read(&self.input, &mut typed) {
            Ok(count) => count == 0 || typed[..count].contains(&QUIT),
            Err(error) => error != rustix::io::Errno::INTR,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(&self.input, OptionalActions::Now, &self.before);
    }
}

/// Where pages go; gives the terminal back when it is dropped.
pub(super) struct Screen<'a> {
    output: &'a mut dyn Write,
    draws: bool,
    page: String,
}

impl<'a> Screen<'a> {
    /// Takes the whole screen, if it `draws`.
    pub(super) fn open(output: &'a mut dyn Write, draws: bool) -> io::Result<Self> {
        let screen = Self { output, draws, page: String::new() };
        if draws {
            screen.output.write_all(SCREEN.as_bytes())?;
        }
        screen.output.flush()?;
        Ok(screen)
    }

    /// Shows a page, below the last one where nothing is drawn.
    pub(super) fn show(&mut self, page: String) -> io::Result<()> {
        self.page = page;
        if self.draws {
            return self.draw();
        }
        writeln!(self.output, "{}", self.page)?;
        self.output.flush()
    }

    /// Draws the page once more, as much of it as there is room for now.
    pub(super) fn draw(&mut self) -> io::Result<()> {
        if !self.draws {
            return Ok(());
        }
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        let (rows, columns) = size.map_or(SIZE, |size| (size.ws_row.into(), size.ws_col.into()));
        self.output.write_all(drawn(&self.page, rows, columns).as_bytes())?;
        self.output.flush()
    }

    /// A line, and nothing else.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{text}")?;
        self.output.flush()
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if self.draws {
            // A terminal that is gone needs nothing back.
            let _ = self.output.write_all(NO_SCREEN.as_bytes());
            let _ = self.output.flush();
        }
    }
}

/// As much of the page as fits, over what stood there before. The last row is left to the cursor.
pub(super) fn drawn(page: &str, rows: usize, columns: usize) -> String {
    let mut drawn = HOME.to_owned();
    for line in page.lines().take(rows.saturating_sub(1)) {
        drawn.extend(line.chars().take(columns));
        drawn.push_str(END_LINE);
        drawn.push_str("\r\n");
    }
    drawn.push_str(END_SCREEN);
    drawn
}
