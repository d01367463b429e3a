//! One block is read and written as a whole, whatever is below: see [`claims`](super::super::claims).

use std::{os::unix::fs::FileExt, sync::atomic::AtomicBool};

use corelane_reactors::poller::Wake;
use rustix::fs::{OFlags, fcntl_setfl};

use super::*;
use crate::bdev::Memory;

/// The same file, as if its file system had no direct I/O.
fn through_the_cache(mut file: File) -> File {
    fcntl_setfl(&file.file, OFlags::empty()).unwrap();
    file.layout = Layout { alignment: 1, direct: false, atomic: false };
    file.geometry.memory = Memory::Callers { alignment: 1 };
    file.claims = Some(Arc::new(Claims::new(file.geometry.bytes(), file.geometry.block_size)));
    file
}

/// A file of eight blocks on disk and one in memory, with direct I/O, or whatever stands for it there, and without.
fn files(block_size: u32) -> Vec<(String, File, TempDir)> {
    let mut files = Vec::new();
    for cached in [false, true] {
        for directory in directories() {
            let (file, path) = device(directory.path(), block_size, 8);
            let file = if cached { through_the_cache(file) } else { file };
            files.push((format!("{} of {block_size}, cached: {cached}", path.display()), file, directory));
        }
    }
    files
}

fn blocks(first: u64, count: u32) -> Blocks {
    Blocks { first, count }
}

fn write(blocks: Blocks, from: &[Segment]) -> Command<'_> {
    Command::Write { blocks, from, force_unit_access: false }
}

/// Memory in pieces of so many bytes.
fn pieces(whole: SegmentMut, bytes: usize) -> Vec<Segment> {
    (0..whole.len())
        .step_by(bytes)
        .map(|at| whole.read_only().slice(at..whole.len().min(at + bytes)))
        .collect()
}

/// What the memory of a file can be cut into: here, into more pieces than an operation takes, where that is allowed.
fn piece(file: &File) -> usize {
    let Memory::Callers { alignment } = file.geometry().memory else { unreachable!("it is a file") };
    (file.geometry().block_size as usize / 64).max(alignment)
}

impl Rig {
    /// What the pollers of the reactor do once.
    fn turn(&mut self) -> Vec<(u64, Result<(), BdevError>)> {
        let mut completions = Vec::new();
        self.ring.submit();
        self.ring.reap();
        self.channel.poll(&mut |Tag(tag), result| completions.push((tag, result)));
        completions
    }
}

#[test]
fn files_are_guarded_unless_a_disk_keeps_blocks_whole() {
    let directory = tempfile::tempdir().unwrap();
    for block_size in [512, 4096] {
        let path = directory.path().join(format!("{block_size}"));
        let Ok(file) = File::open("f0", &options(&path, block_size, Some(64 << 10))) else { continue };
        // Whether there is a disk below the temporary directory is not ours to say.
        let sector = file.is_direct() && file.layout.alignment == 512 && block_size == 512;
        assert!(file.claims.is_some() || sector, "{:?}", file.layout);
        assert_eq!(file.claims.is_none(), file.layout.atomic);
    }
    for block_size in [512, 4096] {
        let (file, _) = device(tempfile::tempdir_in(IN_MEMORY).unwrap().path(), block_size, 8);
        assert!(file.claims.is_some(), "memory has no sectors");
    }
}

#[test]
fn conforms_through_the_cache() {
    for directory in directories() {
        let made = RefCell::new(0);
        for block_size in [512, 64 << 10] {
            let make = || -> Arc<dyn Bdev> {
                *made.borrow_mut() += 1;
                let path = directory.path().join(format!("{}", made.borrow()));
                let file = File::open("f0", &options(&path, block_size, Some(u64::from(block_size) * 1024)));
                Arc::new(through_the_cache(file.unwrap_or_else(|error| panic!("{error}"))))
            };
            conformance_of(&Subject { idle: &|_| drive(), home: &home, ..Subject::plain(&make) });
        }
    }
}

