//! Command lines and what comes of them.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;

use super::*;
use crate::config::{BdevKind, ByteSize};

mod far;
mod perf;
mod quota;
mod reservation;
mod setup;
mod tune;

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: u8,
    output: String,
    errors: String,
    start: Option<Start>,
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    run_on(Machine::this(), arguments, variables)
}

fn run_on(machine: Machine, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let (mut output, mut errors, mut start) = (Vec::new(), Vec::new(), None);
    let variable = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    };
    let surroundings = Surroundings {
        arguments: ["corelane"].iter().chain(arguments).map(OsString::from).collect(),
        variable: &variable,
        allowed: vec![0, 1],
        machine,
        output: &mut output,
        errors: &mut errors,
    };
    let code = outcome(surroundings, |options| {
        start = Some(options);
        Ok::<(), Infallible>(())
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code, output: text(output), errors: text(errors), start }
}

const HOME: [(&str, &str); 1] = [("HOME", "/home/a")];

fn started(arguments: &[&str], variables: &[(&str, &str)]) -> Start {
    let ran = run(arguments, variables);
    assert_eq!((ran.code, ran.errors.as_str(), ran.output.as_str()), (DONE, "", ""), "{arguments:?}");
    ran.start.unwrap()
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("corelane.json");
    fs::write(&path, text).unwrap();
    (directory, path.to_str().unwrap().to_owned())
}

const TEXT: &str = r#"{
    "state_dir": "/var/lib/corelane",
    "bdevs": [{"name": "ram0", "type": "malloc", "size": "1GiB"}, {"name": "void", "type": "null", "size": "1TiB"}],
    "subsystems": [{
        "nqn": "nqn.2026-11.io.corelane:disk0", "allow_any_host": true,
        "listeners": [{"address": "127.0.0.1"}, {"address": "::1", "port": 0}],
        "namespaces": [{"nsid": 1, "bdev": "ram0", "uuid": "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11"}]
    }]
}"#;

#[test]
fn the_grammar_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn no_subcommand_serves_the_embedded_default() {
    for arguments in [&[][..], &["serve"]] {
        let start = started(arguments, &HOME);
        assert_eq!(Ok(start.config), crate::config::Config::embedded_default(&[0, 1]));
        assert_eq!(start.state_directory, PathBuf::from("/home/a/.local/state/corelane"));
        assert_eq!((start.log.format(), start.log.filter().as_str()), (LogFormat::Text, "info"));
    }
}

#[test]
fn address_and_size_of_the_embedded_default_can_be_chosen() {
    let start = started(&["serve", "--listen", "[::]:0", "--size", "1GiB"], &HOME);
    assert_eq!(start.config.subsystems[0].listeners[0].address.to_string(), "[::]:0");
    assert_eq!(
        start.config.bdevs[0].kind,
        BdevKind::Malloc { size: ByteSize::new(1 << 30), block_size: 4096, atomic_writes: false }
    );
}

#[test]
fn the_state_directory_comes_from_the_nearest_place() {
    let (_directory, path) = file(TEXT);
    let (_other, without) = file(&TEXT.replace("\"state_dir\": \"/var/lib/corelane\",", ""));
    let environment = [("STATE_DIRECTORY", "/run/a"), ("HOME", "/home/a")];
    let rows = [
        (vec!["serve", "--config", &path, "--state-dir", "/b"], "/b"),
        (vec!["serve", "--config", &path], "/var/lib/corelane"),
        (vec!["serve", "-c", &without], "/run/a"),
    ];
    for (arguments, expected) in rows {
        assert_eq!(started(&arguments, &environment).state_directory, PathBuf::from(expected));
    }
    let relative = started(&["serve", "--state-dir", "state"], &environment).state_directory;
    assert!(relative.is_absolute() && relative.ends_with("state"), "{relative:?}");
    let ran = run(&[], &[]);
    assert_eq!(ran.code, FAILED);
    assert!(ran.errors.contains("name one with --state-dir"), "{}", ran.errors);
}

