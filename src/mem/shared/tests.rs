//! Words are where they should be, and nowhere else.

use super::*;
use crate::mem::copy_out;

fn shared() -> Shared {
    let extent = Arc::new(Extent::ordinary(8192).unwrap());
    Shared::new(extent, 4096..4096 + 64)
}

fn bytes(shared: &Shared) -> Vec<u8> {
    let mut bytes = vec![0; shared.len()];
    copy_out(shared.segment(), &mut bytes);
    bytes
}

#[test]
fn words_are_little_endian_and_in_place() {
    let shared = shared();
    shared.store_u32(60, 0x0403_0201);
    shared.store_u64(8, 0x0807_0605_0403_0201);
    let bytes = bytes(&shared);
    assert_eq!((&bytes[60..], &bytes[8..16]), (&[1, 2, 3, 4][..], &[1, 2, 3, 4, 5, 6, 7, 8][..]));
    assert_eq!((shared.load_u32(60), shared.load_u64(8)), (0x0403_0201, 0x0807_0605_0403_0201));
    assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 12);
}

#[test]
fn an_entry_is_stored_whole() {
    let shared = shared();
    shared.slice(8..56).store_all(16, &[1, 2, 3, 4]);
    assert_eq!([24, 32, 40, 48].map(|offset| shared.load_u64(offset)), [1, 2, 3, 4]);
    assert_eq!(shared.slice(8..56).offset(), 4096 + 8);
}

#[test]
fn words_outside_are_refused() {
    let shared = shared();
    for (offset, size) in [(61, 4), (64, 4), (usize::MAX - 3, 4), (60, 8), (4, 8), (64, 8)] {
        let load = || if size == 4 { u64::from(shared.load_u32(offset)) } else { shared.load_u64(offset) };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(load)).is_err(), "{offset} {size}");
    }
    let store = std::panic::AssertUnwindSafe(|| shared.store_all(40, &[0; 4]));
    assert!(std::panic::catch_unwind(store).is_err());
    let slice = std::panic::AssertUnwindSafe(|| shared.slice(60..68));
    assert!(std::panic::catch_unwind(slice).is_err());
}
