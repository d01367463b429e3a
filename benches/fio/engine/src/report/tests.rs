//! From fio's JSON to a table and a plot.

use serde_json::json;

use crate::runs::{Load, Run, Runs, RunsError, median, run};
use crate::{plot, table};

fn report(reads: f64, writes: f64, error: i64) -> serde_json::Value {
    let side = |iops: f64, p50: u64| json!({"iops": iops, "clat_ns": {"percentile": {"50.000000": p50, "99.000000": p50 * 3}}});
    json!({"jobs": [{
        "error": error, "usr_cpu": 60.0, "sys_cpu": 30.0, "read": side(reads, 10_000), "write": side(writes, 20_000),
    }]})
}

fn some(iops: f64) -> Run {
    Run { iops, p50_us: 1.0, p99_us: 2.0, cores: 1.0 }
}

#[test]
fn a_run_counts_reads_and_writes_and_has_the_latency_of_the_more_frequent() {
    let read = run(&report(700.0, 300.0, 0)).expect("a run");
    assert_eq!(read, Run { iops: 1000.0, p50_us: 10.0, p99_us: 30.0, cores: 0.9 });
    assert_eq!(run(&report(0.0, 300.0, 0)).expect("a run").p50_us, 20.0);
}

#[test]
fn a_run_that_failed_is_none() {
    assert_eq!(run(&report(700.0, 300.0, 5)), Err("the job has failed"));
    assert_eq!(run(&report(0.0, 0.0, 0)), Err("nothing was read or written"));
    assert_eq!(run(&json!({"jobs": [{"error": 0}]})), Err("fio reports in another way"));
    assert_eq!(run(&json!({})), Err("the job has failed"));
}

#[test]
fn the_median_is_one_of_the_runs() {
    let runs = [some(9.0), some(1.0), some(5.0), some(7.0)];
    assert_eq!(median(&runs, |run| run.iops), (5.0, 1.0, 9.0));
    assert_eq!(median(&runs[..3], |run| run.iops), (5.0, 1.0, 9.0));
    assert_eq!(median(&[], |run| run.iops), (0.0, 0.0, 0.0));
}

#[test]
fn a_folder_becomes_a_table_and_a_plot() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path();
    for (round, iops) in [("1", 1000.0), ("2", 3000.0), ("3", 2000.0)] {
        std::fs::create_dir_all(folder.join(round)).expect("a folder");
        for (name, iops) in
            [("tcp,randread,4k,1", iops), ("tcp,randread,4k,32", iops * 9.0), ("linux,randread,4k,1", iops)]
        {
            std::fs::write(
                folder.join(round).join(name).with_extension("json"),
                report(iops, 0.0, 0).to_string(),
            )
            .expect("a file");
        }
    }
    let runs = Runs::read(folder).expect("the runs");
    std::fs::write(folder.join("1/tcp.json"), "{}").expect("a file");
    assert!(matches!(Runs::read(folder), Err(RunsError::Name(_))));
    assert_eq!(runs.engines(), ["linux", "tcp"]);
    let text = table::table("host: here\ncommit: abc", &runs);
    assert!(text.starts_with("- host: here\n- commit: abc\n"));
    assert!(
        text.contains("| randread 4 KiB x1 | tcp | 3 | 2000 (1000 to 3000) | 8 | 10.0 | 30.0 | 0.90 |"),
        "{text}"
    );
    assert!(text.contains("| randread 4 KiB x32 | tcp | 3 | 18000 (9000 to 27000) |"), "{text}");
    let picture = plot::plot(&runs).expect("a plot");
    assert!(picture.starts_with("<svg") && picture.contains("randread, 4 KiB") && picture.contains("linux"));
}

#[test]
fn one_load_is_enough_for_a_plot() {
    let mut runs = Runs::default();
    runs.add(Load { rw: "write".to_owned(), bs: 131_072, depth: 1 }, "pcie".to_owned(), some(1e6));
    assert!(plot::plot(&runs).expect("a plot").contains("write, 128 KiB"));
}
