//! The numbers of a running target over a local HTTP endpoint: metrics as Prometheus and OpenMetrics have them, and the
//! newest events. Counts nothing itself, and knows nothing of sockets that hosts come to.
//!
//! What must hold: whoever comes to the endpoint can neither stop the target nor slow its I/O down. The server is a
//! thread of its own, and everything that it takes from a visitor has a named limit. While nobody asks, it costs nothing.

mod data;
mod events;
mod families;
mod request;
mod server;

pub use data::{ConnectionData, Data, EndpointData, NamespaceData, ReactorData};
pub use events::Events;
pub use families::{CONTENT_TYPE, exposition};
pub use server::{Server, Source};

/// Judges the bytes as a request that comes in piece by piece. Entry for fuzzers.
///
/// # Panics
/// When more bytes change a judgement, which is a bug of this module.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut judged = None;
    for end in 0..=bytes.len() {
        let now = request::judge(&bytes[..end]);
        assert!(judged.is_none() || now == judged, "{judged:?} became {now:?} at {end}");
        judged = now;
    }
    assert!(judged.is_some() || bytes.len() < request::REQUEST_BYTES_MAX);
}
