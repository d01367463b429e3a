//! A machine made of a folder: each thing that is wrong with it has its own message.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::Function;
use crate::vfio::OpenError;

const ADDRESS: &str = "0000:00:05.0";

/// Adds a function to the folder of a machine; group and driver where given.
fn add(sysfs: &Path, address: &str, class: &str, group: Option<&str>, driver: Option<&str>) {
    let device = sysfs.join("bus/pci/devices").join(address);
    fs::create_dir_all(&device).unwrap();
    fs::write(device.join("class"), format!("{class}\n")).unwrap();
    if let Some(group) = group {
        let folder = sysfs.join("kernel/iommu_groups").join(group);
        fs::create_dir_all(folder.join("devices")).unwrap();
        symlink(&device, folder.join("devices").join(address)).unwrap();
        symlink(&folder, device.join("iommu_group")).unwrap();
    }
    if let Some(driver) = driver {
        let folder = sysfs.join("bus/pci/drivers").join(driver);
        fs::create_dir_all(&folder).unwrap();
        symlink(&folder, device.join("driver")).unwrap();
    }
}

fn find(sysfs: &Path) -> Result<Function, OpenError> {
    Function::find(sysfs, ADDRESS.parse().unwrap())
}

#[test]
fn a_bound_function_is_found_with_its_group() {
    let sysfs = tempfile::tempdir().unwrap();
    add(sysfs.path(), ADDRESS, "0x010802", Some("7"), Some("vfio-pci"));
    let function = find(sysfs.path()).unwrap();
    assert_eq!((function.group, function.node()), (7, "/dev/vfio/7".into()));
    assert!(function.obstacles().is_empty());
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let rows = [
        (None, None, None, "there is no PCI function 0000:00:05.0", "corelane setup status"),
        (
            Some("0x020000"),
            Some("7"),
            Some("vfio-pci"),
            "is not an NVMe controller (its class is 020000",
            "status",
        ),
        (Some("nonsense"), Some("7"), Some("vfio-pci"), "is not an NVMe controller", "status"),
        (Some("0x010802"), None, Some("nvme"), "is behind no IOMMU", "intel_iommu=on"),
        (
            Some("0x010802"),
            Some("7"),
            Some("nvme"),
            "is bound to nvme, not to vfio-pci",
            "corelane setup bind 0000:00:05.0",
        ),
        (Some("0x010802"), Some("7"), None, "is bound to no driver", "corelane setup bind 0000:00:05.0"),
    ];
    for (class, group, driver, what, advice) in rows {
        let sysfs = tempfile::tempdir().unwrap();
        if let Some(class) = class {
            add(sysfs.path(), ADDRESS, class, group, driver);
        }
        let message = find(sysfs.path()).unwrap_err().to_string();
        assert!(message.contains(what) && message.contains(advice), "{message}");
    }
}

#[test]
fn a_group_without_an_iommu_is_none() {
    let sysfs = tempfile::tempdir().unwrap();
    add(sysfs.path(), ADDRESS, "0x010802", Some("0"), Some("vfio-pci"));
    fs::write(sysfs.path().join("kernel/iommu_groups/0/name"), "vfio-noiommu\n").unwrap();
    assert!(matches!(find(sysfs.path()), Err(OpenError::NoIommu { .. })));
}

#[test]
fn drivers_that_share_the_group_are_named() {
    let sysfs = tempfile::tempdir().unwrap();
    add(sysfs.path(), ADDRESS, "0x010802", Some("7"), Some("vfio-pci"));
    add(sysfs.path(), "0000:00:06.0", "0x020000", Some("7"), Some("e1000e"));
    add(sysfs.path(), "0000:00:07.0", "0x060400", Some("7"), Some("pcieport"));
    add(sysfs.path(), "0000:00:08.0", "0x010802", Some("7"), None);
    add(sysfs.path(), "0000:00:09.0", "0x010802", Some("7"), Some("nvme"));
    assert_eq!(find(sysfs.path()).unwrap().obstacles(), ["0000:00:06.0: e1000e", "0000:00:09.0: nvme"]);
}
