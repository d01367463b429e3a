//! The test of the tree: layers, sizes, names and words. It works on text, which is enough because paths start
//! with `crate::` and nothing is re-exported by glob across folders (a rule of its own, see [`layers`]).
//!
//! A rule is a function from a [`Source`] (or a text) to [`Finding`]s. [`tests`] feeds each of them what it must
//! refuse: a rule that cannot fail would hold no tree together.

use std::fmt;
use std::fs;
use std::path::Path;

use source::Source;

mod layers;
mod manifests;
mod shape;
mod source;
mod words;

/// Folders that are not the project's text: what is built, and what version control keeps.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// One place that breaks a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Finding {
    /// File or folder, relative to the root of the repository.
    path: String,
    /// Line, from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong, and with what.
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

#[test]
fn the_tree_is_tidy() {
    let tree = tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let findings = findings(&tree);
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} places break a rule of the tree:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn the_whole_tree_is_looked_at() {
    let tree = tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let wanted =
        ["Cargo.lock", "Cargo.toml", ".ci/run", "src/tidy.rs", "reactors/Cargo.toml", "reactors/src/lib.rs"];
    for path in wanted {
        assert!(tree.iter().any(|(found, _)| found == path), "{path} is not among the files");
    }
}

/// Every finding of every rule, in the order of the files.
fn findings(tree: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree {
        findings.extend(words::in_text(path, text));
        findings.extend(shape::names(path));
        if path.ends_with(".rs") {
            let source = Source::new(path, text);
            findings.extend(layers::all(&source));
            findings.extend(shape::all(&source));
            findings.extend(words::in_code(&source));
        }
        if path.ends_with("Cargo.toml") {
            findings.extend(manifests::manifest(path, text));
        }
        if path.ends_with("Cargo.lock") {
            findings.extend(manifests::lock(path, text));
        }
    }
    findings.extend(layers::folders(tree.iter().map(|(path, _)| path.as_str())));
    findings.sort();
    findings.dedup();
    findings
}

/// Path, relative and with `/`, and text of every text file under `root`, sorted by path.
fn tree(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder of the tree") {
            let entry = entry.expect("an entry of a folder of the tree");
            let name = entry.file_name().into_string().expect("names in UTF-8");
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let kind = entry.file_type().expect("the type of a file");
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests;
