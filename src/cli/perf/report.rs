//! Printing what was measured, for people and for programs.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::perf::{Pattern, Report};

/// The percentiles that are printed: share, name in JSON, name for people.
const PERCENTILES: [(f64, &str, &str); 4] =
    [(0.5, "p50", "p50"), (0.99, "p99", "p99"), (0.999, "p999", "p99.9"), (0.9999, "p9999", "p99.99")];

/// The target and namespace of all reports.
pub(super) struct Heading {
    pub(super) target: String,
    pub(super) nsid: Option<u32>,
    pub(super) bytes: u64,
    pub(super) block_size: u32,
}

/// One JSON object; with a sweep, that of the run with the most commands per second, and all of them in `sweep`.
pub(super) fn json(heading: &Heading, reports: &[Report], output: &mut dyn Write) -> Result<(), Failure> {
    let best = reports.iter().max_by(|one, other| one.iops.total_cmp(&other.iops));
    let mut object = best.map(|report| object(heading, report)).unwrap_or_default();
    if reports.len() > 1 {
        let errors: u64 = reports.iter().map(Report::error_count).sum();
        object.insert("errors".to_owned(), json!(errors));
        let all: Vec<_> = reports.iter().map(|report| self::object(heading, report)).collect();
        object.insert("sweep".to_owned(), json!(all));
    }
    writeln!(output, "{:#}", Value::Object(object))?;
    Ok(())
}

fn object(heading: &Heading, report: &Report) -> Map<String, Value> {
    let plan = &report.plan;
    let mut latency = Map::new();
    let count = report.latency.count();
    let us = |nanoseconds: f64| if count == 0 { Value::Null } else { json!(nanoseconds / 1e3) };
    latency.insert("mean".to_owned(), us(mean(report)));
    for (share, name, _) in PERCENTILES {
        latency.insert(name.to_owned(), us(quantile(report, share)));
    }
    latency.insert("max".to_owned(), us(report.latency.max() as f64));
    let counted = |list: &[(String, u64)]| -> Map<String, Value> {
        list.iter().map(|(words, count)| (words.clone(), json!(count))).collect()
    };
    let verify = report.verified.as_ref().map(|verified| {
        let first = verified.first.iter().map(|wrong| {
            json!({
                "nsid": wrong.nsid, "lba": wrong.lba, "offset": wrong.offset, "expected": wrong.expected,
                "got": wrong.got, "wrong_bytes": wrong.wrong_bytes, "meaning": wrong.meaning.to_string(),
            })
        });
        json!({
            "blocks_compared": verified.compared,
            "blocks_wrong": verified.wrong,
            "commands_read_back": verified.read_back,
            "commands_not_read_back": verified.unread,
            "first_wrong": first.collect::<Vec<_>>(),
        })
    });
    let value = json!({
        "target": heading.target,
        "nsid": heading.nsid,
        "namespace_bytes": heading.bytes,
        "namespace_block_size": heading.block_size,
        "block_size": plan.block_bytes,
        "depth": plan.depth,
        "connections": plan.connections,
        "cores": plan.cores,
        "mix": plan.reads_percent,
        "pattern": pattern(plan.pattern),
        "rate": plan.rate,
        "seed": plan.seed,
        "seconds": report.measured.as_secs_f64(),
        "iops": report.iops,
        "bytes_per_second": report.bytes_per_second(),
        "reads": report.reads,
        "writes": report.writes,
        "latency_us": latency,
        "errors": report.error_count(),
        "errors_by": counted(&report.errors),
        "connections_lost": report.outages,
        "connections_lost_by": counted(&report.losses),
        "commands_sent_again": report.repeated,
        "gave_up": report.gave_up,
        "interrupted": report.interrupted,
        "preemptions": report.preemptions,
        "verify": verify,
    });
    let Value::Object(object) = value else { unreachable!("it is written as one") };
    object
}

