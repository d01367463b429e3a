//! `corelane setup` on a machine of ordinary files.

use std::io;

use serde_json::Value;

use super::{DONE, FAILED, Ran, USAGE, run, run_on};
use crate::tune::setup::tests::fake::{ADDRESS, Fake};

fn setup(fake: &Fake, arguments: &str) -> Ran {
    let arguments: Vec<&str> = ["setup"].into_iter().chain(arguments.split_whitespace()).collect();
    run_on(fake.machine(), &arguments, &[])
}

fn done(fake: &Fake, arguments: &str) -> String {
    let ran = setup(fake, arguments);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""), "{arguments}");
    ran.output
}

fn failed(fake: &Fake, arguments: &str) -> String {
    let ran = setup(fake, arguments);
    assert_eq!((ran.code, ran.output.as_str()), (FAILED, ""), "{arguments}");
    ran.errors
}

#[test]
fn a_device_goes_to_vfio_and_back() {
    let fake = Fake::new();
    assert_eq!(
        done(&fake, "bind 00:05.0"),
        "0000:00:05.0: bound to vfio-pci; its IOMMU group is /dev/vfio/5\n"
    );
    assert_eq!(
        done(&fake, "bind 0000:00:05.0"),
        "0000:00:05.0: was bound to vfio-pci already; its IOMMU group is /dev/vfio/5\n"
    );
    assert_eq!(
        done(&fake, "unbind 0000:00:05.0"),
        "0000:00:05.0: unbound from vfio-pci, and back with the driver nvme\n"
    );
    assert_eq!(
        done(&fake, "unbind 0000:00:05.0"),
        "0000:00:05.0: was not taken: it is with the driver nvme\n"
    );
}

#[test]
fn several_devices_go_at_once() {
    let fake = Fake::new();
    fake.controller("0000:00:06.0", "6", "nvme1");
    fake.remove("sys/bus/pci/drivers/vfio-pci");
    assert_eq!(
        done(&fake, "bind 00:06.0 00:05.0"),
        "loaded the module vfio-pci (modprobe vfio-pci)\n\
         0000:00:05.0: bound to vfio-pci; its IOMMU group is /dev/vfio/5\n\
         0000:00:06.0: bound to vfio-pci; its IOMMU group is /dev/vfio/6\n"
    );
}

#[test]
fn every_reason_to_refuse_is_a_line() {
    let fake = Fake::new();
    fake.file("proc/self/mountinfo", "36 28 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n");
    fake.process(4711, "fio", "/dev/nvme0n1");
    assert_eq!(
        failed(&fake, "bind 00:05.0 00:07.0"),
        "corelane: 0000:00:05.0: is in use: nvme0n1 is mounted at /data; free it with: umount /data\n\
         corelane: 0000:00:05.0: is in use: nvme0n1 is open in process 4711 (fio); end that process first\n\
         corelane: 0000:00:07.0: there is no such PCI device; `corelane setup status` lists those of NVMe\n\
         corelane: nothing was changed\n"
    );
    assert_eq!(fake.driver().as_deref(), Some("nvme"));
}

#[test]
fn there_is_no_way_to_take_a_device_that_is_used() {
    let ran = run(&["setup", "bind", "--force", ADDRESS], &[]);
    assert_eq!((ran.code, ran.output.as_str()), (USAGE, ""));
}

#[test]
fn wrong_command_lines_are_refused() {
    for (arguments, wanted) in [
        (&["setup"][..], "Usage: corelane setup"),
        (&["setup", "bind"], "<ADDRESS>"),
        (
            &["setup", "bind", "nvme0"],
            "is not a PCI address; write it as lspci does, such as 0000:00:05.0 or 00:05.0",
        ),
        (&["setup", "hugepages"], "<COUNT>"),
        (&["setup", "hugepages", "-1"], "-1"),
        (&["setup", "hugepages", "2GiB"], "invalid digit"),
        (&["setup", "hugepages", "1", "--size", "big"], "is not a size"),
        (&["setup", "hugepages", "1", "--node", "x"], "invalid digit"),
    ] {
        let ran = run(arguments, &[]);
        assert_eq!(ran.code, USAGE, "{arguments:?}");
        assert!(ran.errors.contains(wanted), "{arguments:?}: {}", ran.errors);
    }
}

