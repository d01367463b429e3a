//! Changing records: `clear` and `import`. Nothing that is there is lost without `--yes`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tracing::{info, warn};
use uuid::Uuid;

use crate::persist::{RECORD_BYTES_MAX, Store};
use crate::reservation::{Identity, Record, State, from_spdk};

use super::arguments::Import;
use super::{Failure, look, missing, name, read, refused};

/// Removes the record of a namespace, whatever is in it.
pub(super) fn clear(store: &mut Store, uuid: Uuid, yes: bool, output: &mut dyn Write) -> Result<(), Failure> {
    let reader = store.reader();
    let (lost, state) = match read(&reader, uuid) {
        Ok(Some((record, _))) => (summary(&record), Some(record.state)),
        Ok(None) => return Err(missing(&reader, uuid)),
        Err(wrong) => (format!("what is in it is not known ({})", wrong.reason), None),
    };
    let path = reader.path(&name(uuid)).display().to_string();
    if !yes {
        writeln!(output, "{path}: would be removed: {lost}")?;
        if let Some(state) = &state {
            look::registrants(state, output)?;
        }
        return Err(refused("nothing was changed; to remove the record, say --yes"));
    }
    store.remove(&name(uuid)).map_err(refused)?;
    warn!(%uuid, file = %path, lost, "an operator cleared the reservations of a namespace");
    writeln!(output, "{path}: removed: {lost}")?;
    Ok(())
}

/// Makes a record of a file that SPDK wrote.
pub(super) fn import(store: &mut Store, import: &Import, output: &mut dyn Write) -> Result<(), Failure> {
    let Import { file, nqn, nsid, uuid, yes, place: _ } = import;
    let at_fault = |problem: String| refused(format!("{}: {problem}", file.display()));
    let bytes = contents(file).map_err(|problem| at_fault(format!("cannot be read: {problem}")))?;
    let identity = Identity { subsystem: nqn.clone(), nsid: *nsid, uuid: *uuid };
    let mut record = from_spdk(&bytes, &identity).map_err(|fault| at_fault(fault.to_string()))?;
    if !record.state.ptpl() {
        writeln!(output, "{}: nothing in it was to survive; no record is made", file.display())?;
        return Ok(());
    }
    let reader = store.reader();
    let path = reader.path(&name(*uuid)).display().to_string();
    let there = match read(&reader, *uuid) {
        Ok(None) => None,
        Ok(Some((there, _))) => {
            // What is imported says nothing of it.
            record.write_protected = there.write_protected;
            Some((there.sequence, summary(&there)))
        }
        Err(wrong) => Some((0, format!("what is in it is not known ({})", wrong.reason))),
    };
    if let (Some((_, lost)), false) = (&there, yes) {
        return Err(refused(format!("{path}: is there already: {lost}; to replace it, say --yes")));
    }
    record.sequence = there.as_ref().map_or(0, |(sequence, _)| *sequence).saturating_add(1);
    store.save(&name(*uuid), &Record::encode(&record)).map_err(refused)?;
    let (source, kept) = (file.display().to_string(), summary(&record));
    if let Some((_, lost)) = there {
        warn!(%uuid, file = %path, source, kept, lost, "an operator replaced the reservations of a namespace");
    } else {
        info!(%uuid, file = %path, source, kept, "an operator imported the reservations of a namespace");
    }
    writeln!(output, "{path}: written: {kept}")?;
    look::registrants(&record.state, output)?;
    Ok(())
}

/// "reservation write-exclusive (type 1), held by HOSTID; 2 registrations; write protected".
fn summary(record: &Record) -> String {
    let reservations = reservations(&record.state);
    if record.write_protected { format!("{reservations}; write protected") } else { reservations }
}

fn reservations(state: &State) -> String {
    let count = state.registrants().len();
    let noun = if count == 1 { "registration" } else { "registrations" };
    match state.kind() {
        None => format!("no reservation; {count} {noun}"),
        Some(kind) => {
            format!("reservation {}, held by {}; {count} {noun}", look::kind(kind), look::holder(state))
        }
    }
}

/// Reads one byte more than a record may have, so that a longer file is refused and an endless one ends.
fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(RECORD_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(file)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > RECORD_BYTES_MAX {
        let message = format!("has more than {RECORD_BYTES_MAX} bytes, which no reservation file has");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}
