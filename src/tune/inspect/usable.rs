//! What this process may use of the machine: its affinity, the cpuset of its control group, and the group's share of
//! processor time. cgroups(7), "cpuset" and "cpu"; proc_pid_status(5), `Cpus_allowed_list`.
//!
//! A container sees its own control group as the root of `/sys/fs/cgroup`, with the path of the host in
//! `/proc/self/cgroup` or without: the nearest file that is there counts.

use serde::Serialize;

use super::super::setup::{Machine, Trouble};
use super::list;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Folders that are looked through from a control group up to its root.
const ANCESTORS_MAX: usize = 32;
/// Part of a core that is not worth a core.
const SHARE_LEAST_US: u64 = 1;

/// What a process may use.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Usable {
    /// Cores by the process's affinity, as `taskset` and the cpuset leave it; `None` if unknown.
    pub affinity: Option<Vec<usize>>,
    /// Cores of its control group; `None` if it has no cpuset, or it is unknown.
    pub cpuset: Option<Vec<usize>>,
    /// Processor time that its control group gets in thousandths of a core; `None`: as much as there is.
    pub quota_milli: Option<u64>,
}

impl Usable {
    pub(super) fn read(machine: &Machine, troubles: &mut Vec<Trouble>) -> Self {
        let status = keep(machine.text("/proc/self/status"), troubles);
        let line = status
            .as_deref()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")));
        let groups = keep(machine.text("/proc/self/cgroup"), troubles).unwrap_or_default();
        let first = |files: Vec<String>| files.iter().find_map(|file| machine.text(file).ok().flatten());
        let cpuset = first(files(&groups, "cpuset", "cpuset.cpus.effective"))
            .or_else(|| first(files(&groups, "cpuset", "cpuset.effective_cpus")));
        Self {
            affinity: line.and_then(list::parse),
            cpuset: cpuset.and_then(|text| list::parse(&text)).filter(|cores| !cores.is_empty()),
            quota_milli: quota(machine, &groups),
        }
    }

    /// Whether a core may be used, as far as is known.
    pub(super) fn has(&self, core: usize) -> bool {
        [&self.affinity, &self.cpuset].into_iter().flatten().all(|cores| cores.contains(&core))
    }
}

/// The least quota from the process's control group up to the root.
fn quota(machine: &Machine, groups: &str) -> Option<u64> {
    let text = |file: &String| machine.text(file).ok().flatten();
    // "max 100000", or "150000 100000".
    let unified = files(groups, "", "cpu.max").into_iter().filter_map(|file| {
        let line = text(&file)?;
        let (quota, period) = line.split_once(' ')?;
        share(quota, period)
    });
    let old = files(groups, "cpu", "cpu.cfs_quota_us").into_iter().filter_map(|file| {
        // Minus one is no quota.
        let period = file.replace("quota", "period");
        share(&text(&file)?, &text(&period)?)
    });
    unified.chain(old).min()
}

fn share(quota_us: &str, period_us: &str) -> Option<u64> {
    let quota: u64 = quota_us.trim().parse().ok()?;
    let period: u64 = period_us.trim().parse().ok()?;
    quota.checked_mul(1000)?.checked_div(period.max(SHARE_LEAST_US))
}

/// Where a file of the process's control group may lie, the nearest first: in the unified hierarchy, and in that of
/// one controller.
fn files(groups: &str, controller: &str, file: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        // "0::/user.slice" and "3:cpuset:/docker/ab".
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let roots: Vec<String> = if controllers.is_empty() {
            vec![CGROUPS.to_owned(), format!("{CGROUPS}/unified")]
        } else if controllers.split(',').any(|name| name == controller) {
            vec![format!("{CGROUPS}/{controller}"), format!("{CGROUPS}/{controllers}")]
        } else {
            continue;
        };
        for root in roots {
            let mut path = path.trim_end_matches('/');
            for _ in 0..ANCESTORS_MAX {
                files.push(format!("{root}{path}/{file}"));
                let Some((parent, _)) = path.rsplit_once('/') else { break };
                path = parent;
            }
        }
    }
    files
}

fn keep(result: Result<Option<String>, Trouble>, troubles: &mut Vec<Trouble>) -> Option<String> {
    result.unwrap_or_else(|trouble| {
        troubles.push(trouble);
        None
    })
}
