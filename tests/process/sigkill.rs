//! The target is killed in a storm of reservation commands, at a random moment, and started again.
//!
//! Five rounds, or `CORELANE_ROUNDS`.

use std::time::Duration;

use rustix::process::Signal;

use crate::residence::Residence;
use crate::storm::{Storm, number};

const ROUNDS: u64 = 5;
const NAMESPACES: u32 = 3;
/// From the first command to the kill, at most.
const STORM_MAX: Duration = Duration::from_millis(200);
const END_MAX: Duration = Duration::from_secs(20);

#[test]
fn what_was_answered_survives_sigkill() {
    let rounds = number("CORELANE_ROUNDS").unwrap_or(ROUNDS);
    let residence = Residence::new(NAMESPACES);
    let mut storm = Storm::new(NAMESPACES);
    for round in 0..rounds {
        let (program, address) = residence.start();
        storm.blow(address, STORM_MAX, || {
            program.signal(Signal::KILL);
            assert_eq!(program.finish(END_MAX).code, 128 + 9);
        });
        let (program, address) = residence.start();
        storm.check(address, round);
        assert_eq!(program.stop().errors, "", "round {round}: nothing is wrong with the records");
    }
    storm.conclude(rounds);
}
