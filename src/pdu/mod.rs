//! The NVMe/TCP PDU codec: one PDU per file, pure functions over bytes.
//!
//! Receiving has two steps. [`header::layout`] judges the eight bytes of the common header and says where the rest
//! lies; when the header has arrived whole, [`header::check_digest`] and the `decode` of its file judge what is in it.
//! Sending is one step: `encode` writes header, header digest and padding, and says how long they are; the data
//! digest is [`digest::data`].
//!
//! Nothing here knows what came before: an order that is wrong is found in `connection`.

pub mod capsule;
pub mod data;
pub mod digest;
pub mod error;
pub mod header;
pub mod icreq;
pub mod icresp;
pub mod r2t;
pub mod term_req;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod tests;

pub use error::PduError;
pub use header::{Agreement, Layout, Role};

/// Feeds arbitrary bytes to every decoder. Entry for fuzzers; must never panic.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    for role in [Role::Host, Role::Controller] {
        for (header_digest, data_digest) in [(false, false), (true, false), (false, true), (true, true)] {
            let agreement = Agreement {
                header_digest,
                data_digest,
                alignment: 4,
                capsule_bytes_max: 8192,
                data_bytes_max: 1 << 17,
            };
            fuzz_one(bytes, role, &agreement);
        }
    }
}

fn fuzz_one(bytes: &[u8], from: Role, agreement: &Agreement) {
    let Some(common) = header::common(bytes) else { return };
    let Ok(layout) = header::layout(common, from, agreement) else { return };
    if bytes.len() < layout.header_end {
        return;
    }
    // No fuzzer guesses a digest: what has a wrong one is refused, and looked at with the right one.
    let mended = header::check_digest(bytes, &layout).err().map(|_| {
        let mut mended = bytes.to_vec();
        mended[layout.hlen..layout.header_end].copy_from_slice(&digest::header(&bytes[..layout.hlen]));
        mended
    });
    let bytes = mended.as_deref().unwrap_or(bytes);
    let _ = icreq::decode(bytes);
    let _ = icresp::decode(bytes);
    let _ = term_req::decode(bytes);
    let _ = capsule::decode_command(bytes);
    let _ = capsule::decode_response(bytes);
    let _ = data::decode(bytes, &layout);
    let _ = r2t::decode(bytes);
}
