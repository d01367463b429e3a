//! `corelane tune` on a machine of ordinary files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{DONE, FAILED, Ran, TEXT, USAGE, file, run_on};
use crate::config::{Config, parse};
use crate::tune::inspect::tests::computer::{SINGLE, card, computer};
use crate::tune::setup::tests::fake::Fake;

fn tune(fake: &Fake, arguments: &[&str]) -> Ran {
    let arguments: Vec<&str> = ["tune"].into_iter().chain(arguments.iter().copied()).collect();
    run_on(fake.machine(), &arguments, &[])
}

fn done(fake: &Fake, arguments: &[&str]) -> String {
    let ran = tune(fake, arguments);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""), "{arguments:?}");
    ran.output
}

fn written(path: &Path) -> Config {
    parse(&fs::read_to_string(path).unwrap(), &[0, 1]).unwrap().config
}

#[test]
fn the_table_has_the_layout_and_what_to_change_first() {
    let fake = computer(SINGLE);
    fake.file("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
    let output = done(&fake, &[]);
    let start = "\
layout:   management on core 0, I/O on core 1
machine:  1 package, 4 cores, 1 NUMA node, 1 cache of level 3

hurts    governor                powersave on core 1
         the core slows down when a reactor sleeps, and is slow for the first commands after that
         > cpupower -c 1 frequency-set -g performance

note     cores                   0-1 of 0-3
";
    assert!(output.starts_with(start), "{output}");
    assert!(output.contains("\nhelps    swap                    none\n"), "{output}");
    assert!(!output.contains("unknown"), "{output}");
}

#[test]
fn what_files_of_the_kernel_say_cannot_steer_a_terminal() {
    let fake = computer(SINGLE);
    fake.file("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "a\x1b[2Jb\nc");
    let output = done(&fake, &[]);
    assert!(output.contains("a [2Jb c on core 1") && !output.contains('\x1b'), "{output}");
}

#[test]
fn json_is_one_object() {
    let fake = computer(SINGLE);
    card(&fake, 0, &[1]);
    fake.file("sys/fs/cgroup/cpu.max", "150000 100000");
    let found: Value = serde_json::from_str(&done(&fake, &["--json"])).unwrap();
    assert_eq!(found["layout"], json!({"management": 0, "io": [1]}));
    assert_eq!(found["usable"], json!({"affinity": [0, 1, 2, 3], "cpuset": null, "quota_milli": 1500}));
    let cpu = json!({"level": 1, "type": "Unified", "size": "32768K", "shared_by": [3]});
    assert_eq!(found["cpus"][3]["caches"][0], cpu);
    let interrupt = json!({"number": 40, "count": 12, "cores": [1]});
    let device =
        json!({"name": "eth0", "network": true, "node": 0, "receive_queues": 1, "interrupts": [interrupt]});
    assert_eq!(found["devices"], json!([device]));
    let item = &found["items"][0];
    assert_eq!((&item["verdict"], &item["topic"]), (&json!("hurts"), &json!("cpu quota")));
    assert!(item["command"].as_str().is_some_and(|command| command.contains("CPUQuota=")));
    assert!(found["items"].as_array().unwrap().iter().any(|item| item["command"].is_null()));
}

#[test]
fn the_layout_of_a_configuration_is_judged() {
    let fake = computer(SINGLE);
    card(&fake, 0, &[0]);
    let mut text: Value = serde_json::from_str(TEXT).unwrap();
    text["reactors"] = json!({"management": 1, "io": [0]});
    let (_directory, path) = file(&text.to_string());
    let output = done(&fake, &["--config", &path]);
    assert!(output.starts_with("layout:   management on core 1, I/O on core 0\n"), "{output}");
    assert!(output.contains("1 of 1 of eth0 come on I/O core 0\n"), "{output}");
    text["reactors"]["io"] = json!([7]);
    let (_directory, path) = file(&text.to_string());
    let ran = tune(&fake, &["--config", &path]);
    assert_eq!((ran.code, ran.output.as_str()), (FAILED, ""));
    assert!(
        ran.errors.contains("reactors.io: names core 7; this process may use cores 0-1"),
        "{}",
        ran.errors
    );
}

#[test]
fn a_proposal_is_a_whole_configuration_and_replaces_nothing_unasked() {
    let fake = computer(SINGLE);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.json");
    let name = path.to_str().unwrap();
    let output = done(&fake, &["--write", name]);
    let end = format!(
        "\nwrote {name}: management on core 0, I/O on core 1\n  I/O core 1 and management on core 0 are physical cores \
         of their own\n"
    );
    assert!(output.ends_with(&end), "{output}");
    assert_eq!(written(&path), Config::embedded_default(&[0, 1]).unwrap());

    fs::write(&path, "mine").unwrap();
    let ran = tune(&fake, &["--write", name]);
    assert_eq!(ran.code, FAILED);
    assert_eq!(ran.errors, format!("corelane: {name}: exists, and is left as it is; --force replaces it\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

    done(&fake, &["--write", name, "--force"]);
    assert_eq!(written(&path), Config::embedded_default(&[0, 1]).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn a_proposal_keeps_everything_but_the_layout() {
    let fake = computer(SINGLE);
    let mut text: Value = serde_json::from_str(TEXT).unwrap();
    text["reactors"] = json!({"management": 1, "io": [0], "idle": {"policy": "spin"}});
    let (_directory, path) = file(&text.to_string());
    let before = written(Path::new(&path));
    let ran = tune(&fake, &["--json", "--config", &path, "--write", &path, "--force"]);
    assert_eq!(ran.code, DONE);
    serde_json::from_str::<Value>(&ran.output).unwrap();
    assert!(
        ran.errors.contains(&format!("wrote {path}: management on core 0, I/O on core 1\n")),
        "{}",
        ran.errors
    );
    let mut after = written(Path::new(&path));
    assert_eq!((after.reactors.management, after.reactors.io.as_slice()), (0, &[1][..]));
    after.reactors = before.reactors.clone();
    assert_eq!(after, before);
}

#[test]
fn a_file_that_cannot_be_written_is_said() {
    let fake = computer(SINGLE);
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent/new.json");
    for force in [&[][..], &["--force"]] {
        let ran = tune(&fake, &[&["--write", absent.to_str().unwrap()], force].concat());
        assert_eq!(ran.code, FAILED);
        assert!(ran.errors.contains("new.json: cannot be written: No such file"), "{}", ran.errors);
    }
    let path = directory.path().join("new.json");
    fs::write(directory.path().join("new.json.new"), "half").unwrap();
    let ran = tune(&fake, &["--write", path.to_str().unwrap(), "--force"]);
    assert_eq!(ran.code, FAILED);
    assert!(ran.errors.contains("new.json.new: is left over from another run; remove it"), "{}", ran.errors);
    assert!(!path.exists());
}

#[test]
fn force_without_a_file_is_a_wrong_command_line() {
    let ran = tune(&computer(SINGLE), &["--force"]);
    assert_eq!(ran.code, USAGE);
    assert!(ran.errors.contains("--write"), "{}", ran.errors);
}
