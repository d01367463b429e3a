//! What an operator sees at the start: the banner, and every reason not to start.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use corelane::initiator::blocking::Host;
use serde_json::{Value, json};

use crate::program::{Finished, Program, run};
use crate::scene::{self, configuration};

const DEFAULT_NQN: &str = "nqn.2026-11.io.corelane:disk0";

/// A configuration file in a temporary directory.
struct Written {
    directory: tempfile::TempDir,
    file: String,
}

impl Written {
    fn new(configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("corelane.json");
        fs::write(&file, configuration).expect("writing the configuration");
        let file = file.to_str().expect("a path in UTF-8").to_owned();
        Self { directory, file }
    }

    fn state(&self) -> String {
        self.directory.path().join("state").to_str().expect("a path in UTF-8").to_owned()
    }

    fn serve(&self) -> Finished {
        run(&["serve", "--config", &self.file, "--state-dir", &self.state()])
    }
}

/// It refused to start, and said nothing on standard output.
pub(crate) fn refused(finished: &Finished, wanted: &[&str]) {
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.output.is_empty(), "nothing listens: {finished:?}");
    for part in wanted {
        assert!(finished.errors.contains(part), "{part:?} is missing in: {}", finished.errors);
    }
    assert!(!finished.errors.contains("panicked"), "{}", finished.errors);
}

fn address(line: &str) -> SocketAddr {
    line.strip_prefix("listening tcp ").expect("a listening line").parse().expect("an address")
}

#[test]
fn the_defaults_serve_a_disk_and_say_how_to_reach_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let state = directory.path().join("state");
    let state = state.to_str().expect("a path in UTF-8");
    let program = Program::start(&["serve", "--listen", "127.0.0.1:0", "--state-dir", state]);
    let lines = program.lines_until("connect with: ");
    let [subsystem, reactors, sockets, directory, listening, connect] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(subsystem, &format!("subsystem {DEFAULT_NQN} (1 namespace)"));
    assert!(reactors.starts_with("reactors: ") && reactors.contains("management"), "{reactors}");
    assert!(sockets.starts_with("sockets: "), "{sockets}");
    assert_eq!(directory, &format!("state directory: {state}"));
    let port = address(listening).port();
    assert_eq!(
        connect,
        &format!("connect with: nvme connect -t tcp -a 127.0.0.1 -s {port} -n {DEFAULT_NQN}")
    );

    let mut host = scene::connect(address(listening), DEFAULT_NQN);
    let geometry = host.geometry(1).expect("the size of the disk");
    assert_eq!((geometry.block_size, geometry.blocks), (4096, (256 << 20) / 4096));
    host.disconnect().expect("a disconnect");
    assert!(Path::new(state).is_dir());
    program.stop();
}

#[test]
fn without_a_word_about_it_state_lives_in_the_home_directory() {
    let program = Program::start(&["--log-level", "warn", "serve", "--listen", "127.0.0.1:0"]);
    program.lines_until("connect with: ");
    assert!(program.home().join(".local/state/corelane/corelane.marker").is_file());
    let finished = program.stop();
    assert_eq!(finished.errors, "", "a normal run has nothing to warn of");
}

#[test]
fn a_size_that_is_asked_for_is_served() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let program = Program::start(&["serve", "--listen", "[::1]:0", "--size", "1GiB"]);
    let lines = program.lines_until("connect with: ");
    let mut host = scene::connect(address(&lines[4]), DEFAULT_NQN);
    assert_eq!(host.geometry(1).expect("the size of the disk").blocks, (1 << 30) / 4096);
    assert!(lines[5].contains(" -a ::1 "), "{lines:?}");
    drop(host);
    program.stop();
}

