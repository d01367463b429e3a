//! `corelane reservation` on state directories, good and bad.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use uuid::{Uuid, uuid};

use super::{Arguments, DONE, FAILED, Ran, USAGE, run};
use crate::persist::StateDirectory;
use crate::reservation::{Identity, Key, Kind, Record, Registrant, State};
use crate::spec::host::HostId;
use crate::spec::nqn::Nqn;

const SOUND: Uuid = uuid!("6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11");
const OTHER: Uuid = uuid!("6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a12");
const NQN: &str = "nqn.2026-11.io.corelane:disk0";
const HOLDER: &str = "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a";

/// As SPDK writes it, with a key that no JSON number of 53 bits holds.
const SPDK: &str = r#"{
  "ptpl": true, "rtype": 1, "crkey": 18446744073709551615,
  "bdev_uuid": "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11",
  "holder_uuid": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a",
  "registrants": [{"rkey": 18446744073709551615, "host_uuid": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a"}]
}"#;

/// A state directory that nobody owns.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        drop(StateDirectory::open(&directory.path().join("state"), false).unwrap());
        Self(directory)
    }

    /// With one sound record.
    fn with_record() -> Self {
        let place = Self::new();
        place.put(SOUND, record(SOUND).encode());
        place
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn record(&self, uuid: Uuid) -> PathBuf {
        self.state().join(uuid.to_string())
    }

    fn put(&self, uuid: Uuid, bytes: impl AsRef<[u8]>) {
        fs::write(self.record(uuid), bytes).unwrap();
    }

    fn run(&self, arguments: &str) -> Ran {
        let state = self.state();
        let arguments = arguments.split_whitespace().chain(["--state-dir", state.to_str().unwrap()]);
        run(&[&["reservation"][..], &arguments.collect::<Vec<_>>()].concat(), &[])
    }

    /// Imports `text`, with what else is said on the command line.
    fn import(&self, text: &str, more: &str) -> Ran {
        let file = self.0.path().join("ptpl.json");
        fs::write(&file, text).unwrap();
        self.run(&format!("import {} --nqn {NQN} --nsid 1 --uuid {SOUND} {more}", file.display()))
    }
}

fn record(uuid: Uuid) -> Record {
    let holder = HostId([0x0a; 16]);
    let registrant =
        |key| Registrant { key: Key(key), nqn: Some(Nqn::parse("nqn.2026-11.com.example:a").unwrap()) };
    let registrants = [(holder, registrant(u64::MAX)), (HostId([0x0b; 16]), registrant(0x2a))];
    let state = State::restore(7, true, registrants, Some(Kind::WriteExclusive), Some(holder)).unwrap();
    Record {
        identity: Identity { subsystem: Nqn::parse(NQN).unwrap(), nsid: 1, uuid },
        sequence: 12,
        write_protected: false,
        state,
    }
}

fn done(ran: &Ran, parts: &[&str]) {
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""), "{ran:?}");
    parts.iter().for_each(|part| assert!(ran.output.contains(part), "{part:?} is missing: {}", ran.output));
}

fn failed(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.code, FAILED, "{ran:?}");
    parts.iter().for_each(|part| assert!(ran.errors.contains(part), "{part:?} is missing: {}", ran.errors));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_list_has_a_line_for_each_record_and_the_reason_of_each_damaged_one() {
    let place = Place::with_record();
    place.put(OTHER, "{");
    fs::write(place.state().join("notes"), "not a record").unwrap();
    let ran = place.run("list");
    done(&ran, &[]);
    let lines: Vec<&str> = ran.output.lines().collect();
    let [head, row, damaged] = &lines[..] else { panic!("{lines:?}") };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(head), ["UUID", "SUBSYSTEM", "NSID", "TYPE", "HOLDER", "REGISTRANTS", "GENERATION"]);
    assert_eq!(words(row), [&SOUND.to_string(), NQN, "1", "write-exclusive", HOLDER, "2", "7"]);
    assert_eq!(
        *damaged,
        format!(
            "damaged: {}: .: ends too early: it is torn, or a part of a file",
            text(&place.record(OTHER))
        )
    );
}

#[test]
fn nothing_kept_is_no_mistake() {
    let place = Place::new();
    for command in ["list", "verify"] {
        done(&place.run(command), &["no records in ", text(&place.state())]);
    }
}

#[test]
fn show_is_for_people_and_for_programs() {
    let place = Place::with_record();
    let parts = [
        "generation:           7\n",
        "reservation:          write-exclusive (type 1)\n",
        "registrants:          2\n",
        &format!("holder:               {HOLDER}\n"),
        "write protected:      no\n",
        &format!("  host {HOLDER}, key ffffffffffffffff, nqn.2026-11.com.example:a\n"),
    ];
    done(&place.run(&format!("show {SOUND}")), &parts);
    let ran = place.run(&format!("show {SOUND} --json"));
    done(&ran, &[]);
    assert_eq!(Record::decode(ran.output.as_bytes()), Ok(record(SOUND)));
}

