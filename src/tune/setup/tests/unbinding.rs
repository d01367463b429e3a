//! Giving a device back.

use std::fs;
use std::io;

use super::fake::{Fake, address};
use super::*;

/// A machine whose controller `vfio-pci` has.
fn bound() -> Fake {
    let fake = Fake::new();
    let mut machine = fake.machine();
    for ready in bind::check(&mut machine, &[address()]).unwrap() {
        ready.bind(&mut machine).unwrap();
    }
    fake.remove("sys/bus/pci/devices/0000:00:05.0/nvme");
    fake.log.borrow_mut().clear();
    fake
}

fn unbind(fake: &Fake) -> Result<Left, String> {
    let mut machine = fake.machine();
    let mut leaving = unbind::check(&machine, &[address()]).unwrap();
    assert_eq!(leaving.len(), 1);
    leaving.remove(0).unbind(&mut machine).map_err(|error| error.to_string())
}

fn refused(fake: &Fake) -> Vec<String> {
    let refusals = unbind::check(&fake.machine(), &[address()]).expect_err("a refusal");
    assert_eq!(fake.log.borrow().as_slice(), [] as [String; 0]);
    refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn a_device_goes_back_to_the_kernel() {
    let fake = bound();
    let left = unbind(&fake).unwrap();
    assert_eq!(left, Left { address: address(), driver: "nvme".to_owned(), already: false });
    assert_eq!(fake.driver().as_deref(), Some("nvme"));
    assert_eq!(
        fake.log.borrow().as_slice(),
        [
            "/sys/bus/pci/devices/0000:00:05.0/driver_override < ",
            "/sys/bus/pci/drivers/vfio-pci/unbind < 0000:00:05.0",
            "/sys/bus/pci/drivers_probe < 0000:00:05.0",
        ]
    );
}

#[test]
fn a_device_that_the_kernel_has_is_left_alone() {
    let fake = Fake::new();
    assert!(unbind(&fake).unwrap().already);
    assert_eq!(fake.log.borrow().as_slice(), [] as [String; 0]);
}

#[test]
fn a_device_that_nobody_has_goes_to_the_kernel() {
    let fake = bound();
    fake.remove("sys/bus/pci/devices/0000:00:05.0/driver");
    assert_eq!(unbind(&fake).unwrap().driver, "nvme");
}

#[test]
fn the_kernels_driver_is_loaded_when_it_is_missing() {
    let fake = bound();
    fake.remove("sys/bus/pci/drivers/nvme");
    assert_eq!(unbind(&fake).unwrap().driver, "nvme");
    assert_eq!(fake.log.borrow()[0], "modprobe nvme");

    let fake = bound();
    fake.remove("sys/bus/pci/drivers/nvme");
    fake.faults.borrow_mut().module = Some("no such module");
    assert!(unbind(&fake).unwrap_err().contains("`modprobe nvme` failed (no such module)"));
    assert_eq!(fake.driver().as_deref(), Some("vfio-pci"));
}

#[test]
fn a_device_that_a_program_drives_stays() {
    for node in ["/dev/vfio/5", "/dev/vfio/noiommu-5", "/dev/vfio/devices/vfio0"] {
        let fake = bound();
        fake.folder("sys/bus/pci/devices/0000:00:05.0/vfio-dev/vfio0");
        fake.process(4711, "corelane", node);
        // Another group's node is nobody's business here.
        fake.process(4712, "qemu", "/dev/vfio/55");
        let wanted = format!("0000:00:05.0: process 4711 (corelane) has {node} open; end that process first");
        assert_eq!(refused(&fake), [wanted]);
    }
}

#[test]
fn strange_devices_are_refused() {
    let fake = Fake::new();
    fake.remove("sys/bus/pci/devices/0000:00:05.0/driver");
    fake.link("sys/bus/pci/devices/0000:00:05.0/driver", "../../../../bus/pci/drivers/uio_pci_generic");
    assert_eq!(
        refused(&fake),
        [
            "0000:00:05.0: the driver uio_pci_generic has it, and not vfio-pci; take it from uio_pci_generic first"
        ]
    );
    // A network card that vfio-pci has is somebody's, and not ours to give back.
    let fake = bound();
    fake.file("sys/bus/pci/devices/0000:00:05.0/class", "0x020000\n");
    assert!(refused(&fake)[0].contains("is no NVMe I/O controller"));
    let fake = bound();
    fake.remove("sys/bus/pci/devices/0000:00:05.0");
    assert!(refused(&fake)[0].contains("there is no such PCI device"));
}

#[test]
fn what_fails_is_said_and_can_be_tried_again() {
    let fake = bound();
    fake.faults.borrow_mut().write = Some(("vfio-pci/unbind", io::ErrorKind::PermissionDenied));
    assert_eq!(
        unbind(&fake).unwrap_err(),
        "0000:00:05.0: /sys/bus/pci/drivers/vfio-pci/unbind cannot be written: permission denied; run as root"
    );

    let fake = bound();
    fake.faults.borrow_mut().driver = Some("nvme");
    let said = unbind(&fake).unwrap_err();
    assert!(said.contains("no driver of the kernel took it; the kernel's log (dmesg) says why"), "{said}");
    fake.faults.borrow_mut().driver = None;
    assert_eq!(unbind(&fake).unwrap().driver, "nvme");
    let named = fs::read_to_string(fake.at("sys/bus/pci/devices/0000:00:05.0/driver_override")).unwrap();
    assert_eq!(named, "");
}
