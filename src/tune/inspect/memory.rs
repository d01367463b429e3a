//! Memory: huge pages, what may be locked, what may be swapped out, and how devices reach it.

use crate::config::ByteSize;

use super::super::setup::Status;
use super::look::Look;

/// Less than this cannot be locked for a useful number of buffers.
const MEMLOCK_BYTES_LEAST: u64 = 256 << 20;
/// The capability to lock any amount of memory, by its number.
const CAP_IPC_LOCK: u32 = 14;

pub(super) fn check(look: &mut Look<'_>) {
    let status = Status::read(look.machine);
    hugepages(look, &status);
    transparent(look);
    memlock(look, &status);
    swap(look);
    iommu(look, &status);
    for trouble in &status.unknown {
        look.unknown("NVMe and memory", trouble);
    }
}

fn hugepages(look: &mut Look<'_>, status: &Status) {
    const TOPIC: &str = "huge pages";
    if look.names(TOPIC, "/sys/kernel/mm/hugepages").is_err() {
        return;
    }
    let pools: Vec<_> = status.hugepages.iter().filter(|pool| pool.node.is_none()).collect();
    let free = |pool: &crate::tune::setup::Pool| pool.free.saturating_sub(pool.reserved.unwrap_or(0));
    let reason =
        "RAM disks take them: fewer misses of the page tables' cache, and no page fault at the first write";
    if pools.is_empty() {
        look.note(TOPIC, "this kernel has none").because("RAM disks take ordinary pages");
    } else if let Some(pool) = pools.iter().find(|pool| free(pool) > 0) {
        let state = format!("{} of {} free", free(pool), ByteSize::new(pool.size_bytes));
        look.helps(TOPIC, state).because(reason);
    } else {
        look.hurts(TOPIC, "none free").change(reason, "corelane setup hugepages 512");
    }
}

fn transparent(look: &mut Look<'_>) {
    const TOPIC: &str = "transparent huge pages";
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(Some(text)) = look.text(TOPIC, path) else { return };
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match chosen.unwrap_or(&text) {
        chosen @ ("madvise" | "never") => look
            .helps(TOPIC, chosen)
            .because("the kernel does not move the target's memory about to make them"),
        other => look.note(TOPIC, other).change(
            "RAM disks get them where no huge page is free; but the kernel moves memory about to make them, and stops \
             for a moment whoever uses it",
            "corelane setup hugepages 512, and echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
    }
}

fn memlock(look: &mut Look<'_>, status: &Status) {
    const TOPIC: &str = "memlock";
    let reason = "memory that a device reaches is locked, which RAM disks need not be";
    let Some(limit) = status.memlock else {
        return look.unknown(TOPIC, "the limit on locked memory is not in /proc/self/limits");
    };
    let may_lock =
        look.machine.text("/proc/self/status").is_ok_and(|text| may_lock_all(&text.unwrap_or_default()));
    let state = limit.soft_bytes.map_or("unlimited".to_owned(), |bytes| ByteSize::new(bytes).to_string());
    if may_lock {
        look.helps(TOPIC, format!("{state}, which does not bind this process (CAP_IPC_LOCK)"))
            .because(reason);
    } else if limit.soft_bytes.is_none_or(|bytes| bytes >= MEMLOCK_BYTES_LEAST) {
        look.helps(TOPIC, state).because(reason);
    } else {
        let entry =
            if status.devices.is_empty() { look.note(TOPIC, state) } else { look.hurts(TOPIC, state) };
        entry.change(reason, "ulimit -l unlimited, or LimitMEMLOCK=infinity of the unit");
    }
}

/// Whether the limit does not bind the process. capabilities(7), proc_pid_status(5).
fn may_lock_all(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << CAP_IPC_LOCK != 0)
}

fn swap(look: &mut Look<'_>) {
    const TOPIC: &str = "swap";
    let Ok(Some(table)) = look.text(TOPIC, "/proc/swaps") else { return };
    // A line of headings, and one for each area.
    let areas: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        look.helps(TOPIC, "none").because("no page of the target is ever read back from a disk");
    } else {
        look.hurts(TOPIC, format!("on {}", areas.join(", "))).change(
            "a page of a RAM disk or of the target that was swapped out costs milliseconds when it is needed",
            "swapoff -a, or MemorySwapMax=0 of the unit",
        );
    }
}

fn iommu(look: &mut Look<'_>, status: &Status) {
    const TOPIC: &str = "IOMMU";
    if look.names(TOPIC, "/sys/kernel/iommu_groups").is_err() {
        return;
    }
    if status.iommu.groups > 0 {
        look.helps(TOPIC, format!("{} groups", status.iommu.groups))
            .because("NVMe devices can be given to the target: see corelane setup");
    } else {
        look.note(TOPIC, "not in use").change(
            "NVMe devices cannot be given to the target; RAM disks need none",
            "VT-d or AMD-Vi in the firmware's set-up, and intel_iommu=on on the kernel's command line",
        );
    }
}
