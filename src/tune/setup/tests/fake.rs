//! A machine whose `/sys`, `/proc` and `/dev` are ordinary files, and a kernel that does to them what Linux does.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tempfile::TempDir;

use super::super::{Kernel, Machine, PciAddress};

/// Address of the controller that every fake machine has.
pub(crate) const ADDRESS: &str = "0000:00:05.0";
/// Bytes of its namespace.
pub(crate) const DISK_BYTES: u64 = 1 << 20;
const DEVICES: &str = "sys/bus/pci/devices";

/// How the kernel misbehaves.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writes to paths that end so fail with this.
    pub(crate) write: Option<(&'static str, io::ErrorKind)>,
    /// Exclusive opening fails so.
    pub(crate) claim: Option<io::ErrorKind>,
    /// `modprobe` fails and says this.
    pub(crate) module: Option<&'static str>,
    /// This driver takes no device.
    pub(crate) driver: Option<&'static str>,
    /// Groups get no node.
    pub(crate) no_node: bool,
    /// No more huge pages than these.
    pub(crate) pages_max: Option<u64>,
}

/// What was asked of the kernel, in order.
pub(crate) type Log = Rc<RefCell<Vec<String>>>;

/// The files of a machine, and its kernel's log and faults.
pub(crate) struct Fake {
    root: TempDir,
    pub(crate) log: Log,
    pub(crate) faults: Rc<RefCell<Faults>>,
}

struct FakeKernel {
    root: PathBuf,
    log: Log,
    faults: Rc<RefCell<Faults>>,
}

