//! A Rust file as the rules see it: its text, and its code without comments and literals. Parses no Rust.
//!
//! Invariant: `code` has the length and the line breaks of `text`, so an offset is the same place in both.

/// A Rust file.
pub(super) struct Source {
    /// Relative to the root of the repository, with `/`.
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// With blanks for comments and for string and character literals.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code(text) }
    }

    /// Line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.code.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Offsets at which the code has `word`, alone and not as a part of a longer name.
    pub(super) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let bytes = self.code.as_bytes();
        self.code.match_indices(word).map(|(at, _)| at).filter(move |at| {
            let before = at.checked_sub(1).is_none_or(|before| !is_name(bytes[before]));
            let after = bytes.get(at + word.len()).is_none_or(|byte| !is_name(*byte));
            before && after
        })
    }

    /// The code from an offset on, without the blanks it begins with.
    pub(super) fn rest(&self, offset: usize) -> &str {
        self.code[offset..].trim_start()
    }
}

/// The name that `text` begins with; empty if it begins with none.
pub(super) fn name(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_name(byte)).unwrap_or(text.len());
    &text[..end]
}

/// Whether a byte can be part of a name. All of a character that is not ASCII counts.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// `text` with blanks for comments and literals.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    while code.len() < bytes.len() {
        let at = code.len();
        let blank = comment(bytes, at).or_else(|| string(bytes, at)).or_else(|| character(text, at));
        match blank {
            Some(end) => {
                code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }))
            }
            None => code.push(bytes[at]),
        }
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// End of the comment that begins at `at`.
fn comment(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes[at..].starts_with(b"//") {
        return Some(find(bytes, at, b"\n"));
    }
    if !bytes[at..].starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut end) = (1, at + 2);
    while depth > 0 && end < bytes.len() {
        let (change, length) = match &bytes[end..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        end += length;
    }
    Some(end)
}

/// End of the string literal that begins at `at`, raw or not. Prefixes for bytes stay as names of one letter.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes[at] == b'"' {
        let mut end = at + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        return Some((end + 1).min(bytes.len()));
    }
    let prefix = at.checked_sub(1).map(|before| bytes[before]);
    if bytes[at] != b'r' || prefix.is_some_and(|byte| is_name(byte) && byte != b'b' && byte != b'c') {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    Some((find(bytes, at + 2 + hashes, &close) + close.len()).min(bytes.len()))
}

/// End of the character literal that begins at `at`. A lifetime begins in the same way and has no end.
fn character(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes[at] != b'\'' {
        return None;
    }
    if bytes.get(at + 1) == Some(&b'\\') {
        return Some((find(bytes, at + 3, b"'") + 1).min(bytes.len()));
    }
    let inside = text[at + 1..].chars().next()?.len_utf8();
    (bytes.get(at + 1 + inside) == Some(&b'\'')).then_some(at + 2 + inside)
}

/// Offset of `what` at or after `from`; the length if it is not there.
fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(what.len()).position(|window| window == what).map_or(bytes.len(), |found| from + found)
}
