//! A whole `corelane serve` process for a test: started from a configuration, waited for, stopped as an operator stops it.
//!
//! Invariant: no process outlives its [`Server`], whatever the test does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// From the start of the process to its last listening address.
const START_MAX: Duration = Duration::from_secs(30);
/// From SIGTERM to the end of the process, with everything in flight finished.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running `corelane serve`.
pub(crate) struct Server {
    /// The process.
    pub(crate) child: Child,
    /// Holds `corelane.json`, the state directory `state`, and what went to standard error: `log`.
    pub(crate) directory: TempDir,
    listeners: Vec<SocketAddr>,
}

impl Server {
    /// Starts the server with this configuration, and a state directory of its own where the configuration names none, and
    /// waits until it listens on as many addresses as the configuration has. Panics with the server's log when it does not.
    pub(crate) fn start(mut configuration: Value) -> Self {
        let wanted = count_listeners(&configuration);
        assert!(wanted > 0, "a server without listeners cannot be waited for");
        let directory = tempfile::tempdir().expect("a temporary directory");
        if configuration["state_dir"].is_null() {
            configuration["state_dir"] = json!(directory.path().join("state"));
        }
        let file = directory.path().join("corelane.json");
        fs::write(&file, configuration.to_string()).expect("writing the configuration");
        let log = File::create(directory.path().join("log")).expect("creating the log");

        let mut child = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("starting corelane");
        let lines = follow(child.stdout.take().expect("the piped output"));
        let mut server = Self { child, directory, listeners: Vec::new() };
        server.wait_for_listeners(wanted, &lines);
        server
    }

    /// The addresses it listens on, in the order in which it named them.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Sends SIGTERM and waits for a clean end. Panics with the server's log when there is none.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("sending SIGTERM");
        let status = self.wait(STOP_MAX);
        assert!(status.success(), "corelane ended with {status} after SIGTERM\n{}", self.log());
    }

    fn wait_for_listeners(&mut self, wanted: usize, lines: &Receiver<String>) {
        let deadline = Instant::now() + START_MAX;
        while self.listeners.len() < wanted {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.listeners.extend(listening(&line)),
                Err(reason) => panic!(
                    "corelane {} before it listened on {wanted} addresses, only on {:?}\n{}",
                    match reason {
                        RecvTimeoutError::Timeout => "took too long",
                        RecvTimeoutError::Disconnected => "closed its output",
                    },
                    self.listeners,
                    self.log()
                ),
            }
        }
    }

    fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting for corelane") {
                return status;
            }
            assert!(Instant::now() < deadline, "corelane did not end within {limit:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What went to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log"))
            .unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            // A test that fails shows it.
            let ended = self.child.try_wait().ok().flatten();
            let ended = ended.map_or_else(|| "lives".to_owned(), |status| format!("ended with {status}"));
            println!("corelane {ended}, and said:\n{}", self.log());
        }
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many addresses the configuration asks to listen on: subsystems share a listener that they write alike.
fn count_listeners(configuration: &Value) -> usize {
    let subsystems = configuration["subsystems"].as_array().expect("subsystems");
    let listeners =
        subsystems.iter().flat_map(|subsystem| subsystem["listeners"].as_array().expect("listeners"));
    listeners.map(Value::to_string).collect::<BTreeSet<_>>().len()
}

/// The address in a line `listening tcp ADDRESS:PORT` of the server's output; none in any other line.
fn listening(line: &str) -> Option<SocketAddr> {
    let address = line.strip_prefix("listening tcp ")?;
    Some(address.trim_end().parse().unwrap_or_else(|_| panic!("no address and port in the line {line:?}")))
}

/// Reads the output to its end, so that the server never waits for a reader, and passes the lines on.
fn follow(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The test no longer listens once it has its addresses.
            let _ = sender.send(line);
        }
    });
    receiver
}
