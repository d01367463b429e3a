//! The commands of README.md, and of the one of `reactors`, work as they stand there. How a block of commands is tried stands behind `sh` at its fence:
//!
//! - `ci`: run by `.ci/run`, in the repository;
//! - `ci-serve`: started by `.ci/run`, until it listens, then stopped with SIGINT;
//! - `ci-test`: run here, with `corelane` in the path, beside the configuration file that the README shows;
//! - `ci-test-serve`: started here in the same way, until it listens, then stopped with SIGINT;
//! - `ci-guest`: steps of the virtual machine's tests, which `.ci/run` asks for.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use corelane::config;
use corelane_reactors::cpu;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

/// From the start of a command to its end, or to its first address, or from SIGINT to its end.
const STEP_MAX: Duration = Duration::from_secs(60);

/// A fenced block: what stands at its fence, and its lines.
struct Block {
    fence: String,
    text: String,
}

#[test]
fn every_block_of_commands_is_tried_somewhere() {
    let script = read(".ci/run");
    for block in blocks().iter().filter(|block| block.fence.starts_with("sh")) {
        match block.fence.as_str() {
            "sh ci" => assert!(script.contains("block ci $"), ".ci/run runs no such block"),
            "sh ci-serve" => assert!(script.contains("block ci-serve $"), ".ci/run starts no such block"),
            "sh ci-test" | "sh ci-test-serve" | "sh ci-guest" => {}
            fence => panic!("nobody runs a block marked {fence:?}:\n{}", block.text),
        }
    }
}

#[test]
fn the_two_commands_of_a_fresh_machine_are_there() {
    assert_eq!(marked("sh ci-serve").next().as_deref(), Some("cargo run --release\n"));
    assert_eq!(marked("sh ci").next().as_deref(), Some("cargo test --workspace\n"));
}

#[test]
fn the_configuration_is_right() {
    let text = configuration();
    if let Err(findings) = config::parse(&text, &[0, 1]) {
        panic!("{findings:?}");
    }
    let documented = read("docs/configuration.md");
    let documented = fenced(&documented).into_iter().find(|block| block.fence == "json").expect("an example");
    let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(value(&text), value(&documented.text), "docs/configuration.md shows the same file");
}

#[test]
fn commands_end_well() {
    let directory = prepared();
    let mut count = 0;
    for text in marked("sh ci-test") {
        let status = Running::start(&text, directory.path()).end();
        assert!(status.success(), "{status}:\n{text}");
        count += 1;
    }
    assert!(count > 0, "README.md has no block marked ci-test");
    let schema = fs::read_to_string(directory.path().join("corelane.schema.json")).expect("the schema");
    assert_eq!(serde_json::from_str::<Value>(&schema).expect("JSON"), config::schema());
}

#[test]
fn servers_listen_and_stop_with_sigint() {
    let directory = prepared();
    let mut count = 0;
    for text in marked("sh ci-test-serve") {
        let mut running = Running::start(&text, directory.path());
        running.wait_until_it_listens(&text);
        kill_process_group(Pid::from_child(&running.0), Signal::INT).expect("sending SIGINT");
        let status = running.end();
        assert!(status.success(), "{status} after SIGINT:\n{text}");
        count += 1;
    }
    assert!(count > 0, "README.md has no block marked ci-test-serve");
}

#[test]
fn the_guest_does_what_the_readme_tells_a_host() {
    let story = read("tests/vm/linux_host.sh") + &read("tests/vm/init");
    let script = read(".ci/run");
    let mut count = 0;
    for line in marked("sh ci-guest").flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if let Some(variable) = first.strip_suffix("=1") {
            // CI runs every test, with this variable.
            assert!(script.contains(&format!("export {variable}=1")), ".ci/run does not set {variable}");
            assert!(line.ends_with("cargo test --test linux_host"), "{line}");
        } else {
            let command = if first == "nvme" { format!("nvme {second}") } else { format!("{first} ") };
            assert!(story.contains(&command), "the virtual machine's tests never run {command:?}");
        }
        count += 1;
    }
    assert!(count > 0, "README.md has no block marked ci-guest");
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "README.md",
        "reactors/README.md",
        "CHANGELOG.md",
        "docs/configuration.md",
        "docs/architecture.md",
        "docs/hostile-peers.md",
        "docs/metrics.md",
        "docs/reservations.md",
        "docs/setup.md",
        "docs/perf.md",
        "docs/tune.md",
        "tuning/README.md",
        "benches/README.md",
    ];
    for page in pages {
        let folder = root.join(page).parent().expect("a folder").to_owned();
        for link in read(page).split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(folder.join(path).exists(), "{page} links to {path}, which is not there");
            }
        }
    }
}

#[test]
fn every_bench_is_described() {
    let page = read("benches/README.md");
    for folder in ["benches", "reactors/benches"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(folder).expect("a folder of benches") {
            let path = entry.expect("an entry of a folder of benches").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "rs") {
                assert!(
                    page.contains(&format!("--bench {name}\n")),
                    "benches/README.md does not say how to run {name}"
                );
            }
        }
    }
}

/// A process in a process group of its own, which ends with this value.
struct Running(Child);

impl Running {
    /// Runs `text` in `directory`, with `corelane` in the path.
    fn start(text: &str, directory: &Path) -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_corelane")).parent().expect("a folder").to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path))).expect("a path");
        let child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", text])
            .current_dir(directory)
            .env("PATH", path)
            .env("STATE_DIRECTORY", directory.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("starting bash");
        Self(child)
    }

    fn wait_until_it_listens(&mut self, text: &str) {
        let output = BufReader::new(self.0.stdout.take().expect("the piped output"));
        let (sender, listens) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.starts_with("listening tcp ") {
                    // Nobody waits any more after the first one.
                    let _ = sender.send(());
                }
            }
        });
        listens
            .recv_timeout(STEP_MAX)
            .unwrap_or_else(|reason| panic!("it does not listen, {reason}:\n{text}"));
    }

    fn end(mut self) -> ExitStatus {
        let deadline = Instant::now() + STEP_MAX;
        loop {
            if let Some(status) = self.0.try_wait().expect("waiting for bash") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // Both fail only for a process that has ended in the meantime.
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// A directory with the README's configuration, changed where it would need what a test cannot have: the port, a
/// directory of the system, and the two cores on a machine that has them not.
fn prepared() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut document: Value = serde_json::from_str(&configuration()).expect("JSON");
    document["subsystems"][0]["listeners"][0]["port"] = json!(0);
    document["state_dir"] = json!(directory.path().join("state"));
    if !cpu::allowed().starts_with(&[0, 1]) {
        document["reactors"] = json!({});
    }
    fs::write(directory.path().join("corelane.json"), document.to_string())
        .expect("writing the configuration");
    directory
}

/// The configuration file that the README shows.
fn configuration() -> String {
    marked("json").next().expect("a block of JSON in README.md")
}

/// The texts of the READMEs' blocks with this fence.
fn marked(fence: &str) -> impl Iterator<Item = String> {
    let fence = fence.to_owned();
    blocks().into_iter().filter(move |block| block.fence == fence).map(|block| block.text)
}

fn blocks() -> Vec<Block> {
    ["README.md", "reactors/README.md"].iter().flat_map(|page| fenced(&read(page))).collect()
}

/// The fenced blocks of a page.
fn fenced(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) => open = Some(Block { fence: fence.to_owned(), text: String::new() }),
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
}
