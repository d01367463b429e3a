//! What a process may use: affinity, cpusets and quotas of both kinds of control groups.

use super::*;

/// Names of files below the folder of control groups, and their texts.
type Files = &'static [(&'static str, &'static str)];

/// The item that comes of them, if any.
type Said = Option<(Verdict, &'static str)>;

fn usable_cores(fake: &Fake, shape: Shape) -> Vec<usize> {
    usable(&fake.machine(), &shape.all()).cores()
}

#[test]
fn affinity_and_cpuset_narrow_the_cores() {
    let rows: [(&str, Files, &[usize]); 7] = [
        //  control group                  files                                                cores
        ("0::/\n", &[], &[0, 1, 2, 3]),
        ("0::/\n", &[("cpuset.cpus.effective", "1-2")], &[1, 2]),
        ("0::/a/b\n", &[("a/b/cpuset.cpus.effective", "3")], &[3]),
        // A cpuset of an ancestor, as in a container that sees its own group as the root.
        ("0::/a/b\n", &[("cpuset.cpus.effective", "0-1")], &[0, 1]),
        ("3:cpuset:/docker/x\n0::/\n", &[("cpuset/docker/x/cpuset.effective_cpus", "0,3")], &[0, 3]),
        ("3:cpu,cpuset:/x\n", &[("cpu,cpuset/cpuset.effective_cpus", "2")], &[2]),
        // Of another process, and no reason not to run.
        ("0::/\n", &[("cpuset.cpus.effective", "900")], &[0, 1, 2, 3]),
    ];
    for (groups, files, cores) in rows {
        let fake = computer(SINGLE);
        fake.file("proc/self/cgroup", groups);
        for (name, text) in files {
            fake.file(&format!("sys/fs/cgroup/{name}"), text);
        }
        assert_eq!(usable_cores(&fake, SINGLE), cores, "{groups:?} {files:?}");
    }
    let fake = computer(SINGLE);
    fake.file("proc/self/status", "Cpus_allowed_list:\t1,3\n");
    assert_eq!(usable_cores(&fake, SINGLE), [1, 3]);
    assert_eq!(usable(&fake.machine(), &[3]).cores(), [3]);
}

#[test]
fn a_container_is_told_what_it_may_use() {
    let fake = computer(DUAL);
    fake.file("sys/fs/cgroup/cpuset.cpus.effective", "2,6");
    let inspection = inspect(&fake, DUAL, "{}");
    assert_eq!((inspection.layout.management, inspection.layout.io.as_slice()), (2, &[6][..]));
    assert_eq!(about(&inspection, "cores"), [(Verdict::Note, "2,6 of 0-7".to_owned())]);
    let shared = (Verdict::Note, "reactors on 2 and 6, which are one".to_owned());
    assert_eq!(about(&inspection, "threads of a core"), [shared]);
}

#[test]
fn the_least_quota_up_to_the_root_is_held_against_the_reactors() {
    let rows: [(&str, Files, Said); 6] = [
        ("0::/a\n", &[("cpu.max", "max 100000"), ("a/cpu.max", "max 100000")], None),
        (
            "0::/a\n",
            &[("cpu.max", "150000 100000"), ("a/cpu.max", "400000 100000")],
            Some((Verdict::Hurts, "1.500")),
        ),
        ("0::/a\n", &[("a/cpu.max", "400000 100000")], Some((Verdict::Helps, "4.000"))),
        ("0::/a\n", &[("a/cpu.max", "1 0")], Some((Verdict::Hurts, "1.000"))),
        (
            "4:cpu,cpuacct:/a\n",
            &[("cpu/a/cpu.cfs_quota_us", "-1"), ("cpu/a/cpu.cfs_period_us", "100000")],
            None,
        ),
        (
            "4:cpu,cpuacct:/a\n",
            &[("cpu/a/cpu.cfs_quota_us", "50000"), ("cpu/a/cpu.cfs_period_us", "100000")],
            Some((Verdict::Hurts, "0.500")),
        ),
    ];
    for (groups, files, expected) in rows {
        let fake = computer(SINGLE);
        fake.file("proc/self/cgroup", groups);
        for (name, text) in files {
            fake.file(&format!("sys/fs/cgroup/{name}"), text);
        }
        let said = about(&inspect(&fake, SINGLE, "{}"), "cpu quota");
        let expected = expected
            .map(|(verdict, share)| (verdict, format!("{share} cores' worth of time, for 4 reactors")));
        assert_eq!(said, Vec::from_iter(expected), "{groups:?} {files:?}");
    }
}
