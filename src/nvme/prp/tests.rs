//! Memory is named as the specification says, or not at all.

use std::sync::Arc;

use super::*;
use crate::mem::Extent;

const LIST: u64 = 0x7000_0000;

fn page() -> Shared {
    Shared::new(Arc::new(Extent::ordinary(2 * PAGE_BYTES).unwrap()), 0..2 * PAGE_BYTES)
}

/// The pair, and the list it leads to.
type Named = Result<(u64, u64, Vec<u64>), Unnamed>;

/// What names the runs of (address, bytes). The list is in the second page.
fn named(runs: &[(u64, usize)]) -> Named {
    let words = page();
    let list = ListPage { words: &words, offset: PAGE_BYTES, iova: LIST };
    let pair = prps(runs.iter().map(|&(iova, bytes)| Ok(Run { iova, bytes })), list)?;
    let entries = (0..LIST_ENTRIES).map(|entry| words.load_u64(PAGE_BYTES + entry * 8));
    let list =
        if pair.prp2.get() == LIST { entries.take_while(|&entry| entry != 0).collect() } else { vec![] };
    assert_eq!(words.load_u64(0), 0, "another slot's page");
    Ok((pair.prp1.get(), pair.prp2.get(), list))
}

#[test]
fn pages_are_named_by_the_rules() {
    type Row = (&'static [(u64, usize)], Named);
    let rows: &[Row] = &[
        (&[(0x1000, 4096)], Ok((0x1000, 0, vec![]))),
        (&[(0x1200, 512)], Ok((0x1200, 0, vec![]))),
        (&[(0x1004, 4096)], Ok((0x1004, 0x2000, vec![]))),
        (&[(0x1000, 8192)], Ok((0x1000, 0x2000, vec![]))),
        (&[(0x1000, 8193)], Ok((0x1000, LIST, vec![0x2000, 0x3000]))),
        (&[(0x1e00, 4096 + 1024)], Ok((0x1e00, LIST, vec![0x2000, 0x3000]))),
        // Whole pages from anywhere, the first with an offset, the last cut short.
        (&[(0x1e00, 512), (0x9000, 4096), (0x5000, 512)], Ok((0x1e00, LIST, vec![0x9000, 0x5000]))),
        // Pieces that lie together are one.
        (&[(0x1000, 512), (0x1200, 3584)], Ok((0x1000, 0, vec![]))),
        (&[(0x1000, 4608), (0x2200, 3584)], Ok((0x1000, 0x2000, vec![]))),
        (&[(0x1000, 512), (0x1200, 4096)], Ok((0x1000, 0x2000, vec![]))),
        // Holes.
        (&[(0x1000, 512), (0x2000, 512)], Err(Unnamed::Hole)),
        (&[(0x1000, 4096), (0x3200, 512)], Err(Unnamed::Hole)),
        (&[(0x1002, 512)], Err(Unnamed::Hole)),
        // As long as a list can be, and longer.
        (&[(0x1000, 514 * PAGE_BYTES)], Err(Unnamed::TooLong)),
    ];
    for (runs, expected) in rows {
        assert_eq!(named(runs), *expected, "{runs:x?}");
    }
    let (first, _, list) = named(&[(0x10e00, TRANSFER_MAX)]).unwrap();
    assert_eq!((first, list.len(), list[511]), (0x10e00, 512, 0x11000 + 511 * 4096));
    assert_eq!(
        prps([Err(Unnamed::Unmapped)].into_iter(), ListPage { words: &page(), offset: 0, iova: 0 })
            .unwrap_err(),
        Unnamed::Unmapped
    );
}

#[test]
fn short_runs_are_named_as_by_the_list() {
    for iova in (0x1000..0x2000).step_by(4) {
        for bytes in [512, 4096, 8192, 12288] {
            let Ok((first, second, list)) = named(&[(iova, bytes)]) else { panic!("{iova:x} {bytes}") };
            let expected = list.is_empty().then(|| PrpPair::of(first, second));
            assert_eq!(short(Run { iova, bytes }), expected, "{iova:x} {bytes}");
        }
    }
    assert_eq!(short(Run { iova: 0x1001, bytes: 512 }), None);
}

#[test]
fn lists_of_descriptors_hold_what_pages_cannot() {
    let words = page();
    let list = ListPage { words: &words, offset: PAGE_BYTES, iova: LIST };
    let run = |&(iova, bytes): &(u64, usize)| Ok(Run { iova, bytes });
    let one = [(0x1001, 100), (0x1065, 412)];
    assert_eq!(sgl(one.iter().map(run), list, false), Ok(SglDescriptor::data_block(0x1001, 512)));
    assert_eq!(sgl(one.iter().map(run), list, true), Err(Unnamed::Hole));
    let two = [(0x1004, 100), (0x9000, 412)];
    assert_eq!(sgl(two.iter().map(run), list, true), Ok(SglDescriptor::last_segment(LIST, 32)));
    let stored: [u64; 4] = std::array::from_fn(|word| words.load_u64(PAGE_BYTES + word * 8));
    let descriptors = two.map(|(iova, bytes)| SglDescriptor::data_block(iova, u32::try_from(bytes).unwrap()));
    assert_eq!(stored.as_slice(), descriptors.map(SglDescriptor::double_words).as_flattened());
    let many = (0..257u64).map(|index| Ok(Run { iova: index * 8192, bytes: 512 }));
    assert_eq!(sgl(many, list, true), Err(Unnamed::TooLong));
}
