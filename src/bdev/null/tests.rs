//! The null device: the conformance suite, and what is its own.

use super::*;
use crate::bdev::conformance::{Contents, Subject, conformance_of};

#[test]
fn conforms() {
    for (bytes, block_size) in [(1 << 40, 512), (1 << 40, 4096), (4 << 20, 64 << 10)] {
        conformance_of(&Subject {
            contents: Contents::Forgotten,
            ..Subject::plain(&|| Arc::new(Null::new("void", bytes, block_size).unwrap()))
        });
    }
}

#[test]
fn only_zeros_compare_equal() {
    let null = Null::new("void", 16 << 20, 4096).unwrap();
    let mut channel = null.open(&Home::default()).unwrap();
    let memory = Extent::ordinary(4 << 20).unwrap();
    let blocks = Blocks { first: 0, count: 1024 };
    let with = [memory.segment(0..4 << 20)];
    let compare = Command::Compare { blocks, with: &with };
    assert_eq!(channel.submit(Tag(1), &compare), Submitted::Done(Ok(())));
    mem::copy_in(&[1], memory.segment_mut((4 << 20) - 1..4 << 20));
    assert_eq!(channel.submit(Tag(2), &compare), Submitted::Done(Err(BdevError::Miscompare)));
}

#[test]
fn impossible_geometries_are_refused() {
    assert!(matches!(Null::new("void", 1 << 20, 1000), Err(CreateError::Geometry(_))));
    assert!(matches!(Null::new("void", 513, 512), Err(CreateError::Geometry(_))));
}

#[test]
fn as_much_is_lent_as_there_are_zeros() {
    let channel = Null::new("void", 1 << 40, 512).unwrap().open(&Home::default()).unwrap();
    let most = u32::try_from(ZEROS_BYTES / 512).unwrap();
    assert_eq!(channel.lend(Blocks { first: 5, count: most }).map(|lent| lent.len()), Some(ZEROS_BYTES));
    assert!(channel.lend(Blocks { first: 5, count: most + 1 }).is_none());
}
