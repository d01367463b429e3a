//! Looking at records: `list`, `show` and `verify`. Changes nothing.

use std::io::{self, Write};

use uuid::Uuid;

use crate::persist::{Reader, RecordName};
use crate::reservation::{Kind, Record, Reservation, State};

use super::{Failure, Wrong, missing, read, refused};

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// One line a record; the damaged ones follow the table.
pub(super) fn list(reader: &Reader, output: &mut dyn Write) -> Result<(), Failure> {
    let heads = ["UUID", "SUBSYSTEM", "NSID", "TYPE", "HOLDER", "REGISTRANTS", "GENERATION"];
    let mut rows = vec![heads.map(str::to_owned)];
    let mut damaged = Vec::new();
    for uuid in uuids(reader)? {
        match read(reader, uuid) {
            Ok(Some((record, _))) => rows.push(row(&record)),
            // Gone since the directory was read: nobody but a person does that while the lock is held.
            Ok(None) => {}
            Err(wrong) => damaged.push(wrong),
        }
    }
    if rows.len() == 1 && damaged.is_empty() {
        writeln!(output, "no records in {}", directory(reader))?;
    }
    if rows.len() > 1 {
        table(&rows, output)?;
    }
    for wrong in damaged {
        writeln!(output, "damaged: {wrong}")?;
    }
    Ok(())
}

/// One record for people, or as it is for programs.
pub(super) fn show(reader: &Reader, uuid: Uuid, json: bool, output: &mut dyn Write) -> Result<(), Failure> {
    let (record, bytes) = read(reader, uuid).map_err(refused)?.ok_or_else(|| missing(reader, uuid))?;
    if json {
        output.write_all(&bytes)?;
        return Ok(());
    }
    let Record { identity, sequence, write_protected, state } = &record;
    writeln!(output, "UUID:                 {}", identity.uuid)?;
    writeln!(output, "subsystem:            {}", identity.subsystem)?;
    writeln!(output, "NSID:                 {}", identity.nsid)?;
    writeln!(output, "write protected:      {}", if *write_protected { "yes" } else { "no" })?;
    writeln!(output, "survives power loss:  {}", if state.ptpl() { "yes" } else { "no" })?;
    writeln!(output, "generation:           {}", state.generation())?;
    writeln!(output, "reservation:          {}", state.kind().map_or("none".to_owned(), kind))?;
    writeln!(output, "holder:               {}", holder(state))?;
    writeln!(output, "record number:        {sequence}")?;
    writeln!(output, "registrants:          {}", state.registrants().len())?;
    registrants(state, output)?;
    Ok(())
}

/// Reads every record, or one, and says which are wrong.
pub(super) fn verify(reader: &Reader, uuid: Option<Uuid>, output: &mut dyn Write) -> Result<(), Failure> {
    let all = match uuid {
        Some(uuid) => vec![uuid],
        None => uuids(reader)?,
    };
    if all.is_empty() {
        writeln!(output, "no records in {}", directory(reader))?;
    }
    let mut wrong = Vec::new();
    for uuid in all {
        match read(reader, uuid) {
            Ok(Some(_)) => writeln!(output, "{}: ok", reader.path(&super::name(uuid)).display())?,
            Ok(None) => return Err(missing(reader, uuid)),
            Err(found) => wrong.push(found),
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Failure::Refused(wrong.iter().map(Wrong::to_string).collect()))
    }
}

/// One line for each registrant, indented.
pub(super) fn registrants(state: &State, output: &mut dyn Write) -> io::Result<()> {
    for (host, registrant) in state.registrants() {
        let nqn = registrant.nqn.as_ref().map_or("(name not known)".to_owned(), ToString::to_string);
        writeln!(output, "  host {host}, key {}, {nqn}", registrant.key)?;
    }
    Ok(())
}

/// "write-exclusive (type 1)".
pub(super) fn kind(kind: Kind) -> String {
    format!("{} (type {})", word(kind), kind.to_wire().0)
}

/// The holder in one word: a host identifier, "all" or "-".
pub(super) fn holder(state: &State) -> String {
    match state.reservation().map(Reservation::holder) {
        None => NOTHING.to_owned(),
        Some(None) => "all".to_owned(),
        Some(Some(host)) => host.to_string(),
    }
}

/// The type as records write it.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::WriteExclusive => "write-exclusive",
        Kind::ExclusiveAccess => "exclusive-access",
        Kind::WriteExclusiveRegistrantsOnly => "write-exclusive-registrants-only",
        Kind::ExclusiveAccessRegistrantsOnly => "exclusive-access-registrants-only",
        Kind::WriteExclusiveAllRegistrants => "write-exclusive-all-registrants",
        Kind::ExclusiveAccessAllRegistrants => "exclusive-access-all-registrants",
    }
}

fn row(record: &Record) -> [String; 7] {
    let Record { identity, state, .. } = record;
    [
        identity.uuid.to_string(),
        identity.subsystem.to_string(),
        identity.nsid.to_string(),
        state.kind().map_or(NOTHING, word).to_owned(),
        holder(state),
        state.registrants().len().to_string(),
        state.generation().to_string(),
    ]
}

fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]], output: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        writeln!(output, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Of all records. Files of other names are nobody's: the target does not look at them either.
fn uuids(reader: &Reader) -> Result<Vec<Uuid>, Failure> {
    let names = reader.names().map_err(|error| {
        refused(format!("state directory {}: cannot be read: {}", error.path.display(), error.reason))
    })?;
    let uuid = |name: &RecordName| {
        let uuid = Uuid::try_parse(name.as_str()).ok()?;
        (uuid.to_string() == name.as_str()).then_some(uuid)
    };
    Ok(names.iter().filter_map(uuid).collect())
}

fn directory(reader: &Reader) -> String {
    let path = reader.path(&super::name(Uuid::nil()));
    path.parent().map_or(String::new(), |directory| directory.display().to_string())
}
