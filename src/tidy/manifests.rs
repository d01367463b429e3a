//! Manifests and the lock file: a reason for each dependency, the workspace's lints, and no async runtime.

use super::Finding;

/// Runtimes that would bring their own scheduler.
const RUNTIMES: [&str; 10] = [
    "tokio",
    "async-std",
    "smol",
    "async-executor",
    "async-io",
    "embassy-executor",
    "futures-executor",
    "glommio",
    "monoio",
    "compio",
];

/// Dependencies without a comment line above them, and a manifest that does not take the workspace's lints. A
/// dependency that the workspace names, or that is a folder of this repository, has its reason there.
pub(super) fn manifest(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut table, mut above) = ("", "");
    let mut lints = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']);
        }
        let own_table = line.starts_with('[') && table.contains("dependencies.");
        let entry = table.ends_with("dependencies") && is_entry(line);
        if (own_table || entry) && !above.starts_with('#') {
            let name = if entry { line.split(['=', '.', ' ']).next().unwrap_or(line) } else { table };
            findings.push(Finding {
                path: path.to_owned(),
                line: number + 1,
                message: format!("{name} is a dependency without a line that says why"),
            });
        }
        lints |= table == "lints" && line.replace(' ', "") == "workspace=true";
        above = line;
    }
    if !lints {
        let message = "does not take the lints of the workspace".to_owned();
        findings.push(Finding { path: path.to_owned(), line: 0, message });
    }
    findings
}

/// Whether a line of a table of dependencies needs a reason of its own.
fn is_entry(line: &str) -> bool {
    let inherited = line.contains("workspace = true") || line.contains("path = ");
    !line.starts_with(['#', '[']) && line.contains('=') && !inherited
}

/// Async runtimes among what the lock file holds.
pub(super) fn lock(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = name.filter(|name| RUNTIMES.contains(name)) {
            let message = format!("{name} is an async runtime");
            findings.push(Finding { path: path.to_owned(), line: number + 1, message });
        }
    }
    findings
}
