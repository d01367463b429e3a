//! What a command costs in the target and in the initiator: instructions and system calls, counted by valgrind. The same from run to run, where times are not: for telling one version from the next.
//!
//! `cargo bench --bench commands -- [part of a load's name] [--check] [--record]`
//!
//! Both ends run by turns on one thread, over a loopback connection, with sockets on epoll, so that all that was sent has
//! arrived when the other end looks, and batches are always as large. The bench starts itself under callgrind, once for each
//! end of each load, and counts what is called from one function. Instructions are those of this program: the kernel's are not
//! seen. Those that copy payload are counted apart.
//!
//! `--check` compares with [`recorded.txt`](recorded.txt) and fails where a number is higher by more than the tolerance;
//! `--record` writes that file anew. Without valgrind nothing is measured; to these two that is a failure.

mod callgrind;
mod ends;
mod record;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use corelane_reactors::cpu;
use tempfile::TempDir;

use crate::callgrind::Profile;
use crate::ends::{Ends, Kind, Load};
use crate::record::{Counts, Record};

/// Rounds that are counted, and those before them; each is a batch of commands.
const ROUNDS: u64 = 50;
const ROUNDS_BEFORE: u64 = 10;

/// Runs that a row gets at most, of which the least counts. A machine that is busy with other things delivers a part of a batch
/// late now and then, which makes for turns with nothing to do; nothing makes for fewer turns than are needed.
const RUNS: usize = 3;

#[rustfmt::skip]
const LOADS: [Load; 8] = [
    Load { name: "4 KiB read, 128 at a time",           kind: Kind::Read,  bytes: 4 << 10,   depth: 128, digests: false },
    Load { name: "4 KiB write, 128 at a time",          kind: Kind::Write, bytes: 4 << 10,   depth: 128, digests: false },
    Load { name: "4 KiB read, digests, 128 at a time",  kind: Kind::Read,  bytes: 4 << 10,   depth: 128, digests: true },
    Load { name: "4 KiB write, digests, 128 at a time", kind: Kind::Write, bytes: 4 << 10,   depth: 128, digests: true },
    Load { name: "128 KiB read, 4 at a time",           kind: Kind::Read,  bytes: 128 << 10, depth: 4,   digests: false },
    Load { name: "128 KiB write, 4 at a time",          kind: Kind::Write, bytes: 128 << 10, depth: 4,   digests: false },
    Load { name: "4 KiB read, one at a time",           kind: Kind::Read,  bytes: 4 << 10,   depth: 1,   digests: false },
    Load { name: "4 KiB write, one at a time",          kind: Kind::Write, bytes: 4 << 10,   depth: 1,   digests: false },
];

/// Both ends, and the function that is counted.
const ENDS: [(&str, &str); 2] = [("target", "serve_target"), ("initiator", "drive_initiator")];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [mark, name] = &words[..]
        && mark == "--do"
    {
        run(LOADS.iter().find(|load| load.name == name).ok_or("no such load")?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let has = |word: &str| words.iter().any(|known| known == word);
    let filter = words.iter().find(|word| !word.starts_with("--")).map_or("", String::as_str);
    // `cargo test` only wants to know whether it runs.
    if !has("--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(made_with) = made_with().filter(|_| cpu::allowed().len() > 1) else {
        println!("not measured: it takes valgrind, and two cores that it may use");
        return Ok(if has("--check") || has("--record") { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    };
    let folder = TempDir::new()?;
    let mut recorded = Record::parse(&fs::read_to_string(path()).unwrap_or_default())?;
    let mut now = Record { made_with, rows: Vec::new() };
    for load in LOADS.iter().filter(|load| load.name.contains(filter)) {
        for (end, function) in ENDS {
            let name = format!("{end}, {}", load.name);
            let mut counts = per_command(load, function, folder.path())?;
            let again = |counts| {
                has("--record") || now.made_with == recorded.made_with && recorded.is_exceeded(&name, counts)
            };
            for _ in 1..RUNS {
                if again(counts) {
                    counts = counts.least(per_command(load, function, folder.path())?);
                }
            }
            now.rows.push((name, counts));
        }
    }
    let comparison = now.compare(&recorded, filter.is_empty());
    print!("{}", comparison.text);
    if has("--record") {
        recorded.replace(now, filter.is_empty())?;
        fs::write(path(), recorded.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if comparison.holds || !has("--check") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is counted.
fn run(load: &Load) -> Result<(), Box<dyn Error>> {
    let mut ends = Ends::connect(load)?;
    for _ in 0..ROUNDS_BEFORE {
        ends.warm_up()?;
    }
    for _ in 0..ROUNDS {
        ends.round()?;
    }
    ends.end()
}

/// Counts what `function` costs, and all that it calls.
fn per_command(load: &Load, function: &str, folder: &Path) -> Result<Counts, Box<dyn Error>> {
    let file = folder.join("profile");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no", "--collect-systime=yes"])
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["--do", load.name])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let profile = Profile::parse(&fs::read_to_string(file)?);
    let whole = profile.calls_of(|name| name.contains(function));
    // Callgrind counts calls before the first that is counted, too; costs it does not.
    let copying = profile.calls_of(|name| name.contains("mem::kernels::") && name.contains("::copy"));
    let commands = (ROUNDS * u64::from(load.depth)) as f64;
    if whole.calls < ROUNDS {
        return Err(format!("callgrind saw {} calls of {function}", whole.calls).into());
    }
    Ok(Counts {
        instructions: (whole.instructions - copying.instructions) as f64 / commands,
        system_calls: whole.system_calls as f64 / commands,
        copying: copying.instructions as f64 / commands,
    })
}

/// Compiler, valgrind and processor, as far as counts depend on them; `None` without valgrind.
fn made_with() -> Option<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let compiler = version(&env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))?;
    #[cfg(target_arch = "x86_64")]
    let vectors = if std::arch::is_x86_feature_detected!("avx2") { " with avx2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = "";
    Some(format!("{compiler}, {}, {}{vectors}", version("valgrind")?, env::consts::ARCH))
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/commands/recorded.txt")
}
