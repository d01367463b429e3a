//! Who is told what, and the queue that each controller has.

use zerocopy::FromZeros;

use super::*;
use crate::reservation::{Notices, PAGES_MAX, Posted};
use crate::spec::reservation::{NotificationMask, NotificationPage, NotificationType};
use NoticeKind::{RegistrationPreempted, ReservationPreempted, ReservationReleased};

/// A page as it must come.
fn page(count: u64, kind: u8, available: u8, nsid: u32) -> NotificationPage {
    let mut page = NotificationPage::new_zeroed();
    page.count.set(count);
    page.kind = NotificationType(kind);
    page.available = available;
    page.nsid.set(nsid);
    page
}

/// With D registered under the key of B.
fn rig(held: u32) -> Rig {
    let mut rig = if held == 0 { Rig::registered() } else { Rig::held(held) };
    rig.ok(D, &register(KEY_B));
    rig
}

#[test]
fn preempted_hosts_are_told_but_never_the_issuer() {
    type Row<'a> = (&'a str, u32, u8, u64, u64, u32, &'a [u8]);
    let rows: [Row; 5] = [
        ("no reservation", 0, A, KEY_A, KEY_B, 1, &[B, D]),
        ("no reservation, the issuer's key too", 0, B, KEY_B, KEY_B, 1, &[D]),
        ("one holder", 1, C, KEY_C, KEY_B, 1, &[B, D]),
        ("the holder, of the same type", 1, B, KEY_B, KEY_A, 1, &[A]),
        ("all registrants", 5, B, KEY_B, KEY_B, 1, &[D]),
    ];
    for (name, held, issuer, key, victim, rtype, expected) in rows {
        let effects = rig(held).ok(issuer, &preempt(rtype, key, victim));
        assert_eq!(effects.notices, told(RegistrationPreempted, expected), "{name}");
    }
}

#[test]
fn a_change_of_type_by_preemption_is_told_to_those_who_remain() {
    for held in ALL_TYPES {
        for rtype in ALL_TYPES {
            let one_holder = ONE_HOLDER.contains(&held);
            let effects = rig(held).ok(C, &preempt(rtype, KEY_C, if one_holder { KEY_A } else { 0 }));
            let gone: &[u8] = if one_holder { &[A] } else { &[A, B, D] };
            let remain: &[u8] = if one_holder && rtype != held { &[B, D] } else { &[] };
            let mut expected = told(RegistrationPreempted, gone);
            expected.extend(told(ReservationReleased, remain));
            assert_eq!(effects.notices, expected, "{held} {rtype}");
        }
    }
}

#[test]
fn a_release_of_types_3_to_6_is_told_to_other_registrants() {
    for held in ALL_TYPES {
        let effects = rig(held).ok(A, &release(held, KEY_A));
        let expected: &[u8] = if held >= 3 { &[B, C, D] } else { &[] };
        assert_eq!(effects.notices, told(ReservationReleased, expected), "{held}");
    }
}

#[test]
fn an_unregistered_holder_of_types_3_and_4_is_told_to_other_registrants() {
    for held in ALL_TYPES {
        let effects = rig(held).ok(A, &unregister(KEY_A));
        let expected: &[u8] = if held == 3 || held == 4 { &[B, C, D] } else { &[] };
        assert_eq!(effects.notices, told(ReservationReleased, expected), "{held}");
        assert_eq!(rig(held).ok(B, &unregister(KEY_B)).notices, vec![], "{held}");
    }
}

#[test]
fn a_clear_is_told_to_those_who_were_registered() {
    for held in [0, 1, 2, 3, 4, 5, 6] {
        let effects = rig(held).ok(C, &clear(KEY_C));
        assert_eq!(effects.notices, told(ReservationPreempted, &[A, B, D]), "{held}");
    }
}

#[test]
fn registering_tells_nobody() {
    for command in [register(KEY_A), replace(KEY_A, 7), register(KEY_A).cptpl(0b11)] {
        assert_eq!(rig(3).ok(A, &command).notices, vec![]);
    }
}