#[test]
fn verify_names_file_field_and_reason_of_each_wrong_record() {
    let place = Place::with_record();
    done(&place.run("verify"), &[&format!("{}: ok", text(&place.record(SOUND)))]);
    let sound = String::from_utf8(record(OTHER).encode()).unwrap();
    let rows = [
        (sound[..sound.len() / 2].to_owned(), ".: ends too early"),
        (String::new(), ".: ends too early"),
        ("[".repeat(100_000), "[0]: invalid type"),
        (format!("{{\"format\": 1, \"registrants\": {}", "[".repeat(100_000)), ".: ends too early"),
        (sound.replace("\"format\": 1", "\"format\": 3"), "format: is 3, and this version reads format 2"),
        (sound.replace("\"format\": 1", "\"format\": 0"), "format: is 0, which is no format"),
        (sound.replace("\"generation\": 7", "\"generation\": 8"), "checksum: is crc32c:"),
        (sound.replace("\"ffffffffffffffff\"", "18446744073709551615"), "registrants[0].key: "),
        (sound.replace("ffffffffffffffff", "fffffffffffffffff"), "registrants[0].key: "),
        (String::from_utf8(record(SOUND).encode()).unwrap(), "uuid: is 6f1b9a5c"),
    ];
    for (damaged, reason) in rows {
        place.put(OTHER, damaged);
        let file = place.record(OTHER);
        let ran = place.run("verify");
        failed(&ran, &[&format!("{}: {reason}", text(&file))]);
        assert!(ran.output.contains(": ok"), "the other one is sound: {}", ran.output);
        failed(&place.run(&format!("verify {OTHER}")), &[reason]);
        failed(&place.run(&format!("show {OTHER}")), &[reason]);
        done(&place.run(&format!("verify {SOUND}")), &[": ok"]);
    }
}

