//! Block devices of the machine: loop devices on files, which root can make. Skipped elsewhere, unless the environment
//! says that they must be tried (`CORELANE_BLOCK_DEVICES=1`, as the virtual machine's script does).

use std::{
    env,
    os::unix::fs::{FileTypeExt, MetadataExt},
    process::Command as Program,
};

use super::{blocks::look_while_writers_meet, *};
use crate::bdev::{Access, Features, Memory};

/// A loop device and the file below it, both gone when it is dropped.
struct Loop {
    device: PathBuf,
    file: PathBuf,
    _directory: TempDir,
}

impl Loop {
    /// A device of zeros, of so many bytes, with sectors of so many; `None` where there can be none.
    fn new(sector: u32, bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir_in(IN_MEMORY).unwrap();
        let file = directory.path().join("below");
        fs::File::create(&file).unwrap().set_len(bytes).unwrap();
        let said = Program::new("losetup")
            .args(["--find", "--show", "--sector-size", &sector.to_string()])
            .arg(&file)
            .output();
        let device =
            said.ok().filter(|said| said.status.success()).map(|said| String::from_utf8(said.stdout));
        let Some(device) = device else {
            assert_ne!(env::var("CORELANE_BLOCK_DEVICES").as_deref(), Ok("1"), "a loop device can be made");
            println!("skipped: a loop device needs root, losetup and the kernel's module loop");
            return None;
        };
        let device = PathBuf::from(device.unwrap().trim());
        assert!(fs::metadata(&device).unwrap().file_type().is_block_device());
        Some(Self { device, file, _directory: directory })
    }

