//! Data in many segments, cut at odd places.

use super::{
    Subject,
    rig::{Rig, contents_of, pattern, read_only},
};
use crate::{
    bdev::{BdevError, Blocks, Command},
    mem,
};

pub(super) fn run(subject: &Subject<'_>) {
    data_may_be_cut_anywhere(&mut Rig::new(subject));
}

fn data_may_be_cut_anywhere(rig: &mut Rig<'_>) {
    let block = rig.bytes_of(1);
    let bytes_of_all = 6 * block;
    let every_seventh: Vec<_> = (0..bytes_of_all).step_by(7 * block / 64 + 1).collect();
    let cuts: [&[usize]; 7] = [
        &[],
        &[1],
        &[block - 1, block + 1],
        &[24, 24, 24, block, 2 * block + 31, 5 * block],
        &[0, 0, bytes_of_all],
        &[block, 2 * block, 3 * block, 4 * block, 5 * block],
        &every_seventh,
    ];
    let blocks = Blocks { first: 11, count: 6 };
    for (seed, cut) in (1..).zip(cuts) {
        let bytes = pattern(seed, bytes_of_all);
        let source = rig.buffer(bytes.len());
        mem::copy_in(&bytes, source);
        let from = read_only(&rig.cut(source, cut));
        rig.run(&Command::Write { blocks, from: &from, force_unit_access: false }).unwrap();
        assert!(contents_of(source.read_only()) == bytes, "a write leaves its source alone");
        let kept = rig.kept(&bytes);

        // Cut backwards, so that the cuts of the read are not those of the write.
        let target = rig.buffer(bytes.len());
        let backwards: Vec<_> = cut.iter().map(|offset| bytes_of_all - offset).collect();
        let into = rig.cut(target, &backwards);
        rig.run(&Command::Read { blocks, into: &into }).unwrap();
        assert!(contents_of(target.read_only()) == kept, "{cut:?}");
        rig.assert_guarded(target);

        if rig.features().compare {
            let with = read_only(&into);
            assert_eq!(rig.run(&Command::Compare { blocks, with: &with }), Ok(()));
            let last = target.slice(bytes_of_all - 1..bytes_of_all);
            mem::copy_in(&[!kept[bytes_of_all - 1]], last);
            assert_eq!(rig.run(&Command::Compare { blocks, with: &with }), Err(BdevError::Miscompare));
        }
        rig.reuse();
    }
}
