//! A target that is started again and again on one state directory.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use corelane::initiator::blocking::{Exchange, Host, HostError, HostOptions};
use corelane::initiator::command::reservation::{self, Report};
use corelane::spec::nqn::Nqn;
use corelane::spec::reservation::{PersistChange, RegisterAction};
use serde_json::{Value, json};
use zerocopy::IntoBytes;

use crate::program::Program;

/// Name of the only subsystem.
pub(crate) const NQN: &str = "nqn.2026-11.io.corelane:kept";
/// Room for the report of 255 registrants.
const REPORT_BYTES: u32 = 64 * 256;

/// A configuration and a state directory.
pub(crate) struct Residence {
    directory: tempfile::TempDir,
}

/// UUID of the namespace `nsid`.
pub(crate) fn uuid(nsid: u32) -> String {
    format!("6f1b9a5c-6f0e-4c3e-8d6a-{nsid:012x}")
}

/// What to connect with, as a host of its own.
pub(crate) fn options() -> HostOptions {
    HostOptions::new(Nqn::parse(NQN).expect("a name"))
}

impl Residence {
    /// With so many namespaces, whose reservations persist.
    pub(crate) fn new(namespaces: u32) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let nsids = 1..=namespaces;
        let bdevs =
            nsids.clone().map(|nsid| json!({"name": format!("ram{nsid}"), "type": "malloc", "size": "1MiB"}));
        let namespaces =
            nsids.map(|nsid| json!({"nsid": nsid, "bdev": format!("ram{nsid}"), "uuid": uuid(nsid)}));
        let configuration = json!({
            "bdevs": bdevs.collect::<Vec<Value>>(),
            "subsystems": [{
                "nqn": NQN, "allow_any_host": true, "listeners": [{"address": "127.0.0.1", "port": 0}],
                "namespaces": namespaces.collect::<Vec<Value>>()
            }]
        });
        fs::write(directory.path().join("corelane.json"), configuration.to_string())
            .expect("writing the file");
        Self { directory }
    }

    /// Starts the target, which logs warnings and errors only; returns when hosts can connect.
    pub(crate) fn start(&self) -> (Program, SocketAddr) {
        let path = |name| self.directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
        let (file, state) = (path("corelane.json"), path("state"));
        let program =
            Program::start(&["--log-level", "warn", "serve", "--config", &file, "--state-dir", &state]);
        let lines = program.lines_until("listening tcp ");
        let address = lines.last().and_then(|line| line.strip_prefix("listening tcp ")).expect("an address");
        let address = address.parse().expect("an address");
        (program, address)
    }

    /// The file of the record of namespace `nsid`.
    pub(crate) fn record(&self, nsid: u32) -> PathBuf {
        self.directory.path().join("state").join(uuid(nsid))
    }
}

/// Registers `key` for the host, so that it survives.
pub(crate) fn register(host: &mut Host, nsid: u32, key: u64) -> Result<(), HostError> {
    let (sqe, data) = reservation::register(nsid, RegisterAction::REGISTER, PersistChange::SET, 0, key);
    host.io(&sqe, Exchange::Send(data.as_bytes())).map(drop)
}

/// Reservation Report.
pub(crate) fn report(host: &mut Host, nsid: u32) -> Result<Report, HostError> {
    let bytes = REPORT_BYTES as usize;
    let answer = host.io(&reservation::report(nsid, REPORT_BYTES), Exchange::Receive(bytes))?;
    Ok(Report::decode(&answer.data).expect("a header"))
}
