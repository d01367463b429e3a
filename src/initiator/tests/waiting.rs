//! How long commands wait for a path, and what a look at the namespace behind it says.

use std::time::Duration;

use super::multipath::{Rig, STEP_MAX, options};
use super::target::{BLOCK_BYTES, Script, Target};
use crate::initiator::multipath::{Access, look};
use crate::spec::event::AsyncEvent;
use crate::spec::identify::Cns;
use crate::spec::status::Status;

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
