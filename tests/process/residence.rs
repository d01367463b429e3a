//! A target that is started again and again on one state directory.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use corelane::initiator::blocking::{Exchange, Host, HostError};
use corelane::initiator::command::reservation;
use corelane::spec::reservation::{PersistChange, RegisterAction};
use serde_json::json;
use zerocopy::IntoBytes;

use crate::program::Program;
use crate::storm::{configuration, uuid};

/// A configuration and a state directory.
pub(crate) struct Residence {
    directory: tempfile::TempDir,
}

impl Residence {
    /// With so many namespaces, whose reservations persist.
    pub(crate) fn new(namespaces: u32) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let configuration = configuration(namespaces, &json!({"address": "127.0.0.1", "port": 0}));
        fs::write(directory.path().join("corelane.json"), configuration.to_string())
            .expect("writing the file");
        Self { directory }
    }

    /// Starts the target, which logs warnings and errors only; returns when hosts can connect.
    pub(crate) fn start(&self) -> (Program, SocketAddr) {
        self.start_by(&[])
    }

    /// As [`Residence::start`], by a command line that runs another.
    pub(crate) fn start_by(&self, wrapper: &[&str]) -> (Program, SocketAddr) {
        let program = Program::start_by(wrapper, &self.serve());
        let lines = program.lines_until("listening tcp ");
        let address = lines.last().and_then(|line| line.strip_prefix("listening tcp ")).expect("an address");
        let address = address.parse().expect("an address");
        (program, address)
    }

    /// The command line of the target.
    pub(crate) fn serve(&self) -> [String; 7] {
        let file = self.path("corelane.json");
        ["--log-level", "warn", "serve", "--config", &file, "--state-dir", &self.path("state")]
            .map(str::to_owned)
    }

    /// The state directory, which is there once a target was.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The file of the record of namespace `nsid`.
    pub(crate) fn record(&self, nsid: u32) -> PathBuf {
        self.state().join(uuid(nsid))
    }

    /// Of a file beside the state directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }
}

/// Registers `key` for the host, so that it survives.
pub(crate) fn register(host: &mut Host, nsid: u32, key: u64) -> Result<(), HostError> {
    let (sqe, data) = reservation::register(nsid, RegisterAction::REGISTER, PersistChange::SET, 0, key);
    host.io(&sqe, Exchange::Send(data.as_bytes())).map(drop)
}
