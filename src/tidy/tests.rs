//! Each rule is fed what it must refuse, and what looks like it and is right.

use std::fmt::Write;

use super::source::Source;
use super::{findings, layers, manifests, shape, words};

const DOC: &str = "//! A file.\n";

/// What the rules say of a tree of one file: `line: message`.
fn said(path: &str, text: &str) -> Vec<String> {
    let tree = [(path.to_owned(), text.to_owned())];
    findings(&tree).iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
}

#[test]
fn uses_outside_the_table_are_refused() {
    let rows: [(&str, &str, &[&str]); 17] = [
        ("src/pdu/a.rs", "use crate::spec::Sqe;", &[]),
        ("src/pdu/a.rs", "use crate::pdu::header;", &[]),
        ("src/pdu/a.rs", "use crate::nvmf::Target;", &["2: pdu may not use crate::nvmf"]),
        ("src/pdu.rs", "use crate::nvmf::Target;", &["2: pdu may not use crate::nvmf"]),
        ("src/pdu/a.rs", "use crate::{spec::{a, b}, mem::{spec, c}};", &["2: pdu may not use crate::mem"]),
        (
            "src/pdu/a.rs",
            "use crate::{\n    spec,\n    bdev,\n    mem::a,\n};",
            &["2: pdu may not use crate::bdev", "2: pdu may not use crate::mem"],
        ),
        ("src/pdu/a.rs", "use crate::{self, spec};", &["2: pdu may not use crate::self"]),
        ("src/pdu/a.rs", "use crate::*;", &["2: pdu may not use crate::*"]),
        ("src/pdu/a.rs", "\nfn f() { crate::bdev::g() }", &["3: pdu may not use crate::bdev"]),
        ("src/pdu/a.rs", "type A = Vec< crate :: bdev::B>;", &["2: pdu may not use crate::bdev"]),
        ("src/pdu/a.rs", "pub(in crate::bdev) struct A;", &["2: pdu may not use crate::bdev"]),
        ("src/pdu/a.rs", "pub(crate) struct A; // not crate::bdev", &[]),
        ("src/pdu/a.rs", "const A: &str = \"crate::bdev\"; /* crate::bdev */", &[]),
        ("src/pdu/a.rs", "pub use crate::spec::*;", &["2: pdu re-exports by glob from crate::spec"]),
        ("src/pdu/a.rs", "pub use crate::spec::Sqe; use crate::spec::*;", &[]),
        ("src/app/mod.rs", "use crate::{cli, nvmf, transport};", &[]),
        ("src/main.rs", "use crate::{cli, nvmf, transport};", &[]),
    ];
    for (path, code, expected) in rows {
        assert_eq!(said(path, &format!("{DOC}{code}")), expected, "{path}: {code}");
    }
}

#[test]
fn climbing_past_the_folder_is_refused() {
    let climbs = ["2: climbs to the crate's root: start the path with crate::"];
    let rows: [(&str, &str, &[&str]); 8] = [
        ("src/pdu/mod.rs", "use self::a::B;", &[]),
        ("src/pdu/mod.rs", "use super::nvmf;", &climbs),
        ("src/pdu.rs", "use super::nvmf;", &climbs),
        ("src/pdu/a.rs", "use super::b;", &[]),
        ("src/pdu/a.rs", "use super::super::nvmf;", &climbs),
        ("src/pdu/a/tests.rs", "use super::super::b;", &[]),
        ("src/pdu/a/tests.rs", "use super::super:: super::nvmf;", &climbs),
        ("src/app/mod.rs", "use super::nvmf;", &[]),
    ];
    for (path, code, expected) in rows {
        assert_eq!(said(path, &format!("{DOC}{code}")), expected, "{path}: {code}");
    }
}

#[test]
fn the_pure_middle_may_not_use_reactors() {
    for folder in ["spec", "pdu", "reservation", "config", "connection"] {
        let text = format!("{DOC}use corelane_reactors::buffer::Lease;");
        let expected = [format!("2: {folder} may not use the reactors crate")];
        assert_eq!(said(&format!("src/{folder}/mod.rs"), &text), expected);
    }
    for folder in ["mem", "bdev", "nvmf", "transport", "app", "persist", "initiator"] {
        let text = format!("{DOC}use corelane_reactors::buffer::Lease;");
        assert!(said(&format!("src/{folder}/mod.rs"), &text).is_empty(), "{folder}");
    }
}

