//! Command lines of `perf`, `discover` and `identify`, as far as they need no target.

use clap::Parser;

use super::{Arguments, DONE, FAILED, HOME, USAGE, run};
use crate::cli::discover;
use crate::cli::remote::{parse_authority, parse_remote};

const TARGET: &str = "tcp://127.0.0.1/nqn.2026-11.io.corelane:disk0";

#[test]
fn wrong_values_are_refused_before_anything_is_connected() {
    let rows: [(&[&str], &str); 22] = [
        (&["perf"], "--target"),
        (&["perf", "--target", "disk0"], "is none of tcp://HOST[:PORT]/NQN, pcie://ADDRESS and bdev:NAME"),
        (&["perf", "--target", "tcp://127.0.0.1"], "has no subsystem"),
        (&["perf", "--target", "tcp://127.0.0.1:0/nqn.2026-11.io.corelane:disk0"], "has no port"),
        (&["perf", "--target", "tcp:///nqn.2026-11.io.corelane:disk0"], "names no host"),
        (&["perf", "--target", "pcie://nvme0"], "\"nvme0\" is not a PCI address"),
        (&["perf", "--target", "bdev:"], "names no block device"),
        (&["perf", "--target", TARGET, "--depth", "0"], "--depth"),
        (&["perf", "--target", TARGET, "--mix", "101"], "--mix"),
        (&["perf", "--target", TARGET, "--duration", "5"], "has no unit"),
        (&["perf", "--target", TARGET, "--duration", "0s"], "is no time at all"),
        (&["perf", "--target", TARGET, "--duration", "99999h"], "more than 30 days"),
        (&["perf", "--target", TARGET, "--rate", "0"], "--rate"),
        (&["perf", "--target", TARGET, "--digests", "tail"], "--digests"),
        (&["perf", "--target", TARGET, "--cores", "3"], "--cores 3: this process may use 2"),
        (&["perf", "--target", TARGET, "--hostid", "x"], "--hostid"),
        (&["perf", "--target", TARGET, "--config", "a"], "--config is for targets bdev:NAME"),
        (&["perf", "--target", "bdev:a", "--nsid", "1"], "--nsid is for targets tcp://"),
        (&["perf", "--target", "pcie://00:05.0", "--digests", "data"], "--digests is for targets tcp://"),
        (
            &["perf", "--target", "pcie://00:05.0", "--sq-flow-control"],
            "--sq-flow-control is for targets tcp://",
        ),
        (&["discover", "[::1]:x"], "has no port"),
        (&["identify", "127.0.0.1"], "does not begin with tcp://"),
    ];
    for (arguments, words) in rows {
        let ran = run(arguments, &HOME);
        assert_eq!((ran.code, ran.output.as_str()), (USAGE, ""), "{arguments:?}: {}", ran.errors);
        assert!(ran.errors.contains(words), "{arguments:?}: {}", ran.errors);
    }
}

#[test]
fn names_that_lead_nowhere_are_told() {
    for arguments in
        [["discover", "nowhere.invalid"], ["identify", "tcp://nowhere.invalid/nqn.2026-11.io.corelane:a"]]
    {
        let ran = run(&arguments, &HOME);
        assert_eq!(ran.code, FAILED);
        assert!(ran.errors.starts_with(&format!("corelane: {}", &arguments[1][..8])), "{}", ran.errors);
    }
}

#[test]
fn places_are_understood() {
    for (text, shown) in [
        ("127.0.0.1", "127.0.0.1:4420"),
        ("disk.example:8009", "disk.example:8009"),
        ("[::1]", "[::1]:4420"),
        ("[fe80::2]:1", "[fe80::2]:1"),
    ] {
        assert_eq!(parse_authority(text).unwrap().to_string(), shown);
    }
    let remote = parse_remote("tcp://[::1]:9/nqn.2014-08.org.example:a/b").unwrap();
    assert_eq!(remote.to_string(), "tcp://[::1]:9/nqn.2014-08.org.example:a/b");
}

#[test]
fn every_example_of_the_help_is_a_command_line() {
    let help = run(&["perf", "--help"], &HOME);
    assert_eq!(help.code, DONE);
    let examples = help.output.split("EXAMPLES:").nth(1).unwrap().replace(" \\\n", "");
    let mut tried = 0;
    for command in examples.lines().filter_map(|line| line.strip_prefix("      ")) {
        let parsed = Arguments::try_parse_from(command.split_whitespace());
        assert!(parsed.is_ok(), "{command}: {parsed:?}");
        tried += 1;
    }
    assert_eq!(tried, 5);
}

#[test]
fn text_of_a_peer_steers_no_terminal() {
    let mut output = Vec::new();
    let rows = [["\u{1b}[2Jdisk\n".to_owned(), "4420\u{9b}".to_owned()]];
    assert!(discover::table(["SUBSYSTEM", "PORT"], &rows, &mut output).is_ok());
    assert_eq!(String::from_utf8(output).unwrap(), "SUBSYSTEM  PORT\n?[2Jdisk?  4420?\n");
}