#[test]
fn a_state_directory_has_one_owner_at_a_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let state = directory.path().to_str().expect("a path in UTF-8");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--state-dir", state];
    let first = Program::start(&arguments);
    let lines = first.lines_until("connect with: ");
    let owner = format!("process {}", first.id());
    refused(&run(&arguments), &[state, &owner, "--state-dir"]);
    // The first is as it was.
    Host::discover(address(&lines[4])).expect("a discovery");
    first.stop();
    let next = Program::start(&arguments);
    next.lines_until("connect with: ");
    next.stop();
}

#[test]
fn a_process_that_was_killed_leaves_its_state_directory_to_the_next() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--state-dir", directory.path().to_str().expect("UTF-8")];
    let first = Program::start(&arguments);
    first.lines_until("connect with: ");
    // It is killed.
    drop(first);
    let second = Program::start(&arguments);
    second.lines_until("connect with: ");
    second.stop();
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let written = Written::new("");
    let finished = run(&["serve", "--listen", &address, "--state-dir", &written.state()]);
    refused(&finished, &[&address, "in use", "choose another port"]);

    // One of several is enough for nothing to be served.
    let mut several = configuration();
    several["subsystems"][0]["listeners"] = json!([{"address": "127.0.0.1", "port": 0}, {"address": "127.0.0.1", "port": taken.local_addr().expect("an address").port()}]);
    refused(&Written::new(&several.to_string()).serve(), &[&address, "in use"]);
}

#[test]
fn an_address_of_another_machine_is_named() {
    // TEST-NET-1 (RFC 5737).
    let written = Written::new("");
    let finished = run(&["serve", "--listen", "192.0.2.1:0", "--state-dir", &written.state()]);
    refused(&finished, &["192.0.2.1", "no network interface"]);
}

/// A configuration with one wrong value, its place, and a part of what is said about it.
type Row = (fn(&mut Value), &'static str, &'static str);

const WRONG: &[Row] = &[
    (|it| it["subsystem"] = json!([]), "subsystem", "unknown field"),
    (|it| it["bdevs"][0]["type"] = json!("disk"), "bdevs[0].type", "malloc"),
    (|it| it["bdevs"][0]["size"] = json!("64MB"), "bdevs[0].size", "MiB"),
    (|it| it["bdevs"][0]["size"] = json!(1000), "bdevs[0].size", "512"),
    (|it| it["bdevs"][1]["name"] = json!("ram0"), "bdevs[1].name", "ram0"),
    (|it| it["bdevs"][1]["block_size"] = json!(1000), "bdevs[1].block_size", "power of two"),
    (
        |it| it["subsystems"][0]["namespaces"][1]["bdev"] = json!("rom"),
        "subsystems[0].namespaces[1].bdev",
        "rom",
    ),
    (|it| it["subsystems"][0]["namespaces"][1]["nsid"] = json!(1), "subsystems[0].namespaces[1].nsid", "1"),
    (|it| it["subsystems"][0]["namespaces"][0]["nsid"] = json!(0), "subsystems[0].namespaces[0].nsid", "1"),
    (|it| it["subsystems"][1]["nqn"] = json!("disk"), "subsystems[1].nqn", "nqn."),
    (|it| it["subsystems"][1]["nqn"] = it["subsystems"][0]["nqn"].clone(), "subsystems[1].nqn", "disk0"),
    (
        |it| it["subsystems"][0]["listeners"][0]["port"] = json!(65_536),
        "subsystems[0].listeners[0].port",
        "65535",
    ),
    (
        |it| it["subsystems"][0]["listeners"][0]["address"] = json!("here"),
        "subsystems[0].listeners[0].address",
        "here",
    ),
    (|it| it["reactors"] = json!({"management": 100_000}), "reactors.management", "100000"),
    (|it| it["reactors"] = json!({"io": [0, 0]}), "reactors.io", "0"),
    (|it| it["limits"] = json!({"connections_max": 0}), "limits.connections_max", "from 1 to 65536"),
    (|it| it["limits"] = json!({"icreq_timeout_ms": 99}), "limits.icreq_timeout_ms", "100"),
    (|it| it["state_dir"] = json!("relative"), "state_dir", "absolute"),
];