#[test]
fn flags_of_the_log_go_before_the_environment() {
    let rows = [
        (&["-v"][..], "debug"),
        (&["serve", "-vv"], "trace"),
        (&["-q"], "warn"),
        (&["serve", "-qq"], "error"),
        (&["-v", "--log-level", "error"], "error"),
        (&["serve", "--log-level", "trace"], "trace"),
        (&[], "corelane::nvmf=debug,warn"),
    ];
    for (arguments, filter) in rows {
        let variables = [("HOME", "/home/a"), ("CORELANE_LOG", "warn,corelane::nvmf=debug")];
        assert_eq!(started(arguments, &variables).log.filter(), filter, "{arguments:?}");
    }
    assert_eq!(started(&["--log-format", "json"], &HOME).log.format(), LogFormat::Json);
    let empty = started(&[], &[("HOME", "/home/a"), ("CORELANE_LOG", "")]);
    assert_eq!(empty.log.filter(), "info");
}

#[test]
fn wrong_command_lines_exit_with_2_and_start_nothing() {
    let rows = [
        (&["--nonsense"][..], "--nonsense"),
        (&["serv"], "serv"),
        (&["check"], "<FILE>"),
        (&["serve", "--listen", "localhost"], "is not an IP address"),
        (&["serve", "--listen", "127.0.0.1:x"], "has no port"),
        (&["serve", "--size", "1GB"], "has an unknown unit"),
        (&["serve", "--config", "a", "--size", "1GiB"], "cannot be used with"),
        (&["serve", "--config", "a", "--listen", "::1"], "cannot be used with"),
        (&["--log-level", "loud"], "loud"),
        (&["-v", "-q"], "cannot be used with"),
    ];
    for (arguments, part) in rows {
        let ran = run(arguments, &HOME);
        assert_eq!((ran.code, ran.output.as_str()), (USAGE, ""), "{arguments:?}");
        assert!(ran.errors.contains(part), "{arguments:?}: {}", ran.errors);
        assert!(ran.start.is_none());
    }
    let ran = run(&[], &[("CORELANE_LOG", "a=b=c"), ("HOME", "/home/a")]);
    assert_eq!(ran.code, USAGE);
    assert!(ran.errors.contains("corelane: CORELANE_LOG: "), "{}", ran.errors);
}

#[test]
fn wrong_sizes_name_their_option() {
    for size in ["1000", "0"] {
        let ran = run(&["serve", "--size", size], &HOME);
        assert_eq!(ran.code, FAILED);
        assert!(ran.errors.starts_with("corelane: --size is "), "{}", ran.errors);
        assert!(ran.start.is_none());
    }
}

#[test]
fn check_says_ok_and_what_is_in_the_file() {
    let (_directory, path) = file(TEXT);
    let ran = run(&["check", &path], &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""));
    let expected = format!(
        "{path}: ok\n\
         1 subsystem, 1 namespace\n\
         management on core 0, I/O on core 1\n\
         sockets: epoll\n\
         nqn.2026-11.io.corelane:disk0 on 127.0.0.1:4420, [::1]:0 for any host\n  \
         namespace 1: malloc ram0, 1GiB in blocks of 4096 bytes, UUID 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11\n"
    );
    assert_eq!(ran.output, expected);
}

#[test]
fn check_warns_and_still_says_ok() {
    let (_directory, path) = file(&TEXT.replace("\"allow_any_host\": true", "\"allow_any_host\": false"));
    let ran = run(&["check", &path], &[]);
    assert_eq!(ran.code, DONE);
    assert!(ran.output.starts_with(&format!("{path}: ok\n")));
    assert!(
        ran.errors.starts_with(&format!("corelane: {path}: subsystems[0].hosts: warning: ")),
        "{}",
        ran.errors
    );
}