#[test]
fn the_pure_middle_does_no_input_or_output() {
    let rows = [
        ("src/pdu/a.rs", "use std::fs;", 1),
        ("src/pdu/a.rs", "fn f() { std::thread::yield_now() }", 1),
        ("src/spec/a.rs", "use std::time::{Duration, Instant};", 1),
        ("src/config/a.rs", "use std::{env::var, net::SocketAddr};", 1),
        ("src/config/a.rs", "fn f(fs: u8, env: u8) -> u8 { fs + env }", 0),
        ("src/connection/tests/a.rs", "use std::env;", 0),
        ("src/persist/a.rs", "use std::fs::File;", 0),
    ];
    for (path, code, expected) in rows {
        assert_eq!(said(path, &format!("{DOC}{code}")).len(), expected, "{path}: {code}");
    }
}

#[test]
fn reactors_stand_alone() {
    let text = format!("{DOC}use corelane::spec;");
    assert_eq!(said("reactors/src/group.rs", &text), ["2: reactors may not use corelane"]);
    let text = format!("{DOC}use crate::buffer; // as corelane does");
    assert!(said("reactors/src/group.rs", &text).is_empty());
}

#[test]
fn a_folder_that_the_table_lacks_is_refused() {
    assert_eq!(said("src/shelf/mod.rs", DOC), ["0: is not in the table of folders"]);
    assert_eq!(said("src/shelf.rs", DOC), ["0: is not in the table of folders"]);
    assert!(layers::folders(["src/spec/a.rs", "src/lib.rs", "tests/shelf/mod.rs"].into_iter()).is_empty());
}

#[test]
fn long_files_are_refused() {
    let lines = |count: usize| format!("{DOC}{}", "// Why.\n".repeat(count - 1));
    assert!(said("src/bdev/a.rs", &lines(500)).is_empty());
    assert_eq!(said("src/bdev/a.rs", &lines(501)), ["501: has 501 lines, more than 500: split it by idea"]);
    assert!(said("examples/a.rs", &lines(100)).is_empty());
    assert_eq!(said("examples/a.rs", &lines(101)), ["101: has 101 lines, more than 100: split it by idea"]);
}

#[test]
fn long_functions_are_refused() {
    let function = |lines: usize| {
        let mut text = format!("{DOC}pub(super) fn wide(a: [u8; 4], c: char) -> [u8; 4] {{\n");
        for line in 0..lines - 2 {
            writeln!(text, "    if c == '}}' {{ g(\"}}\", {line}); }} // }}").expect("writing to a string");
        }
        text + "}\n\nfn next() {}\n"
    };
    assert!(said("src/bdev/a.rs", &function(70)).is_empty());
    let expected = ["2: wide has 71 lines, more than 70: split it by idea"];
    assert_eq!(said("src/bdev/a.rs", &function(71)), expected);
    assert_eq!(said("reactors/benches/a.rs", &function(71)), expected);
}

#[test]
fn declarations_without_a_body_have_no_length() {
    let text =
        format!("{DOC}trait A {{\n    fn a(&self, bytes: [u8; 2]);\n{}}}\n", "    // Why.\n".repeat(90));
    assert!(said("src/bdev/a.rs", &text).is_empty());
}

#[test]
fn a_file_opens_with_what_it_is() {
    let expected = ["1: does not open with //! and what it is"];
    for text in ["use std::fs;\n", "\n//! Late.\n", "/// Of an item.\n", "//!\n", ""] {
        assert_eq!(said("tests/a.rs", text), expected, "{text:?}");
    }
}

#[test]
fn tests_inside_a_source_are_refused() {
    let expected = ["3: has its tests inside: they live in tests.rs"];
    assert_eq!(said("src/bdev/a.rs", &format!("{DOC}#[cfg(test)]\nmod tests {{}}\n")), expected);
    assert!(said("src/bdev/a.rs", &format!("{DOC}#[cfg(test)]\nmod tests;\n")).is_empty());
}

#[test]
fn names_that_say_nothing_are_refused() {
    for path in ["src/bdev/util.rs", "src/bdev/types/a.rs", "tests/common/mod.rs", "reactors/src/prelude.rs"]
    {
        assert_eq!(shape::names(path).len(), 1, "{path}");
    }
    for path in ["src/bdev/utility.rs", "src/spec/core_type.rs", "Cargo.toml"] {
        assert!(shape::names(path).is_empty(), "{path}");
    }
}

