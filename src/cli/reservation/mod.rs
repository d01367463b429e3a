//! `corelane reservation`: what an operator does with the records in a state directory while no target runs on it.
//!
//! Every subcommand holds the directory's lock from its first look to its end. Only `clear` and `import` change
//! anything, each by one call of the store, which is durable when it returns; both are logged.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use crate::persist::{self, Reader, RecordName, StateDirectory, StateFiles, Store};
use crate::reservation::{Fault, Identity, Record};

use super::arguments::LogArguments;
use super::{Failure, Log, serve};

use arguments::Place;

pub(super) use arguments::{ABOUT, AFTER, ReservationCommand};

mod arguments;
mod change;
mod look;

/// Carries out one subcommand.
pub(super) fn run(
    command: ReservationCommand,
    log: &LogArguments,
    variable: &dyn Fn(&str) -> Option<String>,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let log =
        Log::new(log, variable).map_err(|problem| Failure::Usage(format!("CORELANE_LOG: {problem}")))?;
    let open = |place: &Place| open(&serve::state_directory(place.state_dir.as_deref(), None, variable)?);
    log.within(|| match command {
        ReservationCommand::List { place } => look::list(&open(&place)?.reader(), output),
        ReservationCommand::Show { uuid, json, place } => {
            look::show(&open(&place)?.reader(), uuid, json, output)
        }
        ReservationCommand::Verify { uuid, place } => look::verify(&open(&place)?.reader(), uuid, output),
        ReservationCommand::Clear { uuid, yes, place } => {
            change::clear(&mut open(&place)?, uuid, yes, output)
        }
        ReservationCommand::Import(import) => change::import(&mut open(&import.place)?, &import, output),
    })
}

/// Takes the directory, which must be one already.
fn open(path: &Path) -> Result<Store, Failure> {
    let directory = StateDirectory::open(path, true).map_err(|error| {
        let what = match error.failure {
            persist::Failure::Missing => "does not exist",
            persist::Failure::MarkerMissing => "is no state directory: it has no marker of Corelane",
            _ => return refused(error),
        };
        let path = path.display();
        refused(format!(
            "state directory {path}: {what}; is its disk mounted? Else name the target's with --state-dir"
        ))
    })?;
    Store::open(StateFiles::new(Arc::new(directory))).map_err(refused)
}

/// A record that is not to be believed: where it is, and why.
struct Wrong {
    path: String,
    reason: String,
}

/// The record of a namespace, and its bytes; `None` if there is none.
fn read(reader: &Reader, uuid: Uuid) -> Result<Option<(Record, Vec<u8>)>, Wrong> {
    let name = name(uuid);
    let path = reader.path(&name).display().to_string();
    let bytes = match reader.load(&name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) => return Err(Wrong { path, reason: format!("cannot be read: {}", error.reason) }),
    };
    let judged = Record::decode(&bytes).and_then(|record| {
        // Of which subsystem and NSID it should be, only the configuration knows.
        record.judge_owner(&Identity { uuid, ..record.identity.clone() })?;
        Ok(record)
    });
    match judged {
        Ok(record) => Ok(Some((record, bytes))),
        Err(fault) => Err(Wrong { path, reason: Fault::to_string(&fault) }),
    }
}

fn name(uuid: Uuid) -> RecordName {
    let Ok(name) = RecordName::new(&uuid.to_string()) else { unreachable!("a UUID is a record's name") };
    name
}

fn missing(reader: &Reader, uuid: Uuid) -> Failure {
    let path = reader.path(&name(uuid));
    refused(format!("{}: there is no such record: nothing is kept for this namespace", path.display()))
}

fn refused(message: impl ToString) -> Failure {
    Failure::Refused(vec![message.to_string()])
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.path, self.reason)
    }
}
