//! `corelane identify`: prints what a controller says about itself and its namespaces.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;
use zerocopy::FromBytes;

use crate::config::ByteSize;
use crate::initiator::Controller;
use crate::initiator::blocking::{Host, HostError, HostOptions};
use crate::initiator::multipath::lacks_descriptors;
use crate::spec::identify::Cns;
use crate::spec::identify::controller::ControllerType;
use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{Flbas, IdentifyNamespace};
use crate::spec::text::nul_terminated;

use super::Failure;
use super::discover::{printable, table};
use super::perf::parse_positive;
use super::remote::{HostArguments, Remote, is_unreachable, parse_remote, refused};

/// What `identify` does, for its `--help`.
pub(super) const ABOUT: &str = "\
Connect to a subsystem over NVMe/TCP, and print what its controller and its namespaces are like.

Nothing is changed: an admin queue is connected, and no I/O queue. With --json, one object.";

/// LBADS that are possible.
const BLOCK_SHIFTS: std::ops::Range<u8> = 9..32;

/// Options of `identify`.
#[derive(Args, Debug)]
pub(super) struct IdentifyArguments {
    /// The subsystem.
    #[arg(value_name = "tcp://HOST[:PORT]/NQN", value_parser = parse_remote)]
    target: Remote,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Time limit of connecting, and of each command: a number with ms, s, m or h.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_positive)]
    timeout: Duration,
    #[command(flatten)]
    host: HostArguments,
}

/// What was learned.
struct Found {
    cntlid: Option<u16>,
    controller: Controller,
    namespaces: Vec<Namespace>,
}

struct Namespace {
    nsid: u32,
    blocks: u64,
    block_size: u32,
    metadata_bytes: u16,
    uuid: Option<Uuid>,
    nguid: Option<String>,
    eui64: Option<String>,
    write_protected: bool,
}

/// Prints controller and namespaces.
pub(super) fn run(arguments: &IdentifyArguments, output: &mut dyn Write) -> Result<(), Failure> {
    let target = &arguments.target;
    let options =
        HostOptions { timeout: arguments.timeout, ..arguments.host.options(target.subsystem.clone()) };
    let ask = |address: SocketAddr| {
        let mut host = Host::connect(address, &options)?;
        let active = host.namespaces()?;
        let namespaces =
            active.into_iter().map(|nsid| namespace(&mut host, nsid)).collect::<Result<_, _>>()?;
        let (cntlid, controller) = (host.cntlid(), host.controller().clone());
        host.leave();
        Ok::<_, HostError>(Found { cntlid, controller, namespaces })
    };
    let (_, found) =
        target.authority.try_each(ask, is_unreachable).map_err(|error| refused(target, &error))?;
    if arguments.json {
        writeln!(output, "{:#}", object(&found))?;
        return Ok(());
    }
    text(&found, output)
}

fn namespace(host: &mut Host, nsid: u32) -> Result<Namespace, HostError> {
    let nonsense = HostError::Nonsense("the namespace");
    let data = host.identify(Cns::NAMESPACE, nsid)?;
    let Ok(identify) = IdentifyNamespace::read_from_bytes(&data) else { return Err(nonsense) };
    // 0 to 63, and there are 64 formats.
    let format = identify.lbaf[Flbas::from_bits(identify.flbas).format(identify.nlbaf_z.saturating_add(1))];
    if !BLOCK_SHIFTS.contains(&format.lbads) {
        return Err(nonsense);
    }
    let descriptors = match host.identify(Cns::NAMESPACE_DESCRIPTORS, nsid) {
        Err(error) if error.status().is_some_and(lacks_descriptors) => Vec::new(),
        answered => answered?,
    };
    Ok(Namespace {
        nsid,
        blocks: identify.nsze.get(),
        block_size: 1 << format.lbads,
        metadata_bytes: format.ms.get(),
        uuid: uuid(&descriptors),
        nguid: hexadecimal(&identify.nguid),
        eui64: hexadecimal(&identify.eui64),
        write_protected: identify.nsattr & 1 != 0,
    })
}

/// The UUID in a list of descriptors; a list that makes no sense has none.
fn uuid(mut list: &[u8]) -> Option<Uuid> {
    loop {
        let (head, rest) = DescriptorHead::ref_from_prefix(list).ok()?;
        if head.nidt == IdentifierType(0) {
            return None;
        }
        let (identifier, rest) = rest.split_at_checked(head.nidl.into())?;
        if head.nidt == IdentifierType::UUID {
            return Uuid::from_slice(identifier).ok();
        }
        list = rest;
    }
}

