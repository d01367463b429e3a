//! Files that change underneath, and media that fail.

use std::process::Command as Program;

use corelane_reactors::ring::Errno;

use super::{
    job::{Job, Progress, Work},
    outcome::failure,
    *,
};
use crate::bdev::{Access, Atomicity, CopyFault, Features, Geometry, Memory, file::bounce::Bounces};

#[test]
fn reads_beyond_the_end_of_a_file_that_was_cut_are_errors() {
    for directory in directories() {
        let (file, path) = device(directory.path(), 4096, 16);
        let mut rig = Rig::new(&file);
        rig.write(0, 16, 0x55).unwrap();
        let cut = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // In the middle of a block.
        cut.set_len(2 * 4096 + 100).unwrap();
        let failed = Err(BdevError::Media { access: Access::Read });
        assert_eq!(rig.read(0, 2), Ok(vec![0x55; 8192]));
        for (first, count) in [(2, 1), (0, 3), (5, 1), (0, 16)] {
            assert_eq!(rig.read(first, count), failed, "{first} {count}");
        }
        let with = [rig.bytes(4).read_only()];
        let compare = Command::Compare { blocks: Blocks { first: 4, count: 4 }, with: &with };
        assert_eq!(rig.run(&compare), Err(BdevError::Media { access: Access::Read }));
        // A copy says how many of its ranges it has copied.
        let copy = |rig: &mut Rig, sources: &[u64]| {
            let ranges: Vec<_> = sources.iter().map(|&first| Blocks { first, count: 1 }).collect();
            rig.run(&Command::Copy { ranges: &ranges, to: 0, force_unit_access: false })
        };
        let media = CopyFault::Media { access: Access::Read };
        assert_eq!(copy(&mut rig, &[5, 0]), failed.clone().map(drop));
        assert_eq!(copy(&mut rig, &[1, 5]), Err(BdevError::Copied { ranges: 1, fault: media }));
        assert_eq!(copy(&mut rig, &[0, 1, 5, 0]), Err(BdevError::Copied { ranges: 2, fault: media }));
        assert_eq!(copy(&mut rig, &[0, 99]), Err(BdevError::OutOfRange));
        // It grows again where it is written.
        rig.write(15, 1, 0x66).unwrap();
        assert_eq!(rig.read(14, 2), Ok([[0; 4096], [0x66; 4096]].concat()));
    }
}

#[test]
fn a_full_file_system_is_told_as_such_and_reading_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let status = Program::new("mount").args(arguments).arg(directory.path()).status();
        status.is_ok_and(|status| status.success())
    };
    if !rustix::process::geteuid().is_root() || !mount(&["-t", "tmpfs", "-o", "size=64k", "corelane-test"]) {
        println!("skipped: mounting a tmpfs needs root and the right to mount");
        return;
    }
    let (file, path) = device(directory.path(), 4096, 64);
    let mut rig = Rig::new(&file);
    rig.write(0, 8, 0x77).unwrap();
    assert_eq!(rig.write(0, 64, 0x88), Err(BdevError::NoSpace));
    rig.read(0, 8).unwrap();
    // Room comes back.
    rig.run(&Command::Deallocate { ranges: &[Blocks { first: 0, count: 64 }] }).unwrap();
    rig.write(20, 8, 0x99).unwrap();
    drop((rig, file));
    let preallocated =
        FileOptions { preallocate: true, ..options(&path.with_extension("new"), 4096, Some(1 << 20)) };
    let error = File::open("f1", &preallocated).unwrap_err();
    assert_eq!(error.reason, Reason::NoSpace);
    assert!(!preallocated.path.exists(), "what could not be made is taken away");
    let unmounted = Program::new("umount").arg(directory.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
}

#[test]
fn errors_of_the_kernel_are_told_apart() {
    for access in [Access::Read, Access::Write] {
        let rows = [
            (Errno::IO, BdevError::Media { access }),
            (Errno::ILSEQ, BdevError::Media { access }),
            (Errno::INVAL, BdevError::Media { access }),
            (Errno::NOSPC, BdevError::NoSpace),
            (Errno::DQUOT, BdevError::NoSpace),
            (Errno::NODEV, BdevError::Gone),
            (Errno::NXIO, BdevError::Gone),
            (Errno::NOMEM, BdevError::Busy),
            (Errno::CANCELED, BdevError::Aborted),
            (
                Errno::PERM,
                if access == Access::Write { BdevError::WriteProtected } else { BdevError::Media { access } },
            ),
        ];
        for (errno, expected) in rows {
            assert_eq!(failure(errno, access), expected, "{errno}");
        }
    }
}

/// A job for a command, as if its operation had been asked for everything.
fn job(command: &Command<'_>, geometry: &Geometry) -> Job {
    let mut job = Job::new();
    assert!(job.begin(Tag(1), command, geometry));
    job.next_part(u64::MAX);
    job.asked = job.left;
    job
}