/// Looks of one test at a block.
const LOOKS: u32 = 100;

/// Two writers on threads of their own fill a block with their number, again and again, one in one piece and one in many.
/// How many of so many reads find two numbers.
pub(super) fn look_while_writers_meet(name: &str, file: &File) -> u32 {
    let over = AtomicBool::new(false);
    let torn = std::thread::scope(|scope| {
        for number in [1, 2] {
            let over = &over;
            scope.spawn(move || {
                let mut rig = Rig::new(file);
                let data = rig.bytes(1);
                mem::copy_in(&vec![number; data.len()], data);
                let from = pieces(data, if number == 1 { data.len() } else { piece(file) });
                while !over.load(Ordering::Relaxed) {
                    rig.run(&write(blocks(5, 1), &from)).unwrap();
                }
            });
        }
        let mut rig = Rig::new(file);
        while rig.read(5, 1).unwrap()[0] == 0 {}
        let is_torn = |_: &u32| {
            let read = rig.read(5, 1).unwrap();
            read.iter().any(|byte| *byte != read[0])
        };
        let torn = (0..LOOKS).filter(is_torn).count();
        over.store(true, Ordering::Relaxed);
        torn
    });
    println!("{name}: {torn} of {LOOKS} reads were torn");
    u32::try_from(torn).unwrap()
}

#[test]
fn a_block_is_never_torn() {
    for block_size in [4096, 64 << 10] {
        for (name, mut file, _directory) in files(block_size) {
            assert_eq!(look_while_writers_meet(&name, &file), 0, "{name}");
            // That it would be seen depends on chance: told, not asserted.
            file.claims = None;
            look_while_writers_meet(&format!("{name}, not guarded"), &file);
        }
    }
}

/// A comparison is of one moment, too, as are zeros and copies.
#[test]
fn a_block_is_compared_as_a_whole_while_it_changes() {
    for (name, mut file, _directory) in files(64 << 10) {
        let halves = compare_while_it_changes(&file);
        println!("{name}: {halves} of {LOOKS} comparisons found halves");
        assert_eq!(halves, 0, "{name}");
        file.claims = None;
        let halves = compare_while_it_changes(&file);
        println!("{name}, not guarded: {halves} of {LOOKS} comparisons found halves");
    }
}

/// How many comparisons found half of what is written and copied to a block, and half of what was there.
fn compare_while_it_changes(file: &File) -> u32 {
    let over = AtomicBool::new(false);
    let bytes = file.geometry().block_size as usize;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rig = Rig::new(file);
            rig.write(5, 1, 7).unwrap();
            let sevens = pieces(rig.bytes(1), piece(file));
            while !over.load(Ordering::Relaxed) {
                rig.run(&Command::Copy { ranges: &[blocks(5, 1)], to: 2, force_unit_access: false }).unwrap();
                let zeros =
                    Command::WriteZeroes { blocks: blocks(2, 1), deallocate: true, force_unit_access: false };
                rig.run(&zeros).unwrap();
                rig.run(&write(blocks(2, 1), &sevens)).unwrap();
                rig.run(&Command::Deallocate { ranges: &[blocks(2, 1)] }).unwrap();
            }
        });
        let mut rig = Rig::new(file);
        let half = rig.bytes(1);
        mem::copy_in(&vec![7; bytes / 2], half.slice(0..bytes / 2));
        mem::copy_in(&vec![0; bytes / 2], half.slice(bytes / 2..bytes));
        let with = [half.read_only()];
        let mut found = 0;
        for _ in 0..LOOKS {
            let result = rig.run(&Command::Compare { blocks: blocks(2, 1), with: &with });
            assert!(matches!(result, Ok(()) | Err(BdevError::Miscompare)), "{result:?}");
            found += u32::from(result == Ok(()));
        }
        over.store(true, Ordering::Relaxed);
        found
    })
}

