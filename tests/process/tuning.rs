//! `corelane tune --measure` as a process: a tiny run, and one that is stopped.

use std::fs;
use std::time::Duration;

use corelane::config;
use rustix::process::Signal;
use serde_json::Value;

use crate::load::one_at_a_time;
use crate::program::Program;

const RUN_MAX: Duration = Duration::from_secs(300);

#[test]
fn a_tiny_run_writes_numbers_a_layout_and_a_plot() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    let (layout, plot) = (path("tuned.json"), path("tune.svg"));
    let arguments = [
        "tune",
        "--measure",
        "--duration",
        "20ms",
        "--rounds",
        "1",
        "--json",
        "--write",
        &layout,
        "--plot",
        &plot,
    ];
    let _one = one_at_a_time();
    let finished = Program::start(&arguments).finish(RUN_MAX);
    assert_eq!(finished.code, 0, "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
    let candidates = object["candidates"].as_array().expect("a list");
    assert!(candidates.len() >= 3, "{object}");
    let best = usize::try_from(object["best"].as_u64().expect("a number")).expect("an index");
    for candidate in candidates.iter().filter(|candidate| candidate["runs"] == 1) {
        for number in ["iops", "p50_us", "p99_us"] {
            let of = |part: &str| candidate[number][part].as_f64().expect("a number");
            assert!(
                of("median") > 0.0 && of("min") <= of("median") && of("median") <= of("max"),
                "{candidate}"
            );
        }
    }
    let best = &candidates[best];
    assert_eq!(best["runs"], 1);
    let allowed: Vec<usize> = (0..1024).collect();
    let text = fs::read_to_string(&layout).expect("the layout");
    let config = config::parse(&text, &allowed).expect("a configuration").config;
    assert_eq!(best["management"], config.reactors.management);
    assert_eq!(best["io"].as_array().map(Vec::len), Some(config.reactors.io.len()));
    assert!(fs::read_to_string(&plot).expect("the plot").starts_with("<svg "));
    let lines = finished.errors.lines().filter(|line| line.contains(" IOPS, ")).count();
    assert!(lines >= 3, "progress is told: {}", finished.errors);
}

#[test]
fn who_stops_it_gets_no_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = directory.path().join("tuned.json");
    let arguments = ["tune", "--measure", "--duration", "60s", "--write", layout.to_str().expect("a path")];
    let _one = one_at_a_time();
    let program = Program::start(&arguments);
    program.errors_until("candidates, ");
    program.signal(Signal::INT);
    let finished = program.finish(RUN_MAX);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.errors.contains("stopped before everything was measured"), "{}", finished.errors);
    assert!(!layout.exists());
}
