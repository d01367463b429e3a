//! A block device of an embedding program that panics: the reactor whose turn it was says which poller it happened in, the
//! other reactors end too, sockets are closed, and the process ends with 1.
//!
//! This file is also the program that is looked at, a `corelane` with one device more: no fault can be asked of the real
//! one. So it has a `main` of its own, which starts itself as `panicking serve --config FILE`.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command as Process, ExitCode, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use corelane::app::{Builder, Options};
use corelane::bdev::{
    Atomicity, Bdev, BdevError, Channel, Command, Features, Geometry, Home, Memory, OpenError, Submitted, Tag,
};
use corelane::cli::{self, Start, Surroundings};
use corelane::config::namespace_uuid;
use corelane::initiator::blocking::{Host, HostOptions};
use corelane::nvmf::namespace::Namespace;
use corelane::spec::nqn::Nqn;
use corelane::tune::setup::Machine;
use corelane_reactors::{cpu, poller::Wake};
use serde_json::json;

const NQN: &str = "nqn.2026-11.io.corelane:fragile";
/// Panics when it is handed a command for this block.
const AT_ONCE: u64 = 7;
/// Panics when it is polled for the completion of a command for this block.
const LATER: u64 = 8;
/// From the start of the process to its address, and from the panic to its end.
const STEP_MAX: Duration = Duration::from_secs(30);
const GEOMETRY: Geometry = Geometry {
    block_size: 512,
    blocks: 64,
    volatile_write_cache: false,
    survives_restart: false,
    atomicity: Atomicity::BLOCK,
    memory: Memory::Own,
    features: Features::NONE,
};

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let cores = cpu::allowed();
    for (block, phase) in [
        (AT_ONCE, "in poller sockets, phase Ingress"),
        (LATER, "in poller bdev-completions, phase Completions"),
    ] {
        one_core_panics(&cores[..1], block, &["reactor 0 (corelane)", phase]);
        println!("test block {block} on one core ... ok");
        if let [first, second, ..] = cores[..] {
            one_core_panics(&[first, second], block, &["reactor 1 (corelane-io-0)", phase]);
            println!("test block {block} on two cores ... ok");
        }
    }
    println!("test result: ok. The panic of a poller ends the process in order");
    ExitCode::SUCCESS
}

/// Management on the first of `cores`, I/O on the last. What is said in the end has `words` in it.
fn one_core_panics(cores: &[usize], block: u64, words: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("corelane.json");
    let document = json!({
        "reactors": {"management": cores[0], "io": [cores[cores.len() - 1]], "idle": {"policy": "park"}},
        "state_dir": directory.path().join("state"),
        "bdevs": [],
        "subsystems": [{"nqn": NQN, "allow_any_host": true, "listeners": [{"address": "127.0.0.1", "port": 0}]}]
    });
    fs::write(&file, document.to_string()).expect("writing the configuration");
    let errors = directory.path().join("errors");
    let mut child = Process::new(env::current_exe().expect("this program"))
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).expect("a file"))
        .spawn()
        .expect("starting this program");
    let output = follow(&mut child);
    let address = listening(&output);

    let mut bystander = TcpStream::connect(address).expect("a connection");
    let nqn = Nqn::parse(NQN).expect("a name");
    let mut host = Host::connect(address, &HostOptions::new(nqn)).expect("a host");
    assert_eq!(host.read(1, 0, 1).expect("a read"), [0; 512]);
    host.read(1, block, 1).expect_err("the target is gone");
    // Closed, whether by an end or by a reset; a process that hangs would leave it open.
    bystander.set_read_timeout(Some(STEP_MAX)).expect("a time limit");
    let closed = bystander.read(&mut [0; 1]);
    assert!(!matches!(&closed, Err(error) if error.kind() == io::ErrorKind::WouldBlock), "{closed:?}");

    // All that it says until its end.
    let said: Vec<String> = output.iter().collect();
    let code = child.wait().expect("waiting for the process").code();
    let errors = fs::read_to_string(&errors).expect("standard error");
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        said.iter().any(|line| line == "the device is closed"),
        "it did not end in order: {said:?}\n{errors}"
    );
    let last = errors.lines().last().unwrap_or_default();
    let haunted = format!("block {block} is haunted");
    let expected = ["corelane: a reactor failed", "panicked", &haunted];
    for word in words.iter().chain(&expected) {
        assert!(last.contains(word), "{word:?} is missing in {last:?}\n{errors}");
    }
}

/// The lines of its output, until it ends.
fn follow(child: &mut Child) -> mpsc::Receiver<String> {
    let output = child.stdout.take().expect("the piped output");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

fn listening(output: &mpsc::Receiver<String>) -> SocketAddr {
    loop {
        let line = output.recv_timeout(STEP_MAX).expect("a line that says where it listens");
        if let Some(address) = line.strip_prefix("listening tcp ") {
            return address.parse().expect("an address");
        }
    }
}

/// `corelane serve`, with one namespace more.
fn serve() -> ExitCode {
    let surroundings = Surroundings {
        arguments: env::args_os().collect(),
        variable: &|_| None,
        allowed: cpu::allowed(),
        machine: Machine::this(),
        output: &mut io::stdout(),
        errors: &mut io::stderr(),
    };
    cli::run_with(surroundings, |start: Start| {
        let nqn = Nqn::parse(NQN).expect("a name");
        let uuid = namespace_uuid(&nqn, 1);
        let options = Options { config: start.config, state_directory: start.state_directory };
        let namespace = Namespace { nsid: 1, uuid, bdev: Arc::new(Fragile) };
        Builder::new(options).namespace(nqn, namespace).serve()
    })
}

struct Fragile;

impl Bdev for Fragile {
    fn name(&self) -> &str {
        "fragile"
    }

    fn geometry(&self) -> &Geometry {
        &GEOMETRY
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(FragileChannel { pending: None }))
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        println!("the device is closed");
    }
}

struct FragileChannel {
    pending: Option<u64>,
}

impl Channel for FragileChannel {
    fn submit(&mut self, _tag: Tag, command: &Command<'_>) -> Submitted {
        let Command::Read { blocks, into } = command else {
            return Submitted::Done(Err(BdevError::Unsupported));
        };
        assert!(blocks.first != AT_ONCE, "block {AT_ONCE} is haunted");
        if blocks.first == LATER {
            self.pending = Some(LATER);
            return Submitted::Pending;
        }
        into.iter().for_each(|&segment| corelane::mem::zero(segment));
        Submitted::Done(Ok(()))
    }

    fn poll(&mut self, _done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        assert!(self.pending.is_none(), "block {LATER} is haunted");
        0
    }

    fn outstanding(&self) -> usize {
        usize::from(self.pending.is_some())
    }

    fn wake(&self) -> Wake {
        if self.pending.is_some() { Wake::Soon } else { Wake::Never }
    }
}
