//! Printing how things stand, for people and for programs.

use std::io::{self, Write};

use crate::config::ByteSize;
use crate::tune::setup::{Block, DeviceStatus, Memlock, Node, Pool, Status};

use super::Failure;

/// What stands where there is nothing, or nothing is known.
const NOTHING: &str = "-";

/// One JSON object.
pub(super) fn json(status: &Status, output: &mut dyn Write) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(status).map_err(|problem| super::refused(problem.to_string()))?;
    writeln!(output, "{text}")?;
    Ok(())
}

/// Tables and lines.
pub(super) fn text(status: &Status, output: &mut dyn Write) -> Result<(), Failure> {
    if status.devices.is_empty() {
        writeln!(output, "NVMe devices: none")?;
    } else {
        devices(&status.devices, output)?;
        for device in &status.devices {
            details(device, output)?;
        }
    }
    writeln!(output)?;
    pools(&status.hugepages, output)?;
    writeln!(output)?;
    writeln!(output, "locked memory:  {}", status.memlock.map_or("unknown".to_owned(), memlock))?;
    let units =
        if status.iommu.units.is_empty() { NOTHING.to_owned() } else { status.iommu.units.join(", ") };
    writeln!(output, "IOMMU:          {} groups, units: {units}", status.iommu.groups)?;
    let loaded = if status.vfio.loaded { "loaded" } else { "not loaded" };
    let node = status.vfio.node.as_ref().map_or("no /dev/vfio/vfio".to_owned(), node);
    writeln!(output, "vfio-pci:       {loaded}; {node}")?;
    section("unknown", &status.unknown, output)?;
    section("to do", &status.advice, output)?;
    Ok(())
}

fn devices(devices: &[DeviceStatus], output: &mut dyn Write) -> io::Result<()> {
    let mut rows = vec![
        ["ADDRESS", "ID", "DRIVER", "GROUP", "NODE", "MODEL", "BLOCK DEVICES", "IN USE"].map(str::to_owned),
    ];
    for status in devices {
        let device = &status.device;
        let id = match (device.vendor, device.device) {
            (Some(vendor), Some(device)) => format!("{vendor:04x}:{device:04x}"),
            _ => NOTHING.to_owned(),
        };
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or(NOTHING.to_owned());
        let blocks: Vec<String> = device.blocks.iter().map(block).collect();
        rows.push([
            device.address.to_string(),
            id,
            or_nothing(&device.driver),
            or_nothing(&device.group),
            device.numa_node.map_or(NOTHING.to_owned(), |node| node.to_string()),
            or_nothing(&device.model).escape_debug().to_string(),
            if blocks.is_empty() { NOTHING.to_owned() } else { blocks.join(", ") },
            if status.uses.is_empty() { "no" } else { "yes" }.to_owned(),
        ]);
    }
    table(&rows, output)
}

/// What holds the device, who else is in its group, and who may use its node.
fn details(status: &DeviceStatus, output: &mut dyn Write) -> io::Result<()> {
    let address = status.device.address;
    for partition in status.device.blocks.iter().flat_map(|block| &block.partitions) {
        writeln!(output, "{address}: partition {}", block(partition))?;
    }
    for occupation in &status.uses {
        writeln!(output, "{address}: {occupation}")?;
    }
    let name = address.to_string();
    for member in
        status.iommu_group.iter().flat_map(|group| &group.members).filter(|member| member.name != name)
    {
        let driver = member.driver.as_deref().unwrap_or("no driver");
        writeln!(output, "{address}: shares its IOMMU group with {} ({driver})", member.name)?;
    }
    if let Some(found) = &status.node {
        writeln!(output, "{address}: {}", node(found))?;
    }
    Ok(())
}

fn pools(pools: &[Pool], output: &mut dyn Write) -> io::Result<()> {
    if pools.is_empty() {
        return writeln!(output, "huge pages: none");
    }
    let mut rows = vec![["HUGE PAGES", "NODE", "TOTAL", "FREE", "RESERVED"].map(str::to_owned)];
    for pool in pools {
        rows.push([
            ByteSize::new(pool.size_bytes).to_string(),
            pool.node.map_or("all".to_owned(), |node| node.to_string()),
            pool.total.to_string(),
            pool.free.to_string(),
            pool.reserved.map_or(NOTHING.to_owned(), |reserved| reserved.to_string()),
        ]);
    }
    table(&rows, output)
}

fn section(name: &str, lines: &[String], output: &mut dyn Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(output, "\n{name}:")?;
    lines.iter().try_for_each(|line| writeln!(output, "  {line}"))
}

fn block(block: &Block) -> String {
    format!("{} {}", block.name, ByteSize::new(block.size_bytes))
}

fn memlock(limit: Memlock) -> String {
    let bytes =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |bytes| ByteSize::new(bytes).to_string());
    format!("{}, can be raised to {}", bytes(limit.soft_bytes), bytes(limit.hard_bytes))
}

fn node(node: &Node) -> String {
    let Node { path, mode, uid, gid, usable } = node;
    let usable = if *usable { "you may use it" } else { "you may not use it" };
    format!("{path}: mode {mode}, owner {uid}:{gid}, {usable}")
}

fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]], output: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        writeln!(output, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
