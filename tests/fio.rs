//! fio as Debian ships it, with our ioengine in it, against our target over real sockets.
//!
//! Wants fio, and its headers for the engine's shim: `FIO_SRC`, which `benches/fio/build --headers` prints. Without them it
//! says that it was skipped.

#[path = "harness/mod.rs"]
mod harness;

use std::env;
use std::fs;
use std::io::{Write, stderr};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::blocking::{Exchange, Host, HostOptions};
use corelane::initiator::command::reservation;
use corelane::spec::nqn::Nqn;
use corelane::spec::reservation::{AcquireAction, PersistChange, RegisterAction, ReservationType};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use zerocopy::IntoBytes;

use harness::Server;

const NQN: &str = "nqn.2026-11.io.corelane:fio";
/// The reservation key of another host.
const KEY: u64 = 0x5eed;
/// From the start of a job that has to fail, or is told to end, to its end.
const END_MAX: Duration = Duration::from_secs(60);

#[test]
fn what_the_verify_jobs_write_is_what_they_read() {
    let Some(engine) = engine() else { return };
    let server = server();
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fio/verify.fio");
    let output = fio(&engine, &server)
        .args(["--output-format=json", "--output=/dev/stdout"])
        .arg(jobs)
        .output()
        .expect("running fio");
    let report = report(&output);
    let jobs = report["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.len(), 3, "{report}");
    for job in jobs {
        assert_eq!(job["error"], 0, "{job}");
    }
    let count = |job: usize, kind: &str| jobs[job][kind]["total_ios"].as_u64().expect("a number");
    assert_eq!(count(0, "trim"), 256);
    assert_eq!(jobs[1]["write"]["io_bytes"], 16 << 20);
    assert_eq!(jobs[1]["read"]["io_bytes"], 16 << 20, "everything is read back");
    assert!(count(1, "sync") > 0, "fsync is a flush of its own");
    assert_eq!((count(2, "write"), count(2, "read")), (4096, 4096));
    server.stop();
}

#[test]
fn jobs_share_a_process_and_name_namespaces() {
    let Some(engine) = engine() else { return };
    let server = server();
    let output = run(
        &engine,
        &server,
        &["--filename=1:2", "--numjobs=3", "--rw=randrw", "--iodepth=16", "--size=2m", "--io_size=4m"],
    );
    let report = report(&output);
    let jobs = report["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.len(), 3);
    assert!(
        jobs.iter().all(|job| job["error"] == 0 && job["read"]["total_ios"].as_u64() > Some(0)),
        "{report}"
    );
    server.stop();
}

#[test]
fn verify_finds_what_another_host_has_overwritten() {
    let Some(engine) = engine() else { return };
    let server = server();
    let write = ["--rw=write", "--verify=crc32c", "--do_verify=0", "--size=1m"];
    assert!(run(&engine, &server, &write).status.success());
    assert!(run(&engine, &server, &["--rw=write", "--offset=512k", "--size=4k"]).status.success());
    let output = run(&engine, &server, &["--rw=read", "--verify=crc32c", "--size=1m"]);
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("verify: bad") && said.contains("offset 524288"), "{said}");
    server.stop();
}

#[test]
fn what_cannot_be_is_said() {
    let Some(engine) = engine() else { return };
    let server = server();
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let nobody = format!("--port={port}");
    let rows: [(&[&str], &str); 11] = [
        (&[&nobody], "cannot connect to 127.0.0.1:"),
        (
            &["--subnqn=nqn.2026-11.io.corelane:other"],
            "Connect refused: Connect Invalid Parameters (1h/82h): SUBNQN",
        ),
        (&["--subnqn=other"], "corelane: subnqn: "),
        (&["--hostid=7"], "hostid=7 is not a UUID"),
        (&["--filename=3"], "there is no active namespace 3; active are [1, 2]"),
        (&["--filename=/dev/null"], "filename=/dev/null is no namespace"),
        (&["--nrfiles=2"], "nrfiles=2 needs filename="),
        (&["--bs=512"], "bs=512 is no multiple of the blocks of namespace 1, which have 4096 bytes"),
        (&["--bs=4m"], "bs=4194304 is more than the "),
        (&["--create_serialize=0"], "create_serialize=0 is not supported"),
        (&["--pcie=0000:00:1e.7"], "leave one of them out"),
    ];
    for (options, wanted) in rows {
        let output = run(&engine, &server, options);
        let said = said(&output);
        assert!(
            !output.status.success() && said.contains(wanted),
            "{options:?} must say {wanted:?}:\n{said}"
        );
    }
    server.stop();
}

#[test]
fn a_status_reaches_fio_with_its_words() {
    let Some(engine) = engine() else { return };
    let server = server();
    let subsystem = Nqn::parse(NQN).expect("a name");
    let mut holder = Host::connect(server.listeners()[0], &HostOptions::new(subsystem)).expect("a host");
    let (sqe, data) = reservation::register(1, RegisterAction::REGISTER, PersistChange::KEEP, 0, KEY);
    holder.io(&sqe, Exchange::Send(data.as_bytes())).expect("a registrant");
    let rtype = ReservationType::WRITE_EXCLUSIVE;
    let (sqe, data) = reservation::acquire(1, AcquireAction::ACQUIRE, rtype, KEY, 0);
    holder.io(&sqe, Exchange::Send(data.as_bytes())).expect("a holder");

    assert!(run(&engine, &server, &["--size=1m"]).status.success());
    let output = run(&engine, &server, &["--rw=write", "--size=1m"]);
    let said = said(&output);
    assert!(!output.status.success());
    assert!(said.contains("corelane: Reservation Conflict (0h/83h"), "{said}");
    // EBADE, as with Linux's own initiator.
    assert!(said.contains("Invalid exchange"), "{said}");
    holder.disconnect().expect("leaving");
    server.stop();
}

#[test]
fn a_target_that_is_killed_or_silent_ends_the_job_with_an_error() {
    let Some(engine) = engine() else { return };
    let rows = [
        (Signal::KILL, &["--iodepth=64"][..], "corelane: "),
        (Signal::STOP, &["--iodepth=64", "--timeout_ms=1000"][..], "a command is not answered after 1s"),
    ];
    for (signal, options, wanted) in rows {
        let server = server();
        let child = started(&engine, &server, 1, options);
        kill_process(Pid::from_child(&server.child), signal).expect("a signal");
        let output = ended(child);
        let said = said(&output);
        assert!(!output.status.success(), "{signal:?}: {said}");
        assert!(said.contains(wanted) && said.contains("lost with the connection"), "{signal:?}: {said}");
    }
}

#[test]
fn an_interrupt_ends_the_job_in_order() {
    let Some(engine) = engine() else { return };
    let server = server();
    let child = started(&engine, &server, 2, &["--iodepth=64", "--numjobs=2"]);
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let output = ended(child);
    let said = said(&output);
    assert!(said.contains("terminating on signal 2"), "{said}");
    let report: Value =
        serde_json::from_str(said[said.find("\n{").expect("JSON")..].trim_end()).expect("JSON");
    assert!(report["jobs"].as_array().expect("jobs").iter().all(|job| job["error"] == 0), "{report}");
    let log = log(&server);
    assert_eq!(log.matches("a host disconnected").count(), 4, "every host takes its leave: {log}");
    server.stop();
}

#[test]
fn another_fio_is_told_so() {
    let Some(engine) = engine() else { return };
    let server = server();
    // The same engine, as if it had been built for the next version.
    let mut bytes = fs::read(&engine).expect("the engine");
    let version = Command::new("fio").arg("--version").output().expect("running fio").stdout;
    let version = [version.trim_ascii(), b"\0"].concat();
    let places: Vec<usize> =
        (0..bytes.len() - version.len()).filter(|&at| bytes[at..].starts_with(&version)).collect();
    assert!(!places.is_empty(), "the version stands in the engine");
    for at in places {
        bytes[at + version.len() - 2] ^= 1;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let other = folder.path().join("libother.so");
    fs::write(&other, bytes).expect("writing the engine");
    let output = run(&other, &server, &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("this engine was built for fio-") && said.contains("build it anew"), "{said}");
    assert!(said.contains("not loadable"), "{said}");
    server.stop();
}

/// A target with namespaces 1 and 2.
fn server() -> Server {
    let ram = |name: &str| json!({"name": name, "type": "malloc", "size": "64MiB", "block_size": 4096});
    Server::start(json!({
        "bdevs": [ram("one"), ram("two")],
        "subsystems": [{
            "nqn": NQN, "serial": "FIO", "allow_any_host": true,
            "listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": 1, "bdev": "one"}, {"nsid": 2, "bdev": "two"}],
        }],
    }))
}