#[test]
fn notices_are_read_oldest_first_and_once() {
    let mut notices = Notices::new();
    assert_eq!(notices.post(7, RegistrationPreempted), Posted::Queued);
    assert_eq!(notices.post(8, ReservationReleased), Posted::Queued);
    assert_eq!(notices.post(7, ReservationPreempted), Posted::Queued);
    assert_eq!(notices.read(), page(1, 1, 2, 7));
    assert_eq!(notices.read(), page(2, 2, 1, 8));
    assert_eq!(notices.read(), page(3, 3, 0, 7));
    assert_eq!(notices.read().as_bytes(), [0; 64]);
    // The count goes on where it was.
    notices.post(9, ReservationReleased);
    assert_eq!(notices.read(), page(4, 2, 0, 9));
}

#[test]
fn a_notice_page_is_laid_out_as_the_specification_says() {
    let mut notices = Notices::new();
    notices.post(0x0102_0304, ReservationReleased);
    notices.post(1, ReservationReleased);
    let mut expected = [0; 64];
    expected[..16].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 4, 3, 2, 1]);
    assert_eq!(notices.read().as_bytes(), expected);
}

#[test]
fn a_notice_that_finds_the_queue_full_raises_the_count_of_the_last_page() {
    let mut notices = Notices::new();
    for _ in 0..PAGES_MAX {
        assert_eq!(notices.post(1, RegistrationPreempted), Posted::Queued);
    }
    for _ in 0..10 {
        assert_eq!(notices.post(2, ReservationReleased), Posted::Counted);
    }
    assert_eq!(notices.unread(), PAGES_MAX);
    for count in 1..255u8 {
        assert_eq!(notices.read(), page(count.into(), 1, 255 - count, 1));
    }
    assert_eq!(notices.read(), page(265, 1, 0, 1));
    assert_eq!(notices.read().as_bytes(), [0; 64]);
}

#[test]
fn the_count_skips_zero_when_it_wraps() {
    let mut notices = Notices::counted(u64::MAX - 1);
    for _ in 0..3 {
        notices.post(1, RegistrationPreempted);
    }
    let counts: Vec<u64> = (0..3).map(|_| notices.read().count.get()).collect();
    assert_eq!(counts, [u64::MAX, 1, 2]);
}

#[test]
fn a_masked_notice_is_neither_queued_nor_counted() {
    let kinds = [RegistrationPreempted, ReservationReleased, ReservationPreempted];
    for (bit, masked) in (1..).zip(kinds) {
        let mut notices = Notices::new();
        notices.set_mask([1], NotificationMask::from_bits(1 << bit));
        for kind in kinds {
            let expected = if kind == masked { Posted::Masked } else { Posted::Queued };
            assert_eq!(notices.post(1, kind), expected);
        }
        assert_eq!(notices.unread(), 2);
        assert_eq!([notices.read().count.get(), notices.read().count.get()], [1, 2]);
    }
}

#[test]
fn masks_are_kept_per_namespace() {
    let mut notices = Notices::new();
    let (all, none) = (NotificationMask::from_bits(0xe), NotificationMask::new());
    notices.set_mask([1, 3], all);
    assert_eq!([1, 2, 3, 4].map(|nsid| notices.mask(nsid)), [all, none, all, none]);
    assert_eq!(notices.post(2, ReservationReleased), Posted::Queued);
    assert_eq!(notices.post(3, ReservationReleased), Posted::Masked);
    notices.set_mask([3], none);
    assert_eq!(notices.post(3, ReservationReleased), Posted::Queued);
}

#[test]
fn reserved_bits_of_the_mask_are_not_kept() {
    let mut notices = Notices::new();
    notices.set_mask([1], NotificationMask::from_bits(0xffff_ffff));
    assert_eq!(notices.mask(1).into_bits(), 0xe);
}

#[test]
fn a_reset_forgets_pages_masks_and_the_count() {
    let mut notices = Notices::new();
    notices.set_mask([1], NotificationMask::from_bits(0x2));
    notices.post(1, ReservationReleased);
    notices.reset();
    assert_eq!(notices, Notices::new());
    notices.post(1, RegistrationPreempted);
    assert_eq!(notices.read(), page(1, 1, 0, 1));
}