/// Puts something in the place of a record; what is said about it; whether `clear` removes it.
type Put = (fn(&Path), &'static str, bool);

#[test]
fn what_is_no_record_at_all_is_told_and_only_files_can_be_cleared() {
    let place = Place::with_record();
    let file = place.record(OTHER);
    let endless = |path: &Path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    let rows: [Put; 3] = [
        (endless, "it has more than 134217728 bytes", true),
        (|path| std::os::unix::fs::symlink("nowhere", path).unwrap(), "it is no regular file", true),
        (|path| fs::create_dir(path).unwrap(), "it is no regular file", false),
    ];
    for (put, reason, is_cleared) in rows {
        put(&file);
        let wrong = format!("{}: cannot be read: {reason}", text(&file));
        failed(&place.run("verify"), &[&wrong]);
        failed(&place.run(&format!("show {OTHER}")), &[&wrong]);
        done(&place.run("list"), &[&SOUND.to_string(), &format!("damaged: {wrong}")]);
        let ran = place.run(&format!("clear {OTHER} --yes"));
        if is_cleared {
            done(&ran, &["removed: what is in it is not known"]);
        } else {
            failed(&ran, &[text(&file), "removing it failed", reason, "move it away"]);
        }
        assert_ne!(fs::symlink_metadata(&file).is_ok(), is_cleared);
    }
}

#[test]
fn clear_says_what_would_be_lost_and_does_it_with_yes_only() {
    let place = Place::with_record();
    let ran = place.run(&format!("clear {SOUND}"));
    failed(&ran, &["nothing was changed", "--yes"]);
    for part in ["write-exclusive (type 1)", HOLDER, "2 registrations", "key 000000000000002a"] {
        assert!(ran.output.contains(part), "{part}: {}", ran.output);
    }
    assert_eq!(fs::read(place.record(SOUND)).unwrap(), record(SOUND).encode());
    done(&place.run(&format!("clear {SOUND} --yes")), &["removed: reservation write-exclusive"]);
    assert!(!place.record(SOUND).exists());
    failed(&place.run(&format!("clear {SOUND} --yes")), &["there is no such record"]);
}

#[test]
fn clear_removes_what_cannot_be_read() {
    let place = Place::new();
    place.put(OTHER, [0xff; 40]);
    let ran = place.run(&format!("clear {OTHER}"));
    failed(&ran, &["--yes"]);
    assert!(ran.output.contains("what is in it is not known (.: is not UTF-8"), "{}", ran.output);
    done(&place.run(&format!("clear {OTHER} --yes")), &["removed"]);
    assert!(!place.record(OTHER).exists());
}

#[test]
fn a_file_of_spdk_becomes_a_record_with_every_bit_of_its_keys() {
    let place = Place::new();
    done(
        &place.import(SPDK, ""),
        &["written: reservation write-exclusive", "key ffffffffffffffff, (name not known)"],
    );
    let bytes = fs::read(place.record(SOUND)).unwrap();
    let found = Record::decode(&bytes).unwrap();
    assert_eq!((found.sequence, found.state.holder_key()), (1, Some(Key(u64::MAX))));
    done(&place.run("verify"), &[": ok"]);
    // Not without a word, and with a higher number then.
    failed(&place.import(SPDK, ""), &["is there already: reservation", "--yes"]);
    assert_eq!(fs::read(place.record(SOUND)).unwrap(), bytes);
    done(&place.import(SPDK, "--yes"), &["written"]);
    assert_eq!(Record::decode(&fs::read(place.record(SOUND)).unwrap()).unwrap().sequence, 2);
}

#[test]
fn files_of_spdk_that_are_wrong_make_no_record() {
    let rows = [
        (SPDK[..60].to_owned(), ".: ends too early"),
        (SPDK.replace("7a11\"", "7a12\""), "bdev_uuid: is 6f1b9a5c"),
        (SPDK.replace("\"rtype\": 1", "\"rtype\": 7"), "rtype: is 7"),
        (SPDK.replace("18446744073709551615", "18446744073709551616"), "crkey: "),
        (SPDK.replace("\"crkey\": 18446744073709551615", "\"crkey\": 1"), "crkey: is not the key"),
        (SPDK.replace("\"rtype\"", "\"type\""), "unknown field"),
    ];
    let place = Place::new();
    for (text, reason) in rows {
        failed(&place.import(&text, "--yes"), &["ptpl.json: ", reason]);
    }
    for nothing in ["", &SPDK.replace("\"ptpl\": true", "\"ptpl\": false")] {
        done(&place.import(nothing, ""), &["no record is made"]);
    }
    assert!(!place.record(SOUND).exists());
    let missing = place.run(&format!("import /none --nqn {NQN} --nsid 1 --uuid {SOUND}"));
    failed(&missing, &["/none: cannot be read: "]);
}

#[test]
fn a_directory_that_is_in_use_or_none_is_refused_and_left_alone() {
    let place = Place::with_record();
    let owner = StateDirectory::open(&place.state(), true).unwrap();
    for command in ["list".to_owned(), "verify".to_owned(), format!("clear {SOUND} --yes")] {
        failed(&place.run(&command), &[&format!("in use by process {}", std::process::id())]);
    }
    drop(owner);
    assert!(place.record(SOUND).exists());

    let empty = tempfile::tempdir().unwrap();
    let missing = empty.path().join("none");
    for (path, reason) in [(missing.as_path(), "does not exist"), (empty.path(), "has no marker")] {
        let ran = run(&["reservation", "list", "--state-dir", text(path)], &[]);
        failed(&ran, &[text(path), reason, "--state-dir"]);
    }
    assert!(!missing.exists() && fs::read_dir(empty.path()).unwrap().next().is_none(), "nothing is created");
}

#[test]
fn the_environment_names_the_directory_as_for_serve() {
    let place = Place::with_record();
    let state = place.state();
    done(&run(&["reservation", "verify"], &[("STATE_DIRECTORY", text(&state))]), &[": ok"]);
    failed(&run(&["reservation", "verify"], &[]), &["HOME is not set"]);
}

#[test]
fn wrong_command_lines_of_reservation_exit_with_2() {
    let rows = [
        "",
        "show",
        "show 1",
        "clear --yes",
        "verify 00000000-0000-0000-0000-000000000000",
        "import file --nsid 1 --uuid 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11",
        "import file --nqn disk --nsid 1 --uuid 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11",
        "import file --nqn nqn.2026-11.io.corelane:disk0 --nsid 0 --uuid 6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11",
    ];
    let place = Place::with_record();
    for row in rows {
        let ran = place.run(row);
        assert_eq!(ran.code, USAGE, "{row}: {ran:?}");
    }
}

#[test]
fn the_help_of_each_subcommand_says_what_it_does() {
    for (command, part) in [
        ("list", "--state-dir"),
        ("show", "--json"),
        ("clear", "every host"),
        ("import", "SPDK"),
        ("verify", "[UUID]"),
    ] {
        let ran = run(&["reservation", command, "--help"], &[]);
        done(&ran, &[part]);
    }
    let help = run(&["reservation", "--help"], &[]);
    done(&help, &["EXIT STATUS:"]);
    let examples = help.output.split("EXAMPLES:").nth(1).unwrap().replace("\\\n", " ");
    let commands = examples.lines().filter_map(|line| line.strip_prefix("      "));
    let commands: Vec<&str> = commands.flat_map(|line| line.split(" && ")).collect();
    assert_eq!(commands.len(), 4);
    for command in commands {
        let parsed = Arguments::try_parse_from(command.split_whitespace());
        assert!(parsed.is_ok(), "{command}: {parsed:?}");
    }
}
