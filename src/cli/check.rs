//! `corelane check`: reads a configuration file and says whether it is right.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use corelane_reactors::cpu;

use crate::app;
use crate::config::{
    self, Accepted, BdevKind, ByteSize, Config, Memory, Remote, Subsystem, TEXT_BYTES_MAX, Topology,
};

use super::Failure;

/// Says on `output` that the file is right, and what it describes; warnings go to `errors`.
pub(super) fn check(
    file: &Path,
    topology: &Topology,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    let Accepted { config, warnings } = load(file, topology)?;
    for warning in warnings {
        writeln!(errors, "corelane: {}: {warning}", file.display())?;
    }
    writeln!(output, "{}: ok", file.display())?;
    summary(&config, output)?;
    Ok(())
}

/// Reads and validates a configuration file; `-` is standard input.
pub(super) fn load(file: &Path, topology: &Topology) -> Result<Accepted, Failure> {
    let refused = |message: String| Failure::Refused(vec![format!("{}: {message}", file.display())]);
    let text = read(file).map_err(|problem| match problem.kind() {
        io::ErrorKind::InvalidData => refused("is not UTF-8 text; the configuration is JSON".to_owned()),
        _ => refused(format!("cannot be read: {problem}")),
    })?;
    config::parse_on(&text, topology).map_err(|findings| {
        Failure::Refused(findings.iter().map(|finding| format!("{}: {finding}", file.display())).collect())
    })
}

/// Reads one byte more than a configuration may have, so that a longer one is refused and an endless one
/// ends.
fn read(file: &Path) -> io::Result<String> {
    let limit = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)?;
    } else {
        File::open(file)?.take(limit).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn summary(config: &Config, output: &mut dyn Write) -> io::Result<()> {
    writeln!(
        output,
        "{}, {}",
        counted(config.subsystems.len(), "subsystem"),
        counted(config.namespaces(), "namespace")
    )?;
    writeln!(output, "{}", config.reactors)?;
    match app::socket_engine(config, &cpu::allowed()) {
        Ok(engine) => writeln!(output, "sockets: {engine}")?,
        Err(error) => writeln!(output, "sockets: io_uring, and not here: {error}")?,
    }
    let descriptors = app::Descriptors::raised(config);
    if !descriptors.is_enough() {
        writeln!(output, "open files: {descriptors}")?;
    }
    if config.memory != Memory::default() {
        writeln!(output, "{}", config.memory)?;
    }
    for subsystem in &config.subsystems {
        subsystem_summary(config, subsystem, output)?;
    }
    Ok(())
}

fn subsystem_summary(config: &Config, subsystem: &Subsystem, output: &mut dyn Write) -> io::Result<()> {
    let listeners: Vec<String> =
        subsystem.listeners.iter().map(|listener| listener.address.to_string()).collect();
    let listeners = if listeners.is_empty() { "no address".to_owned() } else { listeners.join(", ") };
    let hosts =
        if subsystem.allow_any_host { "any host".to_owned() } else { counted(subsystem.hosts.len(), "host") };
    writeln!(output, "{} on {listeners} for {hosts}", subsystem.nqn)?;
    for namespace in &subsystem.namespaces {
        let Some(bdev) = config.bdev(&namespace.bdev) else { continue };
        let shape = |size: ByteSize, block_size: u32| format!("{size} in blocks of {block_size} bytes");
        let (kind, shape) = match &bdev.kind {
            BdevKind::Malloc { size, block_size, .. } => ("malloc", shape(*size, *block_size)),
            BdevKind::Null { size, block_size } => ("null", shape(*size, *block_size)),
            BdevKind::FileBacked { size: Some(size), block_size, .. } => ("file", shape(*size, *block_size)),
            BdevKind::FileBacked { size: None, block_size, .. } => {
                ("file", format!("as large as it is in blocks of {block_size} bytes"))
            }
            BdevKind::Nvme { address, namespace: None } => ("nvme", format!("the namespace of {address}")),
            BdevKind::Nvme { address, namespace: Some(nsid) } => {
                ("nvme", format!("namespace {nsid} of {address}"))
            }
            BdevKind::Nvmf(remote) => ("nvmf", far(remote)),
        };
        let (nsid, uuid) = (namespace.nsid, namespace.uuid);
        writeln!(output, "  namespace {nsid}: {kind} {}, {shape}, UUID {uuid}", bdev.name)?;
    }
    Ok(())
}

/// `namespace 1 of nqn... at 10.0.0.2:4420, 10.0.1.2:4420`
fn far(remote: &Remote) -> String {
    let namespace = remote.namespace.map_or("the namespace".to_owned(), |nsid| format!("namespace {nsid}"));
    let paths: Vec<String> = remote.paths.iter().map(ToString::to_string).collect();
    format!("{namespace} of {} at {}", remote.nqn, paths.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
