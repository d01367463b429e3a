//! Two appliances in one process, each with a RAM disk, until a line or the end comes from standard input.
//!
//! They share the cores and nothing else: each has its own reactors, addresses and state directory. Each could as well
//! have cores of its own, or live in the process of something else that a storage appliance does.

use std::error::Error;
use std::path::Path;

use corelane::app::{Appliance, Options};
use corelane::config;
use corelane_reactors::cpu;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    // Before any thread is pinned: a pinned one may use a single core, and so may those that it starts.
    let allowed = cpu::allowed();
    let state = tempfile::tempdir()?;
    let mut appliances = Vec::new();
    for name in ["fast", "large"] {
        appliances.push(Appliance::start(options(name, &allowed, state.path())?)?);
    }

    for appliance in &appliances {
        for subsystem in appliance.subsystems() {
            println!("{} on {:?}", subsystem.nqn, subsystem.addresses);
        }
    }
    println!("press Enter to stop them");
    std::io::stdin().read_line(&mut String::new())?;

    for appliance in &appliances {
        appliance.stopper().stop();
    }
    for appliance in appliances {
        appliance.join()?;
    }
    println!("stopped");
    Ok(())
}

/// An appliance with one disk, at a port of the loopback address that the kernel chooses.
fn options(name: &str, allowed: &[usize], state: &Path) -> Result<Options, Box<dyn Error>> {
    let size = if name == "large" { "1GiB" } else { "64MiB" };
    let document = json!({
        // Two groups of reactors on the same cores must not poll against each other.
        "reactors": {"idle": {"policy": "park"}},
        "limits": {"connections_max": 64},
        "bdevs": [{"name": name, "type": "malloc", "size": size}],
        "subsystems": [{
            "nqn": format!("nqn.2026-11.io.corelane:{name}"),
            "allow_any_host": true,
            "listeners": [{"address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": 1, "bdev": name}]
        }]
    });
    let accepted = config::parse(&document.to_string(), allowed)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(Options { config: accepted.config, state_directory: state.join(name) })
}