    fn open(&self, block_size: u32) -> File {
        File::open("f0", &options(&self.device, block_size, None)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(&self, options: &FileOptions) -> Reason {
        assert_eq!(options.path, self.device);
        File::open_within("f0", options, Duration::ZERO).unwrap_err().reason
    }

    /// What the file below holds, and the bytes that it takes there.
    fn below(&self) -> (Vec<u8>, u64) {
        (fs::read(&self.file).unwrap(), fs::metadata(&self.file).unwrap().blocks() * 512)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Program::new("losetup").arg("--detach").arg(&self.device).status();
        assert!(std::thread::panicking() || detached.is_ok_and(|status| status.success()));
    }
}

#[test]
fn block_devices_conform() {
    for (sector, block_size) in [(512, 512), (512, 4096), (4096, 4096)] {
        let loops = RefCell::new(Vec::new());
        if Loop::new(sector, 1 << 20).is_none() {
            return;
        }
        let make = || -> Arc<dyn Bdev> {
            let made = Loop::new(sector, u64::from(block_size) * 1024).unwrap();
            let file = made.open(block_size);
            loops.borrow_mut().push(made);
            Arc::new(file)
        };
        conformance_of(&Subject { idle: &|_| drive(), home: &home, ..Subject::plain(&make) });
    }
}

#[test]
fn a_block_device_has_its_own_size_and_wants_blocks_no_smaller_than_its_sectors() {
    for sector in [512, 4096] {
        let Some(made) = Loop::new(sector, 3 << 20) else { return };
        let file = made.open(4096);
        let Geometry { block_size, blocks, volatile_write_cache, survives_restart, memory, features, .. } =
            *file.geometry();
        assert_eq!((block_size, blocks, volatile_write_cache, survives_restart), (4096, 768, true, true));
        assert_eq!(
            features,
            Features { deallocated_reads_zeros: false, write_uncorrectable: false, ..Features::ALL }
        );
        // Direct, and no stricter than a sector.
        assert!(file.is_direct());
        assert_eq!(file.layout.alignment, u64::from(sector));
        assert!(
            matches!(memory, Memory::Callers { alignment } if alignment <= sector.max(512) as usize),
            "{memory:?}"
        );
        drop(file);
        let smaller = options(&made.device, 512, None);
        match sector {
            512 => drop(File::open("f0", &smaller).unwrap()),
            _ => {
                let needed = Some(sector);
                assert_eq!(made.refused(&smaller), Reason::Alignment { block_size: 512, needed });
            }
        }
        let sized = options(&made.device, 4096, Some(3 << 20));
        assert_eq!(made.refused(&sized), Reason::SizeOfDevice);
        let preallocated = FileOptions { preallocate: true, ..options(&made.device, 4096, None) };
        assert_eq!(made.refused(&preallocated), Reason::SizeOfDevice);
        let uneven = options(&made.device, 2 << 20, None);
        assert!(matches!(made.refused(&uneven), Reason::Geometry(_)));
    }
}

#[test]
fn a_block_device_that_somebody_has_is_refused() {
    let Some(made) = Loop::new(512, 8 << 20) else { return };
    let wanted = options(&made.device, 512, None);
    let file = made.open(512);
    assert_eq!(made.refused(&wanted), Reason::Busy);
    drop(file);
    let formatted = Program::new("mkfs.ext4").args(["-q", "-F"]).arg(&made.device).status();
    let at = tempfile::tempdir().unwrap();
    let mounted = Program::new("mount").arg(&made.device).arg(at.path()).status();
    assert!(formatted.unwrap().success() && mounted.unwrap().success());
    let refused = made.refused(&wanted);
    assert!(Program::new("umount").arg(at.path()).status().unwrap().success());
    assert_eq!(refused, Reason::Busy);
    drop(made.open(512));
    let protect = |how: &str| Program::new("blockdev").arg(how).arg(&made.device).status().unwrap().success();
    // The setting outlives the loop device, so it is taken back before anything can fail.
    assert!(protect("--setro"));
    let opened = File::open_within("f0", &wanted, Duration::ZERO);
    assert!(protect("--setrw"));
    assert_eq!(opened.map(drop).unwrap_err().reason, Reason::ReadOnly);
    let file = made.open(512);
    let mut rig = Rig::new(&file);
    assert!(protect("--setro"));
    let written = rig.write(0, 1, 0xEE);
    let read = rig.read(0, 1);
    assert!(protect("--setrw"));
    assert_eq!((written, read.is_ok()), (Err(BdevError::WriteProtected), true));
    assert_eq!(rig.write(0, 1, 0xEE), Ok(()));
}

/// It copies the sectors to and from the cache of the file below, so even one of its own may be torn.
#[test]
fn a_block_of_a_loop_device_is_never_torn() {
    for (sector, block_size) in [(512, 64 << 10), (4096, 4096)] {
        let Some(made) = Loop::new(sector, 1 << 20) else { return };
        let mut file = made.open(block_size);
        assert!(file.claims.is_some());
        let name = format!("sectors of {sector}");
        assert_eq!(look_while_writers_meet(&name, &file), 0, "{name}");
        file.claims = None;
        look_while_writers_meet(&format!("{name}, not guarded"), &file);
    }
}

#[test]
fn zeros_and_deallocations_reach_the_medium() {
    let Some(made) = Loop::new(512, 1 << 20) else { return };
    let file = made.open(4096);
    let mut rig = Rig::new(&file);
    for first in (0..256).step_by(64) {
        rig.write(first, 64, 0xC5).unwrap();
    }
    rig.run(&Command::Flush).unwrap();
    let (bytes, taken) = made.below();
    assert!(bytes == [0xC5; 1 << 20] && taken == 1 << 20);
    let blocks = |first, count| Blocks { first, count };
    rig.run(&Command::Deallocate { ranges: &[blocks(64, 32), blocks(200, 0), blocks(128, 32)] }).unwrap();
    // A loop device punches holes, so here the hint is taken, and seen.
    assert_eq!(taken - made.below().1, 2 * 32 * 4096);
    let rows = [
        (Command::WriteZeroes { blocks: blocks(0, 16), deallocate: false, force_unit_access: false }, 0..16),
        (Command::WriteZeroes { blocks: blocks(16, 16), deallocate: false, force_unit_access: true }, 16..32),
        (Command::WriteZeroes { blocks: blocks(32, 16), deallocate: true, force_unit_access: false }, 32..48),
    ];
    for (command, range) in rows {
        rig.run(&command).unwrap();
        let count = u32::try_from(range.end - range.start).unwrap();
        assert!(rig.read(range.start, count).unwrap().iter().all(|&byte| byte == 0), "{command:?}");
    }
    let (bytes, _) = made.below();
    for (block, bytes) in bytes.chunks(4096).enumerate() {
        let zero = matches!(block, 0..48 | 64..96 | 128..160);
        assert_eq!(bytes, [if zero { 0 } else { 0xC5 }; 4096], "block {block}");
    }
}

#[test]
fn a_block_device_that_loses_its_medium_fails_and_comes_back() {
    let Some(made) = Loop::new(512, 1 << 20) else { return };
    let file = made.open(4096);
    let mut rig = Rig::new(&file);
    for first in (0..256).step_by(64) {
        rig.write(first, 64, 0x5A).unwrap();
    }
    rig.run(&Command::Flush).unwrap();
    let below = fs::OpenOptions::new().write(true).open(&made.file).unwrap();
    below.set_len(64 * 4096).unwrap();
    let failed = Err(BdevError::Media { access: Access::Read });
    for first in [64, 255] {
        assert_eq!(rig.read(first, 1), failed, "{first}");
    }
    let with = [rig.bytes(4).read_only()];
    let compare = Command::Compare { blocks: Blocks { first: 100, count: 4 }, with: &with };
    assert_eq!(rig.run(&compare), Err(BdevError::Media { access: Access::Read }));
    assert_eq!(rig.read(0, 64), Ok(vec![0x5A; 64 * 4096]));
    below.set_len(1 << 20).unwrap();
    assert_eq!(rig.read(64, 1), Ok(vec![0; 4096]));
    assert_eq!(rig.write(200, 4, 0x11), Ok(()));
    assert_eq!(rig.run(&Command::Flush), Ok(()));
}
