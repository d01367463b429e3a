//! `corelane perf`: from a command line to a load, and from its report to an exit status. What makes the load lies in
//! [`crate::perf`].

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::app;
use crate::config::Topology;
use crate::initiator::blocking::HostOptions;
use crate::initiator::{AssociationOptions, Backoff};
use crate::perf::{
    BdevTarget, Plan, Report, Space, Survey, SurveyError, Target, TcpTarget, find_data, plot,
    run as run_load, survey,
};

use super::remote::{Remote, is_unreachable, refused};
use super::{Failure, chain, check};

pub(in crate::cli) use arguments::parse_positive;
use arguments::{Digest, PerfTarget};
use report::Heading;
pub(in crate::cli) use watch::Console;

pub(super) use arguments::{ABOUT, AFTER, PerfArguments};

mod arguments;
mod report;
mod watch;

/// KATO of every association.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(30);
/// Commands under way where nobody says how many, if the queues take as many.
const DEPTH_DEFAULT: u16 = 128;
/// Preemptions in a second that are worth a word.
const PREEMPTIONS_MANY: u64 = 50;

/// Carries the load out, and prints what it came to.
pub(super) fn run(
    arguments: &PerfArguments,
    allowed: &[usize],
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(message) = arguments.out_of_place() {
        return Err(Failure::Usage(message));
    }
    let mut plan = plan(arguments, allowed)?;
    let mut console = Console::new(arguments.progress, errors)?;
    match &arguments.target {
        PerfTarget::Tcp(remote) => {
            let (target, space) = connect(arguments, remote, &mut plan, &mut console)?;
            let heading = Heading {
                target: remote.to_string(),
                nsid: Some(space.nsid),
                bytes: space.blocks.saturating_mul(space.block_size.into()),
                block_size: space.block_size,
            };
            measure(arguments, &plan, &space, &heading, &target, &mut console, output)
        }
        PerfTarget::Pcie(address) => {
            let name = format!("pcie://{address}");
            let refuse = |message: String| Failure::Refused(vec![format!("{name}: {message}")]);
            let target =
                app::pcie_target(*address, arguments.nsid, &plan).map_err(|error| refuse(chain(&error)))?;
            let space = space(&target, &name, &plan, arguments, &refuse)?;
            let bytes = space.blocks.saturating_mul(space.block_size.into());
            let nsid = Some(space.nsid);
            let heading = Heading { target: name, nsid, bytes, block_size: space.block_size };
            measure(arguments, &plan, &space, &heading, &target, &mut console, output)
        }
        PerfTarget::Bdev(name) => {
            let (target, space) = open(arguments, name, &plan, allowed)?;
            let bytes = space.blocks.saturating_mul(space.block_size.into());
            let nsid = (space.nsid > 0).then_some(space.nsid);
            let heading =
                Heading { target: format!("bdev:{name}"), nsid, bytes, block_size: space.block_size };
            measure(arguments, &plan, &space, &heading, &target, &mut console, output)
        }
    }
}

fn plan(arguments: &PerfArguments, allowed: &[usize]) -> Result<Plan, Failure> {
    let cores = if arguments.core_list.is_empty() {
        let first = allowed.len().checked_sub(arguments.cores.into());
        let first = first.ok_or_else(|| {
            Failure::Usage(format!("--cores {}: this process may use {}", arguments.cores, allowed.len()))
        })?;
        allowed[first..].to_vec()
    } else {
        arguments.core_list.clone()
    };
    let block_bytes = u32::try_from(arguments.block_size.bytes());
    let block_bytes = block_bytes.map_err(|_| Failure::Usage("--block-size is 4 GiB or more".to_owned()))?;
    Ok(Plan {
        block_bytes,
        depth: arguments.depth.unwrap_or(DEPTH_DEFAULT),
        connections: arguments.connections,
        cores,
        reads_percent: arguments.mix,
        pattern: arguments.pattern(),
        duration: arguments.duration,
        warm_up: arguments.warm_up,
        rate: arguments.rate,
        verify: arguments.verify,
        seed: arguments.seed,
        timeout: arguments.timeout,
    })
}

/// Looks at the namespace, and whether it may be overwritten.
fn connect(
    arguments: &PerfArguments,
    remote: &Remote,
    plan: &mut Plan,
    console: &mut Console<'_>,
) -> Result<(TcpTarget, Space), Failure> {
    let mut options = arguments.host.options(remote.subsystem.clone());
    options.timeout = arguments.timeout;
    options.header_digest = arguments.digests.contains(&Digest::Header);
    options.data_digest = arguments.digests.contains(&Digest::Data);
    options.flow_control = arguments.sq_flow_control;
    let look = |address: SocketAddr| survey(address, &options, arguments.nsid, arguments.connections);
    let unreachable =
        |error: &SurveyError| matches!(error, SurveyError::Host(error) if is_unreachable(error));
    let (address, found) =
        remote.authority.try_each(look, unreachable).map_err(|error| refused(remote, &error))?;
    let Survey { space, queues_max, depth_max } = found;
    if plan.depth > depth_max {
        if arguments.depth.is_some() {
            console.say(&format!("the controller's queues take {depth_max} commands: that depth is used"));
        }
        plan.depth = depth_max;
    }
    plan.check(&space).map_err(|error| refused(remote, &error))?;
    if plan.writes() && !arguments.yes_overwrite {
        consent(remote, address, &options, &space)?;
    }
    let association = AssociationOptions {
        address,
        identity: options.identity.clone(),
        io_queues: 1,
        queues_elsewhere: 0,
        depth: plan.depth,
        header_digest: options.header_digest,
        data_digest: options.data_digest,
        flow_control: options.flow_control,
        keep_alive: KEEP_ALIVE,
        timeout: options.timeout,
        transfer_bytes_max: space.transfer_bytes_max,
        backoff: Backoff { give_up_after: arguments.reconnect_for, ..Backoff::DEFAULT },
    };
    Ok((TcpTarget { association, nsid: space.nsid, queues_max }, space))
}