impl Fake {
    /// With one free controller in group 5, with one namespace, on a machine that has everything that is needed.
    pub(crate) fn new() -> Self {
        let fake = Self { root: tempfile::tempdir().unwrap(), log: Log::default(), faults: Rc::default() };
        fake.file("proc/self/mountinfo", "28 1 0:25 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
        fake.file("proc/swaps", "Filename Type Size Used Priority\n");
        fake.limits("8388608", "unlimited");
        for driver in ["nvme", "vfio-pci"] {
            fake.folder(&format!("sys/bus/pci/drivers/{driver}"));
        }
        fake.folder("sys/class/iommu/dmar0");
        fake.file("dev/vfio/vfio", "");
        fake.pages("sys/kernel/mm/hugepages/hugepages-2048kB", 64, 60, Some(4));
        fake.pages("sys/devices/system/node/node0/hugepages/hugepages-2048kB", 64, 60, None);
        fake.controller(ADDRESS, "5", "nvme0");
        fake
    }

    /// A controller that the driver `nvme` has, with one namespace.
    pub(crate) fn controller(&self, address: &str, group: &str, name: &str) {
        self.device(address, "0x010802", Some("nvme"), Some(group));
        let folder = format!("{DEVICES}/{address}/nvme/{name}");
        self.file(&format!("{folder}/model"), "Fast Disk 9      \n");
        let disk = format!("{name}n1");
        self.folder(&format!("{folder}/{disk}"));
        self.folder(&format!("{folder}/power"));
        self.block(&disk, "259:0", DISK_BYTES);
    }

    /// A PCI device of whatever class.
    pub(crate) fn device(&self, address: &str, class: &str, driver: Option<&str>, group: Option<&str>) {
        let folder = format!("{DEVICES}/{address}");
        self.file(&format!("{folder}/class"), &format!("{class}\n"));
        self.file(&format!("{folder}/vendor"), "0x1b36\n");
        self.file(&format!("{folder}/device"), "0x0010\n");
        self.file(&format!("{folder}/numa_node"), "-1\n");
        self.file(&format!("{folder}/driver_override"), "(null)\n");
        if let Some(driver) = driver {
            self.link(&format!("{folder}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
        }
        if let Some(group) = group {
            let members = format!("sys/kernel/iommu_groups/{group}/devices");
            self.folder(&members);
            self.link(&format!("{folder}/iommu_group"), &format!("../../../../kernel/iommu_groups/{group}"));
            self.link(&format!("{members}/{address}"), &format!("../../../../bus/pci/devices/{address}"));
        }
    }

    /// A block device full of zeros.
    pub(crate) fn block(&self, name: &str, number: &str, bytes: u64) {
        let folder = format!("sys/class/block/{name}");
        self.file(&format!("{folder}/dev"), &format!("{number}\n"));
        self.file(&format!("{folder}/size"), &format!("{}\n", bytes / 512));
        self.file(&format!("{folder}/alignment_offset"), "0\n");
        self.folder(&format!("{folder}/holders"));
        self.file(&format!("dev/{name}"), "");
        File::options().write(true).open(self.at(&format!("dev/{name}"))).unwrap().set_len(bytes).unwrap();
    }

    /// Partition 1 of the namespace.
    pub(crate) fn partition(&self) {
        self.block("nvme0n1p1", "259:1", DISK_BYTES / 2);
        self.file("sys/class/block/nvme0n1/nvme0n1p1/partition", "1\n");
    }

    /// `holder` stands on `block`.
    pub(crate) fn hold(&self, block: &str, holder: &str, number: &str) {
        self.block(holder, number, DISK_BYTES / 4);
        self.link(&format!("sys/class/block/{block}/holders/{holder}"), &format!("../../{holder}"));
    }

    /// A process has `target` open.
    pub(crate) fn process(&self, pid: u32, program: &str, target: &str) {
        self.file(&format!("proc/{pid}/comm"), &format!("{program}\n"));
        self.folder(&format!("proc/{pid}/fd"));
        self.link(&format!("proc/{pid}/fd/3"), target);
    }

    pub(crate) fn limits(&self, soft: &str, hard: &str) {
        let text = format!(
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max locked memory         {soft}               {hard}              bytes\n"
        );
        self.file("proc/self/limits", &text);
    }

    pub(crate) fn pages(&self, folder: &str, total: u64, free: u64, reserved: Option<u64>) {
        self.file(&format!("{folder}/nr_hugepages"), &format!("{total}\n"));
        self.file(&format!("{folder}/free_hugepages"), &format!("{free}\n"));
        if let Some(reserved) = reserved {
            self.file(&format!("{folder}/resv_hugepages"), &format!("{reserved}\n"));
        }
    }

    /// Replaces bytes of a file.
    pub(crate) fn put(&self, path: &str, at: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        File::options().write(true).open(self.at(path)).unwrap().write_all_at(bytes, at).unwrap();
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn folder(&self, path: &str) {
        fs::create_dir_all(self.at(path)).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.at(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The driver of the controller.
    pub(crate) fn driver(&self) -> Option<String> {
        driver(self.root.path(), ADDRESS)
    }

    pub(crate) fn machine(&self) -> Machine {
        let kernel = FakeKernel {
            root: self.root.path().to_owned(),
            log: self.log.clone(),
            faults: self.faults.clone(),
        };
        Machine::at(self.root.path(), Box::new(kernel))
    }
}

/// The controller's address.
pub(crate) fn address() -> PciAddress {
    ADDRESS.parse().unwrap()
}

impl FakeKernel {
    fn device(&self, address: &str, name: &str) -> PathBuf {
        self.root.join(DEVICES).join(address).join(name)
    }

    /// The driver that is named for the device, or the kernel's own.
    fn probe(&self, address: &str) {
        let named = fs::read_to_string(self.device(address, "driver_override")).unwrap();
        let wanted = match named.trim() {
            "" | "(null)" => "nvme",
            named => named,
        };
        let refuses = self.faults.borrow().driver == Some(wanted);
        if refuses || driver(&self.root, address).is_some() {
            return;
        }
        symlink(format!("../../../../bus/pci/drivers/{wanted}"), self.device(address, "driver")).unwrap();
        if wanted == "vfio-pci" && !self.faults.borrow().no_node {
            let group = fs::read_link(self.device(address, "iommu_group")).unwrap();
            fs::write(self.root.join("dev/vfio").join(group.file_name().unwrap()), "").unwrap();
        }
    }
}

impl Kernel for FakeKernel {
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        let path = path.to_str().unwrap();
        self.log.borrow_mut().push(format!("{path} < {}", text.trim_end()));
        if let Some((end, kind)) = self.faults.borrow().write
            && path.ends_with(end)
        {
            return Err(kind.into());
        }
        let place = self.root.join(path.trim_start_matches('/'));
        let text = text.trim_end();
        if path.ends_with("/unbind") {
            fs::remove_file(self.device(text, "driver"))
        } else if path.ends_with("/drivers_probe") {
            self.probe(text);
            Ok(())
        } else {
            assert!(place.exists(), "{path} is not there to be written");
            let max = self.faults.borrow().pages_max;
            let text = match (path.ends_with("nr_hugepages"), max) {
                (true, Some(max)) => text.parse::<u64>().unwrap().min(max).to_string(),
                _ => text.to_owned(),
            };
            fs::write(place, text)
        }
    }

    fn load_module(&mut self, name: &str) -> io::Result<()> {
        self.log.borrow_mut().push(format!("modprobe {name}"));
        match self.faults.borrow().module {
            Some(said) => Err(io::Error::other(said)),
            None => fs::create_dir_all(self.root.join("sys/bus/pci/drivers").join(name)),
        }
    }

    fn claim(&mut self, path: &Path) -> io::Result<File> {
        match self.faults.borrow().claim {
            Some(kind) => Err(kind.into()),
            None => File::open(self.root.join(path.strip_prefix("/").unwrap())),
        }
    }
}

fn driver(root: &Path, address: &str) -> Option<String> {
    let link = fs::read_link(root.join(DEVICES).join(address).join("driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}
