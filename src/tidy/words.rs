//! Words that do not belong: `unsafe` outside its places, waiting in unit tests, things left to do, and what is
//! not about the project.

use super::Finding;
use super::source::Source;

/// Where `unsafe` may stand: a folder ends with a slash.
const UNSAFE: [&str; 11] = [
    "src/mem/",
    "src/vfio/",
    // Raw segments, receive chunks, and the two system calls that take them.
    "reactors/src/buffer/",
    "reactors/src/ring/",
    // One look at an epoll descriptor.
    "reactors/src/poll_group/ready.rs",
    "reactors/src/cpu",
    // Lock-free: the places of messages.
    "reactors/src/mailbox/shared.rs",
    // Lock-free: the pointer that is swapped and read.
    "reactors/src/published.rs",
    "reactors/src/published/",
    // What fio's shim calls, with pointers.
    "benches/fio/engine/src/ffi.rs",
    // Counts what the system's allocator is asked for.
    "tests/allocations.rs",
];

/// Code that is left to do, or a test that is not run.
const UNFINISHED: [&str; 6] = ["todo!", "unimplemented!", "FIXME", "TODO", "XXX", "#[ignore"];

/// Places on somebody's machine.
const FOREIGN: [&str; 2] = ["/root/", "/Users/"];

/// Files that hold these words in order to refuse them.
const EXEMPT: [&str; 2] = ["src/tidy/words.rs", "src/tidy/tests.rs"];

/// What is refused in every text, comments included.
pub(super) fn in_text(path: &str, text: &str) -> Vec<Finding> {
    if EXEMPT.contains(&path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut report =
            |message: String| findings.push(Finding { path: path.to_owned(), line: number + 1, message });
        for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
            report(format!("{word} is left to do"));
        }
        for word in FOREIGN.iter().filter(|word| line.contains(**word)) {
            report(format!("\"{word}\" is not about the project"));
        }
    }
    findings
}

/// What is refused in code only.
pub(super) fn in_code(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |word: &str, message: &str| {
        for at in source.words(word) {
            findings.push(Finding {
                path: source.path.clone(),
                line: source.line(at),
                message: message.to_owned(),
            });
        }
    };
    if !UNSAFE.iter().any(|place| source.path.starts_with(place)) {
        report("unsafe", "may not be unsafe: see the list of places that may");
    }
    for word in ["async", "await"] {
        report(word, "is asynchronous: work is polled, by reactors");
    }
    if is_library(&source.path) {
        report("thread::sleep", "sleeps: pollers never block, and unit tests have virtual time");
    }
    findings
}

fn is_library(path: &str) -> bool {
    path.starts_with("src/") || path.starts_with("reactors/src/")
}

/// Whether `line` has `word` where no longer word begins or ends: `XXX` is not in `mktemp XXXXXX`.
fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        !is_letter(line[..at].chars().next_back()) && !is_letter(line[at + word.len()..].chars().next())
    })
}
