//! The shape of files and functions: their names, their lengths, how they begin, where tests lie.

use super::Finding;
use super::source::{Source, name};

/// Lines of a file, and of an example.
const FILE_LINES_MAX: usize = 500;
const EXAMPLE_LINES_MAX: usize = 100;
/// Lines of a function, with its signature and its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["common", "util", "utils", "core", "types", "prelude", "misc"];

/// Every rule of this file that looks at one source.
pub(super) fn all(source: &Source) -> Vec<Finding> {
    let mut findings = file_length(source);
    findings.extend(function_lengths(source));
    findings.extend(opening(source));
    findings.extend(inline_tests(source));
    findings
}

/// Folders and files whose name is one of those that say nothing.
pub(super) fn names(path: &str) -> Vec<Finding> {
    path.split('/')
        .filter(|part| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or(part)))
        .map(|part| Finding { path: path.to_owned(), line: 0, message: format!("\"{part}\" names no idea") })
        .collect()
}

fn file_length(source: &Source) -> Vec<Finding> {
    let max = if source.path.starts_with("examples/") || source.path.starts_with("reactors/examples/") {
        EXAMPLE_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    let lines = source.text.lines().count();
    if lines <= max {
        return Vec::new();
    }
    vec![finding(source, max + 1, format!("has {lines} lines, more than {max}: split it by idea"))]
}

fn function_lengths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in source.words("fn") {
        let called = name(source.rest(at + 2));
        let Some(body) = body(&source.code[at..]) else { continue };
        let lines = source.line(at + body) - source.line(at) + 1;
        if !called.is_empty() && lines > FUNCTION_LINES_MAX {
            let message =
                format!("{called} has {lines} lines, more than {FUNCTION_LINES_MAX}: split it by idea");
            findings.push(finding(source, source.line(at), message));
        }
    }
    findings
}

/// Offset of the brace that closes the body of the function that `code` begins with; none without a body.
fn body(code: &str) -> Option<usize> {
    let (mut nested, mut braces) = (0, 0);
    for (at, character) in code.char_indices() {
        match character {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            ';' if nested == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' => braces -= 1,
            _ => {}
        }
        if nested < 0 {
            return None;
        }
    }
    None
}

fn opening(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![finding(source, 1, "does not open with //! and what it is".to_owned())]
}

fn inline_tests(source: &Source) -> Vec<Finding> {
    let modules = source.words("mod").filter(|at| {
        let rest = source.rest(at + 3);
        name(rest) == "tests" && rest["tests".len()..].trim_start().starts_with('{')
    });
    modules
        .map(|at| finding(source, source.line(at), "has its tests inside: they live in tests.rs".to_owned()))
        .collect()
}

fn finding(source: &Source, line: usize, message: String) -> Finding {
    Finding { path: source.path.clone(), line, message }
}
