//! Why there is no group, and how the reactors of one ended that were not told to.

use std::{fmt, io};

use crate::reactor::{Polled, ReactorIndex, RunError};

/// Why there is no group of this layout.
#[derive(Debug)]
pub enum LayoutError {
    /// There is no CPU for I/O.
    NoIo,
    /// A CPU is named twice for I/O.
    Duplicate {
        /// The CPU.
        cpu: usize,
    },
    /// A CPU does not exist, or this process may not use it.
    NotAllowed {
        /// The CPU.
        cpu: usize,
        /// Those that it may use.
        allowed: Vec<usize>,
    },
    /// The kernel gave no eventfd or epoll.
    Descriptors(io::Error),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::NoIo => write!(f, "there is no CPU for I/O"),
            LayoutError::Duplicate { cpu } => write!(f, "CPU {cpu} is named twice for I/O"),
            LayoutError::NotAllowed { cpu, allowed } => {
                write!(f, "this process may use the CPUs {allowed:?}, and CPU {cpu} is not one of them")
            }
            LayoutError::Descriptors(error) => write!(f, "no event descriptors: {error}"),
        }
    }
}

impl std::error::Error for LayoutError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LayoutError::Descriptors(error) => Some(error),
            LayoutError::NoIo | LayoutError::Duplicate { .. } | LayoutError::NotAllowed { .. } => None,
        }
    }
}

/// The reactors that did not end by being stopped, at least one.
#[derive(Debug)]
pub struct JoinError {
    /// Each of them, in the order they were spawned.
    pub failures: Vec<Failure>,
}

/// How one reactor ended.
#[derive(Debug)]
pub struct Failure {
    /// Its number.
    pub reactor: ReactorIndex,
    /// The name of its thread.
    pub name: String,
    /// What happened.
    pub cause: Cause,
}

/// What ended a reactor.
#[derive(Debug)]
pub enum Cause {
    /// It panicked.
    Panicked {
        /// The poller whose turn it was; none when it was the setup, or the reactor itself.
        poller: Option<Polled>,
        /// What the panic said.
        message: String,
    },
    /// The reactor could not go on.
    Failed(RunError),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Failure { reactor, name, cause }) in self.failures.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            match cause {
                Cause::Panicked { poller: Some(Polled { name: poller, phase }), message } => write!(
                    f,
                    "{separator}reactor {reactor} ({name}) panicked in poller {poller}, phase {phase:?}: {message}"
                )?,
                Cause::Panicked { poller: None, message } => {
                    write!(f, "{separator}reactor {reactor} ({name}) panicked: {message}")?
                }
                Cause::Failed(error) => write!(f, "{separator}reactor {reactor} ({name}): {error}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for JoinError {}