/// For people; with a sweep, a line for each depth.
pub(super) fn text(heading: &Heading, reports: &[Report], output: &mut dyn Write) -> Result<(), Failure> {
    let Some(report) = reports.last() else { return Ok(()) };
    let plan = &report.plan;
    let namespace = heading.nsid.map_or(String::new(), |nsid| format!("namespace {nsid}, "));
    let Heading { target, bytes, block_size, .. } = heading;
    writeln!(output, "target      {target}: {namespace}{bytes} bytes in blocks of {block_size}")?;
    let writes = 100 - plan.reads_percent;
    let rate = plan.rate.map_or(String::new(), |rate| format!(", at most {rate} in a second"));
    writeln!(
        output,
        "load        {} bytes, {} % reads, {writes} % writes, {}{rate}",
        plan.block_bytes,
        plan.reads_percent,
        pattern(plan.pattern)
    )?;
    let cores: Vec<String> = plan.cores.iter().map(usize::to_string).collect();
    let cores = cores.join(", ");
    if let [_, _, ..] = reports {
        writeln!(output, "            {} connections, on cores {cores}", plan.connections)?;
        return sweep(reports, output);
    }
    writeln!(
        output,
        "            {} connections of depth {}, on cores {cores}, for {:.1} s\n",
        plan.connections,
        plan.depth,
        report.measured.as_secs_f64()
    )?;
    writeln!(output, "IOPS        {:.0}", report.iops)?;
    writeln!(output, "bandwidth   {:.1} MiB/s", report.bytes_per_second() / f64::from(1 << 20))?;
    write!(output, "latency     mean {} us", us(mean(report)))?;
    for (share, _, name) in PERCENTILES {
        write!(output, ", {name} {}", us(quantile(report, share)))?;
    }
    writeln!(output, ", max {}", us(report.latency.max() as f64))?;
    endings(report, output)
}

fn sweep(reports: &[Report], output: &mut dyn Write) -> Result<(), Failure> {
    writeln!(
        output,
        "\n{:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "depth", "IOPS", "MiB/s", "mean us", "p50 us", "p99 us", "errors"
    )?;
    for report in reports {
        writeln!(
            output,
            "{:>6} {:>10.0} {:>10.1} {:>10} {:>10} {:>10} {:>7}",
            report.plan.depth,
            report.iops,
            report.bytes_per_second() / f64::from(1 << 20),
            us(mean(report)),
            us(quantile(report, 0.5)),
            us(quantile(report, 0.99)),
            report.error_count()
        )?;
    }
    Ok(())
}

fn endings(report: &Report, output: &mut dyn Write) -> Result<(), Failure> {
    writeln!(output, "errors      {}", report.error_count())?;
    if report.outages > 0 {
        let Report { outages, repeated, .. } = report;
        writeln!(output, "lost        {outages} connections; {repeated} commands were sent again")?;
    }
    if let Some(verified) = &report.verified {
        let left = match verified.unread {
            0 => String::new(),
            unread => format!("; {unread} that were written were not read back"),
        };
        writeln!(
            output,
            "verified    {} blocks, {} wrong; {} commands read back at the end{left}",
            verified.compared, verified.wrong, verified.read_back
        )?;
    }
    if report.interrupted {
        writeln!(output, "ended before its time was over, as asked for")?;
    }
    Ok(())
}

/// What keeps the exit status from being 0, a line each.
pub(super) fn complaints(report: &Report) -> Vec<String> {
    let times = |(words, count): &(String, u64)| format!("{words}: {count} times");
    let mut lines: Vec<String> = report.errors.iter().map(times).collect();
    if let Some(verified) = report.verified.as_ref().filter(|verified| verified.wrong > 0) {
        lines.extend(verified.first.iter().map(|wrong| format!("verify: {wrong}")));
        lines.push(format!("verify: {} of {} blocks are wrong", verified.wrong, verified.compared));
    }
    if let Some(reason) = &report.gave_up {
        lines.extend(report.losses.iter().map(times));
        lines.push(format!("gave the target up: {reason}"));
    }
    if lines.is_empty() && !report.is_clean() {
        lines.push("no command succeeded while it was measured".to_owned());
    }
    lines
}

fn mean(report: &Report) -> f64 {
    report.latency.sum() as f64 / report.latency.count().max(1) as f64
}

fn quantile(report: &Report, share: f64) -> f64 {
    report.latency.quantile(share).unwrap_or(0) as f64
}

fn us(nanoseconds: f64) -> String {
    format!("{:.1}", nanoseconds / 1e3)
}

fn pattern(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Random => "random",
        Pattern::Sequential => "sequential",
    }
}
