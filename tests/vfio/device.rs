//! Inside the virtual machine: a PCI function as the driver's seam sees it, without the driver.

use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use corelane::mem::{Extent, Shared};
use corelane::nvme::{Device, Iova};
use corelane::spec::register::{Cap, Cc, Csts, Property, Vs};
use corelane::vfio::VfioDevice;

/// Nothing in the guest takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Entries of both admin queues.
const ENTRIES: u32 = 16;
/// Doorbells of the admin queue, where they lie next to each other.
const DOORBELL: usize = 0x1000;

/// The function that a script in the virtual machine has bound; elsewhere there is none, and nothing to test.
pub(crate) fn open() -> Option<VfioDevice> {
    let address = std::env::var("CORELANE_GUEST_ADDRESS").ok()?;
    // The script looks for this line: a test that had nothing to do would pass, too.
    println!("tested on {address}");
    Some(VfioDevice::open(address.parse().expect("an address")).expect("opening the function"))
}

/// Tells whoever is to take the device away that it is being used.
pub(crate) fn tell_loaded() {
    File::create(std::env::var("LOADED").expect("the script says how it is told")).expect("a file");
}

fn offset(property: Property) -> usize {
    usize::try_from(property.0).expect("offsets are small")
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        thread::sleep(Duration::from_millis(1));
    }
}

fn ready(device: &VfioDevice) -> bool {
    Csts::from_bits(device.read_u32(offset(Property::CSTS))).rdy()
}

/// Sends an Identify Controller by hand, and returns the serial number that the device wrote to memory.
fn identify(device: &VfioDevice, memory: &Shared, iova: Iova) -> String {
    device.write_u32(offset(Property::AQA), (ENTRIES - 1) << 16 | (ENTRIES - 1));
    device.write_u64(offset(Property::ASQ), iova.0);
    device.write_u64(offset(Property::ACQ), iova.0 + 4096);
    for at in (0..12_288).step_by(8) {
        memory.store_u64(at, 0);
    }
    device.write_u32(offset(Property::CC), Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).into_bits());
    wait("enabling", || ready(device));
    let identify = [0x06, 0, 0, iova.0 + 8192, 0, 0x01, 0, 0];
    memory.store_all(0, &identify);
    device.write_u32(DOORBELL, 1);
    wait("the completion", || memory.load_u32(4096 + 12) >> 16 & 1 == 1);
    assert_eq!(memory.load_u32(4096 + 12) >> 17, 0, "the status of Identify");
    device.write_u32(DOORBELL + 4, 1);
    let serial = (0..20).map(|at| memory.load_u32(8192 + 4 + at / 4 * 4).to_le_bytes()[at % 4]);
    String::from_utf8(serial.collect()).expect("ASCII").trim_end().to_owned()
}

#[test]
fn registers_memory_interrupt_and_reset_work() {
    let Some(device) = open() else { return };
    let version = Vs::from_bits(device.read_u32(offset(Property::VS)));
    let cap = Cap::from_bits(device.read_u64(offset(Property::CAP)));
    println!("{}: {} bytes of registers, {version:?}, {cap:?}", device.name(), device.register_bytes());
    assert!(version.mjr() >= 1 && cap.css_nvm() && cap.dstrd() == 0 && device.register_bytes() >= 0x2000);
    assert!(!device.is_gone() && !ready(&device));

    let extent = Arc::new(Extent::ordinary(1 << 20).expect("memory"));
    let memory = Shared::new(Arc::clone(&extent), 0..1 << 20);
    let iova = device.map(&extent).expect("mapping memory");
    let second = device.map(&Arc::new(Extent::ordinary(5000).expect("memory"))).expect("mapping more");
    println!("memory at {iova:x?} and {second:x?}");
    assert!(second.0 >= iova.0 + (1 << 20) || second.0 + 8192 <= iova.0);

    let interrupt =
        device.interrupt().expect("QEMU's controller has MSI-X").try_clone_to_owned().expect("a descriptor");
    let mut count = [0; 8];
    for _ in 0..3 {
        assert_eq!(identify(&device, &memory, iova), "EMULATED0");
        wait("the interrupt", || rustix::io::read(&interrupt, &mut count).is_ok());
        // The reset finds a controller that runs.
        device.reset().expect("resetting");
        assert!(!ready(&device) && !device.is_gone());
        assert_eq!(Cc::from_bits(device.read_u32(offset(Property::CC))), Cc::new());
    }
    // What is unmapped can be mapped again, at the same place.
    device.unmap(second);
    device.unmap(second);
    device.unmap(Iova(1));
    assert_eq!(
        device.map(&Arc::new(Extent::ordinary(5000).expect("memory"))).expect("mapping again"),
        second
    );
    drop(device);
    // It can be opened again at once.
    assert!(open().is_some_and(|device| !ready(&device)));
}

#[test]
fn a_device_that_is_taken_away_goes_quietly() {
    let Some(device) = open().map(Arc::new) else { return };
    let extent = Arc::new(Extent::ordinary(1 << 20).expect("memory"));
    let memory = Shared::new(Arc::clone(&extent), 0..1 << 20);
    let iova = device.map(&extent).expect("mapping memory");
    identify(&device, &memory, iova);
    // Another thread goes on writing doorbells; none of it may end the process.
    let writer = Arc::clone(&device);
    let writing = thread::spawn(move || {
        while !writer.is_gone() {
            writer.write_u32(DOORBELL + 4, 1);
        }
        for _ in 0..1000 {
            writer.write_u32(DOORBELL + 4, 1);
        }
    });
    tell_loaded();
    let mut last = 0;
    wait("being taken away", || {
        let status = device.read_u32(offset(Property::CSTS));
        if status != last {
            println!("CSTS {status:x}");
            last = status;
        }
        device.is_gone()
    });
    writing.join().expect("the writer");
    assert_eq!(device.read_u32(offset(Property::CSTS)), u32::MAX);
    assert_eq!(device.read_u64(offset(Property::CAP)), u64::MAX);
    device.write_u32(offset(Property::CC), 0);
    assert!(device.reset().unwrap_err().to_string().contains("gone"));
    assert!(device.map(&extent).unwrap_err().to_string().contains("gone"));
    device.unmap(iova);
    assert!(device.is_gone());
    println!("gone");
}
