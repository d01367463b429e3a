//! A PCI NVMe device in a virtual machine changes hands by `corelane setup`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use guest::{Guest, vm, wanted};

mod guest;

#[test]
fn an_nvme_device_goes_to_vfio_and_back_with_its_data() {
    if !wanted("a PCI NVMe device in a virtual machine", "linux_setup") {
        return;
    }
    let shared = tempfile::tempdir().expect("a temporary directory");
    // The guest's root file system is this machine's, but for /tmp: the program may lie there.
    fs::copy(env!("CARGO_BIN_EXE_corelane"), shared.path().join("corelane")).expect("copying the program");
    let mut vm = vm(shared.path(), "setup.sh", &["CORELANE=/mnt/corelane"]);
    let mut guest = Guest::start(vm.env("CORELANE_VM_NVME", "256M"));
    let status = guest.0.wait().expect("waiting for the virtual machine");
    assert!(status.success(), "the virtual machine ended with {status}; its output says which step failed");

    let [free, mounted, bound] = ["free", "mounted", "bound"].map(|name| read(shared.path(), name));
    assert_eq!(free["devices"][0]["driver"], "nvme");
    assert_eq!(free["devices"][0]["blocks"][0]["size_bytes"], 256 << 20);
    assert_eq!(free["devices"][0]["uses"], json!([]));
    assert_eq!(free["unknown"], json!([]), "root can read everything");
    assert_eq!(mounted["devices"][0]["uses"][0]["use"], "mount");
    assert_eq!(bound["devices"][0]["driver"], "vfio-pci");
    assert_eq!(bound["devices"][0]["node"]["mode"], "0600");
    assert_eq!(bound["devices"][0]["blocks"], json!([]));
}

/// What `status --json` printed.
fn read(shared: &Path, name: &str) -> Value {
    let text = fs::read_to_string(shared.join(format!("{name}.json"))).expect("the guest left its status");
    serde_json::from_str(&text).expect("JSON")
}
