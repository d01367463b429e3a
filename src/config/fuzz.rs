//! Fuzz entry of the configuration: any bytes may come in.

use super::{Document, parse};

/// Cores that the fuzzed configuration may name.
const ALLOWED: [usize; 3] = [0, 1, 5];

/// Parses the bytes as a configuration, if they are UTF-8.
///
/// # Panics
/// When an accepted configuration does not survive serialising and parsing, or a refusal has no finding: both
/// are bugs of this module.
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text, &ALLOWED) {
        Ok(accepted) => {
            let again = parse(&Document::from(&accepted.config).to_json(), &ALLOWED);
            assert_eq!(again, Ok(accepted));
        }
        Err(findings) => assert!(!findings.is_empty()),
    }
}
