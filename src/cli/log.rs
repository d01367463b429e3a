//! The log: lines for people or JSON objects for machines, on standard error, and of each kind no more than a
//! [`Quota`]. Never written to on the I/O path.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::TryInitError;

use super::arguments::{Level, LogArguments};
use super::quota::Quota;

/// Environment variable with a log filter.
const FILTER_VARIABLE: &str = "CORELANE_LOG";

/// Form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object in a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct Log {
    format: LogFormat,
    filter: EnvFilter,
    colours: bool,
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be set up")]
pub struct LogSetupError(#[from] TryInitError);

impl Log {
    /// The log that the command line asks for, else the environment, else messages of level info and above.
    pub(super) fn new(
        arguments: &LogArguments,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ParseError> {
        let filter = match (level(arguments), variable(FILTER_VARIABLE)) {
            (Some(level), _) => EnvFilter::builder().parse(level.directive()),
            (None, Some(text)) if !text.is_empty() => EnvFilter::builder().parse(text),
            (None, _) => EnvFilter::builder().parse(Level::Info.directive()),
        }?;
        let colours = variable("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stderr().is_terminal();
        Ok(Self { format: arguments.log_format, filter, colours })
    }

    /// Makes this the log of the process. To be called once, by the program and not by a library.
    ///
    /// # Errors
    /// When the process has a log already.
    pub fn install(self) -> Result<(), LogSetupError> {
        tracing_subscriber::util::SubscriberInitExt::try_init(self.subscriber())?;
        Ok(())
    }

    /// Makes this the log of what `act` does on this thread.
    pub(super) fn within<T>(self, act: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.subscriber(), act)
    }

    fn subscriber(self) -> Box<dyn tracing::Subscriber + Send + Sync> {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_ansi(self.colours)
            .with_writer(io::stderr);
        match self.format {
            LogFormat::Text => Box::new(builder.finish().with(Quota::default())),
            LogFormat::Json => Box::new(builder.json().flatten_event(true).finish().with(Quota::default())),
        }
    }

    /// Form of its lines.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// The filter as text, in the syntax of `CORELANE_LOG`.
    #[must_use]
    pub fn filter(&self) -> String {
        self.filter.to_string()
    }
}

fn level(arguments: &LogArguments) -> Option<Level> {
    match (arguments.log_level, arguments.verbose, arguments.quiet) {
        (Some(level), _, _) => Some(level),
        (None, 0, 0) => None,
        (None, 0, 1) => Some(Level::Warn),
        (None, 0, _) => Some(Level::Error),
        (None, 1, _) => Some(Level::Debug),
        (None, _, _) => Some(Level::Trace),
    }
}
