//! The command line: arguments, subcommands, messages and exit codes. What a subcommand does lies elsewhere.
//!
//! Everything that a run depends on comes in as a [`Surroundings`], and `serve` ends in a call of a function
//! that is given, so that each command line can be tried without a process.
//!
//! Exit codes: 0, done; 1, refused or failed, with the reason on standard error; 2, a wrong command line.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing::warn;

use crate::app::{self, ServeError};
use crate::tune::inspect;
use crate::tune::setup::Machine;

use arguments::{Arguments, Command, ServeArguments};

pub use log::{Log, LogFormat, LogSetupError};
pub use serve::{Source, Start};

mod arguments;
mod check;
mod discover;
mod identify;
mod log;
mod perf;
mod quota;
mod remote;
mod reservation;
mod serve;
mod setup;
mod top;
mod tune;

/// Exit code of a run that did what was asked.
const DONE: u8 = 0;
/// Exit code of a run that was refused or failed.
const FAILED: u8 = 1;
/// Exit code of a wrong command line.
const USAGE: u8 = 2;

/// What a run of the program depends on.
pub struct Surroundings<'a> {
    /// The command line, with the program's name first.
    pub arguments: Vec<OsString>,
    /// Value of an environment variable, if it is set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Cores that this process may use, ascending. Asked before any thread is pinned.
    pub allowed: Vec<usize>,
    /// The machine that everything looks at, and that `setup` changes.
    pub machine: Machine,
    /// Standard output: what was asked for.
    pub output: &'a mut dyn Write,
    /// Standard error: what went wrong.
    pub errors: &'a mut dyn Write,
}

/// Why a subcommand did not do what was asked.
enum Failure {
    /// The command line or the environment is wrong.
    Usage(String),
    /// Anything else; each line is one message.
    Refused(Vec<String>),
    /// The reader of the output went away.
    Output(io::Error),
}

/// Why `corelane serve` ended with an error.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Log(#[from] LogSetupError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs the command line of this process. Returns its exit code.
pub fn run() -> ExitCode {
    let surroundings = Surroundings {
        arguments: env::args_os().collect(),
        variable: &|name| env::var(name).ok(),
        allowed: corelane_reactors::cpu::allowed(),
        machine: Machine::this(),
        output: &mut io::stdout(),
        errors: &mut io::stderr(),
    };
    run_with(surroundings, start)
}

fn start(start: Start) -> Result<(), RunError> {
    let Start { config, warnings, state_directory, log, source } = start;
    log.install()?;
    for warning in warnings {
        warn!(place = %warning.place, "{}", warning.message);
    }
    let mut builder = app::Builder::new(app::Options { config, state_directory });
    if let Some(source) = source {
        builder = builder.reload(Box::new(move || source.read()));
    }
    app::serve(builder)?;
    Ok(())
}

/// Runs one command line. `serve` is called for `corelane serve` with everything that it needs to start.
///
/// Returns the exit code.
pub fn run_with<E: Error>(
    surroundings: Surroundings<'_>,
    serve: impl FnOnce(Start) -> Result<(), E>,
) -> ExitCode {
    ExitCode::from(outcome(surroundings, serve))
}

fn outcome<E: Error>(surroundings: Surroundings<'_>, serve: impl FnOnce(Start) -> Result<(), E>) -> u8 {
    let Surroundings { arguments, variable, allowed, mut machine, output, errors } = surroundings;
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(problem) => {
            // Help and version are "errors" of the parser too; it knows which stream each belongs to.
            let stream = if problem.use_stderr() { errors } else { output };
            let written = write!(stream, "{}", problem.render());
            return if problem.use_stderr() { USAGE } else { code(written.is_ok()) };
        }
    };
    let topology = || inspect::usable(&machine, &allowed);
    let result = match arguments.command.unwrap_or(Command::Serve(ServeArguments::default())) {
        Command::Check { file } => check::check(&file, &topology(), output, errors),
        Command::Schema => schema(output),
        Command::Reservation(command) => reservation::run(command, &arguments.log, variable, output),
        Command::Perf(options) => perf::run(&options, &allowed, output, errors),
        Command::Discover(options) => discover::run(&options, output),
        Command::Identify(options) => identify::run(&options, output),
        Command::Setup(command) => setup::run(command, &mut machine, output),
        Command::Top(arguments) => top::run(&arguments, output),
        Command::Tune(options) => tune::run(&options, &machine, &topology(), output, errors),
        Command::Serve(options) => serve::prepare(&options, &arguments.log, variable, &topology())
            .and_then(|start| serve(start).map_err(|error| Failure::Refused(vec![chain(&error)]))),
    };
    // When standard error is gone too there is nobody left to tell.
    match result {
        Ok(()) => DONE,
        Err(Failure::Usage(message)) => {
            let _ = writeln!(errors, "corelane: {message}\n\nFor more information, try 'corelane --help'.");
            USAGE
        }
        Err(Failure::Refused(messages)) => {
            for message in messages {
                let _ = writeln!(errors, "corelane: {message}");
            }
            FAILED
        }
        Err(Failure::Output(problem)) => {
            let _ = writeln!(errors, "corelane: standard output: {problem}");
            FAILED
        }
    }
}

fn code(done: bool) -> u8 {
    if done { DONE } else { FAILED }
}

fn schema(output: &mut dyn Write) -> Result<(), Failure> {
    writeln!(output, "{:#}", crate::config::schema())?;
    Ok(())
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl From<io::Error> for Failure {
    fn from(problem: io::Error) -> Self {
        Self::Output(problem)
    }
}

#[cfg(test)]
mod tests;
