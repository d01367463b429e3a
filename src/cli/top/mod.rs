//! `corelane top`: what a running target does, in the terminal. Reads the target's metrics by HTTP and nothing else, so it
//! can look at any target that it can reach.
//!
//! What must hold: the terminal is left as it was found, however the program ends but by SIGKILL.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use page::Page;
use rates::Rates;
use scrape::Scrape;
use terminal::{Next, Screen, Waiting};
use url::Url;

mod fetch;
mod page;
mod rates;
mod scrape;
mod terminal;
mod url;

/// What `top` does, for its `--help`.
pub(super) const ABOUT: &str = "\
Show what a running target does: how busy its reactors are, and what each namespace and connection gets.

Reads the metrics that the target serves, so its configuration needs \"metrics\": {\"listen\": \"127.0.0.1:9920\"}. Rates \
and latencies are those of the last interval. On a terminal the page is drawn anew until \"q\" or Ctrl-C; otherwise pages \
follow each other.";

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

/// Shows pages until somebody asks for the end, or one.
pub(super) fn run(arguments: &TopArguments, output: &mut dyn Write) -> Result<(), Failure> {
    let draws = !arguments.once && !arguments.json && io::stdout().is_terminal();
    let waiting = Waiting::new(draws)?;
    let mut earlier = look(&arguments.url)?;
    let mut screen = Screen::open(output, draws)?;
    loop {
        let until = Instant::now() + arguments.interval;
        loop {
            match waiting.next(until)? {
                Next::Elapsed => break,
                Next::Resized => screen.draw()?,
                Next::End => return Ok(()),
            }
        }
        let now = look(&arguments.url)?;
        let rates = Rates::between(&earlier, &now);
        if arguments.json {
            screen.line(&rates.to_json().to_string())?;
        } else {
            screen.show(Page::of(&arguments.url, &rates).to_string())?;
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

#[cfg(test)]
mod tests;
