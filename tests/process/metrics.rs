//! What a running target says of itself: numbers that add up with what hosts did, an endpoint that no visitor can hurt,
//! and `corelane top`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::blocking::Host;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::idle::ticks;
use crate::pattern;
use crate::program::{Finished, Program, run};
use crate::scene::{NQN, configuration, connect};

/// The least time in which a visitor has to do its part, and what may come on top of it on a slow machine.
const VISIT: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(5);
const BLOCK_BYTES: u64 = 512;

/// A target that serves its metrics.
pub(crate) struct Metered {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
    _directory: TempDir,
}

/// Writes a configuration down, and gives the command line that serves it.
fn command_line(configuration: &Value, directory: &TempDir) -> [String; 5] {
    let file = directory.path().join("corelane.json");
    fs::write(&file, configuration.to_string()).expect("writing the configuration");
    let path = |path: std::path::PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let words = ["serve", "--config", "", "--state-dir", ""].map(str::to_owned);
    let [serve, config, _, state_dir, _] = words;
    [serve, config, path(file), state_dir, path(directory.path().join("state"))]
}

impl Metered {
    pub(crate) fn start() -> Self {
        let mut configuration = configuration();
        configuration["metrics"] = json!({"listen": "127.0.0.1:0"});
        let directory = tempfile::tempdir().expect("a temporary directory");
        let program = Program::start(&command_line(&configuration, &directory));
        let lines = program.lines_until("listening tcp ");
        let told = |start: &str| lines.iter().find_map(|line| line.strip_prefix(start).map(str::to_owned));
        let metrics = told("metrics: http://").expect("where the metrics are");
        let metrics = metrics.trim_end_matches("/metrics").parse().expect("an address");
        let address = told("listening tcp ").expect("where it listens").parse().expect("an address");
        Self { program, address, metrics, _directory: directory }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.metrics)
    }

    pub(crate) fn scrape(&self) -> String {
        let answer = exchange(self.metrics, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        body.to_owned()
    }
}

/// Sends bytes; gives the whole answer.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(VISIT + LATE)).expect("a limit");
    // Whoever is refused early may find the other end closed.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer and its end");
    String::from_utf8(answer).expect("text")
}

/// The sum of the series of a name whose labels have all of these parts.
pub(crate) fn sum(text: &str, name: &str, parts: &[&str]) -> u64 {
    let start = format!("{name}{{");
    let series = text.lines().filter(|line| line.starts_with(&start));
    let matching = series.filter(|line| parts.iter().all(|part| line.contains(part)));
    matching
        .map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number"))
        .map(|value| format!("{value:.0}").parse::<u64>().expect("a whole number"))
        .sum()
}

/// 10 reads and 5 writes of 4 KiB, a flush, a comparison that fails, and a read behind the end.
fn work(host: &mut Host) {
    let data = pattern::blocks(1, 0, 4096);
    for index in 0..5 {
        host.write(1, index * 8, &data).expect("a write");
    }
    for _ in 0..10 {
        host.read(1, 0, 8).expect("a read");
    }
    host.flush(1).expect("a flush");
    host.compare(1, 64, &data).expect_err("there are zeros");
    host.read(1, (64 << 20) / BLOCK_BYTES, 1).expect_err("behind the end");
}

