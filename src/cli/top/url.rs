//! Where a target serves its metrics.

use std::fmt;
use std::net::SocketAddr;

use crate::config::{METRICS_PORT_DEFAULT, parse_address};

/// `http://ADDRESS[:PORT]`, with or without `/metrics` behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Url(pub(super) SocketAddr);

impl Url {
    /// Reads one; the port is 9920 where there is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("it must begin with http://")?;
        let rest = rest.strip_suffix("/metrics").unwrap_or(rest);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Ok(address) = rest.parse() {
            return Ok(Self(address));
        }
        if rest == "localhost" || rest.starts_with("localhost:") {
            return Err("names are not looked up; write http://127.0.0.1:PORT".to_owned());
        }
        let address = parse_address(rest).map_err(|problem| format!("{rest:?} {problem}"))?;
        Ok(Self(SocketAddr::new(address, METRICS_PORT_DEFAULT)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}/metrics", self.0)
    }
}