/// fio, with what the jobs of `benches/fio` want to be told.
fn fio(engine: &Path, server: &Server) -> Command {
    let address: SocketAddr = server.listeners()[0];
    let mut fio = Command::new("fio");
    fio.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Where it runs it may leave files.
    fio.current_dir(server.directory.path());
    fio.env("CORELANE_FIO", engine).env("SUBNQN", NQN);
    fio.env("ADDRESS", address.ip().to_string()).env("PORT", address.port().to_string());
    fio
}

/// A job on the command line: reads of 4 KiB, unless the options say otherwise.
fn job(engine: &Path, server: &Server, options: &[&str]) -> Command {
    let address: SocketAddr = server.listeners()[0];
    let mut fio = fio(engine, server);
    fio.args(["--output-format=json", "--output=/dev/stdout", "--name=job", "--rw=read", "--bs=4k"]);
    fio.arg(format!("--ioengine=external:{}", engine.display()));
    fio.arg(format!("--subnqn={NQN}")).arg(format!("--port={}", address.port())).args(options);
    fio
}

fn run(engine: &Path, server: &Server, options: &[&str]) -> Output {
    ended(job(engine, server, options).spawn().expect("starting fio"))
}

/// So many jobs that last, and have begun.
fn started(engine: &Path, server: &Server, jobs: usize, options: &[&str]) -> Child {
    let mut job = job(engine, server, &["--rw=randread", "--time_based=1", "--runtime=300"]);
    let child = job.args(options).spawn().expect("starting fio");
    let deadline = Instant::now() + END_MAX;
    // For each job, a host that only looks, and then one that stays.
    while log(server).matches("a host connected").count() < 2 * jobs {
        assert!(Instant::now() < deadline, "fio does not connect");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(500));
    child
}

