//! Engines of sockets: which one serves and why, and what an operator reads where io_uring is not to be had.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;

use crate::program::{Finished, Program, run, run_by};
use crate::scene::{NQN, configuration, connect};
use crate::starting::refused;

/// A user without the privilege to lock as much memory as it likes, which may lock none.
const NO_LOCKED_MEMORY: [&str; 3] = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"];
const LIMIT: [&str; 2] = ["prlimit", "--memlock=0:0"];

/// A configuration file that demands an engine.
struct Written {
    directory: tempfile::TempDir,
    file: String,
}

impl Written {
    fn new(engine: &str) -> Self {
        let mut configuration = configuration();
        configuration["reactors"]["engine"] = json!(engine);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("corelane.json");
        std::fs::write(&file, configuration.to_string()).expect("writing the configuration");
        let file = file.to_str().expect("a path in UTF-8").to_owned();
        Self { directory, file }
    }

    fn serve(&self) -> [String; 5] {
        let state = self.directory.path().join("state").to_str().expect("a path in UTF-8").to_owned();
        ["serve", "--config", &self.file, "--state-dir", &state].map(str::to_owned)
    }
}

/// Runs `what` where io_uring_setup(2) answers `errno`: a filter belongs to the thread that asks for it, and to the
/// processes that it starts.
fn forbidden<T: Send>(errno: Errno, what: impl FnOnce() -> T + Send) -> T {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let number = u32::try_from(errno.raw_os_error()).expect("a small number");
    let arch = env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(number), arch);
    let filter: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            apply_filter(&filter).expect("a kernel with filters");
            what()
        });
        filtered.join().expect("what runs behind the filter")
    })
}

/// The line about sockets in what `check` says.
fn checked(finished: &Finished) -> &str {
    assert_eq!((finished.code, finished.errors.as_str()), (0, ""), "{finished:?}");
    let line = finished.output.iter().find_map(|line| line.strip_prefix("sockets: "));
    line.expect("a line about sockets")
}

/// Starts a server, has it serve a host, stops it; what it says of its sockets.
fn served(program: Program) -> String {
    let lines = program.lines_until("connect with: ");
    let after = |prefix: &str| lines.iter().find_map(|line| line.strip_prefix(prefix)).expect("its line");
    let address: SocketAddr = after("listening tcp ").parse().expect("an address");
    let mut host = connect(address, NQN);
    host.write(1, 0, &[7; 512]).expect("a write");
    assert!(host.read(1, 0, 1).expect("a read") == [7; 512]);
    host.disconnect().expect("a disconnect");
    program.stop();
    after("sockets: ").to_owned()
}

#[test]
fn an_engine_that_is_demanded_serves() {
    for engine in ["io_uring", "epoll"] {
        let written = Written::new(engine);
        assert_eq!(checked(&run(&["check", &written.file])), engine);
        assert_eq!(served(Program::start(&written.serve())), engine);
    }
}

#[test]
fn auto_says_what_it_means() {
    let written = Written::new("auto");
    let means = served(Program::start(&written.serve()));
    assert!(["io_uring", "epoll"].contains(&means.as_str()), "{means}");
    assert_eq!(checked(&run(&["check", &written.file])), means);
}

#[test]
fn where_io_uring_is_forbidden_it_is_an_error_that_says_what_to_do() {
    let rows = [
        (Errno::PERM, "allow io_uring_setup, io_uring_enter and io_uring_register"),
        (Errno::NOSYS, "this kernel has no io_uring, or a filter of system calls (seccomp) hides it"),
    ];
    let written = Written::new("io_uring");
    for (errno, words) in rows {
        let serve = written.serve();
        let serve = serve.each_ref().map(String::as_str);
        refused(&forbidden(errno, || run(&serve)), &["reactors.engine", "`auto` and `epoll`", words]);
        let check = forbidden(errno, || run(&["check", &written.file]));
        assert_eq!(
            checked(&check).strip_prefix("io_uring, and not here: ").map(|why| why.contains(words)),
            Some(true)
        );
    }
}

#[test]
fn where_io_uring_is_forbidden_auto_serves_without_it() {
    for errno in [Errno::PERM, Errno::NOSYS] {
        let written = Written::new("auto");
        let means = forbidden(errno, || served(Program::start(&written.serve())));
        assert!(means == "epoll" || means.starts_with("epoll ("), "{means}");
        assert_eq!(checked(&forbidden(errno, || run(&["check", &written.file]))), means);
        let written = Written::new("epoll");
        assert_eq!(forbidden(errno, || served(Program::start(&written.serve()))), "epoll");
    }
}

#[test]
fn without_memory_that_may_be_locked_the_error_names_the_limit() {
    let wrapper = [&NO_LOCKED_MEMORY[..], &LIMIT].concat();
    if !Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").status().is_ok_and(|status| status.success())
    {
        println!("this machine has no setpriv and prlimit, or does not allow them");
        return;
    }
    let written = Written::new("io_uring");
    let serve = written.serve();
    let finished = run_by(&wrapper, &serve.each_ref().map(String::as_str));
    refused(&finished, &["reactors.engine", "locked memory", "ulimit -l", "LimitMEMLOCK="]);
    let means = served(Program::start_by(&wrapper, &Written::new("auto").serve()));
    assert!(means == "epoll" || means.contains("locked memory"), "{means}");
}

/// What hosts do to sockets, on the engine that `auto` does not mean.
#[test]
fn hostile_hosts_meet_the_same_on_the_other_engine() {
    const ENGINE: &str = "CORELANE_TEST_ENGINE";
    if env::var_os(ENGINE).is_some() {
        println!("this is one engine of several");
        return;
    }
    let means = checked(&run(&["check", &Written::new("auto").file])).to_owned();
    let other = if means == "io_uring" { "epoll" } else { "io_uring" };
    let mut again = Command::new(env::current_exe().expect("this program"));
    let ran = again.env(ENGINE, other).args(["hostile::", "liar::", "limits::", "stopping::"]).output();
    let ran = ran.expect("starting this program again");
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{output}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(output.contains("test result: ok") && !output.contains(" 0 passed"), "{output}");
}
