//! The reservation notices of one controller: masks, the count, and the pages that wait to be read (NVMe base 2.1,
//! sections 5.1.12.1.32 and 5.1.25.1.29).
//!
//! Invariant: the counts of the pages rise from the oldest to the newest, modulo the wrap, and the newest page has the
//! count of the last notice that was not masked.

use std::collections::{BTreeMap, VecDeque};

use zerocopy::FromZeros;

use crate::reservation::effect::NoticeKind;
use crate::spec::reservation::{NotificationMask, NotificationPage};

/// How many pages wait at most.
pub const PAGES_MAX: usize = 255;

/// The notices of one controller. It ends with a controller level reset: see [`Notices::reset`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// LPC of the last notice that was not masked; 0 before the first.
    count: u64,
    /// At most [`PAGES_MAX`], the oldest first.
    pages: VecDeque<Page>,
    /// By NSID; what is not there is not masked.
    masks: BTreeMap<u32, NotificationMask>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    count: u64,
    kind: NoticeKind,
    nsid: u32,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It is a page: an asynchronous event may tell of it ([`crate::spec::event::AsyncEvent::RESERVATION_NOTICE`]).
    Queued,
    /// There was no room: it raised the count of the newest page.
    Counted,
    /// The host does not want it.
    Masked,
}

impl Notices {
    /// No notices, and nothing masked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a notice about the namespace `nsid`.
    pub fn post(&mut self, nsid: u32, kind: NoticeKind) -> Posted {
        if is_masked(self.mask(nsid), kind) {
            return Posted::Masked;
        }
        self.count = self.count.checked_add(1).unwrap_or(1);
        let posted = if self.pages.len() < PAGES_MAX {
            self.pages.push_back(Page { count: self.count, kind, nsid });
            Posted::Queued
        } else {
            let newest = self.pages.back_mut().expect("a full queue has a last page");
            newest.count = self.count;
            Posted::Counted
        };
        assert!(self.pages.len() <= PAGES_MAX);
        posted
    }

    /// Log page 80h: the oldest page, which is then gone; all zeros where there is none.
    pub fn read(&mut self) -> NotificationPage {
        let mut wire = NotificationPage::new_zeroed();
        if let Some(page) = self.pages.pop_front() {
            wire.count.set(page.count);
            wire.kind = page.kind.to_wire();
            wire.available = u8::try_from(self.pages.len()).unwrap_or(u8::MAX);
            wire.nsid.set(page.nsid);
        }
        wire
    }

    /// How many pages wait to be read.
    pub fn unread(&self) -> usize {
        self.pages.len()
    }

    /// Feature 82h of a namespace.
    pub fn mask(&self, nsid: u32) -> NotificationMask {
        self.masks.get(&nsid).copied().unwrap_or_default()
    }

    /// Sets feature 82h of these namespaces: of one, or of all attached ones where NSID is FFFFFFFFh. Reserved bits
    /// are not kept.
    pub fn set_mask(&mut self, namespaces: impl IntoIterator<Item = u32>, mask: NotificationMask) {
        let kept = NotificationMask::new()
            .with_registration_preempted(mask.registration_preempted())
            .with_reservation_released(mask.reservation_released())
            .with_reservation_preempted(mask.reservation_preempted());
        self.masks.extend(namespaces.into_iter().map(|nsid| (nsid, kept)));
    }

    /// A controller level reset: no pages, no masks, and the count starts again at 0.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Notices with the count of a controller that has had `count` of them.
    #[cfg(test)]
    pub(super) fn counted(count: u64) -> Self {
        Self { count, ..Self::default() }
    }
}

fn is_masked(mask: NotificationMask, kind: NoticeKind) -> bool {
    match kind {
        NoticeKind::RegistrationPreempted => mask.registration_preempted(),
        NoticeKind::ReservationReleased => mask.reservation_released(),
        NoticeKind::ReservationPreempted => mask.reservation_preempted(),
    }
}
