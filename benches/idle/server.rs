//! The target as a process of its own, so that what it uses is told apart from what its hosts use.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::Policy;
use crate::workload::REGION_BYTES;

/// What it serves.
pub(crate) const SUBSYSTEM: &str = "nqn.2026-11.io.corelane:disk0";

/// Entries of a queue: one more than the host keeps under way.
const QUEUE_ENTRIES: u16 = 129;

/// A running target; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// Open until the end: the target writes to it when it stops.
    _output: BufReader<ChildStdout>,
    _directory: TempDir,
}

impl Server {
    /// Starts a target with management and I/O on these cores, and waits until it listens.
    pub(crate) fn start(
        (_, policy, spin_us): &Policy,
        engine: &str,
        [management, io]: [usize; 2],
    ) -> Result<Self, Box<dyn Error>> {
        let directory = TempDir::new()?;
        let mut idle = json!({"policy": policy});
        if let Some(spin_us) = spin_us {
            idle["spin_us"] = json!(spin_us);
        }
        let configuration = json!({
            "reactors": {"management": management, "io": [io], "idle": idle, "engine": engine},
            "limits": {"queue_depth_max": QUEUE_ENTRIES},
            "state_dir": directory.path().join("state"),
            "bdevs": [{"name": "ram0", "type": "malloc", "size": REGION_BYTES}],
            "subsystems": [{
                "nqn": SUBSYSTEM, "allow_any_host": true,
                "listeners": [{"address": "127.0.0.1", "port": 0}],
                "namespaces": [{"nsid": 1, "bdev": "ram0"}]
            }]
        });
        let file = directory.path().join("corelane.json");
        fs::write(&file, configuration.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args(["--quiet", "serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                child.wait()?;
                return Err("the target did not start".into());
            }
            if let Some(address) = line.strip_prefix("listening tcp ") {
                break address.trim_end().parse()?;
            }
        };
        Ok(Self { child, address, _output: output, _directory: directory })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time of all its threads while `run` runs, in percent of a core.
    pub(crate) fn use_of_cpu(
        &self,
        run: impl FnOnce() -> Result<(), Box<dyn Error>>,
    ) -> Result<f64, Box<dyn Error>> {
        let (start, before) = (Instant::now(), self.nanoseconds()?);
        run()?;
        let used = self.nanoseconds()?.saturating_sub(before);
        Ok(used as f64 / start.elapsed().as_nanos() as f64 * 100.0)
    }

    /// Stops it, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the target ended with {status}").into()) }
    }

    /// The time that the kernel counted for its threads. To the nanosecond, where ticks of 10 ms would be most of an idle
    /// process (proc_pid_schedstat).
    fn nanoseconds(&self) -> Result<u64, Box<dyn Error>> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += text.split(' ').next().ok_or("no time")?.parse::<u64>()?;
        }
        Ok(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
