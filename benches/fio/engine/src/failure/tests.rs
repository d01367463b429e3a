//! Numbers and errors of failures.

use super::*;

#[test]
fn every_failure_survives_the_way_through_the_shim() {
    let statuses =
        [Status::LBA_OUT_OF_RANGE, Status::INTERNAL_ERROR.with_dnr().with_more(), Status::WRITE_FAULT];
    for failure in Failure::PLAIN.into_iter().chain(statuses.map(Failure::Status)) {
        let number = failure.number();
        assert!(number >= FIRST, "{failure}");
        assert_eq!(Failure::of_number(number), Some(failure));
        assert!(failure.errno() > 0);
        assert!(!failure.to_string().is_empty());
    }
}

#[test]
fn what_is_no_failure_has_none() {
    for number in [0, 1, FIRST + 9, STATUS - 1, u32::MAX] {
        assert_eq!(Failure::of_number(number), None, "{number}");
    }
}

#[test]
fn statuses_become_the_errors_of_linux() {
    let rows = [
        (Status::LBA_OUT_OF_RANGE.with_dnr(), libc::EREMOTEIO),
        (Status::CAPACITY_EXCEEDED, libc::ENOSPC),
        (Status::RESERVATION_CONFLICT, libc::EBADE),
        (Status::INVALID_FIELD, libc::EOPNOTSUPP),
        (Status::WRITE_PROTECTED, libc::EROFS),
        (Status::UNRECOVERED_READ_ERROR, libc::ENODATA),
        (Status::NAMESPACE_NOT_READY, libc::EAGAIN),
        (Status::new(StatusType::PATH, 0x02), libc::ENOLINK),
        (Status::INTERNAL_ERROR, libc::EIO),
    ];
    for (status, errno) in rows {
        assert_eq!(Failure::Status(status).errno(), errno, "{status:?}");
    }
}
