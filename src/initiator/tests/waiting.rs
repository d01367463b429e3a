//! How long commands wait for a path, and what a look at the namespace behind it says.

use std::time::Duration;

use super::multipath::{OPTIMIZED, Rig, STEP_MAX, options};
use super::target::{BLOCK_BYTES, Misdeed, Script, Target};
use crate::initiator::multipath::{Access, Cause, Options, look};
use crate::spec::ana::AnaState;
use crate::spec::event::AsyncEvent;
use crate::spec::identify::Cns;
use crate::spec::status::Status;

#[test]
fn a_path_that_works_is_waited_for_until_its_queue_is_connected() {
    let target = Target::start(Script::default());
    let mut rig = Rig::new(Options { no_path_timeout: Duration::ZERO, ..options(&[&target]) });
    rig.keep_until(Access::Optimized);
    assert_eq!(rig.write(1, 1), Ok(()));
    // A new connection of the path, of which the lane knows nothing.
    target.cut();
    rig.keep_until(Access::Down);
    rig.keep_until(Access::Optimized);
    assert_eq!(rig.read(1), Ok(vec![1; BLOCK_BYTES]));
    // A path that does not work is not waited for.
    target.change(|script| script.closed = true);
    rig.keep_until(Access::Down);
    assert_eq!(rig.read(1), Err(Cause::NoPath));
}

#[test]
fn a_queue_that_is_never_connected_is_not_waited_for_for_ever() {
    let target = Target::start(Script { misdeed: Misdeed::IgnoreConnect, ..Script::default() });
    let limits = (Duration::from_millis(50), Duration::from_millis(200));
    let (no_path_timeout, timeout) = limits;
    let mut rig = Rig::new(Options { no_path_timeout, timeout, ..options(&[&target]) });
    rig.until_access(&[Access::Optimized]);
    let since = rig.clock.now();
    assert_eq!(rig.read(1), Err(Cause::NoPath));
    assert!(rig.clock.now().since(since) >= no_path_timeout);
}

#[test]
fn a_time_without_a_path_counts_from_when_it_began() {
    let target = Target::start(Script { ana: OPTIMIZED, ..Script::default() });
    let limit = Duration::from_millis(100);
    let mut rig = Rig::new(Options { no_path_timeout: limit, ..options(&[&target]) });
    rig.write(5, 5).unwrap();
    for _ in 0..2 {
        target.change(|script| script.ana = Some(AnaState::INACCESSIBLE));
        target.report(AsyncEvent::ANA_CHANGED);
        rig.keep_until(Access::Blocked);
        let since = rig.clock.now();
        assert_eq!(rig.read(5), Err(Cause::NoPath));
        assert!(rig.clock.now().since(since) >= limit, "a good path was there meanwhile");
        target.change(|script| script.ana = OPTIMIZED);
        target.report(AsyncEvent::ANA_CHANGED);
        // Nobody has a command while the path is good.
        rig.keep_until(Access::Optimized);
    }
}

#[test]
fn a_look_that_fails_says_nothing_about_the_namespace() {
    let rows = [
        (Cns::NAMESPACE, Status::INTERNAL_ERROR),
        (Cns::NAMESPACE, Status::TRANSIENT_TRANSPORT_ERROR.with_dnr()),
        (Cns::NAMESPACE_DESCRIPTORS, Status::INTERNAL_ERROR),
        (Cns::NAMESPACE_DESCRIPTORS, Status::NAMESPACE_NOT_READY),
    ];
    for (cns, status) in rows {
        let target = Target::start(Script::default());
        let mut rig = Rig::new(options(&[&target]));
        rig.write(9, 9).unwrap();
        // While it is connected, and in the beginning of a connection.
        for begin in [false, true] {
            target.change(|script| script.fail_identify = Some((cns, status, 1)));
            if begin {
                target.cut();
                rig.until_access(&[Access::Down]);
            } else {
                target.report(AsyncEvent::NAMESPACE_CHANGED);
            }
            rig.until_access(&[Access::Blocked]);
            // It waits for the next look.
            assert_eq!(rig.read(9), Ok(vec![9; BLOCK_BYTES]), "{cns:?}, {status:?}");
        }
        // In the very beginning: whoever looks is not told of another namespace.
        target.change(|script| script.fail_identify = Some((cns, Status::INTERNAL_ERROR, 1)));
        let failed = look(&options(&[&target]), None, Duration::ZERO).unwrap_err();
        assert!(failed.to_string().ends_with("Internal Error (0h/06h)"), "{failed}");
        target.change(|script| script.fail_identify = Some((cns, Status::INTERNAL_ERROR, 1)));
        let found = look(&options(&[&target]), None, STEP_MAX).unwrap();
        assert_eq!(found.identifiers.uuid[0], 1);
    }
}

#[test]
fn a_namespace_without_descriptors_is_used_and_one_that_is_unknown_is_gone() {
    for status in [Status::INVALID_FIELD, Status::INVALID_OPCODE.with_dnr()] {
        let fail_identify = Some((Cns::NAMESPACE_DESCRIPTORS, status, u32::MAX));
        let target = Target::start(Script { fail_identify, ..Script::default() });
        let mut rig = Rig::new(options(&[&target]));
        rig.write(9, 9).unwrap();
        assert_eq!(rig.read(9), Ok(vec![9; BLOCK_BYTES]));
        let unknown = Status::INVALID_NAMESPACE.with_dnr();
        target.change(|script| script.fail_identify = Some((Cns::NAMESPACE, unknown, 1)));
        target.report(AsyncEvent::NAMESPACE_CHANGED);
        rig.until_access(&[Access::Lost]);
    }
}
