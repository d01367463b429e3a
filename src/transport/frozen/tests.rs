//! What is kept of a block, wherever the kernel stopped in it.

use super::*;
use crate::mem::Extent;

const BLOCKS: usize = 3;

/// A lent payload of three blocks, each byte of which tells its place, and all of it overwritten.
fn write(memory: &Extent, salt: u8) -> Vec<u8> {
    let bytes: Vec<u8> = (0..=250).cycle().take(memory.len()).map(|byte| byte ^ salt).collect();
    mem::copy_in(&bytes, memory.segment_mut(0..memory.len()));
    bytes
}

#[test]
fn the_rest_of_a_block_stays_as_it_was_until_it_is_gone() {
    for (block, largest) in [(512, 512), (512, 1024), (1024, 1024)] {
        let memory = Extent::ordinary(BLOCKS * block).unwrap();
        let lent = memory.segment(0..BLOCKS * block);
        for taken in 0..lent.len() {
            let old = write(&memory, 0);
            let mut frozen = Frozen::default();
            // The payload begins somewhere in the stream.
            let gone = (7 + taken) as u64;
            frozen.keep(lent, taken, gone, largest);
            write(&memory, 0xff);
            let end = taken.next_multiple_of(largest).min(lent.len());
            assert_eq!(frozen.left(gone), &old[taken..end], "{block} {largest} {taken}");
            // The kernel takes some more of it, and what is left is not kept anew.
            for more in 0..=end - taken {
                let gone = gone + more as u64;
                if more < end - taken {
                    frozen.keep(lent, taken + more, gone, largest);
                }
                assert_eq!(frozen.left(gone), &old[taken + more..end], "{block} {largest} {taken} {more}");
            }
            assert!(frozen.left(u64::MAX).is_empty());
        }
    }
}

#[test]
fn there_is_room_for_every_block_and_it_is_made_once() {
    let memory = Extent::ordinary(8192).unwrap();
    let mut frozen = Frozen::default();
    frozen.make_room(4096);
    let room = frozen.bytes.as_ptr();
    let mut gone = 0;
    for (taken, block, kept) in [(1, 4096, 4095), (511, 512, 1), (4096, 4096, 0), (4095, 4096, 1)] {
        frozen.keep(memory.segment(0..8192), taken, gone, block);
        assert_eq!(frozen.left(gone).len(), kept, "{taken} of {block}");
        assert_eq!(frozen.bytes.as_ptr(), room);
        gone += 8192;
    }
    // A namespace that came later.
    frozen.keep(memory.segment(0..8192), 1, gone, 8192);
    assert_eq!(frozen.left(gone).len(), 8191);
}
