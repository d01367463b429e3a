//! What keeps a device from being taken: for each reason, a machine that has it, and what the operator reads.

use std::io;

use super::fake::{ADDRESS, Fake, address};
use super::*;

/// What `check` says about the machine's controller. It must have changed nothing.
fn refused(fake: &Fake) -> Vec<String> {
    let refusals = bind::check(&mut fake.machine(), &[address()]).expect_err("a refusal");
    assert_eq!(fake.log.borrow().as_slice(), [] as [String; 0]);
    assert!(!refusals.is_empty());
    refusals.iter().map(ToString::to_string).collect()
}

/// How a machine is changed, and what is said then.
type Row = (&'static str, fn(&Fake), &'static str);

fn mount(fake: &Fake, line: &str) {
    fake.file("proc/self/mountinfo", &format!("28 1 0:25 / / rw - ext4 /dev/sda1 rw\n{line}\n"));
}

/// For each row, a use of the device that is the only reason.
fn each_is_refused(rows: &[Row]) {
    for (what, change, wanted) in rows {
        let fake = Fake::new();
        change(&fake);
        assert_eq!(refused(&fake), [format!("{ADDRESS}: is in use: {wanted}")], "{what}");
    }
}

#[test]
fn mounts_and_swap_keep_the_device_and_are_named() {
    let rows: [Row; 4] = [
        (
            "a mount, by number",
            |fake| mount(fake, "36 28 259:0 / /data rw,noatime shared:9 master:1 - ext4 /dev/root rw"),
            "nvme0n1 is mounted at /data; free it with: umount /data",
        ),
        (
            "a mount, by name, at a place with a blank",
            |fake| mount(fake, "36 28 0:44 / /my\\040data rw - btrfs /dev/nvme0n1 rw"),
            "nvme0n1 is mounted at /my data; free it with: umount /my data",
        ),
        (
            "a mount of a partition",
            |fake| {
                fake.partition();
                mount(fake, "36 28 259:1 / /data rw - xfs /dev/nvme0n1p1 rw");
            },
            "nvme0n1p1 is mounted at /data; free it with: umount /data",
        ),
        (
            "swap",
            |fake| {
                fake.file("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1 partition 1 0 -2\n")
            },
            "nvme0n1 is swap space; free it with: swapoff /dev/nvme0n1",
        ),
    ];
    each_is_refused(&rows);
}

#[test]
fn what_stands_on_the_device_keeps_it_and_is_named() {
    let rows: [Row; 7] = [
        (
            "a volume of LVM",
            |fake| {
                fake.hold("nvme0n1", "dm-0", "252:0");
                fake.file("sys/class/block/dm-0/dm/name", "vg0-root\n");
                fake.file("sys/class/block/dm-0/dm/uuid", "LVM-abc\n");
            },
            "nvme0n1 is held by the LVM volume vg0-root; free it with: lvchange -an /dev/mapper/vg0-root",
        ),
        (
            "an encrypted device",
            |fake| {
                fake.partition();
                fake.hold("nvme0n1p1", "dm-3", "252:3");
                fake.file("sys/class/block/dm-3/dm/name", "home\n");
                fake.file("sys/class/block/dm-3/dm/uuid", "CRYPT-LUKS2-abc\n");
            },
            "nvme0n1p1 is held by the encrypted device home; free it with: cryptsetup close home",
        ),
        (
            "several paths",
            |fake| {
                fake.hold("nvme0n1", "dm-1", "252:1");
                fake.file("sys/class/block/dm-1/dm/name", "mpatha\n");
                fake.file("sys/class/block/dm-1/dm/uuid", "mpath-abc\n");
            },
            "nvme0n1 is held by the multipath device mpatha; free it with: multipath -f mpatha",
        ),
        (
            "another mapping",
            |fake| {
                fake.hold("nvme0n1", "dm-2", "252:2");
                fake.file("sys/class/block/dm-2/dm/name", "layer\n");
                fake.file("sys/class/block/dm-2/dm/uuid", "\n");
            },
            "nvme0n1 is held by the device-mapper device layer; free it with: dmsetup remove layer",
        ),
        (
            "a RAID",
            |fake| fake.hold("nvme0n1", "md127", "9:127"),
            "nvme0n1 is held by the RAID md127; free it with: mdadm --stop /dev/md127",
        ),
        (
            "a cache",
            |fake| fake.hold("nvme0n1", "bcache0", "250:0"),
            "nvme0n1 is held by the cache bcache0; free it with: echo 1 > /sys/block/bcache0/bcache/stop",
        ),
        (
            "a loop device",
            |fake| fake.file("sys/class/block/loop3/loop/backing_file", "/dev/nvme0n1\n"),
            "nvme0n1 is held by loop3; free it with: losetup -d /dev/loop3",
        ),
    ];
    each_is_refused(&rows);
}

