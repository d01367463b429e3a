//! How things stand, and what is advised.

use super::fake::{ADDRESS, Fake, address};
use super::*;

fn read(fake: &Fake) -> Status {
    let status = Status::read(&fake.machine());
    assert_eq!(fake.log.borrow().as_slice(), [] as [String; 0], "looking changes nothing");
    status
}

/// How a machine is changed, and the only advice then.
type Row = (&'static str, fn(&Fake), &'static str);

fn good() -> Fake {
    let fake = Fake::new();
    fake.limits("unlimited", "unlimited");
    fake
}

#[test]
fn a_machine_that_is_ready_is_described() {
    let status = read(&good());
    assert_eq!(status.unknown, [] as [String; 0]);
    let [found] = status.devices.as_slice() else { panic!("{status:?}") };
    let device = &found.device;
    assert_eq!(device.address, address());
    assert_eq!((device.class, device.vendor, device.device), (Some(0x01_0802), Some(0x1b36), Some(0x10)));
    assert_eq!(device.model.as_deref(), Some("Fast Disk 9"));
    assert_eq!((device.driver.as_deref(), device.group.as_deref()), (Some("nvme"), Some("5")));
    assert_eq!((device.numa_node, device.controller.as_deref()), (None, Some("nvme0")));
    assert_eq!((device.blocks[0].name.as_str(), device.blocks[0].size_bytes), ("nvme0n1", 1 << 20));
    assert_eq!(found.iommu_group.as_ref().unwrap().members[0].name, ADDRESS);
    assert_eq!(found.uses, []);
    assert_eq!(status.memlock, Some(Memlock { soft_bytes: None, hard_bytes: None }));
    assert_eq!(status.iommu, Iommu { units: vec!["dmar0".to_owned()], groups: 1 });
    assert!(status.vfio.loaded && !status.vfio.unsafe_noiommu);
    let pool = |node, reserved| Pool { size_bytes: 2 << 20, node, total: 64, free: 60, reserved };
    assert_eq!(status.hugepages, [pool(None, Some(4)), pool(Some(0), None)]);
    assert_eq!(
        status.advice,
        ["0000:00:05.0 is not in use: to give it to programs, corelane setup bind 0000:00:05.0"]
    );
}

#[test]
fn everything_that_is_missing_has_a_line_that_says_what_to_do() {
    let rows: [Row; 10] = [
        (
            "no IOMMU",
            |fake| {
                fake.remove("sys/kernel/iommu_groups");
                fake.remove("sys/bus/pci/devices/0000:00:05.0/iommu_group");
            },
            "no IOMMU is in use: switch VT-d or AMD-Vi on in the firmware's set-up, and boot an Intel machine with \
             intel_iommu=on",
        ),
        (
            "no vfio-pci",
            |fake| fake.remove("sys/bus/pci/drivers/vfio-pci"),
            "the driver vfio-pci is not there: modprobe vfio-pci (`corelane setup bind` does it)",
        ),
        (
            "no node",
            |fake| fake.remove("dev/vfio/vfio"),
            "/dev/vfio/vfio is not there: run where /dev is the machine's own, or pass it to the container",
        ),
        (
            "no IOMMU needed",
            |fake| fake.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n"),
            "VFIO lets devices be used without an IOMMU: echo N > \
             /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        ),
        (
            "no huge pages",
            |fake| fake.pages("sys/kernel/mm/hugepages/hugepages-2048kB", 0, 0, Some(0)),
            "there are no huge pages: corelane setup hugepages 1024",
        ),
        (
            "no free huge pages",
            |fake| fake.pages("sys/kernel/mm/hugepages/hugepages-2048kB", 64, 4, Some(4)),
            "no huge page is free: end what uses them, or ask for more with corelane setup hugepages",
        ),
        (
            "a kernel without huge pages",
            |fake| fake.remove("sys/kernel/mm/hugepages"),
            "this kernel has no huge pages: take one that was built with HUGETLBFS",
        ),
        (
            "a limit on locked memory",
            |fake| fake.limits("8388608", "8388608"),
            "programs that are not root may lock 8MiB only: ulimit -l unlimited, or LimitMEMLOCK=infinity in the \
             service's unit",
        ),
        (
            "a shared group",
            |fake| fake.device("0000:00:06.0", "0x020000", Some("e1000e"), Some("5")),
            "0000:00:05.0 shares its IOMMU group with 0000:00:06.0, which e1000e has: use another slot",
        ),
        (
            "a slot without IOMMU",
            |fake| fake.remove("sys/bus/pci/devices/0000:00:05.0/iommu_group"),
            "0000:00:05.0 is in no IOMMU group: use another slot",
        ),
    ];
    for (what, change, wanted) in rows {
        let fake = good();
        change(&fake);
        let advice = read(&fake).advice;
        let missing: Vec<&String> =
            advice.iter().filter(|line| !line.contains("is not in use: to give")).collect();
        assert_eq!(missing, [wanted], "{what}");
    }
}

#[test]
fn a_machine_without_devices_is_no_error() {
    let fake = good();
    fake.remove("sys/bus/pci");
    fake.folder("sys/bus/pci/drivers/vfio-pci");
    let status = read(&fake);
    assert_eq!((status.devices.len(), status.unknown.len()), (0, 0));
    assert_eq!(status.advice, ["there is no NVMe device on the PCI bus: serve files, or RAM disks"]);
}

#[test]
fn what_cannot_be_read_is_said_and_not_guessed() {
    let fake = good();
    fake.file("sys/class/block/nvme0n1/size", "many\n");
    let status = read(&fake);
    assert_eq!(status.unknown, ["/sys/class/block/nvme0n1/size cannot be read: \"many\" is not a number"]);
    assert_eq!(status.devices[0].device.blocks, []);
    // It may hold anything: no advice to give it away.
    assert_eq!(status.advice, [] as [String; 0]);
}

#[test]
fn a_bound_device_is_shown_with_its_node() {
    let fake = good();
    let mut machine = fake.machine();
    for ready in bind::check(&mut machine, &[address()]).unwrap() {
        ready.bind(&mut machine).unwrap();
    }
    fake.log.borrow_mut().clear();
    fake.remove("sys/bus/pci/devices/0000:00:05.0/nvme");
    let status = read(&fake);
    let node = status.devices[0].node.as_ref().unwrap();
    assert!(node.usable && node.path == "/dev/vfio/5", "{node:?}");
    assert_eq!(status.devices[0].device.model, None, "only the kernel's driver knows it");
    assert_eq!(status.advice, [] as [String; 0]);
}

#[test]
fn uses_are_tagged_for_programs() {
    let fake = good();
    fake.file("proc/self/mountinfo", "36 28 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n");
    fake.hold("nvme0n1", "md0", "9:0");
    let value = serde_json::to_value(read(&fake)).unwrap();
    let device = &value["devices"][0];
    assert_eq!(device["address"], ADDRESS);
    assert_eq!(device["uses"][0], serde_json::json!({"block": "nvme0n1", "use": "mount", "at": "/data"}));
    let holder = serde_json::json!({"block": "nvme0n1", "use": "holder", "holder": "md0", "kind": "raid", "name": "md0"});
    assert_eq!(device["uses"][1], holder);
}
