//! Answers of a kernel, byte for byte.

use proptest::prelude::*;

use super::{Info, USABLE_UNSAID};

/// An answer of Linux 6.12 on an Intel machine: pages of 4 KiB, 2 MiB and 1 GiB; two ranges; migration; mappings left.
fn answer() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0x68_u32, 3, 0x4020_1000, 0, 0x40, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    // Mappings left, at the end of the chain.
    capability(&mut bytes, 3, 0);
    bytes.extend(65_535_u32.to_ne_bytes());
    bytes.extend([0; 4]);
    // Migration, which is of no interest.
    capability(&mut bytes, 2, 0x18);
    bytes.extend([0xff; 16]);
    capability(&mut bytes, 1, 0x28);
    bytes.extend(2_u32.to_ne_bytes());
    bytes.extend([0; 4]);
    for edge in [0_u64, 0xfedf_ffff, 0xfef0_0000, 0x7f_ffff_ffff] {
        bytes.extend(edge.to_ne_bytes());
    }
    bytes
}

fn capability(bytes: &mut Vec<u8>, id: u16, next: u32) {
    bytes.extend(id.to_ne_bytes());
    bytes.extend(1_u16.to_ne_bytes());
    bytes.extend(next.to_ne_bytes());
}

#[test]
fn ranges_page_sizes_and_mappings_are_read() {
    let info = Info::parse(&answer());
    assert_eq!(info.page_sizes, 0x4020_1000);
    assert_eq!(info.usable, [0..=0xfedf_ffff, 0xfef0_0000..=0x7f_ffff_ffff]);
    assert_eq!(info.mappings_left, Some(65_535));
}

#[test]
fn a_kernel_that_says_little_is_used_with_care() {
    let mut bytes = answer();
    bytes[4] = 0;
    let silent = Info { page_sizes: 0, usable: vec![USABLE_UNSAID], mappings_left: None };
    assert_eq!(Info::parse(&bytes), silent);
    assert_eq!(Info::parse(&[]), silent);
}

#[test]
fn a_chain_that_loops_ends() {
    let mut bytes = answer();
    bytes[0x18 + 4] = 0x40;
    assert_eq!(Info::parse(&bytes), Info::parse(&answer()));
}

proptest! {
    #[test]
    fn no_answer_is_too_strange(
        mut bytes in Just(answer()),
        changes in prop::collection::vec((0_usize..0x68, any::<u8>()), 0..8),
        len in 0_usize..0x69,
    ) {
        for (at, value) in changes {
            bytes[at] = value;
        }
        Info::parse(&bytes[..len.min(bytes.len())]);
    }
}