fn geometry() -> Geometry {
    Geometry {
        block_size: 4096,
        blocks: 64,
        volatile_write_cache: true,
        survives_restart: true,
        atomicity: Atomicity::BLOCK,
        memory: Memory::Callers { alignment: 512 },
        features: Features::ALL,
    }
}

#[test]
fn short_transfers_go_on_where_a_block_of_the_medium_begins() {
    let (geometry, bounces) = (geometry(), Bounces::new().unwrap());
    let memory = Extent::ordinary(8192).unwrap();
    let parts = [memory.segment_mut(0..512), memory.segment_mut(512..8192)];
    let mut job = job(&Command::Read { blocks: Blocks { first: 2, count: 2 }, into: &parts }, &geometry);
    let media = Progress::Done(Err(BdevError::Media { access: Access::Read }));
    let rows = [
        (Ok(512), Progress::Again, 8704),
        (Ok(1100), Progress::Again, 9728),
        (Err(Errno::INTR), Progress::Again, 9728),
        (Ok(511), media, 9728),
        (Ok(0), media, 9728),
        (Err(Errno::IO), media, 9728),
        // More than was asked for is not believed.
        (Ok(u32::MAX), Progress::Done(Ok(())), 16384),
    ];
    for (result, progress, at) in rows {
        let mut into = [SegmentMut::empty(); corelane_reactors::ring::SEGMENTS_MAX];
        let (count, bytes) = job.parts_into(&mut into);
        assert_eq!(into[..count].iter().map(SegmentMut::len).sum::<usize>() as u64, job.left);
        assert_eq!(bytes, job.left);
        job.asked = job.left;
        assert_eq!((job.advance(result, 512, &geometry, &bounces), job.at), (progress, at), "{result:?}");
    }
}

#[test]
fn zeros_are_written_where_the_file_system_cannot_allocate_them() {
    let (geometry, bounces) = (geometry(), Bounces::new().unwrap());
    let blocks = Blocks { first: 0, count: 3 };
    for durable in [false, true] {
        let command = Command::WriteZeroes { blocks, deallocate: false, force_unit_access: durable };
        let mut refused = job(&command, &geometry);
        let mut advance = |result| refused.advance(result, 512, &geometry, &bounces);
        assert_eq!(advance(Err(Errno::OPNOTSUPP)), Progress::Again);
        assert_eq!(refused.work, Work::Zeros { allocation: None, durable });
        let mut advance = |result| refused.advance(result, 512, &geometry, &bounces);
        assert_eq!(advance(Ok(4096)), Progress::Again);
        assert_eq!(advance(Err(Errno::NOSPC)), Progress::Done(Err(BdevError::NoSpace)));
        // Allocated zeros that are forced are followed by a sync.
        let mut taken = job(&command, &geometry);
        let progress = taken.advance(Ok(0), 512, &geometry, &bounces);
        assert_eq!((progress == Progress::Again, taken.work == Work::Sync), (durable, durable));
    }
    let mut hint = job(&Command::Deallocate { ranges: &[blocks] }, &geometry);
    assert_eq!(hint.advance(Err(Errno::OPNOTSUPP), 512, &geometry, &bounces), Progress::Done(Ok(())));
}

#[test]
fn a_copy_writes_what_it_has_read_when_all_of_the_part_is_there() {
    let (geometry, bounces) = (geometry(), Bounces::new().unwrap());
    let ranges = [Blocks { first: 1, count: 1 }, Blocks { first: 3, count: 1 }];
    let mut job = job(&Command::Copy { ranges: &ranges, to: 20, force_unit_access: false }, &geometry);
    let rows = [
        // what the operation came to, then: bytes in the buffer, how many of them are written, whether it writes
        (512, (512, 0, false), 3584),
        (700, (1024, 0, false), 3072),
        (3072, (4096, 0, true), 0),
        (1024, (4096, 1024, true), 3072),
        (3072, (0, 0, false), 0),
        (4096, (4096, 0, true), 0),
    ];
    for (bytes, expected, left) in rows {
        if job.left == 0 {
            job.next_part(u64::MAX);
        }
        job.asked = job.left;
        assert_eq!(job.advance(Ok(bytes), 512, &geometry, &bounces), Progress::Again, "{bytes}");
        let Work::Copy { held, put, writes, .. } = job.work else { panic!("{:?}", job.work) };
        assert_eq!(((held, put, writes), job.left), (expected, left), "{bytes}");
        assert_eq!(job.is_inside_a_block(&geometry), put > 0, "{bytes}");
    }
    assert_eq!(job.next_part(u64::MAX), Some((21 * 4096..22 * 4096, true)));
    job.asked = job.left;
    assert_eq!(job.advance(Ok(4096), 512, &geometry, &bounces), Progress::Done(Ok(())));
}
