//! Any command line of `corelane`, run as a process with an environment of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

/// From the start of a process to whatever is waited for.
const LINE_MAX: Duration = Duration::from_secs(20);
/// Variables that would change what a test sees.
const VARIABLES: [&str; 5] = ["CORELANE_LOG", "STATE_DIRECTORY", "XDG_STATE_HOME", "NO_COLOR", "RUST_LOG"];

/// A running `corelane`, killed when it is dropped. Its home directory is a temporary one.
pub(crate) struct Program {
    child: Child,
    output: Receiver<String>,
    home: TempDir,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit status; 128 and the signal for a process that was killed.
    pub(crate) code: i32,
    /// Lines of standard output that were not waited for.
    pub(crate) output: Vec<String>,
    pub(crate) errors: String,
}

impl Program {
    /// Starts `corelane` with these arguments.
    pub(crate) fn start<S: AsRef<str>>(arguments: &[S]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts `corelane` with these arguments, by a command line that runs another.
    pub(crate) fn start_by<S: AsRef<str>>(wrapper: &[&str], arguments: &[S]) -> Self {
        Self::launch(wrapper, arguments, &[])
    }

    /// Starts `corelane` with these arguments and environment variables.
    pub(crate) fn start_with<S: AsRef<str>>(arguments: &[S], variables: &[(&str, &str)]) -> Self {
        Self::launch(&[], arguments, variables)
    }

    fn launch<S: AsRef<str>>(wrapper: &[&str], arguments: &[S], variables: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let errors = File::create(home.path().join("errors")).expect("a file for standard error");
        let mut words = wrapper.iter().chain([&env!("CARGO_BIN_EXE_corelane")]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        let mut child = command
            .args(arguments.iter().map(AsRef::as_ref))
            .env("HOME", home.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("starting corelane");
        let output = follow(child.stdout.take().expect("the piped output"));
        Self { child, output, home }
    }

    /// Where it finds its state when nobody names a place.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its output that begins with `prefix`; returns all lines up to that one.
    pub(crate) fn lines_until(&self, prefix: &str) -> Vec<String> {
        let deadline = Instant::now() + LINE_MAX;
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.starts_with(prefix)) {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(reason) => panic!("no line {prefix:?} ({reason}): {lines:?}\n{}", self.errors()),
            }
        }
        lines
    }

    /// Waits until standard error has `words`.
    pub(crate) fn errors_until(&self, words: &str) {
        let deadline = Instant::now() + LINE_MAX;
        while !self.errors().contains(words) {
            assert!(Instant::now() < deadline, "no {words:?}: {}", self.errors());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sending a signal");
    }

    /// Waits for its end, at most for `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> Finished {
        wait(&self.child, limit);
        let status = self.child.wait().expect("waiting for corelane");
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).expect("it has ended");
        Finished { code, output: self.output.iter().collect(), errors: self.errors() }
    }

    /// Stops it as an operator does, and expects a clean end.
    pub(crate) fn stop(self) -> Finished {
        self.signal(Signal::TERM);
        let finished = self.finish(LINE_MAX);
        assert_eq!(finished.code, 0, "{}", finished.errors);
        finished
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.home.path().join("errors")).expect("what went to standard error")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `corelane` to its end.
pub(crate) fn run<S: AsRef<str>>(arguments: &[S]) -> Finished {
    Program::start(arguments).finish(LINE_MAX)
}

/// Runs `corelane` to its end, by a command line that runs another.
pub(crate) fn run_by<S: AsRef<str>>(wrapper: &[&str], arguments: &[S]) -> Finished {
    Program::start_by(wrapper, arguments).finish(LINE_MAX)
}

/// Waits in the kernel until a process has ended; panics when it does not in time.
pub(crate) fn wait(child: &Child, limit: Duration) {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("a handle of the process");
    let limit_left = Timespec::try_from(limit).expect("less than an age");
    let ended = poll(&mut [PollFd::new(&process.as_fd(), PollFlags::IN)], Some(&limit_left));
    assert_eq!(ended, Ok(1), "corelane did not end within {limit:?}");
}

/// Reads the output to its end and passes the lines on.
fn follow(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
