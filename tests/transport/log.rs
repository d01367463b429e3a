//! What is logged while something happens.
//!
//! There is one subscriber for all threads: what a scoped one is interested in is asked on whichever thread comes first.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing::Level;

thread_local! {
    /// What this thread has logged, if it is to be known.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes to the log of the thread.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Warnings and errors that this thread logs in `act`, a line each.
pub(crate) fn warnings(act: impl FnOnce()) -> Vec<String> {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        let log = tracing_subscriber::fmt().with_max_level(Level::WARN).with_ansi(false).without_time();
        tracing::subscriber::set_global_default(log.with_writer(|| Log).finish()).expect("the only one");
    });
    LOG.set(Some(Vec::new()));
    act();
    let log = LOG.take().unwrap_or_default();
    String::from_utf8_lossy(&log).lines().map(str::to_owned).collect()
}
