//! No cause loses its meaning on the way to a host.

use super::*;

#[test]
fn each_cause_of_a_failure_keeps_its_meaning() {
    let rows = [
        (Cause::OutOfRange, BdevError::OutOfRange),
        (Cause::Miscompare, BdevError::Miscompare),
        (Cause::ReadFault, BdevError::Media { access: Access::Read }),
        (Cause::WriteFault, BdevError::Media { access: Access::Write }),
        (Cause::WriteProtected, BdevError::WriteProtected),
        (Cause::NoSpace, BdevError::NoSpace),
        (Cause::Unsupported, BdevError::Unsupported),
        (Cause::Aborted, BdevError::Aborted),
        (Cause::Gone, BdevError::Gone),
        (Cause::NoPath, BdevError::Device { again: true }),
        (Cause::Device { again: true }, BdevError::Device { again: true }),
        (Cause::Device { again: false }, BdevError::Device { again: false }),
    ];
    for (cause, error) in rows {
        assert_eq!(BdevError::from(cause), error);
    }
}