/// Refuses to overwrite what somebody else has written.
fn consent(
    remote: &Remote,
    address: SocketAddr,
    options: &HostOptions,
    space: &Space,
) -> Result<(), Failure> {
    let found = find_data(address, options, space).map_err(|error| refused(remote, &error))?;
    let Some(lba) = found else { return Ok(()) };
    Err(Failure::Refused(vec![
        format!(
            "{remote}: this load writes, and namespace {} holds something that no load generator wrote (LBA {lba})",
            space.nsid
        ),
        "to overwrite the namespace nevertheless, add --yes-overwrite; to read only, use --mix 100 without --verify"
            .to_owned(),
    ]))
}

/// Makes the block device of a configuration.
fn open(
    arguments: &PerfArguments,
    name: &str,
    plan: &Plan,
    allowed: &[usize],
) -> Result<(BdevTarget, Space), Failure> {
    let Some(file) = &arguments.config else {
        return Err(Failure::Usage(format!("--target bdev:{name} needs --config FILE")));
    };
    let config = check::load(file, &Topology::flat(allowed))?.config;
    let refuse = |message: String| Failure::Refused(vec![format!("{}: {message}", file.display())]);
    let target = app::bdev_target(&config, name, allowed, plan).map_err(|error| refuse(chain(&error)))?;
    let target = target.ok_or_else(|| refuse(format!("has no block device {name:?}")))?;
    let space = space(&target, name, plan, arguments, &refuse)?;
    Ok((target, space))
}

/// The room on a block device; refused where the plan does not fit, and where somebody may need what is there.
fn space(
    target: &BdevTarget,
    name: &str,
    plan: &Plan,
    arguments: &PerfArguments,
    refuse: &dyn Fn(String) -> Failure,
) -> Result<Space, Failure> {
    let geometry = *target.bdev.geometry();
    let space = Space {
        nsid: target.nsid,
        block_size: geometry.block_size,
        blocks: geometry.blocks,
        transfer_bytes_max: u32::MAX,
    };
    plan.check(&space).map_err(|error| refuse(error.to_string()))?;
    if plan.writes() && geometry.survives_restart && !arguments.yes_overwrite {
        let message =
            format!("this load overwrites the block device {name:?}; if that may be, add --yes-overwrite");
        return Err(refuse(message));
    }
    Ok(space)
}

/// One run, or one for each depth; then the plot, the report and the verdict.
fn measure<T: Target + Clone>(
    arguments: &PerfArguments,
    plan: &Plan,
    space: &Space,
    heading: &Heading,
    target: &T,
    console: &mut Console<'_>,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for depth in depths(plan.depth, arguments.sweep) {
        let plan = Plan { depth, ..plan.clone() };
        let report = run_load(target.clone(), &plan, space, console)
            .map_err(|error| Failure::Refused(vec![chain(&error)]))?;
        let is_last = console.is_asked() || report.gave_up.is_some();
        reports.push(report);
        if is_last {
            break;
        }
    }
    console.end_line();
    if let Some(report) = reports.last() {
        remark(report, console);
    }
    if arguments.json {
        report::json(heading, &reports, output)?;
    } else {
        report::text(heading, &reports, output)?;
    }
    let mut complaints: Vec<String> =
        reports.iter().filter(|report| !report.is_clean()).flat_map(report::complaints).collect();
    if let Some(file) = &arguments.plot {
        complaints.extend(draw(file, arguments.sweep, &reports).err());
    }
    if complaints.is_empty() { Ok(()) } else { Err(Failure::Refused(complaints)) }
}

/// The depths that are measured.
fn depths(most: u16, sweep: bool) -> Vec<u16> {
    let powers = std::iter::successors(Some(1_u16), |depth| depth.checked_mul(2));
    let smaller = powers.take_while(|&depth| sweep && depth < most);
    smaller.chain([most]).collect()
}

fn draw(file: &Path, sweep: bool, reports: &[Report]) -> Result<(), String> {
    let about = |problem: &dyn std::error::Error| format!("--plot {}: {problem}", file.display());
    let picture = match reports {
        [report] if !sweep => plot::latencies(report),
        _ => plot::load(reports),
    };
    let picture = picture.map_err(|problem| about(&problem))?;
    fs::write(file, picture).map_err(|problem| about(&problem))
}

/// Says what spoils a measurement.
fn remark(report: &Report, console: &mut Console<'_>) {
    let Some(count) = report.preemptions else { return };
    if count > PREEMPTIONS_MANY * report.measured.as_secs().max(1) {
        console.say(&format!(
            "the kernel gave the cores of the load to others {count} times: choose idle ones with --core-list"
        ));
    }
}
