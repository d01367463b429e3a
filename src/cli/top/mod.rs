//! `corelane top`: what a running target does, in the terminal. Reads the target's metrics by HTTP and nothing else, so it
//! can look at any target that it can reach.
//!
//! What must hold: the terminal is left as it was found, however the program ends but by SIGKILL.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::Failure;
use page::Page;
use rates::Rates;
use scrape::Scrape;
use url::Url;

mod fetch;
mod page;
mod rates;
mod scrape;
mod url;

/// What `top` does, for its `--help`.
pub(super) const ABOUT: &str = "\
Show what a running target does: how busy its reactors are, and what each namespace and connection gets.

Reads the metrics that the target serves, so its configuration needs \"metrics\": {\"listen\": \"127.0.0.1:9920\"}. Rates \
and latencies are those of the last interval. On a terminal the page is drawn anew until Ctrl-C; otherwise pages \
follow each other.";

/// The whole screen, as far as it was written before.
const SCREEN: &str = "\x1b[?1049h\x1b[?25l";
/// The screen that was there before.
const NO_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
/// Back to the upper left corner.
const HOME: &str = "\x1b[H";
/// Away with the rest of the line, and of the screen.
const END_LINE: &str = "\x1b[K";
const END_SCREEN: &str = "\x1b[J";

/// Options of `top`.
#[derive(Args, Debug)]
pub(super) struct TopArguments {
    /// Where the target serves its metrics.
    ///
    /// "http://", an IPv4 address or an IPv6 address in brackets, and a port (9920 where there is none).
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9920", value_parser = Url::parse)]
    url: Url,
    /// Time between two looks: a number and "ms" or "s", from 100ms to 3600s.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Show one page, of one interval, and end.
    #[arg(long)]
    once: bool,
    /// One JSON object a line in place of pages.
    #[arg(long)]
    json: bool,
}

/// Shows pages until a signal comes, or one.
pub(super) fn run(arguments: &TopArguments, output: &mut dyn Write) -> Result<(), Failure> {
    let signals = watch_signals()?;
    let mut earlier = look(&arguments.url)?;
    let draws = !arguments.once && !arguments.json && io::stdout().is_terminal();
    let mut screen = Screen::open(output, draws)?;
    loop {
        if signals.comes_within(arguments.interval)? {
            return Ok(());
        }
        let now = look(&arguments.url)?;
        let rates = Rates::between(&earlier, &now);
        if arguments.json {
            screen.line(&rates.to_json().to_string())?;
        } else {
            screen.show(&Page::of(&arguments.url, &rates).to_string())?;
        }
        if arguments.once {
            return Ok(());
        }
        earlier = now;
    }
}

fn look(url: &Url) -> Result<Scrape, Failure> {
    let text = fetch::fetch(url).map_err(|problem| {
        let hint = "does the target run, with \"metrics\": {\"listen\": ...} in its configuration?";
        Failure::Refused(vec![format!("{url}: {problem}; {hint}")])
    })?;
    Scrape::parse(&text, Instant::now())
        .map_err(|problem| Failure::Refused(vec![format!("{url}: not the metrics of a target: {problem}")]))
}

/// "500ms" or "2s".
fn interval(text: &str) -> Result<Duration, String> {
    let (number, milliseconds) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let number: Option<u64> = number.parse().ok();
    let milliseconds = number.and_then(|number| number.checked_mul(milliseconds));
    let milliseconds = milliseconds.filter(|milliseconds| (100..=3_600_000).contains(milliseconds));
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| "it must be a number and \"ms\" or \"s\", from 100ms to 3600s".to_owned())
}

/// SIGINT and SIGTERM, as bytes.
struct Signals(UnixStream);

fn watch_signals() -> io::Result<Signals> {
    let (asked, ended) = UnixStream::pair()?;
    asked.set_nonblocking(true)?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, ended.try_clone()?)?;
    }
    Ok(Signals(asked))
}

impl Signals {
    /// Waits for as long, or until one comes.
    fn comes_within(&self, limit: Duration) -> io::Result<bool> {
        let until = Instant::now() + limit;
        loop {
            if (&self.0).read(&mut [0]).is_ok_and(|count| count > 0) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut descriptors = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            match poll(&mut descriptors, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Where pages go; gives the terminal back when it is dropped.
struct Screen<'a> {
    output: &'a mut dyn Write,
    draws: bool,
}

impl<'a> Screen<'a> {
    fn open(output: &'a mut dyn Write, draws: bool) -> io::Result<Self> {
        let screen = Self { output, draws };
        if draws {
            screen.output.write_all(SCREEN.as_bytes())?;
        }
        screen.output.flush()?;
        Ok(screen)
    }

    fn show(&mut self, page: &str) -> io::Result<()> {
        if !self.draws {
            writeln!(self.output, "{page}")?;
            return self.output.flush();
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let (rows, columns) =
            size.map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        let mut drawn = HOME.to_owned();
        for line in page.lines().take(rows.saturating_sub(1)) {
            drawn.extend(line.chars().take(columns));
            drawn.push_str(END_LINE);
            drawn.push_str("\r\n");
        }
        drawn.push_str(END_SCREEN);
        self.output.write_all(drawn.as_bytes())?;
        self.output.flush()
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
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

#[cfg(test)]
mod tests;