fn ended(mut child: Child) -> Output {
    let deadline = Instant::now() + END_MAX;
    while child.try_wait().expect("waiting for fio").is_none() {
        if Instant::now() >= deadline {
            child.kill().expect("ending fio");
            panic!("fio does not end:\n{}", said(&child.wait_with_output().expect("its output")));
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

fn log(server: &Server) -> String {
    fs::read_to_string(server.directory.path().join("log")).expect("the log")
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}\n{}", output.status, said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find('{').unwrap_or_else(|| panic!("no JSON:\n{}", said(output)));
    serde_json::from_str(&text[start..]).unwrap_or_else(|error| panic!("{error}:\n{}", said(output)))
}

/// The engine, built as this program was; `None` after it was said that this is skipped.
fn engine() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    let fio = Command::new("fio").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let headers = env::var_os("FIO_SRC").is_some_and(|headers| !headers.is_empty());
    if !headers || !fio.is_ok_and(|status| status.success()) {
        // Past the test runner, which hides what a passing test prints.
        let line = "\nskipped: fio with our ioengine; with fio installed, run it with\n    \
                    FIO_SRC=$(benches/fio/build --headers) cargo test --test fio\n";
        stderr().write_all(line.as_bytes()).expect("writing to the standard error output");
        return None;
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "corelane-fio", "--lib", "--profile", profile])
        .status();
    assert!(built.expect("running cargo").success());
    let program = env::current_exe().expect("this program");
    let target = program.parent().and_then(Path::parent).expect("programs lie in target/PROFILE/deps");
    Some(target.join("libcorelane_fio.so"))
}
