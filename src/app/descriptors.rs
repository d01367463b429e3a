//! The limit on open files (RLIMIT_NOFILE), of which each connection takes one: raised as far as this process may, and
//! kept, so that what the target needs for itself is never taken by hosts.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Connections without which a target is of no use: admin queue and I/O queue of a few hosts.
const CONNECTIONS_LEAST: u64 = 16;

/// How many connections find room under the limit on open files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors {
    /// What this process needs beside connections.
    own: u64,
    /// `connections_max`.
    wanted: u64,
    /// What it may open; `None` for no limit.
    most: Option<u64>,
}

/// Too few files may be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this process may open {most} files, and needs {least} of them for itself and a few hosts; {}", Remedy(*.needed))]
pub struct TooFew {
    most: u64,
    least: u64,
    needed: u64,
}

/// What an operator can do, for so many open files.
struct Remedy(u64);

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(needed) = self;
        write!(formatter, "`ulimit -Hn {needed}`, or LimitNOFILE={needed} in the unit of systemd")
    }
}

/// Raises the limit of this process to what `config` needs, as far as its hard limit allows.
pub(super) fn raise(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = config.descriptors();
    let Some(soft) = current.filter(|soft| *soft < needed) else { return };
    let raised = maximum.map_or(needed, |hard| hard.min(needed));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => tracing::debug!(soft, raised, "raised the limit on open files"),
        Err(error) => tracing::warn!(soft, needed, %error, "cannot raise the limit on open files"),
    }
}

impl Descriptors {
    /// What `config` needs, beside what this process may open now.
    pub(super) fn now(config: &Config) -> Self {
        Self::of(config, getrlimit(Resource::Nofile).current)
    }

    /// What `config` needs, beside what this process may open once it has raised its limit.
    #[must_use]
    pub fn raised(config: &Config) -> Self {
        Self::of(config, getrlimit(Resource::Nofile).maximum)
    }

    fn of(config: &Config, most: Option<u64>) -> Self {
        Self { own: config.own_descriptors(), wanted: config.limits.connections_max.into(), most }
    }

    /// All connections find room.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.connections() == Ok(self.wanted)
    }

    /// Connections that find room, `connections_max` at most.
    ///
    /// # Errors
    /// [`TooFew`].
    pub fn connections(&self) -> Result<u64, TooFew> {
        let Self { own, wanted, most } = *self;
        let Some(most) = most else { return Ok(wanted) };
        let least = own + wanted.min(CONNECTIONS_LEAST);
        if most < least {
            return Err(TooFew { most, least, needed: own + wanted });
        }
        Ok(wanted.min(most - own))
    }
}

impl fmt::Display for Descriptors {
    /// As `corelane check` and the log say it: `1157 needed, 4096 allowed`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, wanted, most } = *self;
        let needed = own + wanted;
        match (most, self.connections()) {
            (None, _) => write!(formatter, "{needed} needed, no limit"),
            (Some(most), Ok(room)) if room == wanted => write!(formatter, "{needed} needed, {most} allowed"),
            (Some(most), Ok(room)) => write!(
                formatter,
                "{needed} needed for {wanted} connections, {most} allowed: {room} connections are served; {}",
                Remedy(needed)
            ),
            (Some(_), Err(error)) => error.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests;
