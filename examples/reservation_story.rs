//! How a cluster fences a member that went silent, on one machine and without Linux tools: a target in this process, two
//! hosts, one disk. The target is stopped and started in the end, and still knows who may write.

use std::error::Error;
use std::path::Path;

use corelane::app::{Appliance, Options};
use corelane::config;
use corelane::initiator::blocking::{Exchange, Host, HostOptions};
use corelane::initiator::command::reservation::{self, Report};
use corelane::spec::nqn::Nqn;
use corelane::spec::reservation::{AcquireAction, PersistChange, RegisterAction, ReservationType};
use corelane::spec::sqe::Sqe;
use corelane_reactors::cpu;
use serde_json::json;
use zerocopy::{Immutable, IntoBytes};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NQN: &str = "nqn.2026-11.io.corelane:shared";
const NSID: u32 = 1;
const RTYPE: ReservationType = ReservationType::WRITE_EXCLUSIVE_REGISTRANTS_ONLY;

fn main() -> Result<()> {
    let (key_a, key_b) = (0xa, 0xb);
    let allowed = cpu::allowed();
    let state = tempfile::tempdir()?;
    let hosts = [HostOptions::new(Nqn::parse(NQN)?), HostOptions::new(Nqn::parse(NQN)?)];
    let (appliance, mut a, mut b) = start(&allowed, state.path(), &hosts)?;

    register(&mut a, key_a)?;
    acquire(&mut a, AcquireAction::ACQUIRE, key_a, 0)?;
    println!("A registers key {key_a:#x}, acquires the disk and writes: {}", write(&mut a)?);
    println!("B, a stranger, writes: {}", write(&mut b)?);

    println!("A falls silent; nobody knows whether it is dead or only slow");
    register(&mut b, key_b)?;
    acquire(&mut b, AcquireAction::PREEMPT_AND_ABORT, key_b, key_a)?;
    println!("B registers key {key_b:#x}, preempts A and writes: {}", write(&mut b)?);
    println!("A was only slow, and writes: {}", write(&mut a)?);
    let before = report(&mut b)?;

    stop(appliance)?;
    println!("the target is started again");
    let (appliance, mut a, mut b) = start(&allowed, state.path(), &hosts)?;
    let after = report(&mut b)?;
    println!("B asks who holds the disk: {after}");
    assert_eq!(before, after, "nothing was forgotten");
    println!("A writes: {}", write(&mut a)?);
    println!("B writes: {}", write(&mut b)?);
    stop(appliance)
}

/// A target with one disk, whose reservations persist because its UUID is given, and two hosts.
fn start(allowed: &[usize], state: &Path, hosts: &[HostOptions; 2]) -> Result<(Appliance, Host, Host)> {
    let document = json!({
        "bdevs": [{"name": "ram0", "type": "malloc", "size": "64MiB"}],
        "subsystems": [{
            "nqn": NQN, "allow_any_host": true, "listeners": [{"address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": NSID, "bdev": "ram0", "uuid": "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11"}]
        }]
    });
    let accepted =
        config::parse(&document.to_string(), allowed).map_err(|findings| findings[0].to_string())?;
    let appliance = Appliance::start(Options { config: accepted.config, state_directory: state.to_owned() })?;
    let address = appliance.addresses()[0];
    Ok((appliance, Host::connect(address, &hosts[0])?, Host::connect(address, &hosts[1])?))
}

fn stop(appliance: Appliance) -> Result<()> {
    appliance.stopper().stop();
    Ok(appliance.join()?)
}

/// Registers a key that survives a restart of the target.
fn register(host: &mut Host, key: u64) -> Result<()> {
    send(host, reservation::register(NSID, RegisterAction::REGISTER, PersistChange::SET, 0, key))
}

fn acquire(host: &mut Host, action: AcquireAction, key: u64, victim: u64) -> Result<()> {
    send(host, reservation::acquire(NSID, action, RTYPE, key, victim))
}

fn send(host: &mut Host, (sqe, data): (Sqe, impl IntoBytes + Immutable)) -> Result<()> {
    Ok(host.io(&sqe, Exchange::Send(data.as_bytes())).map(drop)?)
}

/// What becomes of a write.
fn write(host: &mut Host) -> Result<String> {
    let Err(error) = host.write(NSID, 0, &[0x5a; 4096]) else { return Ok("done".to_owned()) };
    Ok(error.status().ok_or(error)?.to_string())
}

/// Who holds the disk.
fn report(host: &mut Host) -> Result<String> {
    let answer = host.io(&reservation::report(NSID, 4096), Exchange::Receive(4096))?;
    let Report { header, registrants } = Report::decode(&answer.data).ok_or("no report")?;
    let holder = registrants.iter().find(|entry| entry.rcsts.holder()).ok_or("no holder")?;
    Ok(format!("the host with key {:#x}, in generation {}", holder.rkey, header.generation))
}