#[test]
fn what_waits_for_a_block_polls_on_and_can_be_aborted() {
    for (name, file, _directory) in files(4096) {
        let (mut one, mut other) = (Rig::new(&file), Rig::new(&file));
        one.write(0, 8, 1).unwrap();
        mem::copy_in(&[2; 4096], one.bytes(1));
        let from = [one.bytes(1).read_only()];
        assert_eq!(one.submit(1, &write(blocks(3, 1), &from)), Submitted::Pending);
        let into = [other.bytes(1)];
        let read = |first| Command::Read { blocks: blocks(first, 1), into: &into };
        assert_eq!(other.submit(2, &read(3)), Submitted::Pending);
        assert_eq!(other.submit(3, &read(4)), Submitted::Pending);
        assert_eq!((one.channel.wake(), other.channel.wake()), (Wake::Descriptor, Wake::Soon), "{name}");
        // Nothing is in the way of the other block.
        assert_eq!(other.submit(4, &write(blocks(3, 1), &from)), Submitted::Pending);
        let ended = |rig: &mut Rig| {
            let mut completions = Vec::new();
            rig.channel.poll(&mut |Tag(tag), result| completions.push((tag, result)));
            completions
        };
        assert_eq!(ended(&mut other), []);
        assert!(other.channel.abort(Tag(2)));
        assert_eq!(ended(&mut other), [(2, Err(BdevError::Aborted))], "{name}");
        assert_eq!(one.next(), [(1, Ok(()))]);
        let mut completions = Vec::new();
        while completions.len() < 2 {
            completions.extend(other.turn());
        }
        completions.sort_by_key(|(tag, _)| *tag);
        assert_eq!(completions, [(3, Ok(())), (4, Ok(()))]);
        assert_eq!(other.channel.wake(), Wake::Never);
        assert_eq!(one.read(3, 1), Ok(vec![2; 4096]), "{name}");
    }
}

#[test]
fn what_is_aborted_or_dropped_gives_its_blocks_back() {
    for (name, file, _directory) in files(4096) {
        let (mut one, mut other) = (Rig::new(&file), Rig::new(&file));
        let from = [one.bytes(1).read_only()];
        assert_eq!(one.submit(1, &write(blocks(3, 1), &from)), Submitted::Pending);
        one.channel.abort(Tag(1));
        // The kernel may still write it.
        let into = [other.bytes(1)];
        let read = Command::Read { blocks: blocks(3, 1), into: &into };
        assert_eq!(other.submit(2, &read), Submitted::Pending);
        assert_eq!(other.channel.wake(), Wake::Soon, "{name}");
        assert_eq!(one.next().len(), 1);
        assert_eq!(other.next(), [(2, Ok(()))], "{name}");
        // A channel that goes takes no block with it.
        assert_eq!(one.submit(3, &write(blocks(3, 1), &from)), Submitted::Pending);
        drop(one.channel);
        assert_eq!(other.run(&read), Ok(()), "{name}");
    }
}

/// Two blocks of 4 KiB, in so many pieces that every operation but the last of a block ends inside it.
fn cut_inside(rig: &Rig) -> Vec<Segment> {
    mem::copy_in(&[2; 8192], rig.bytes(2));
    pieces(rig.bytes(2), 128)
}

#[test]
fn a_block_is_held_until_all_its_parts_are_written() {
    for directory in directories() {
        let (file, _) = device(directory.path(), 4096, 8);
        let file = through_the_cache(file);
        let (mut one, mut other) = (Rig::new(&file), Rig::new(&file));
        other.write(0, 8, 1).unwrap();
        let from = cut_inside(&one);
        assert_eq!(one.submit(1, &write(blocks(3, 2), &from)), Submitted::Pending);
        // Two channels of one thread take turns, and every operation of the write lets the other one look.
        let mut over = false;
        while !over {
            let into = [other.bytes(2)];
            assert_eq!(
                other.submit(2, &Command::Read { blocks: blocks(3, 2), into: &into }),
                Submitted::Pending
            );
            let mut answered = Vec::new();
            while answered.is_empty() {
                over |= !one.turn().is_empty();
                answered = other.turn();
            }
            assert_eq!(answered, [(2, Ok(()))]);
            let read = contents(into[0].read_only());
            assert!(read.chunks(4096).all(|block| block.iter().all(|byte| *byte == block[0])));
        }
        assert_eq!(other.read(3, 2), Ok(vec![2; 8192]));
    }
}