#[test]
fn unsafe_code_has_its_places() {
    let text = format!("{DOC}fn f() {{ unsafe {{ g() }} }}");
    let expected = ["2: may not be unsafe: see the list of places that may"];
    let refused = [
        "src/spec/a.rs",
        "src/bdev/a.rs",
        "src/nvme/a.rs",
        "src/memory.rs",
        "reactors/src/reactor.rs",
        "reactors/src/poll_group/a.rs",
        "tests/a.rs",
    ];
    for path in refused {
        assert!(said(path, &text).iter().any(|said| said == expected[0]), "{path}");
    }
    for path in ["src/mem/a.rs", "src/vfio/a.rs", "reactors/src/ring/a.rs", "reactors/src/published.rs"] {
        assert!(said(path, &text).is_empty(), "{path}");
    }
    let text = format!("{DOC}#![expect(unsafe_code, reason = \"unsafe\")] // unsafe\n");
    assert!(said("src/spec/a.rs", &text).is_empty());
}

#[test]
fn asynchronous_code_and_sleeping_libraries_are_refused() {
    for code in ["async fn f() {}", "fn f() { g().await }", "fn f() { std::thread::sleep(A) }"] {
        assert_eq!(said("reactors/src/a.rs", &format!("{DOC}{code}")).len(), 1, "{code}");
    }
    assert!(said("tests/a.rs", &format!("{DOC}fn f() {{ std::thread::sleep(A) }}")).is_empty());
}

#[test]
fn words_are_refused_in_every_text() {
    let refused = [
        "// TODO: later",
        "# FIXME",
        "todo!()",
        "#[ignore = \"slow\"]",
        "/root/.cargo",
        "cd /Users/somebody",
    ];
    for line in refused {
        for path in ["README.md", ".ci/run", "src/bdev/a.rs", "Cargo.toml", "reactors/src/a.rs"] {
            let found = words::in_text(path, &format!("first\n{line}\n"));
            assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2], "{path}: {line}");
        }
    }
    for line in ["mktemp /tmp/a.XXXXXX", "docs/architecture.md", "$work/dmesg", "a helper thread"] {
        assert!(words::in_text("README.md", line).is_empty(), "{line}");
    }
}

#[test]
fn dependencies_without_a_reason_are_refused() {
    let lints = "[lints]\nworkspace = true\n";
    let refused = [
        "[dependencies]\nserde = \"1\"\n",
        "[dependencies]\n# Why.\nserde = \"1\"\nlibc = \"0.2\"\n",
        "[dependencies]\n# Why.\n\nserde = \"1\"\n",
        "[workspace.dependencies]\nserde = { version = \"1\" }\n",
        "[target.'cfg(loom)'.dependencies]\nloom = \"0.7\"\n",
        "[dev-dependencies]\ntempfile.version = \"3\"\n",
        "\n[dependencies.serde]\nversion = \"1\"\n",
    ];
    for text in refused {
        assert_eq!(manifests::manifest("Cargo.toml", &format!("{text}{lints}")).len(), 1, "{text}");
    }
    let taken = "[package]\nname = \"a\"\n[dependencies]\n# Why.\nserde = \"1\"\nlibc.workspace = true\n\
                 rustix = { workspace = true, features = [\"fs\"] }\nb = { path = \"b\" }\n";
    assert!(manifests::manifest("Cargo.toml", &format!("{taken}{lints}")).is_empty());
}

#[test]
fn a_manifest_without_the_lints_is_refused() {
    assert_eq!(
        said("a/Cargo.toml", "[package]\nname = \"a\"\n"),
        ["0: does not take the lints of the workspace"]
    );
}

#[test]
fn async_runtimes_are_refused() {
    let lock = "[[package]]\nname = \"tokio\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"tokio-free\"\n";
    assert_eq!(said("Cargo.lock", lock), ["2: tokio is an async runtime"]);
}

#[test]
fn literals_and_comments_are_not_code() {
    let rows = [
        ("a \"b\\\"c\" d", "a        d"),
        ("r#\"a\"b\"# c", "         c"),
        ("br\"a\\\" c", "b      c"),
        ("for r in a", "for r in a"),
        ("r#type", "r#type"),
        ("'a' 'static '\\'' b", "    'static      b"),
        ("'\u{e9}' &'a str", "     &'a str"),
        ("/* a /* b */ c */ d", "                  d"),
        ("a // b\nc", "a     \nc"),
        ("\"a\nb\" c", "  \n   c"),
        ("\"open", "     "),
        ("'\\u{41}'a", "        a"),
    ];
    for (text, code) in rows {
        assert_eq!(Source::new("a.rs", text).code, code, "{text}");
    }
}