#[test]
fn processes_and_superblocks_keep_the_device_and_are_named() {
    let rows: [Row; 5] = [
        (
            "a process",
            |fake| fake.process(4711, "fio", "/dev/nvme0n1"),
            "nvme0n1 is open in process 4711 (fio); end that process first",
        ),
        (
            "a process that has the controller open",
            |fake| fake.process(4712, "smartd", "/dev/nvme0"),
            "nvme0 is open in process 4712 (smartd); end that process first",
        ),
        (
            "a process that sends raw commands",
            |fake| fake.process(4713, "fio", "/dev/ng0n1"),
            "ng0n1 is open in process 4713 (fio); end that process first",
        ),
        (
            "a member of LVM that is not active",
            |fake| fake.put("dev/nvme0n1", 512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001"),
            "nvme0n1 is a physical volume of LVM (LVM2_member); if it is not needed there any more, this ends it: \
             pvremove /dev/nvme0n1",
        ),
        (
            "a member of a RAID that is not assembled, on a partition",
            |fake| {
                fake.partition();
                fake.put("dev/nvme0n1p1", 4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0");
            },
            "nvme0n1p1 is a member of a RAID (linux_raid_member); if it is not needed there any more, this ends it: \
             mdadm --zero-superblock /dev/nvme0n1p1",
        ),
    ];
    each_is_refused(&rows);
}

#[test]
fn what_the_kernel_serves_is_in_use() {
    let fake = Fake::new();
    let folder = "sys/kernel/config/nvmet/subsystems/nqn.2026-11.io.corelane:other/namespaces/1";
    fake.file(&format!("{folder}/device_path"), "/dev/nvme0n1\n");
    fake.file(&format!("{folder}/enable"), "1\n");
    assert!(
        refused(&fake)[0].contains("served by the kernel's target as nqn.2026-11.io.corelane:other; free it")
    );

    fake.file(&format!("{folder}/enable"), "0\n");
    assert!(bind::check(&mut fake.machine(), &[address()]).is_ok());
}

#[test]
fn what_stands_on_a_holder_is_named_too() {
    let fake = Fake::new();
    fake.partition();
    fake.hold("nvme0n1p1", "md0", "9:0");
    fake.hold("md0", "dm-0", "252:0");
    fake.file("sys/class/block/dm-0/dm/name", "vg0-root\n");
    fake.file("sys/class/block/dm-0/dm/uuid", "LVM-abc\n");
    mount(&fake, "36 28 252:0 / /srv rw - ext4 /dev/mapper/vg0-root rw");
    let said = refused(&fake).join("\n");
    for part in [
        "nvme0n1p1 is held by the RAID md0",
        "md0 is held by the LVM volume vg0-root",
        "dm-0 is mounted at /srv",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn holders_that_stand_on_each_other_end_somewhere() {
    let fake = Fake::new();
    fake.hold("nvme0n1", "md0", "9:0");
    // No kernel makes a ring; nothing here relies on that.
    fake.link("sys/class/block/md0/holders/md0", "../../md0");
    assert_eq!(refused(&fake).len(), 9);
}

#[test]
fn what_is_held_invisibly_is_refused() {
    let fake = Fake::new();
    fake.faults.borrow_mut().claim = Some(io::ErrorKind::ResourceBusy);
    let said = refused(&fake);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("nvme0n1 is held by something in the kernel"), "{said:?}");

    // A use that explains it is enough.
    mount(&fake, "36 28 259:0 / /data rw - ext4 /dev/nvme0n1 rw");
    let said = refused(&fake);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("is mounted at /data"), "{said:?}");

    // A process that has it open does not keep others from claiming it.
    mount(&fake, "");
    fake.process(4711, "fio", "/dev/nvme0n1");
    assert_eq!(refused(&fake).len(), 2);
}

#[test]
fn the_shared_device_of_several_paths_is_looked_at() {
    let fake = Fake::new();
    fake.remove("sys/bus/pci/devices/0000:00:05.0/nvme/nvme0/nvme0n1");
    fake.folder("sys/bus/pci/devices/0000:00:05.0/nvme/nvme0/nvme0c0n1");
    mount(&fake, "36 28 259:0 / /data rw - ext4 /dev/nvme0n1 rw");
    assert!(refused(&fake)[0].contains("nvme0n1 is mounted at /data"));
}

#[test]
fn a_device_that_cannot_be_isolated_is_refused() {
    let rows: [Row; 5] = [
        (
            "no IOMMU",
            |fake| {
                fake.remove("sys/bus/pci/devices/0000:00:05.0/iommu_group");
                fake.remove("sys/kernel/iommu_groups");
            },
            "this machine has no IOMMU in use: switch VT-d or AMD-Vi on in the firmware's set-up, and boot an Intel \
             machine with intel_iommu=on",
        ),
        (
            "no group",
            |fake| fake.remove("sys/bus/pci/devices/0000:00:05.0/iommu_group"),
            "is in no IOMMU group: the IOMMU of this machine does not cover its slot; use another slot",
        ),
        (
            "a group with a network card of the kernel",
            |fake| fake.device("0000:00:06.0", "0x020000", Some("e1000e"), Some("5")),
            "its IOMMU group 5 also has 0000:00:06.0, which the driver e1000e has: a group changes hands as a whole; \
             take 0000:00:06.0 from e1000e first, or use another slot",
        ),
        (
            "another class",
            |fake| fake.file("sys/bus/pci/devices/0000:00:05.0/class", "0x020000\n"),
            "is no NVMe I/O controller: its PCI class is 020000, and not 010802",
        ),
        (
            "an administrative controller",
            |fake| fake.file("sys/bus/pci/devices/0000:00:05.0/class", "0x010803\n"),
            "is no NVMe I/O controller: its PCI class is 010803, and not 010802",
        ),
    ];
    for (what, change, wanted) in rows {
        let fake = Fake::new();
        change(&fake);
        assert_eq!(refused(&fake), [format!("{ADDRESS}: {wanted}")], "{what}");
    }
}

#[test]
fn harmless_members_of_a_group_are_no_hindrance() {
    let fake = Fake::new();
    fake.device("0000:00:04.0", "0x060400", Some("pcieport"), Some("5"));
    fake.device("0000:00:06.0", "0x020000", Some("vfio-pci"), Some("5"));
    fake.device("0000:00:07.0", "0x020000", None, Some("5"));
    assert!(bind::check(&mut fake.machine(), &[address()]).is_ok());
}

#[test]
fn controllers_of_one_group_are_taken_together_only() {
    let fake = Fake::new();
    fake.controller("0000:00:06.0", "5", "nvme1");
    assert!(refused(&fake)[0].contains("also has 0000:00:06.0, which the driver nvme has"));
    let both = [address(), "00:06.0".parse().unwrap(), address()];
    assert_eq!(bind::check(&mut fake.machine(), &both).unwrap().len(), 2);
}

#[test]
fn one_that_is_refused_keeps_the_others_too() {
    let fake = Fake::new();
    let both = [address(), "0000:00:09.0".parse().unwrap()];
    let refusals = bind::check(&mut fake.machine(), &both).unwrap_err();
    let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["0000:00:09.0: there is no such PCI device; `corelane setup status` lists those of NVMe"]
    );
}

#[test]
fn what_cannot_be_read_is_never_taken_for_free() {
    let rows: [Row; 5] = [
        (
            "the list of mounts is missing",
            |fake| fake.remove("proc/self/mountinfo"),
            "/proc/self/mountinfo cannot be read: entity not found",
        ),
        (
            "the device is shorter than the kernel says",
            |fake| fake.file("dev/nvme0n1", ""),
            "/dev/nvme0n1 cannot be read: failed to fill whole buffer",
        ),
        (
            "the size is no number",
            |fake| fake.file("sys/class/block/nvme0n1/size", "many\n"),
            "/sys/class/block/nvme0n1/size cannot be read: \"many\" is not a number",
        ),
        (
            "permission is denied",
            |fake| fake.faults.borrow_mut().claim = Some(io::ErrorKind::PermissionDenied),
            "/dev/nvme0n1 cannot be opened: permission denied; run as root",
        ),
        (
            "the class is no number",
            |fake| fake.file("sys/bus/pci/devices/0000:00:05.0/class", "0x\n"),
            "/sys/bus/pci/devices/0000:00:05.0/class cannot be read: \"0x\" is not a number",
        ),
    ];
    for (what, change, wanted) in rows {
        let fake = Fake::new();
        change(&fake);
        assert_eq!(refused(&fake), [format!("{ADDRESS}: {wanted}")], "{what}");
    }
}