#[test]
fn what_is_aborted_inside_a_block_ends_behind_it() {
    let directory = tempfile::tempdir_in(IN_MEMORY).unwrap();
    let (file, path) = device(directory.path(), 4096, 8);
    let file = through_the_cache(file);
    let mut rig = Rig::new(&file);
    let halves = |at: usize| {
        let bytes = fs::read(&path).unwrap();
        (bytes[at * 4096], bytes[at * 4096 + 4095])
    };
    for (block, ends) in [(3, Err(BdevError::Aborted)), (4, Ok(()))] {
        rig.write(3, 2, 1).unwrap();
        let from = cut_inside(&rig);
        assert_eq!(rig.submit(1, &write(blocks(3, 2), &from)), Submitted::Pending);
        while halves(block) != (2, 1) {
            assert_eq!(rig.turn(), [], "half of the block is seen before all of it");
        }
        assert!(rig.channel.abort(Tag(1)));
        assert_eq!(rig.next(), [(1, ends)]);
        assert_eq!((halves(3), halves(4)), ((2, 2), if block == 3 { (1, 1) } else { (2, 2) }));
    }
}

#[test]
fn long_commands_hold_no_more_than_a_part_of_the_file() {
    const MIB: usize = 1 << 20;
    for directory in directories() {
        let path = directory.path().join("device");
        fs::write(&path, vec![1; 40 * MIB]).unwrap();
        let file = through_the_cache(File::open("f0", &options(&path, 4096, None)).unwrap());
        let (mut one, mut other) = (Rig::new(&file), Rig::new(&file));
        let into = [other.bytes(1)];
        let all = |count| Blocks { first: 16, count };
        let ranges = [all(8192), Blocks { first: 9000, count: 100 }];
        let rows = [
            (Command::WriteZeroes { blocks: all(8192), deallocate: false, force_unit_access: true }, 8192),
            (Command::WriteZeroes { blocks: all(8000), deallocate: true, force_unit_access: false }, 8000),
            (Command::Deallocate { ranges: &ranges }, 8192),
        ];
        for (command, count) in rows {
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .write_all_at(&vec![1; 40 * MIB], 0)
                .unwrap();
            assert_eq!(one.submit(1, &command), Submitted::Pending);
            for (first, wake) in [(8100, Wake::Descriptor), (10_000, Wake::Descriptor), (20, Wake::Soon)] {
                let read = Command::Read { blocks: Blocks { first, count: 1 }, into: &into };
                assert_eq!(other.submit(first, &read), Submitted::Pending);
                assert_eq!(other.channel.wake(), wake, "{first} {command:?}");
            }
            // They wait for each other, and come to an end.
            let mut completions = Vec::new();
            while completions.len() < 4 {
                completions.extend(one.turn());
                completions.extend(other.turn());
            }
            assert!(completions.iter().all(|(_, result)| *result == Ok(())), "{completions:?} {command:?}");
            let bytes = fs::read(&path).unwrap();
            for (block, bytes) in bytes.chunks(4096).enumerate() {
                let deallocated =
                    matches!(command, Command::Deallocate { .. }) && (9000..9100).contains(&block);
                let zero = (16..16 + count).contains(&block) || deallocated;
                assert_eq!(bytes, [u8::from(!zero); 4096], "{block} {command:?}");
            }
        }
    }
}
