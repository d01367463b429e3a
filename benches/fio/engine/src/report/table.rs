//! The runs as a table in Markdown.

use std::fmt::Write;

use crate::runs::{Run, Runs, median};

/// The lines of `about`, and a row for each load and engine: medians, with the least and the most.
pub(crate) fn table(about: &str, runs: &Runs) -> String {
    let mut text = String::new();
    for line in about.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {line}");
    }
    text.push_str("\nMedians (least to most) of runs that took turns.\n\n");
    text.push_str("| load | engine | runs | IOPS | MiB/s | p50 us | p99 us | cores busy |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for (load, engines) in runs.loads() {
        for (engine, runs) in engines {
            let (iops, least, most) = median(runs, |run| run.iops);
            let mebibytes = iops * load.bs as f64 / f64::from(1 << 20);
            let middle = |of: fn(&Run) -> f64| median(runs, of).0;
            let _ = writeln!(
                text,
                "| {} {} x{} | {engine} | {} | {iops:.0} ({least:.0} to {most:.0}) | {mebibytes:.0} | {:.1} | {:.1} | {:.2} |",
                load.rw,
                size(load.bs),
                load.depth,
                runs.len(),
                middle(|run| run.p50_us),
                middle(|run| run.p99_us),
                middle(|run| run.cores),
            );
        }
    }
    text
}

/// A size in words: `4 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
