//! Who may use whom: the table of folders, and the uses that it does not have.

use super::Finding;
use super::source::{Source, name};

/// What a folder of `src/` may use.
enum Uses {
    /// These folders, and nothing else of the crate.
    Only(&'static [&'static str]),
    /// The whole crate: the places that know everything.
    Everything,
}

/// Each folder of `src/`, whether it may use the reactors crate, and what else it may use. Folders that are not
/// there yet have their place already, so that they cannot be put into another one.
const LAYERS: [(&str, bool, Uses); 22] = [
    ("spec", false, Uses::Only(&[])),
    ("mem", true, Uses::Only(&[])),
    ("trace", true, Uses::Only(&[])),
    ("pdu", false, Uses::Only(&["spec"])),
    ("reservation", false, Uses::Only(&["spec"])),
    ("config", false, Uses::Only(&["spec"])),
    ("connection", false, Uses::Only(&["spec", "pdu"])),
    ("persist", true, Uses::Only(&[])),
    ("nvme", true, Uses::Only(&["spec", "mem", "trace"])),
    ("vfio", true, Uses::Only(&["spec", "mem", "nvme"])),
    ("initiator", true, Uses::Only(&["spec", "pdu", "connection", "mem", "trace"])),
    ("bdev", true, Uses::Only(&["mem", "nvme", "vfio", "initiator", "trace"])),
    ("nvmf", true, Uses::Only(&["spec", "reservation", "persist", "bdev", "mem", "trace"])),
    ("transport", true, Uses::Only(&["spec", "pdu", "connection", "nvmf", "mem", "trace"])),
    ("rpc", true, Uses::Only(&["config", "nvmf", "bdev", "trace"])),
    ("metrics", true, Uses::Only(&["config", "nvmf", "bdev", "trace"])),
    ("perf", true, Uses::Only(&["spec", "initiator", "bdev", "config", "mem", "trace"])),
    ("tune", true, Uses::Only(&["spec", "initiator", "bdev", "config", "mem", "trace"])),
    ("cli", true, Uses::Everything),
    ("app", true, Uses::Everything),
    ("tidy", false, Uses::Only(&[])),
    // The crate's root and the program: declarations and one call.
    ("", true, Uses::Everything),
];

/// Folders that do no I/O, and what would be I/O in them. Their tests may read files and the environment.
const PURE: [&str; 5] = ["spec", "pdu", "reservation", "config", "connection"];
const IMPURE: [&str; 10] = [
    "fs",
    "env",
    "thread",
    "process",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "File",
];

/// Every rule of this file that looks at one source.
pub(super) fn all(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.path.starts_with("reactors/") {
        findings.extend(reactors_know_nothing(source));
    }
    let Some(folder) = folder(&source.path) else { return findings };
    let Some((_, reactors, uses)) = LAYERS.iter().find(|(name, ..)| *name == folder) else { return findings };
    if let Uses::Only(allowed) = uses {
        findings.extend(uses_outside(source, folder, allowed));
        findings.extend(climbs_out(source));
    }
    if !reactors {
        let uses = source.words("corelane_reactors");
        findings
            .extend(uses.map(|at| finding(source, at, format!("{folder} may not use the reactors crate"))));
    }
    if PURE.contains(&folder) && !source.path.contains("/tests") {
        findings.extend(does_io(source, folder));
    }
    findings
}

/// Folders of `src/` that the table does not have.
pub(super) fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let unknown = paths.filter_map(folder).filter(|folder| LAYERS.iter().all(|(name, ..)| name != folder));
    unknown
        .map(|folder| Finding {
            path: format!("src/{folder}"),
            line: 0,
            message: "is not in the table of folders".to_owned(),
        })
        .collect()
}

/// Folder of a path below `src/`; empty for the files of the crate's root, none for other trees.
fn folder(path: &str) -> Option<&str> {
    let path = path.strip_prefix("src/")?;
    match path.split_once('/') {
        Some((folder, _)) => Some(folder),
        None if path == "lib.rs" || path == "main.rs" => Some(""),
        None => Some(path.strip_suffix(".rs").unwrap_or(path)),
    }
}

/// Paths from the crate's root into a folder that is not in the list.
fn uses_outside(source: &Source, folder: &str, allowed: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in source.words("crate") {
        let Some(path) = source.rest(at + "crate".len()).strip_prefix("::") else { continue };
        for used in roots(path) {
            if used == folder {
                continue;
            }
            if !allowed.contains(&used) {
                findings.push(finding(source, at, format!("{folder} may not use crate::{used}")));
            } else if is_public_glob(source, at, path) {
                findings.push(finding(source, at, format!("{folder} re-exports by glob from crate::{used}")));
            }
        }
    }
    findings
}

/// The first names of a path or of a tree of paths: `a` of `a::b`, `a` and `c` of `{a::{b}, c}`.
fn roots(path: &str) -> Vec<&str> {
    let path = path.trim_start();
    let Some(tree) = path.strip_prefix('{') else { return vec![first(path)] };
    let (mut depth, mut roots, mut rest) = (0, vec![first(tree.trim_start())], tree);
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => roots.push(first(rest.trim_start())),
            _ => {}
        }
    }
    roots.retain(|root| !root.is_empty());
    roots
}

/// The first name of a path, or its `*`.
fn first(path: &str) -> &str {
    if path.starts_with('*') { "*" } else { name(path) }
}

/// Whether the path at `at` is the one of a `pub use` that has a `*` in it.
fn is_public_glob(source: &Source, at: usize, path: &str) -> bool {
    let statement = source.code[..at].rfind([';', '}']).map_or(0, |end| end + 1);
    let head = &source.code[statement..at];
    let tail = path.split(';').next().unwrap_or(path);
    let words: Vec<&str> = head.split_whitespace().collect();
    words.last() == Some(&"use") && words.iter().any(|word| word.starts_with("pub")) && tail.contains('*')
}

/// Chains of `super` that reach the crate's root, past what [`uses_outside`] sees.
fn climbs_out(source: &Source) -> Vec<Finding> {
    let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = path.trim_end_matches("/mod").split('/').count();
    let mut findings = Vec::new();
    let mut end = 0;
    for at in source.words("super") {
        if at < end {
            continue;
        }
        end = at;
        let (mut supers, mut rest) = (0, &source.code[at..]);
        while name(rest) == "super" {
            supers += 1;
            end = source.code.len() - rest.len() + 1;
            let Some(next) = rest["super".len()..].trim_start().strip_prefix("::") else { break };
            rest = next.trim_start();
        }
        if supers >= depth {
            findings.push(finding(
                source,
                at,
                "climbs to the crate's root: start the path with crate::".to_owned(),
            ));
        }
    }
    findings
}

/// The reactors crate stands alone.
fn reactors_know_nothing(source: &Source) -> Vec<Finding> {
    source
        .words("corelane")
        .map(|at| finding(source, at, "reactors may not use corelane".to_owned()))
        .collect()
}

/// What a folder without I/O may not name.
fn does_io(source: &Source, folder: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in IMPURE {
        for at in source.words(word) {
            let is_path = source.rest(at + word.len()).starts_with("::") || source.code[..at].ends_with("::");
            if is_path || word.starts_with(char::is_uppercase) {
                findings.push(finding(
                    source,
                    at,
                    format!("{folder} does no I/O and reads no clock: {word}"),
                ));
            }
        }
    }
    findings
}

fn finding(source: &Source, at: usize, message: String) -> Finding {
    Finding { path: source.path.clone(), line: source.line(at), message }
}
