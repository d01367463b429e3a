//! Asynchronous events: requests that are always outstanding, what they tell, and what the driver makes of it (NVMe base
//! 2.1, section 5.1.2).

use corelane_reactors::clock::Time;

use super::commands::log_page;
use super::controller::{Controller, Purpose};
use super::{AdminData, Device, NamespaceInfo, StartError};
use crate::spec::cqe::Cqe;
use crate::spec::event::AsyncEvent;
use crate::spec::log_page::{ErrorEntry, LogPageId, Smart};
use crate::spec::opcode::AdminOpcode;
use crate::spec::reservation::NotificationPage;
use crate::spec::sqe::Sqe;

/// Asynchronous Event Requests that are outstanding, if the controller takes so many.
const REQUESTS: usize = 4;
/// Events that wait to be taken; further ones are counted and forgotten.
pub const EVENTS_MAX: usize = 64;

/// What happened to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A namespace became active.
    NamespaceAdded(u32),
    /// A namespace is no longer active.
    NamespaceRemoved(u32),
    /// A namespace has another size, format or identity.
    NamespaceChanged {
        /// As it was.
        before: NamespaceInfo,
        /// As it is.
        after: NamespaceInfo,
    },
    /// Anything else that the controller reports: errors, health, firmware, reservations.
    Notice(AsyncEvent),
    /// The controller is being reset.
    Resetting,
    /// The controller was given up, is gone, or was shut down: [`Controller::fault`].
    Failed,
}

impl<D: Device> Controller<D> {
    /// Takes the oldest event that nobody has taken.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Events that were forgotten because [`EVENTS_MAX`] waited.
    pub fn events_lost(&self) -> u64 {
        self.events_lost
    }

    pub(super) fn report(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events_lost += 1;
        } else {
            self.events.push_back(event);
        }
    }

    /// Sends as many requests as are to be outstanding.
    pub(super) fn arm_events(&mut self) {
        let allowed = self.identity.as_ref().map_or(1, |identity| usize::from(identity.events_max));
        let is_request = |purpose: &Purpose| matches!(purpose, Purpose::Event);
        while self.admin.count(is_request) < allowed.min(REQUESTS) {
            let sqe = Sqe::with_prps(AdminOpcode::ASYNC_EVENT_REQUEST.0, 0, 0);
            // It is answered when something happens, so never overdue.
            let sent =
                self.admin.submit("Asynchronous Event Request", sqe, AdminData::None, Purpose::Event, None);
            if sent.is_err() {
                return;
            }
        }
    }

    /// A request was answered. Events of its type come again when the log page that it names was read.
    pub(super) fn event_came(&mut self, cqe: &Cqe, now: Time) -> Result<(), StartError> {
        if !cqe.status().is_success() {
            // Refused: asking again would be refused again. The next reset arms anew.
            return Ok(());
        }
        let event = AsyncEvent::from_bits(cqe.dw0.get());
        let lid = LogPageId(event.lid());
        let bytes = match lid {
            LogPageId::ERROR => size_of::<ErrorEntry>(),
            LogPageId::SMART => size_of::<Smart>(),
            LogPageId::RESERVATION => size_of::<NotificationPage>(),
            LogPageId::CHANGED_NAMESPACES => super::admin::ADMIN_DATA_BYTES,
            _ => 512,
        };
        let sqe = log_page(lid, bytes, NSID_NONE);
        self.send("Get Log Page", sqe, AdminData::In, Purpose::Acknowledge(event), now)
    }

    pub(super) fn event_acknowledged(&mut self, event: AsyncEvent, now: Time) -> Result<(), StartError> {
        self.arm_events();
        if event.kind() == AsyncEvent::NOTICE && event.info() == AsyncEvent::NAMESPACE_CHANGED.info() {
            return self.begin_scan(now);
        }
        self.report(Event::Notice(event));
        Ok(())
    }
}

/// Log pages of the whole controller are asked for with NSID FFFFFFFFh (section 5.1.12).
const NSID_NONE: u32 = crate::spec::NSID_ALL;
