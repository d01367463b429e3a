//! Text fields of fixed size (NVMe base 2.1, section 1.4.2).

/// An ASCII string field: left justified, filled with spaces. What does not fit, or is not printable ASCII,
/// is left out or replaced by `?`: the configuration has checked it before.
pub fn space_padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (slot, byte) in field.iter_mut().zip(text.bytes()) {
        *slot = if (0x20..0x7f).contains(&byte) { byte } else { b'?' };
    }
    field
}

/// A UTF-8 string field that ends with, and is filled with, NUL.
///
/// # Panics
///
/// When the text leaves no room for one NUL.
pub fn nul_padded<const N: usize>(text: &str) -> [u8; N] {
    assert!(text.len() < N);
    let mut field = [0; N];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

/// The text before the first NUL; `None` when there is no NUL, or it is not UTF-8.
pub fn nul_terminated(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(field.get(..end)?).ok()
}
