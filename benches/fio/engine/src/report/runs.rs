//! What fio has measured, sorted by load and engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What was asked of an engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// fio's `rw`.
    pub(crate) rw: String,
    /// Bytes of one I/O.
    pub(crate) bs: u64,
    pub(crate) depth: u32,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    /// I/Os in a second, reads and writes together.
    pub(crate) iops: f64,
    /// Latencies of the kind of I/O of which there were more, in microseconds.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processors that fio kept busy.
    pub(crate) cores: f64,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunsError {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("{0}: no name of the form ENGINE,RW,BS,DEPTH.json")]
    Name(PathBuf),
    #[error("{0}: {1}")]
    Json(PathBuf, serde_json::Error),
    #[error("{0}: {1}")]
    Run(PathBuf, &'static str),
    #[error("there are no runs")]
    None,
}

/// All runs.
#[derive(Debug, Default)]
pub(crate) struct Runs(BTreeMap<Load, BTreeMap<String, Vec<Run>>>);

impl Runs {
    /// Reads `ROUND/ENGINE,RW,BS,DEPTH.json` in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, RunsError> {
        let mut runs = Self::default();
        for round in fs::read_dir(folder)? {
            let round = round?.path();
            if !round.is_dir() {
                continue;
            }
            for file in fs::read_dir(round)? {
                let path = file?.path();
                let text = fs::read_to_string(&path)?;
                let (engine, load) = named(&path).ok_or_else(|| RunsError::Name(path.clone()))?;
                let value =
                    serde_json::from_str(&text).map_err(|error| RunsError::Json(path.clone(), error))?;
                let run = run(&value).map_err(|what| RunsError::Run(path, what))?;
                runs.add(load, engine, run);
            }
        }
        if runs.0.is_empty() { Err(RunsError::None) } else { Ok(runs) }
    }

    pub(crate) fn add(&mut self, load: Load, engine: String, run: Run) {
        self.0.entry(load).or_default().entry(engine).or_default().push(run);
    }

    /// Every load, with the runs of each engine.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (&Load, &BTreeMap<String, Vec<Run>>)> {
        self.0.iter()
    }

    /// The engines, in the order of their names.
    pub(crate) fn engines(&self) -> Vec<&str> {
        let engines: BTreeSet<&str> =
            self.0.values().flat_map(|runs| runs.keys().map(String::as_str)).collect();
        engines.into_iter().collect()
    }
}

/// The middle value, the least and the most; of an even number, the lower one of the two in the middle.
pub(crate) fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
    (at(values.len().saturating_sub(1) / 2), at(0), at(values.len().saturating_sub(1)))
}

fn named(path: &Path) -> Option<(String, Load)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let [engine, rw, bs, depth] = name.split(',').collect::<Vec<_>>().try_into().ok()?;
    let load = Load { rw: rw.to_owned(), bs: bytes(bs)?, depth: depth.parse().ok()? };
    Some((engine.to_owned(), load))
}

/// A size as fio takes it: `4k`, `1m`, `512`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// The one job, or the group of jobs, that a report of fio holds.
pub(crate) fn run(report: &Value) -> Result<Run, &'static str> {
    let job = &report["jobs"][0];
    if job["error"].as_i64() != Some(0) {
        return Err("the job has failed");
    }
    let number = |value: &Value| value.as_f64().ok_or("fio reports in another way");
    let iops = |kind: &str| number(&job[kind]["iops"]);
    let (reads, writes) = (iops("read")?, iops("write")?);
    if reads + writes <= 0.0 {
        return Err("nothing was read or written");
    }
    let latencies = &job[if reads >= writes { "read" } else { "write" }]["clat_ns"]["percentile"];
    Ok(Run {
        iops: reads + writes,
        p50_us: number(&latencies["50.000000"])? / 1e3,
        p99_us: number(&latencies["99.000000"])? / 1e3,
        cores: (number(&job["usr_cpu"])? + number(&job["sys_cpu"])?) / 100.0,
    })
}
