//! Listening addresses: literal IPv4 and IPv6 addresses, never names, which would need a resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of discovery services that IANA registered.
pub const DISCOVERY_PORT_DEFAULT: u16 = 8009;
/// The port of NVMe/TCP I/O controllers that IANA registered.
pub const PORT_DEFAULT: u16 = 4420;
/// The port of the metrics where none is given.
pub const METRICS_PORT_DEFAULT: u16 = 9920;

/// Why a text is not an address that can be listened on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Neither an IPv4 nor an IPv6 address.
    #[error(
        "is not an IP address; write one such as \"127.0.0.1\", \"::1\", or \"0.0.0.0\" for all (names are not looked up)"
    )]
    Malformed,
    /// An IPv6 address with an interface behind a percent sign.
    #[error("names an interface after \"%\", which is not supported; use an address that needs none")]
    Scope,
    /// An address of a group of hosts.
    #[error("is a multicast or broadcast address; connections go to an address of this machine")]
    Group,
    /// The text after the last colon is no port.
    #[error("has no port from 0 to 65535 after the colon; write \"127.0.0.1:4420\" or \"[::1]:4420\"")]
    Port,
}

/// An address as in `127.0.0.1`, `::1` or `[::1]`.
///
/// # Errors
/// All but [`AddressError::Port`].
pub fn parse_address(text: &str) -> Result<IpAddr, AddressError> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if inner.unwrap_or(text).contains('%') {
        return Err(AddressError::Scope);
    }
    let address = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse(),
    };
    let address = address.map_err(|_| AddressError::Malformed)?;
    let group = address.is_multicast() || address.to_canonical() == IpAddr::V4(Ipv4Addr::BROADCAST);
    if group { Err(AddressError::Group) } else { Ok(address) }
}

/// An address with or without a port, as in `127.0.0.1:4420`, `[::1]:4420` or `0.0.0.0`; [`PORT_DEFAULT`]
/// when there is none.
///
/// # Errors
/// Any [`AddressError`].
pub fn parse_listen(text: &str) -> Result<SocketAddr, AddressError> {
    parse_listen_at(text, PORT_DEFAULT)
}

/// As [`parse_listen`], with another port where there is none.
pub(super) fn parse_listen_at(text: &str, port_default: u16) -> Result<SocketAddr, AddressError> {
    // An IPv6 address has a port only when it is in brackets: its own colons would hide it.
    let port_colon = if text.starts_with('[') {
        text.rfind("]:").map(|bracket| bracket + 1)
    } else {
        text.find(':').filter(|colon| text.rfind(':') == Some(*colon))
    };
    let Some(colon) = port_colon else {
        return parse_address(text).map(|address| SocketAddr::new(address, port_default));
    };
    let address = parse_address(&text[..colon])?;
    let port = Some(&text[colon + 1..]).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.and_then(|port| port.parse().ok()).ok_or(AddressError::Port)?;
    Ok(SocketAddr::new(address, port))
}

/// Whether a socket that listens on `wide` also gets what is sent to `narrow`, so that the kernel refuses to
/// have both. Port 0 never collides. `::` takes IPv4 as well.
pub(super) fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let family = wide.is_ipv6() || narrow.is_ipv4();
    wide.port() != 0 && wide.port() == narrow.port() && wide.ip().is_unspecified() && family && wide != narrow
}