#[test]
fn huge_pages_are_asked_for() {
    let fake = Fake::new();
    assert_eq!(done(&fake, "hugepages 128"), "128 huge pages of 2MiB\n");
    assert_eq!(done(&fake, "hugepages 32 --node 0 --size 2MiB"), "32 huge pages of 2MiB on node 0\n");
    let said = failed(&fake, "hugepages 1 --size 1GiB");
    assert_eq!(said, "corelane: this machine has no huge pages of 1GiB; it has: 2MiB\n");

    fake.faults.borrow_mut().pages_max = Some(100);
    let ran = setup(&fake, "hugepages 4096");
    assert_eq!((ran.code, ran.output.as_str()), (FAILED, "100 huge pages of 2MiB, not 4096\n"));
    assert!(ran.errors.contains("not 4096: memory is used up or in pieces"), "{}", ran.errors);

    fake.faults.borrow_mut().write = Some(("nr_hugepages", io::ErrorKind::PermissionDenied));
    assert!(failed(&fake, "hugepages 1").contains("permission denied; run as root"));
}

#[test]
fn status_is_a_table_for_people() {
    let fake = Fake::new();
    fake.partition();
    fake.device("0000:00:06.0", "0x020000", Some("e1000e"), Some("5"));
    fake.file("proc/self/mountinfo", "36 28 259:1 / /data rw - ext4 /dev/nvme0n1p1 rw\n");
    fake.remove("dev/vfio/vfio");
    assert_eq!(
        done(&fake, "status"),
        "\
ADDRESS       ID         DRIVER  GROUP  NODE  MODEL        BLOCK DEVICES  IN USE
0000:00:05.0  1b36:0010  nvme    5      -     Fast Disk 9  nvme0n1 1MiB   yes
0000:00:05.0: partition nvme0n1p1 512KiB
0000:00:05.0: nvme0n1p1 is mounted at /data; free it with: umount /data
0000:00:05.0: shares its IOMMU group with 0000:00:06.0 (e1000e)

HUGE PAGES  NODE  TOTAL  FREE  RESERVED
2MiB        all   64     60    4
2MiB        0     64     60    -

locked memory:  8MiB, can be raised to unlimited
IOMMU:          1 groups, units: dmar0
vfio-pci:       loaded; no /dev/vfio/vfio

to do:
  /dev/vfio/vfio is not there: run where /dev is the machine's own, or pass it to the container
  programs that are not root may lock 8MiB only: ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's unit
  0000:00:05.0 shares its IOMMU group with 0000:00:06.0, which e1000e has: use another slot
"
    );
}

#[test]
fn status_says_what_it_could_not_read() {
    let fake = Fake::new();
    fake.file("sys/class/block/nvme0n1/size", "many\n");
    let said = done(&fake, "status");
    let line = "unknown:\n  /sys/class/block/nvme0n1/size cannot be read: \"many\" is not a number\n";
    assert!(said.contains(line), "{said}");
}

#[test]
fn status_is_an_object_for_programs() {
    let value: Value = serde_json::from_str(&done(&Fake::new(), "status --json")).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["advice", "devices", "hugepages", "iommu", "memlock", "unknown", "vfio"]);
    let device = &value["devices"][0];
    assert_eq!((&device["address"], &device["class"]), (&ADDRESS.into(), &0x01_0802.into()));
    assert_eq!(device["iommu_group"]["members"][0]["driver"], "nvme");
    assert_eq!(device["blocks"][0]["number"], "259:0");
    assert_eq!(value["hugepages"][0]["reserved"], 4);
    assert_eq!(value["memlock"]["hard_bytes"], Value::Null);
    assert_eq!(value["vfio"]["node"]["path"], "/dev/vfio/vfio");
}