#[test]
fn a_wrong_configuration_is_located_and_nothing_is_served() {
    for (change, place, wanted) in WRONG {
        let mut wrong = configuration();
        change(&mut wrong);
        let written = Written::new(&wrong.to_string());
        let located = format!("{}: {place}", written.file);
        let served = run(&["serve", "--config", &written.file]);
        refused(&served, &[&located, wanted]);
        let checked = run(&["check", &written.file]);
        refused(&checked, &[&located, wanted]);
        assert!(!Path::new(&written.state()).exists(), "a refused configuration leaves nothing behind");
    }
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let garbage = Written::new("{\n  \"bdevs\": [,]\n}\n");
    refused(&garbage.serve(), &[&garbage.file, "line 2"]);
    let binary = Written::new("");
    fs::write(&binary.file, [0xff, 0xfe]).expect("a file");
    refused(&binary.serve(), &[&binary.file, "UTF-8"]);
    let missing = binary.file.replace("corelane.json", "none.json");
    refused(&run(&["serve", "--config", &missing]), &[&missing, "cannot be read"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut wrong = configuration();
    wrong["limits"] = json!({"connections_max": 0, "queue_depth_max": 1});
    wrong["subsystems"][0]["namespaces"][0]["bdev"] = json!("rom");
    let written = Written::new(&wrong.to_string());
    let finished = written.serve();
    refused(
        &finished,
        &["limits.connections_max", "limits.queue_depth_max", "subsystems[0].namespaces[0].bdev"],
    );
}

#[test]
fn a_state_directory_that_must_exist_is_not_made() {
    let mut configuration = configuration();
    configuration["state_must_exist"] = json!(true);
    let written = Written::new(&configuration.to_string());
    let state = written.state();
    refused(&written.serve(), &[&state, "does not exist", "state_must_exist"]);
    assert!(!Path::new(&state).exists());
    // A mount point without its disk.
    fs::create_dir(&state).expect("a directory");
    refused(&written.serve(), &[&state, "marker", "state_must_exist"]);
    assert_eq!(
        fs::read_dir(&state).expect("the directory").count(),
        0,
        "nothing is left in a foreign directory"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let written = Written::new(&configuration().to_string());
    let file = written.file.clone();
    let below = format!("{file}/state");
    refused(&run(&["serve", "--config", &file, "--state-dir", &below]), &[&below, "not a directory"]);

    let state = written.state();
    fs::create_dir(&state).expect("a directory");
    fs::set_permissions(&state, Permissions::from_mode(0o500)).expect("its mode");
    if fs::write(Path::new(&state).join("probe"), []).is_ok() {
        println!("this user may write everywhere");
        return;
    }
    refused(&written.serve(), &[&state, "cannot be read and written"]);
}

#[test]
fn check_and_schema_say_what_is_right() {
    let written = Written::new(&configuration().to_string());
    let checked = run(&["check", &written.file]);
    assert_eq!((checked.code, checked.errors.as_str()), (0, ""), "{checked:?}");
    assert_eq!(checked.output[0], format!("{}: ok", written.file));
    assert!(!Path::new(&written.state()).exists(), "check touches nothing");

    let schema = run(&["schema"]);
    assert_eq!((schema.code, schema.errors.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&schema.output.join("\n")).expect("JSON");
    assert_eq!(schema["title"], "Corelane configuration");
}

#[test]
fn a_wrong_command_line_has_an_exit_status_of_its_own() {
    let rows: [&[&str]; 6] = [
        &["serv"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--config", "a.json", "--size", "1GiB"],
        &["serve", "--size", "1GB"],
        &["check"],
        &["--log-level", "loud"],
    ];
    for arguments in rows {
        let finished = run(arguments);
        assert_eq!(finished.code, 2, "{arguments:?}: {finished:?}");
        assert!(finished.output.is_empty() && finished.errors.contains("--help"), "{finished:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let finished = run(&arguments);
        assert_eq!((finished.code, finished.errors.as_str()), (0, ""), "{finished:?}");
        assert!(
            finished.output[0].to_lowercase().contains("nvme") || finished.output[0].contains("corelane")
        );
    }
}

#[test]
fn the_log_is_for_people_or_for_machines() {
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for format in ["text", "json"] {
        let arguments = [&["--log-format", format][..], &serve].concat();
        let program = Program::start(&arguments);
        program.lines_until("connect with: ");
        let finished = program.stop();
        let lines: Vec<&str> = finished.errors.lines().collect();
        assert!(lines.len() >= 2, "{finished:?}");
        for line in &lines {
            let parsed: Result<Value, _> = serde_json::from_str(line);
            assert_eq!(parsed.is_ok(), format == "json", "{line}");
            if let Ok(line) = parsed {
                assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
            } else {
                assert!(line.contains("INFO") && !line.contains('\u{1b}'), "{line:?}");
            }
        }
    }
    let quiet = Program::start_with(&serve, &[("CORELANE_LOG", "error")]);
    quiet.lines_until("connect with: ");
    assert_eq!(quiet.stop().errors, "");
    let wrong = Program::start_with(&serve, &[("CORELANE_LOG", "corelane=loud")]);
    let finished = wrong.finish(std::time::Duration::from_secs(20));
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.errors.contains("CORELANE_LOG"), "{finished:?}");
}

#[test]
fn missing_hugepages_are_counted_with_the_command_that_adds_them() {
    // A terabyte for each reactor is more than any machine sets aside.
    let mut configuration = configuration();
    configuration["memory"] = json!({"hugepages": "always", "bytes_per_reactor": "1TiB"});
    let meminfo = fs::read_to_string("/proc/meminfo").expect("what the machine has");
    let page = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
    let written = Written::new(&configuration.to_string());
    let finished = written.serve();
    let Some(page) = page else {
        return refused(&finished, &["cannot take the memory of the I/O reactor", "has no hugepages"]);
    };
    let kib: u64 = page.trim().trim_end_matches(" kB").parse().expect("a number");
    let reactors = std::thread::available_parallelism().expect("a number of cores").get().max(2) as u64 - 1;
    let needed = reactors * (1 << 30) / kib;
    refused(
        &finished,
        &[
            "cannot take the memory of the I/O reactor on core ",
            &format!("{needed} hugepages of "),
            " of them are missing",
            "add them with `corelane setup hugepages ",
            "ask for less, or use ordinary memory",
        ],
    );
    let checked = run(&["check", &written.file]);
    assert_eq!(checked.code, 0, "a machine is no part of a configuration: {checked:?}");
    assert!(
        checked.output.contains(&"memory: 1TiB for each I/O reactor, always in huge pages".to_owned()),
        "{checked:?}"
    );
}

#[test]
fn memory_that_is_asked_for_is_taken_and_locked_at_the_start() {
    const BYTES: u64 = 16 << 20;
    let mut configuration = configuration();
    configuration["reactors"] = json!({"management": 0, "io": [0]});
    configuration["memory"] = json!({"populate": true, "hugepages": "never", "bytes_per_reactor": BYTES});
    let written = Written::new(&configuration.to_string());
    let program = Program::start(&["serve", "--config", &written.file, "--state-dir", &written.state()]);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    if !rustix::process::geteuid().is_root() && limit.is_some_and(|limit| limit < BYTES) {
        let finished = program.finish(std::time::Duration::from_secs(20));
        return refused(&finished, &["16777216 bytes of memory cannot be locked", "ulimit -l"]);
    }
    program.lines_until("connect with: ");
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).expect("its status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("what it has locked");
    let kib: u64 = locked.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib << 10 >= BYTES, "{locked}");
    let finished = program.stop();
    assert!(finished.errors.contains("took the memory of an I/O reactor"), "{}", finished.errors);
}
