//! A guest that asks for something by a file in the folder that it shares.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::guest::Guest;

/// Between two looks at the folder.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until the guest has made this file. Bounded by the virtual machine's own limit.
pub(crate) fn wait_for(file: &Path, guest: &mut Guest) {
    while !file.exists() {
        let ended = guest.0.try_wait().expect("asking after the virtual machine");
        assert!(
            ended.is_none(),
            "the virtual machine ended early: {ended:?}; its output says which step failed"
        );
        thread::sleep(LOOK);
    }
}