/// Hexadecimal digits; `None` for zeros, which mean that there is none.
fn hexadecimal(bytes: &[u8]) -> Option<String> {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.iter().any(|&byte| byte != 0).then_some(digits)
}

/// A field of ASCII, without the spaces behind it; what is no printable ASCII is shown as `?`.
fn ascii(field: &[u8]) -> String {
    let shown = field.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '?' });
    shown.collect::<String>().trim_end_matches([' ', '?']).to_owned()
}

fn version(ver: u32) -> String {
    let [tertiary, minor, low, high] = ver.to_le_bytes();
    format!("{}.{minor}.{tertiary}", u16::from_le_bytes([low, high]))
}

fn controller_type(kind: ControllerType) -> String {
    match kind {
        ControllerType::IO => "io".to_owned(),
        ControllerType::DISCOVERY => "discovery".to_owned(),
        ControllerType::ADMINISTRATIVE => "administrative".to_owned(),
        ControllerType(other) => format!("type {other}"),
    }
}

fn object(found: &Found) -> Value {
    let Found { cntlid, controller, namespaces } = found;
    let identify = &controller.identify;
    let namespace = |namespace: &Namespace| {
        json!({
            "nsid": namespace.nsid,
            "blocks": namespace.blocks,
            "block_size": namespace.block_size,
            "bytes": namespace.blocks.saturating_mul(namespace.block_size.into()),
            "metadata_bytes": namespace.metadata_bytes,
            "uuid": namespace.uuid,
            "nguid": namespace.nguid,
            "eui64": namespace.eui64,
            "write_protected": namespace.write_protected,
        })
    };
    json!({
        "controller": {
            "cntlid": cntlid,
            "type": controller_type(identify.cntrltype),
            "model": ascii(&identify.mn),
            "serial": ascii(&identify.sn),
            "firmware": ascii(&identify.fr),
            "subsystem": nul_terminated(&identify.subnqn),
            "version": version(identify.ver.get()),
            "namespaces_max": identify.nn.get(),
            "transfer_bytes_max": controller.transfer_bytes_max(),
            "in_capsule_bytes_max": controller.in_capsule_bytes_max(),
            "queue_depth_max": controller.depth_max(),
            "volatile_write_cache": identify.vwc & 1 != 0,
            "oncs": identify.oncs.get(),
            "sgls": identify.sgls.get(),
        },
        "namespaces": namespaces.iter().map(namespace).collect::<Vec<_>>(),
    })
}

fn text(found: &Found, output: &mut dyn Write) -> Result<(), Failure> {
    let Found { cntlid, controller, namespaces } = found;
    let identify = &controller.identify;
    let bytes = |bytes: u32| ByteSize::new(bytes.into()).to_string();
    let lines = [
        ("controller", cntlid.map_or("-".to_owned(), |cntlid| cntlid.to_string())),
        ("type", controller_type(identify.cntrltype)),
        ("subsystem", printable(nul_terminated(&identify.subnqn).unwrap_or("-"))),
        ("model", ascii(&identify.mn)),
        ("serial", ascii(&identify.sn)),
        ("firmware", ascii(&identify.fr)),
        ("NVMe version", version(identify.ver.get())),
        ("largest transfer", controller.transfer_bytes_max().map_or("no limit".to_owned(), bytes)),
        ("data in a capsule", bytes(controller.in_capsule_bytes_max())),
        ("deepest queue", format!("{} commands", controller.depth_max())),
    ];
    for (name, value) in lines {
        writeln!(output, "{name:<18} {value}")?;
    }
    writeln!(output)?;
    if namespaces.is_empty() {
        writeln!(output, "no active namespace")?;
        return Ok(());
    }
    let rows: Vec<_> = namespaces
        .iter()
        .map(|namespace| {
            let size = ByteSize::new(namespace.blocks.saturating_mul(namespace.block_size.into()));
            [
                namespace.nsid.to_string(),
                size.to_string(),
                namespace.blocks.to_string(),
                namespace.block_size.to_string(),
                namespace.uuid.map_or("-".to_owned(), |uuid| uuid.to_string()),
            ]
        })
        .collect();
    table(["NSID", "SIZE", "BLOCKS", "BLOCK SIZE", "UUID"], &rows, output)
}
