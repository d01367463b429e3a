//! fio's io_uring engine, as a process of its own.

use std::process::{Command, Stdio};

use crate::{Error, Figure, IO_BYTES, Place, Workload};

/// I/Os that fio hands over together where it may.
const BATCH: u32 = 32;

pub(crate) fn is_installed() -> bool {
    let version = Command::new("fio").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// As people run it.
pub(crate) fn run(place: &Place, workload: &Workload) -> Result<Figure, Error> {
    measure(place, workload, 1)
}

/// As few system calls as it can do with.
pub(crate) fn run_batched(place: &Place, workload: &Workload) -> Result<Figure, Error> {
    measure(place, workload, workload.depth.min(BATCH))
}

fn measure(place: &Place, workload: &Workload, batch: u32) -> Result<Figure, Error> {
    let mode = if workload.write { "write" } else { "read" };
    let output = Command::new("fio")
        .args(["--name=bench", "--ioengine=io_uring", "--direct=1", "--registerfiles=1", "--fixedbufs=1"])
        // What lies in a cache stays there: only the file systems without direct I/O have one.
        .args([
            "--invalidate=0",
            // Its buffers keep the noise that they begin with, as ours do.
            "--scramble_buffers=0",
            "--norandommap=1",
            "--randrepeat=0",
            "--time_based=1",
            "--output-format=json",
            "--thread=1",
        ])
        .arg(format!("--filename={}", place.path.display()))
        .arg(format!("--size={}", place.bytes))
        .arg(format!("--bs={IO_BYTES}"))
        .arg(format!("--rw=rand{mode}"))
        .arg(format!("--iodepth={}", workload.depth))
        .arg(format!("--iodepth_batch_submit={batch}"))
        .arg("--iodepth_batch_complete_min=1")
        .arg(format!("--iodepth_batch_complete_max={}", workload.depth))
        .arg(format!("--runtime={}ms", place.time.as_millis().max(1)))
        .arg(format!("--cpus_allowed={}", place.core))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("fio failed: {}", String::from_utf8_lossy(&output.stdout)).into());
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let job = &report["jobs"][0];
    let number = |value: &serde_json::Value| value.as_f64().ok_or("fio reports in another way");
    let operations_per_second = number(&job[mode]["iops"])?;
    let busy = (number(&job["usr_cpu"])? + number(&job["sys_cpu"])?) / 100.0;
    Ok(Figure { operations_per_second, cpu_us_per_operation: busy * 1e6 / operations_per_second })
}
