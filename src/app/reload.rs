//! SIGHUP: the configuration is read again, and applied as far as it can change while the appliance runs. Everything that
//! comes of it is a line in the log.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread;

use crate::app::{ReconfigureError, Reconfigurer, Reload};

/// Starts the thread that waits for `hangups`, each a byte.
pub(super) fn spawn(
    mut hangups: UnixStream,
    mut reload: Option<Reload>,
    reconfigurer: Reconfigurer,
) -> io::Result<()> {
    let wait = move || {
        let mut byte = [0];
        loop {
            match hangups.read_exact(&mut byte) {
                Ok(()) => once(reload.as_mut(), &reconfigurer),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().name("reload".to_owned()).spawn(wait).map(|_| ())
}

fn once(reload: Option<&mut Reload>, reconfigurer: &Reconfigurer) {
    let Some(reload) = reload else {
        return tracing::warn!("there is no configuration file to read again: nothing changes");
    };
    let wanted = match reload() {
        Ok(wanted) => wanted,
        Err(problems) => {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
            return tracing::error!("the configuration is not right: nothing changes");
        }
    };
    match reconfigurer.apply(wanted) {
        Ok(changed) if changed.is_empty() => tracing::info!("the configuration is the same: nothing changes"),
        Ok(changed) => {
            changed.iter().for_each(|place| tracing::info!(%place, "changed"));
            tracing::info!("the configuration was read again");
        }
        Err(ReconfigureError::Refused(findings)) => {
            findings
                .iter()
                .for_each(|finding| tracing::error!(place = %finding.place, "{}", finding.message));
            tracing::error!("the configuration cannot be applied: nothing changes");
        }
        Err(ReconfigureError::Bdev { name, source }) => {
            tracing::error!(bdev = name, error = %source, "a block device cannot be made: nothing changes");
        }
        Err(error @ ReconfigureError::NoRing(_)) => {
            tracing::error!(%error, "a block device cannot be made: nothing changes");
        }
        Err(ReconfigureError::Gone) => tracing::error!("the appliance does not answer: nothing changes"),
    }
}