#[test]
fn check_and_serve_show_every_finding_with_its_place() {
    let (_directory, path) =
        file(&TEXT.replace("1GiB", "1GB").replace("\"bdev\": \"ram0\"", "\"bdev\": \"ram1\""));
    for arguments in [["check", &path].to_vec(), ["serve", "--config", &path].to_vec()] {
        let ran = run(&arguments, &HOME);
        assert_eq!((ran.code, ran.output.as_str()), (FAILED, ""));
        let lines: Vec<&str> = ran.errors.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with(&format!("corelane: {path}: bdevs[0].size: \"1GB\" has an unknown unit"))
        );
        assert!(
            lines[1].starts_with(&format!("corelane: {path}: subsystems[0].namespaces[0].bdev: is \"ram1\""))
        );
        assert!(ran.start.is_none());
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.json");
    let binary = directory.path().join("binary.json");
    fs::write(&binary, [0xFF, 0xFE]).unwrap();
    let rows = [
        (missing.as_path(), "cannot be read: No such file or directory"),
        (directory.path(), "cannot be read: Is a directory"),
        (binary.as_path(), "is not UTF-8 text"),
        (std::path::Path::new("/dev/zero"), "at most 4194304 are allowed"),
    ];
    for (path, part) in rows {
        let ran = run(&["check", path.to_str().unwrap()], &[]);
        assert_eq!((ran.code, ran.output.as_str()), (FAILED, ""));
        assert!(ran.errors.starts_with(&format!("corelane: {}: ", path.display())), "{}", ran.errors);
        assert!(ran.errors.contains(part), "{}", ran.errors);
    }
}

#[test]
fn the_schema_is_printed_as_json() {
    let ran = run(&["schema"], &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.output).unwrap(), crate::config::schema());
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(&["--help"], &[]);
    assert_eq!((help.code, help.errors.as_str()), (DONE, ""));
    for part in
        ["EXIT STATUS:", "ENVIRONMENT:", "CORELANE_LOG", "SIGNALS:", "EXAMPLES:", "serve", "check", "schema"]
    {
        assert!(help.output.contains(part), "{part}");
    }
    let version = run(&["--version"], &[]);
    assert_eq!(version.output, format!("corelane {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_example_of_the_help_is_a_command_line() {
    let help = run(&["--help"], &[]).output;
    let examples: Vec<&str> = help.split("EXAMPLES:").nth(1).unwrap().lines().collect();
    let commands =
        examples.iter().filter_map(|line| line.strip_prefix("      ")).flat_map(|line| line.split(" && "));
    let mut tried = 0;
    for command in commands {
        let command = command.split(" > ").next().unwrap();
        let parsed = Arguments::try_parse_from(command.split_whitespace());
        assert!(parsed.is_ok(), "{command}: {parsed:?}");
        tried += 1;
    }
    assert_eq!(tried, 9);
}

#[test]
fn a_target_that_fails_exits_with_1_and_the_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen on 127.0.0.1:4420")]
    struct Outer(#[source] io::Error);

    let mut errors = Vec::new();
    let surroundings = Surroundings {
        arguments: vec!["corelane".into()],
        variable: &|name| (name == "HOME").then(|| "/home/a".to_owned()),
        allowed: vec![0],
        machine: Machine::this(),
        output: &mut Vec::new(),
        errors: &mut errors,
    };
    let code = outcome(surroundings, |_| Err(Outer(io::Error::other("in use"))));
    assert_eq!(code, FAILED);
    assert_eq!(String::from_utf8(errors).unwrap(), "corelane: cannot listen on 127.0.0.1:4420: in use\n");
}

#[test]
fn output_that_nobody_reads_is_a_failure_and_no_panic() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for arguments in [["corelane", "schema"], ["corelane", "--help"]] {
        let surroundings = Surroundings {
            arguments: arguments.iter().map(OsString::from).collect(),
            variable: &|_| None,
            allowed: vec![0],
            machine: Machine::this(),
            output: &mut Closed,
            errors: &mut Vec::new(),
        };
        assert_eq!(outcome(surroundings, |_| Ok::<(), Infallible>(())), FAILED);
    }
}
