//! The configuration files of `tuning/`: each is right, and has the layout that its name says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use corelane::config::{self, Config};

/// The files, parsed for a process that may use these cores.
fn files(allowed: &[usize]) -> BTreeMap<String, Config> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder tuning/") {
        let path = entry.expect("an entry of tuning/").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a readable file");
        let accepted = config::parse(&text, allowed)
            .unwrap_or_else(|findings| panic!("{name} is refused: {findings:?}"));
        assert!(accepted.warnings.is_empty(), "{name}: {:?}", accepted.warnings);
        files.insert(name, accepted.config);
    }
    files
}

#[test]
fn every_file_has_the_cores_of_its_name() {
    let files = files(&[0, 1]);
    let cores: Vec<_> = files.iter().map(|(name, config)| (name.as_str(), config.reactors.cores())).collect();
    assert_eq!(cores, [("one-core", vec![0]), ("two-cores", vec![0, 1])]);
}

#[test]
fn every_file_serves_the_loopback_address_only() {
    for (name, config) in files(&[0, 1]) {
        let listeners: Vec<_> = config.subsystems.iter().flat_map(|subsystem| &subsystem.listeners).collect();
        assert!(!listeners.is_empty(), "{name}");
        assert!(
            listeners.iter().all(|listener| listener.address.ip().is_loopback()),
            "{name}: {listeners:?}"
        );
    }
}

#[test]
fn two_cores_are_refused_where_there_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/two-cores.json");
    let text = fs::read_to_string(path).expect("a readable file");
    let findings = config::parse(&text, &[0]).expect_err("core 1 is not allowed");
    assert_eq!(findings[0].place.as_str(), "reactors.io");
}
