//! Each status has one meaning, whatever its other bits say.

use super::*;

#[test]
fn statuses_are_sorted_by_what_can_be_done() {
    let again = Cause::Device { again: true };
    let never = Cause::Device { again: false };
    let rows = [
        (Status::LBA_OUT_OF_RANGE.with_dnr(), Cause::OutOfRange),
        (Status::COMPARE_FAILURE, Cause::Miscompare),
        (Status::UNRECOVERED_READ_ERROR.with_more(), Cause::ReadFault),
        // End-to-end Guard Check Error, and a code of the media that has no name here.
        (Status::new(StatusType::MEDIA, 0x82), Cause::ReadFault),
        (Status::new(StatusType::MEDIA, 0x9f), Cause::ReadFault),
        (Status::WRITE_FAULT.with_dnr(), Cause::WriteFault),
        (Status::ACCESS_DENIED, never),
        (Status::WRITE_PROTECTED, Cause::WriteProtected),
        (Status::CAPACITY_EXCEEDED, Cause::NoSpace),
        (Status::INVALID_OPCODE.with_dnr(), Cause::Unsupported),
        (Status::ABORT_REQUESTED, Cause::Aborted),
        (Status::ABORTED_SQ_DELETION, Cause::Aborted),
        (Status::INTERNAL_ERROR, again),
        (Status::INTERNAL_ERROR.with_dnr(), never),
        (Status::INVALID_FIELD.with_dnr(), never),
        (Status::new(StatusType::VENDOR, 0x80), again),
    ];
    for (status, cause) in rows {
        assert_eq!(Cause::of(status), cause, "{status:?}");
    }
}