#[test]
fn numbers_add_up_with_what_a_host_did() {
    let target = Metered::start();
    let mut host = connect(target.address, NQN);
    let before = target.scrape();
    work(&mut host);
    let after = target.scrape();
    let grown = |name: &str, parts: &[&str]| sum(&after, name, parts) - sum(&before, name, parts);
    let namespace = [r#"disk0""#, r#"nsid="1""#];
    let connection = [r#"disk0""#, r#"qid="1""#];
    for (of, place) in [("namespace", namespace), ("connection", connection)] {
        let rows = [
            ("commands_total", r#"command="read""#, 11),
            ("errors_total", r#"command="read""#, 1),
            ("data_bytes_total", r#"command="read""#, 40_960),
            ("commands_total", r#"command="write""#, 5),
            ("errors_total", r#"command="write""#, 0),
            ("data_bytes_total", r#"command="write""#, 20_480),
            ("commands_total", r#"command="flush""#, 1),
            ("errors_total", r#"command="compare""#, 1),
            ("latency_seconds_count", r#"class="read""#, 11),
            ("latency_seconds_bucket", r#"class="write""#, 0),
            ("latency_seconds_count", r#"class="write""#, 5),
            ("latency_seconds_count", r#"class="other""#, 2),
        ];
        for (name, part, expected) in rows {
            let name = format!("corelane_{of}_{name}");
            let parts = [place[0], place[1], part];
            if name.ends_with("_bucket") {
                let all = grown(&name, &[place[0], place[1], part, r#"le="+Inf""#]);
                assert_eq!(all, 5, "{name}: every value is below infinity");
                continue;
            }
            assert_eq!(grown(&name, &parts), expected, "{name} {parts:?}");
        }
    }
    assert_eq!(grown("corelane_endpoint_commands_total", &[r#"role="io""#]), 18);
    assert_eq!(sum(&after, "corelane_namespace_media_errors_total", &namespace), 0, "a comparison is none");
    let other = [r#"nsid="2""#];
    assert_eq!(sum(&after, "corelane_namespace_commands_total", &other), 0, "nobody used it");
    for name in ["reactor_turns_total", "reactor_busy_turns_total", "poller_busy_runs_total"] {
        assert!(grown(&format!("corelane_{name}"), &[]) > 0, "{name}");
    }
    assert!(sum(&after, "corelane_connection", &[r#"qid="0""#]) >= 1, "the admin queue");

    host.disconnect().expect("a disconnect");
    let deadline = Instant::now() + LATE;
    while sum(&target.scrape(), "corelane_connection", &[]) > 0 {
        assert!(Instant::now() < deadline, "its connections are gone");
    }
    let last = target.scrape();
    let reads = sum(&last, "corelane_namespace_commands_total", &[r#"disk0""#, r#"command="read""#]);
    assert_eq!(reads, sum(&after, "corelane_namespace_commands_total", &[r#"disk0""#, r#"command="read""#]));
    target.program.stop();
}

#[test]
fn scrapes_under_load_never_go_back() {
    let target = Metered::start();
    let mut host = connect(target.address, NQN);
    let mut last = 0;
    for round in 1..=20 {
        for _ in 0..50 {
            host.read(1, 0, 8).expect("a read");
        }
        let text = target.scrape();
        let reads = sum(
            &text,
            "corelane_namespace_commands_total",
            &[r#"disk0""#, r#"nsid="1""#, r#"command="read""#],
        );
        assert!(reads >= last && reads >= round * 50, "{last} reads, then {reads}");
        last = reads;
    }
    target.program.stop();
}

#[test]
fn an_idle_target_with_metrics_costs_next_to_nothing() {
    let target = Metered::start();
    let hosts = [(); 4].map(|()| connect(target.address, NQN));
    target.scrape();
    let before = ticks(target.program.id());
    thread::sleep(Duration::from_secs(3));
    let used = ticks(target.program.id()) - before;
    assert!(used <= 3, "{used} ticks in 3 s");
    drop(hosts);
    target.program.stop();
}

#[test]
fn rare_events_are_told() {
    let target = Metered::start();
    let host = connect(target.address, NQN);
    let mut stranger = TcpStream::connect(target.address).expect("a connection");
    stranger.write_all(&[0xff; 128]).expect("garbage");
    let _ = stranger.read(&mut [0; 64]);
    host.disconnect().expect("a disconnect");
    let wanted = ["connected", "queue_opened", "protocol_error", "queue_closed", "disconnected"];
    let deadline = Instant::now() + LATE;
    loop {
        let answer = exchange(target.metrics, b"GET /events HTTP/1.1\r\n\r\n");
        let lines = answer.split_once("\r\n\r\n").expect("a body").1.lines();
        let events: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let times: Vec<_> = events.iter().map(|event| event["time_ns"].as_u64().expect("a time")).collect();
        assert!(times.is_sorted(), "{events:?}");
        if wanted.iter().all(|name| events.iter().any(|event| event["event"] == *name)) {
            let opened = events.iter().find(|event| event["event"] == "queue_opened").expect("one");
            assert_eq!((opened["qid"].as_u64(), opened["subsystem"].as_u64()), (Some(1), Some(0)));
            break;
        }
        assert!(Instant::now() < deadline, "{events:?}");
    }
    target.program.stop();
}

#[test]
fn visitors_who_want_something_else_are_told_so() {
    let target = Metered::start();
    let mut host = connect(target.address, NQN);
    let long = format!("GET /metrics HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let rows: [(&[u8], &str); 7] = [
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 Method Not Allowed\r\n"),
        (&[0xff; 4096], "HTTP/1.1 400 Bad Request\r\n"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP/1.1 400 Bad Request\r\n"),
        (long.as_bytes(), "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
    ];
    for (request, start) in rows {
        let mut stream = TcpStream::connect(target.metrics).expect("a connection");
        stream.set_read_timeout(Some(VISIT + LATE)).expect("a limit");
        let _ = stream.write_all(request);
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert!(answer.starts_with(start), "{answer}");
        host.read(1, 0, 8).expect("a read");
    }
    let pipelined = exchange(target.metrics, &b"GET /metrics HTTP/1.1\r\n\r\n".repeat(10));
    assert_eq!(pipelined.matches("HTTP/1.1 200 OK\r\n").count(), 1, "one answer a connection");
    drop(host);
    target.program.stop();
}

#[test]
fn silent_visitors_keep_nobody_out_and_are_shown_out() {
    let target = Metered::start();
    let start = Instant::now();
    let mut silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(target.metrics).expect("a connection")).collect();
    for stream in &mut silent {
        // Those that came first may have been shown out already.
        let _ = stream.write_all(b"GET /met");
    }
    assert!(target.scrape().contains("corelane_reactor_turns_total"));
    assert!(start.elapsed() < VISIT, "it did not wait for the silent ones");
    let mut last = silent.pop().expect("one");
    last.set_read_timeout(Some(VISIT + LATE)).expect("a limit");
    let gone = last.read(&mut [0]);
    assert!(
        gone.as_ref().is_ok_and(|count| *count == 0)
            || gone.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
    assert!(start.elapsed() >= VISIT, "it had its time");

    // One who does not read the answer.
    let mut deaf = TcpStream::connect(target.metrics).expect("a connection");
    deaf.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("a request");
    deaf.shutdown(Shutdown::Write).expect("nothing more");
    assert!(target.scrape().contains("corelane_reactor_turns_total"));
    drop(deaf);
    target.program.stop();
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let mut configuration = configuration();
    configuration["metrics"] = json!({"listen": address});
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Finished { code, output, errors } = run(&command_line(&configuration, &directory));
    assert_eq!((code, output), (1, Vec::new()), "{errors}");
    for part in ["cannot serve the metrics", &address, "in use"] {
        assert!(errors.contains(part), "{part:?} is not in {errors}");
    }
}

#[test]
fn top_shows_what_hosts_do() {
    let target = Metered::start();
    let mut host = connect(target.address, NQN);
    work(&mut host);
    let once = |more: &str| {
        let url = target.url();
        let words = ["top", "--url", &url, "--once", "--interval", "100ms", more];
        let finished = run(&words[..words.len() - usize::from(more.is_empty())]);
        assert_eq!(finished.code, 0, "{}", finished.errors);
        finished.output
    };
    let page = once("");
    assert!(page[0].starts_with(&format!("corelane top  {}/metrics", target.url())), "{page:?}");
    for head in ["REACTOR  CORE", "SUBSYSTEM", "HOST"] {
        assert!(page.iter().any(|line| line.starts_with(head)), "{head}: {page:?}");
    }
    let namespaces = page.iter().filter(|line| line.starts_with("nqn.2026-11.io.corelane:disk"));
    assert_eq!(namespaces.count(), 3, "{page:?}");
    let json: Value = serde_json::from_str(&once("--json").concat()).expect("JSON");
    assert_eq!(json["namespaces"][0]["errors"], 2.0, "{json}");
    assert_eq!(json["connections"].as_array().expect("a list").len(), 2, "{json}");

    let running = Program::start(&["top", "--url", &target.url(), "--interval", "100ms"]);
    running.lines_until("corelane top");
    running.lines_until("corelane top");
    running.signal(Signal::INT);
    let finished = running.finish(LATE);
    assert_eq!((finished.code, finished.errors.as_str()), (0, ""));
    drop(host);
    target.program.stop();
}

#[test]
fn top_says_why_there_is_nothing_to_show() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let finished = run(&["top", "--once", "--url", &format!("http://{free}")]);
    assert_eq!(finished.code, 1);
    for part in [&free.to_string(), "cannot connect", "\"metrics\""] {
        assert!(finished.errors.contains(part), "{}", finished.errors);
    }
    // Something else that listens: a target's own port.
    let target = Metered::start();
    let finished = run(&["top", "--once", "--url", &format!("http://{}", target.address)]);
    assert_eq!(finished.code, 1);
    assert!(finished.errors.contains("no HTTP") || finished.errors.contains("failed"), "{}", finished.errors);
    target.program.stop();
}
