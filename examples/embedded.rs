//! Two appliances on one thread, in the loop of a program that has something else to do: here it reads lines, and says how
//! many turns the reactors have taken. The end of standard input stops both.
//!
//! The appliances share the process and nothing else: each has its own reactor, address and state directory. Neither
//! starts a reactor's thread nor pins one; their only own threads write the records of reservations.

use std::error::Error;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use corelane::app::{Appliance, Builder, Options};
use corelane::config;
use corelane_reactors::cpu;
use corelane_reactors::reactor::{Activity, Reactor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let (mut appliances, mut reactors) = (Vec::new(), Vec::new());
    for name in ["fast", "large"] {
        let (appliance, handovers) = builder(name, state.path())?.hand_over()?;
        for handover in handovers {
            reactors.push(handover.start()?);
        }
        println!("{name} listens on {:?}", appliance.addresses());
        appliances.push(appliance);
    }

    let mut reading = true;
    while !reactors.is_empty() {
        let asked = turn_or_wait(&mut reactors, reading)?;
        reactors.retain(|reactor| !reactor.stopping());
        if asked && std::io::stdin().read(&mut [0; 4096])? == 0 {
            reading = false;
            appliances.iter().for_each(|appliance| appliance.stopper().stop());
        } else if asked {
            let turns = appliances.iter().map(|appliance| appliance.group().stats(0).turns);
            println!("turns so far: {:?}", turns.collect::<Vec<_>>());
        }
    }
    appliances.into_iter().try_for_each(Appliance::join)?;
    println!("stopped");
    Ok(())
}

/// One turn of each reactor. When all have been idle, waits for whatever comes first: something for one of them, or for
/// the program. Returns whether it is something for the program.
fn turn_or_wait(reactors: &mut [Reactor], reading: bool) -> Result<bool, Box<dyn Error>> {
    let (mut idle, mut earliest) = (true, None);
    for reactor in reactors.iter_mut() {
        match reactor.turn() {
            Activity::Idle { until, may_park: true } => {
                let until = until.map(|until| until.since(reactor.clock().now()));
                earliest = [earliest, until].into_iter().flatten().min();
                // After this it is woken through its descriptor, or has found something to do.
                idle &= reactor.settle(until.map(|until| reactor.clock().now() + until));
            }
            Activity::Idle { .. } | Activity::Busy => idle = false,
        }
    }
    let timeout = if idle { earliest } else { Some(std::time::Duration::ZERO) };
    let timeout = timeout.map(Timespec::try_from).transpose()?;
    let stdin = std::io::stdin();
    let mut descriptors: Vec<_> = reactors
        .iter()
        .map(|reactor| PollFd::from_borrowed_fd(reactor.descriptor(), PollFlags::IN))
        .collect();
    let wanted = if reading { PollFlags::IN } else { PollFlags::empty() };
    descriptors.push(PollFd::from_borrowed_fd(stdin.as_fd(), wanted));
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(reading && descriptors.pop().is_some_and(|stdin| !stdin.revents().is_empty()))
}

/// An appliance with one disk and one reactor, at a port of the loopback address that the kernel chooses.
fn builder(name: &str, state: &Path) -> Result<Builder, Box<dyn Error>> {
    let allowed = cpu::allowed();
    let core = allowed.first().ok_or("no core to run on")?;
    let document = json!({
        // The same core for both: one reactor. How it idles is up to the program's loop.
        "reactors": {"management": core, "io": [core]},
        "limits": {"connections_max": 64},
        "bdevs": [{"name": name, "type": "malloc", "size": if name == "large" { "1GiB" } else { "64MiB" }}],
        "subsystems": [{
            "nqn": format!("nqn.2026-11.io.corelane:{name}"),
            "allow_any_host": true,
            "listeners": [{"address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": 1, "bdev": name}]
        }]
    });
    let accepted = config::parse(&document.to_string(), &allowed)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(Builder::new(Options { config: accepted.config, state_directory: state.join(name) }))
}
