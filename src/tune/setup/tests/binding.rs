//! Taking a device, and what is left when that fails half-way.

use std::fs;
use std::io;

use super::fake::{ADDRESS, Fake, address};
use super::*;

fn bind(fake: &Fake) -> Result<Bound, String> {
    let mut machine = fake.machine();
    let mut ready = bind::check(&mut machine, &[address()]).unwrap();
    assert_eq!(ready.len(), 1);
    ready.remove(0).bind(&mut machine).map_err(|error| error.to_string())
}

#[test]
fn a_free_device_goes_to_vfio() {
    let fake = Fake::new();
    let bound = bind(&fake).unwrap();
    let node = "/dev/vfio/5".to_owned();
    assert_eq!(bound, Bound { address: address(), node, already: false, loaded: false });
    assert_eq!(fake.driver().as_deref(), Some("vfio-pci"));
    assert_eq!(
        fake.log.borrow().as_slice(),
        [
            "/sys/bus/pci/devices/0000:00:05.0/driver_override < vfio-pci",
            "/sys/bus/pci/drivers/nvme/unbind < 0000:00:05.0",
            "/sys/bus/pci/drivers_probe < 0000:00:05.0",
        ]
    );
}

#[test]
fn a_device_that_vfio_has_is_left_alone() {
    let fake = Fake::new();
    bind(&fake).unwrap();
    fake.log.borrow_mut().clear();
    assert!(bind(&fake).unwrap().already);
    assert_eq!(fake.log.borrow().as_slice(), [] as [String; 0]);
}

#[test]
fn a_device_without_a_driver_goes_to_vfio() {
    let fake = Fake::new();
    fake.remove("sys/bus/pci/devices/0000:00:05.0/driver");
    fake.remove("sys/bus/pci/devices/0000:00:05.0/nvme");
    bind(&fake).unwrap();
    assert_eq!(fake.driver().as_deref(), Some("vfio-pci"));
}

#[test]
fn a_missing_module_is_loaded() {
    let fake = Fake::new();
    fake.remove("sys/bus/pci/drivers/vfio-pci");
    assert!(bind(&fake).unwrap().loaded);
    assert_eq!(fake.log.borrow()[0], "modprobe vfio-pci");
}

#[test]
fn a_module_that_cannot_be_loaded_changes_nothing() {
    let fake = Fake::new();
    fake.remove("sys/bus/pci/drivers/vfio-pci");
    fake.faults.borrow_mut().module = Some("modprobe: FATAL: Module vfio-pci not found");
    let said = bind(&fake).unwrap_err();
    assert_eq!(
        said,
        "0000:00:05.0: the driver vfio-pci is not there, and `modprobe vfio-pci` failed (modprobe: FATAL: Module \
         vfio-pci not found); run as root, outside of containers, with a kernel that has this module; nothing was changed"
    );
    assert_eq!(fake.log.borrow().as_slice(), ["modprobe vfio-pci"]);
    assert_eq!(fake.driver().as_deref(), Some("nvme"));
}

/// How a machine misbehaves, and what is said then.
type Row = (&'static str, fn(&Fake), &'static str);

#[test]
fn the_former_driver_gets_back_what_vfio_does_not_take() {
    let rows: [Row; 4] = [
        (
            "vfio-pci refuses",
            |fake| fake.faults.borrow_mut().driver = Some("vfio-pci"),
            "vfio-pci did not take it; the kernel's log (dmesg) says why; the driver nvme has it, as before",
        ),
        (
            "no node",
            |fake| fake.faults.borrow_mut().no_node = true,
            "vfio-pci has it, but /dev/vfio/5 is not there; run it where /dev is the machine's own; the driver nvme has \
             it, as before",
        ),
        (
            "the driver does not let go",
            |fake| fake.faults.borrow_mut().write = Some(("nvme/unbind", io::ErrorKind::PermissionDenied)),
            "/sys/bus/pci/drivers/nvme/unbind cannot be written: permission denied; run as root; the driver nvme has it, \
             as before",
        ),
        (
            "sysfs is read-only",
            |fake| {
                fake.faults.borrow_mut().write = Some(("nvme/unbind", io::ErrorKind::ReadOnlyFilesystem));
            },
            "/sys/bus/pci/drivers/nvme/unbind cannot be written: its file system is read-only; run it outside of the \
             container; the driver nvme has it, as before",
        ),
    ];
    for (what, change, wanted) in rows {
        let fake = Fake::new();
        change(&fake);
        assert_eq!(bind(&fake).unwrap_err(), format!("{ADDRESS}: {wanted}"), "{what}");
        assert_eq!(fake.driver().as_deref(), Some("nvme"), "{what}");
        let named = fs::read_to_string(fake.at("sys/bus/pci/devices/0000:00:05.0/driver_override")).unwrap();
        assert_eq!(named, "", "{what}");
    }
}

#[test]
fn a_device_that_is_lost_is_said_to_be() {
    let fake = Fake::new();
    fake.faults.borrow_mut().write = Some(("drivers_probe", io::ErrorKind::InvalidInput));
    assert_eq!(
        bind(&fake).unwrap_err(),
        "0000:00:05.0: /sys/bus/pci/drivers_probe cannot be written: invalid input parameter; it could not be given back \
         to nvme (/sys/bus/pci/drivers_probe cannot be written: invalid input parameter); try `corelane setup unbind` for it"
    );
    assert_eq!(fake.driver(), None);
}

#[test]
fn an_override_of_somebody_else_is_put_back() {
    let fake = Fake::new();
    fake.file("sys/bus/pci/devices/0000:00:05.0/driver_override", "nvme\n");
    fake.faults.borrow_mut().no_node = true;
    bind(&fake).unwrap_err();
    assert_eq!(fake.driver().as_deref(), Some("nvme"));
    let named = fs::read_to_string(fake.at("sys/bus/pci/devices/0000:00:05.0/driver_override")).unwrap();
    assert_eq!(named, "nvme");
}
