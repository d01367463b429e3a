//! Remote namespaces: found before anything listens.

use uuid::Uuid;

use crate::app::DeviceError;
use crate::config::Remote;
use crate::initiator::multipath::{Options, Paths, look};
use crate::initiator::{Backoff, Identity};
use crate::spec::nqn::Nqn;

/// How names of hosts begin that are made of a UUID.
const UUID_FORM: &str = "nqn.2014-08.org.nvmexpress:uuid:";
/// The most data of one command: that of the most common targets, or what they say.
const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Asks the target for the namespace, as long as it is to be waited for, on behalf of that many channels.
///
/// # Errors
/// [`DeviceError::Remote`].
pub(in crate::app) fn find(remote: &Remote, channels: usize) -> Result<Paths, DeviceError> {
    let options = Options {
        paths: remote.paths.clone(),
        identity: identity(remote),
        lanes: u16::try_from(channels).unwrap_or(u16::MAX),
        depth: remote.queue_depth,
        header_digest: remote.header_digest,
        data_digest: remote.data_digest,
        keep_alive: remote.keep_alive,
        timeout: remote.io_timeout,
        no_path_timeout: remote.fast_io_fail,
        backoff: Backoff { most: remote.reconnect_delay, ..Backoff::DEFAULT },
        transfer_bytes_max: TRANSFER_BYTES_MAX,
    };
    let found = look(&options, remote.namespace, remote.wait)?;
    tracing::info!(
        subsystem = %remote.nqn, nsid = found.nsid, blocks = found.space.blocks,
        block_size = found.space.block_size, "uses a remote namespace"
    );
    Ok(Paths::new(options, found))
}

/// As whom the target is asked: what of name and identifier is not given is made of the other, or new.
fn identity(remote: &Remote) -> Identity {
    let named = remote.hostnqn.as_ref().and_then(|name| name.as_str().strip_prefix(UUID_FORM));
    let named = named.and_then(|text| text.parse::<Uuid>().ok()).filter(|id| !id.is_nil());
    let id = remote.hostid.or(named).unwrap_or_else(Uuid::new_v4);
    let host = remote.hostnqn.clone().unwrap_or_else(|| {
        let Ok(name) = Nqn::parse(&format!("{UUID_FORM}{id}")) else { unreachable!("this is the UUID form") };
        name
    });
    Identity { host, host_id: id.into_bytes(), subsystem: remote.nqn.clone() }
}
