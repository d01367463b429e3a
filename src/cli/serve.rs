//! `corelane serve`, up to the point where everything that starting needs is known. Starts nothing itself.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::config::{Accepted, Config, Embedded, Finding, Topology};
use crate::persist::{Environment, default_path};

use super::arguments::{LogArguments, ServeArguments};
use super::{Failure, Log, check};

/// Everything that serving needs to start.
#[derive(Debug)]
pub struct Start {
    /// What is served; a directory named on the command line is in it.
    pub config: Config,
    /// What is odd about the configuration: to be logged as warnings.
    pub warnings: Vec<Finding>,
    /// The state directory: of the command line, else of the configuration, else of the environment.
    pub state_directory: PathBuf,
    /// The log to install.
    pub log: Log,
    /// The file that is read again at SIGHUP.
    pub source: Option<Source>,
}

/// A configuration file, and the cores that it was read for.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    topology: Topology,
}

impl Source {
    /// Reads the file again, once it is safe on its disk: what is let hold now holds after a power loss, too.
    ///
    /// # Errors
    /// Everything that is wrong, in lines.
    pub fn read(&self) -> Result<Config, Vec<String>> {
        let durable = File::open(&self.file).and_then(|file| file.sync_all());
        durable
            .map_err(|problem| vec![format!("{}: cannot be made durable: {problem}", self.file.display())])?;
        match check::load(&self.file, &self.topology) {
            Ok(Accepted { config, .. }) => Ok(config),
            Err(Failure::Refused(messages)) => Err(messages),
            Err(Failure::Usage(message)) => Err(vec![message]),
            Err(Failure::Output(problem)) => Err(vec![problem.to_string()]),
        }
    }
}

/// Puts together what the command line, the configuration file and the environment say.
pub(super) fn prepare(
    options: &ServeArguments,
    log: &LogArguments,
    variable: &dyn Fn(&str) -> Option<String>,
    topology: &Topology,
) -> Result<Start, Failure> {
    let log =
        Log::new(log, variable).map_err(|problem| Failure::Usage(format!("CORELANE_LOG: {problem}")))?;
    let Accepted { config, warnings } = match &options.config {
        Some(file) => check::load(file, topology)?,
        None => embedded(options, topology)?,
    };
    let configured = config.state_directory.clone();
    let state_directory = state_directory(options.state_dir.as_deref(), configured, variable)?;
    let file = options.config.clone().filter(|file| file != Path::new("-"));
    let source = file.map(|file| Source { file, topology: topology.clone() });
    Ok(Start { config, warnings, state_directory, log, source })
}

/// The state directory: of the command line, else of the configuration, else of the environment.
pub(super) fn state_directory(
    named: Option<&Path>,
    configured: Option<PathBuf>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return absolute(path);
    }
    configured.or_else(|| default_path(&environment(variable))).ok_or_else(|| {
        let message = "no state directory: HOME is not set; name one with --state-dir";
        Failure::Refused(vec![message.to_owned()])
    })
}

fn embedded(options: &ServeArguments, topology: &Topology) -> Result<Accepted, Failure> {
    let default = Embedded::default();
    let listen = options.listen.unwrap_or(default.listen);
    let size = options.size.unwrap_or(default.size);
    Embedded { listen, size }.config(topology).map_err(|findings| {
        // Only these two can be wrong, so the places in a file that nobody wrote need not be shown.
        let message = |finding: &Finding| match finding.place.as_str() {
            "bdevs[0].size" => format!("--size {}", finding.message),
            _ => finding.to_string(),
        };
        Failure::Refused(findings.iter().map(message).collect())
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|problem| Failure::Usage(format!("--state-dir {}: {problem}", path.display())))
}

fn environment(variable: &dyn Fn(&str) -> Option<String>) -> Environment {
    Environment {
        state_directory: variable("STATE_DIRECTORY"),
        xdg_state_home: variable("XDG_STATE_HOME"),
        home: variable("HOME"),
    }
}
