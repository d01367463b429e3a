//! A page for people: reactors, namespaces, connections.

use std::fmt;

use super::rates::{ConnectionRow, Flow, NamespaceRow, Rates, ReactorRow};
use super::url::Url;

/// Heads of the columns that namespaces and connections share.
const FLOW: [&str; 8] = ["READS/S", "WRITES/S", "OTHERS/S", "READ", "WRITTEN", "P50", "P99", "ERRORS"];
/// What stands where there is nothing.
const NOTHING: &str = "-";

/// Tables, one below the other.
pub(super) struct Page {
    title: String,
    tables: Vec<Table>,
}

struct Table {
    /// Columns that stand to the left; numbers stand to the right.
    names: usize,
    rows: Vec<Vec<String>>,
}

impl Page {
    /// The page of an interval.
    pub(super) fn of(url: &Url, rates: &Rates) -> Self {
        let Rates { interval_seconds, reactors, namespaces, connections } = rates;
        let title = format!("corelane top  {url}  {interval_seconds:.1} s");
        Self {
            title,
            tables: vec![of_reactors(reactors), of_namespaces(namespaces), of_connections(connections)],
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.title)?;
        for Table { names, rows } in &self.tables {
            writeln!(formatter)?;
            let columns = rows.first().map_or(0, Vec::len);
            let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let widths: Vec<usize> = (0..columns).map(width).collect();
            for row in rows {
                let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                    if column < *names { format!("{cell:width$}") } else { format!("{cell:>width$}") }
                });
                writeln!(formatter, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
            }
        }
        Ok(())
    }
}

fn of_reactors(reactors: &[ReactorRow]) -> Table {
    let heads = ["REACTOR", "CORE", "BUSY", "TURNS/S", "PARKS/S", "WAKES/S", "MAILBOX", "REFUSED/S"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(reactors.iter().map(|it| {
        vec![
            it.reactor.clone(),
            format!("{}", it.core),
            format!("{:.1} %", it.busy * 100.0),
            number(it.turns_per_second),
            number(it.parks_per_second),
            number(it.wakes_per_second),
            number(it.mailbox_depth),
            number(it.refused_per_second),
        ]
    }));
    Table { names: 0, rows }
}

fn of_namespaces(namespaces: &[NamespaceRow]) -> Table {
    let heads = ["SUBSYSTEM", "NSID"].into_iter().chain(FLOW).map(str::to_owned);
    let mut rows = vec![heads.collect::<Vec<_>>()];
    rows.extend(namespaces.iter().map(|it| {
        let mut row = vec![printable(&it.subsystem), printable(&it.nsid)];
        row.extend(flow(&it.flow));
        row
    }));
    Table { names: 1, rows }
}

fn of_connections(connections: &[ConnectionRow]) -> Table {
    let heads = ["HOST", "PEER", "CNTLID", "QID", "REACTOR"].into_iter().chain(FLOW).map(str::to_owned);
    let mut rows = vec![heads.collect::<Vec<_>>()];
    rows.extend(connections.iter().map(|it| {
        let names = [&it.host, &it.peer, &it.cntlid, &it.qid, &it.reactor];
        let mut row: Vec<String> = names.into_iter().map(|name| printable(name)).collect();
        row.extend(flow(&it.flow));
        row
    }));
    Table { names: 2, rows }
}

fn flow(flow: &Flow) -> [String; 8] {
    [
        number(flow.reads_per_second),
        number(flow.writes_per_second),
        number(flow.others_per_second),
        bytes(flow.read_bytes_per_second),
        bytes(flow.written_bytes_per_second),
        flow.p50_seconds.map_or(NOTHING.to_owned(), time),
        flow.p99_seconds.map_or(NOTHING.to_owned(), time),
        number(flow.errors),
    ]
}

/// What a terminal shows as it is: names come from hosts, and must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// "12", "12.3 k", "12.3 M".
pub(super) fn number(value: f64) -> String {
    let scales = [(1e9, " G"), (1e6, " M"), (1e4, " k")];
    match scales.into_iter().find(|(least, _)| value >= *least) {
        Some((least, unit)) => format!("{:.1}{unit}", value / if least == 1e4 { 1e3 } else { least }),
        None => format!("{value:.0}"),
    }
}

/// "12 B/s", "12.3 MiB/s".
pub(super) fn bytes(value: f64) -> String {
    let scales = [(1u64 << 30, "GiB/s"), (1 << 20, "MiB/s"), (1 << 10, "KiB/s")];
    match scales.into_iter().find(|(least, _)| value >= *least as f64) {
        Some((least, unit)) => format!("{:.1} {unit}", value / least as f64),
        None => format!("{value:.0} B/s"),
    }
}

/// "12.3 us", "12.3 ms", "12.3 s".
pub(super) fn time(seconds: f64) -> String {
    let scales = [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")];
    let (least, unit) = scales.into_iter().find(|(least, _)| seconds >= *least).unwrap_or((1e-9, "ns"));
    format!("{:.1} {unit}", seconds / least)
}
