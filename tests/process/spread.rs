//! `corelane perf` over several connections on several cores: what its report adds up is what the target has counted, what is
//! verified comes back on each, and what is drawn is what was measured.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{one_at_a_time, target};
use crate::metrics::{Metered, sum};
use crate::program::{Finished, Program};

/// From the start of a load to its end.
const LOAD_MAX: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 4;
const DEPTH: u64 = 8;
const SPREAD: [&str; 8] = ["--json", "--connections", "4", "--cores", "2", "--depth", "8", "--yes-overwrite"];

fn object(finished: &Finished) -> Value {
    assert_eq!(finished.code, 0, "{finished:?}");
    serde_json::from_str(&finished.output.join("\n")).expect("JSON")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// The connections of which the target says that they have had I/O commands, by the ports of their peers.
fn busy_peers(text: &str) -> BTreeSet<&str> {
    let series = text.lines().filter(|line| line.starts_with("corelane_connection_commands_total{"));
    let busy = series.filter(|line| !line.ends_with(" 0"));
    busy.filter_map(|line| line.split_once("peer=\"")?.1.split('"').next()).collect()
}

#[test]
fn the_queues_of_all_cores_are_added_up() {
    let _one = one_at_a_time();
    let metered = Metered::start();
    let target = target(metered.address);
    let fixed = ["perf", "--target", &target, "--nsid", "2", "--mix", "70", "--warm-up", "0s", "--progress"];
    let load = Program::start(&[&fixed[..], &SPREAD, &["--duration", "3s"]].concat());
    load.errors_until("measuring");
    let during = metered.scrape();
    assert_eq!(busy_peers(&during).len() as u64, CONNECTIONS, "{during}");
    let report = object(&load.finish(LOAD_MAX));
    let after = metered.scrape();

    let cores: BTreeSet<u64> = report["cores"].as_array().expect("the cores").iter().map(number).collect();
    assert_eq!(
        (cores.len(), &report["connections"], &report["depth"]),
        (2, &json!(CONNECTIONS), &json!(DEPTH))
    );
    assert_eq!((&report["errors"], &report["connections_lost"]), (&json!(0), &json!(0)), "{report}");
    // What was under way at the end is answered, and not measured.
    let under_way = CONNECTIONS * DEPTH;
    for (key, command) in [("reads", "command=\"read\""), ("writes", "command=\"write\"")] {
        let counted = sum(&after, "corelane_namespace_commands_total", &["nsid=\"2\"", command]);
        let measured = number(&report[key]);
        assert!((measured..=measured + under_way).contains(&counted), "{key}: {counted}, {report}");
        assert!(measured > 0, "{report}");
    }
    let (reads, writes) = (number(&report["reads"]), number(&report["writes"]));
    let share = reads * 100 / (reads + writes);
    assert!((65..=75).contains(&share), "{share} of 100 read: {report}");
    let (iops, seconds) =
        (report["iops"].as_f64().expect("IOPS"), report["seconds"].as_f64().expect("seconds"));
    // Each core counts over its own time, which is the duration or, on a busy machine, more; the longest is told.
    let (least, most) = ((reads + writes) as f64 / seconds, (reads + writes) as f64 / 3.0);
    assert!(seconds >= 3.0 && (least * 0.999..=most * 1.001).contains(&iops), "{report}");
    assert!((report["bytes_per_second"].as_f64().expect("bytes") - iops * 4096.0).abs() < 1.0, "{report}");
    metered.program.stop();
}

#[test]
fn each_connection_of_each_core_is_verified() {
    let _one = one_at_a_time();
    let metered = Metered::start();
    let target = target(metered.address);
    let fixed = [
        "perf",
        "--target",
        &target,
        "--verify",
        "--mix",
        "50",
        "--duration",
        "2s",
        "--digests",
        "header,data",
    ];
    let report = object(&Program::start(&[&fixed[..], &SPREAD].concat()).finish(LOAD_MAX));
    let verify = &report["verify"];
    assert_eq!((&report["errors"], &verify["blocks_wrong"]), (&json!(0), &json!(0)), "{report}");
    assert_eq!(
        (&verify["commands_not_read_back"], &verify["first_wrong"]),
        (&json!(0), &json!([])),
        "{report}"
    );
    // Eight blocks of 512 bytes in each command; every command that wrote is read back.
    let (compared, read_back) = (number(&verify["blocks_compared"]), number(&verify["commands_read_back"]));
    assert!(read_back > 0 && compared >= 8 * read_back, "{report}");
    metered.program.stop();
}

#[test]
fn what_was_measured_is_drawn() {
    let _one = one_at_a_time();
    let metered = Metered::start();
    let target = target(metered.address);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("plot.svg");
    let fixed = ["perf", "--target", &target, "--nsid", "2", "--duration", "500ms", "--warm-up", "0s"];
    for (more, curves, words) in [
        (&[][..], 1, ["Latency distribution", "share of commands", "latency (us)"]),
        (&["--sweep"], 2, ["Latency over load", "thousand commands per second", "latency (us)"]),
    ] {
        let plot = ["--plot", file.to_str().expect("UTF-8")];
        let report = object(&Program::start(&[&fixed[..], &SPREAD, &plot, more].concat()).finish(LOAD_MAX));
        let picture = fs::read_to_string(&file).expect("the plot");
        for words in words {
            assert!(picture.contains(words), "{words}: {picture}");
        }
        let drawn = curves_of(&picture);
        assert_eq!(drawn.len(), curves, "{picture}");
        if let Some(runs) = report["sweep"].as_array() {
            assert_eq!(drawn.iter().map(Vec::len).collect::<Vec<_>>(), [runs.len(), runs.len()], "{picture}");
        } else {
            // Latency grows with the share, and the y axis of a picture points down.
            let (xs, ys): (Vec<f64>, Vec<f64>) = drawn[0].iter().copied().unzip();
            assert!(xs.is_sorted() && ys.is_sorted_by(|one, next| one >= next) && xs.len() > 4, "{picture}");
        }
    }
    metered.program.stop();
}

/// The points of each curve, all of which lie in the picture. Lines of two points are the axes' marks.
fn curves_of(picture: &str) -> Vec<Vec<(f64, f64)>> {
    let attribute = |text: &str, name: &str| -> Option<String> {
        Some(text.split_once(&format!("{name}=\""))?.1.split('"').next()?.to_owned())
    };
    let size = attribute(picture, "viewBox").expect("the size of the picture");
    let size: Vec<f64> = size.split(' ').map(|part| part.parse().expect("a number")).collect();
    let curves = picture.split("<polyline").skip(1).map(|curve| {
        let points = attribute(curve, "points").expect("points");
        let point = |text: &str| {
            let (x, y) = text.split_once(',').expect("a point");
            let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
            assert!(
                (0.0..=size[2]).contains(&x) && (0.0..=size[3]).contains(&y),
                "{text} is outside of {size:?}"
            );
            (x, y)
        };
        points.split_whitespace().map(point).collect()
    });
    curves.filter(|curve: &Vec<_>| curve.len() > 2).collect()
}
