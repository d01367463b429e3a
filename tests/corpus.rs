//! The corpora of `fuzz/`: each file that the fuzzers kept is shown to its target again, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Damaged files for each target.
const DAMAGED: u32 = 512;
/// Files of one target, and bytes of one file, at most: what is bigger does not belong into the tree.
const FILES_MAX: usize = 64;
const BYTES_MAX: usize = 8192;

/// What a target of the fuzzers calls.
type Entry = fn(&[u8]);

/// Every target of `fuzz/fuzz_targets`, and what it calls.
const TARGETS: [(&str, Entry); 10] = [
    ("answers", corelane::initiator::fuzz),
    ("config", corelane::config::fuzz),
    ("connection", corelane::connection::fuzz),
    ("device", corelane::nvme::fuzz),
    ("import", corelane::reservation::fuzz_import),
    ("metrics", corelane::metrics::fuzz),
    ("pdu", corelane::pdu::fuzz),
    ("record", corelane::reservation::fuzz_record),
    ("request", corelane::reservation::fuzz_request),
    ("target", corelane::nvmf::fuzz::fuzz),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder().join("corpus").join(target)).expect("a corpus for each target");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of a corpus").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

/// One of these, some bytes of which are replaced, cut out or doubled.
fn damaged(files: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<Index>(), any::<u8>(), 0u8..4);
    (any::<Index>(), proptest::collection::vec(damage, 1..8)).prop_map(move |(which, damages)| {
        let mut bytes = which.get(&files).clone();
        for (at, byte, what) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

#[test]
fn what_the_fuzzers_kept_breaks_nothing() {
    for (target, entry) in TARGETS {
        let files = corpus(target);
        assert!((1..=FILES_MAX).contains(&files.len()), "{target} has {} files", files.len());
        for bytes in &files {
            assert!(bytes.len() <= BYTES_MAX, "{target}: a file of {} bytes", bytes.len());
            entry(bytes);
        }
    }
}

#[test]
fn damaged_it_breaks_nothing() {
    for (target, entry) in TARGETS {
        // The same cases each time: proptest's deterministic seed.
        let config = Config { cases: DAMAGED, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, deterministic());
        let shown = runner.run(&damaged(corpus(target)), |bytes| {
            entry(&bytes);
            Ok(())
        });
        shown.unwrap_or_else(|failure| panic!("{target}: {failure}"));
    }
}

fn deterministic() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
}

#[test]
fn every_target_is_here() {
    let entries = fs::read_dir(folder().join("fuzz_targets")).expect("the targets");
    let mut names: Vec<String> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            path.file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}
