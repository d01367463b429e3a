//! Asynchronous Event Requests, and the events that wait for one (NVMe base 2.1, section 5.1.2).
//!
//! Each kind of event is reported once, and then not again until the host has read its log page without RAE.

use std::collections::VecDeque;

use crate::spec::event::AsyncEvent;
use crate::spec::feature::AsyncEventConfiguration;
use crate::spec::log_page::{LogPageId, WARNING_RELIABILITY};
use crate::spec::status::Status;

/// AERL: outstanding requests, 0-based.
pub const AERL_Z: u8 = 3;

/// An event that this target reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Attributes or the list of attached namespaces changed.
    Namespaces,
    /// Asymmetric access to namespaces changed.
    Ana,
    /// The discovery log changed.
    Discovery,
    /// There is a reservation notice to be read. What hosts do not want is masked before, by feature 82h.
    Reservation,
    /// The reliability of the subsystem is degraded: what a namespace has to keep cannot be kept, or is not known.
    Reliability,
}

impl Notice {
    const ALL: [Self; 5] =
        [Self::Namespaces, Self::Ana, Self::Discovery, Self::Reservation, Self::Reliability];

    const fn event(self) -> AsyncEvent {
        match self {
            Self::Namespaces => AsyncEvent::NAMESPACE_CHANGED,
            Self::Ana => AsyncEvent::ANA_CHANGED,
            Self::Discovery => AsyncEvent::DISCOVERY_CHANGED,
            Self::Reservation => AsyncEvent::RESERVATION_NOTICE,
            Self::Reliability => AsyncEvent::RELIABILITY,
        }
    }

    /// The page whose reading makes room for the next event of this kind.
    const fn log_page(self) -> LogPageId {
        LogPageId(self.event().lid())
    }

    const fn is_enabled(self, configuration: AsyncEventConfiguration) -> bool {
        match self {
            Self::Namespaces => configuration.namespace_attributes(),
            Self::Ana => configuration.ana(),
            Self::Discovery => configuration.discovery(),
            Self::Reservation => true,
            Self::Reliability => configuration.smart() & WARNING_RELIABILITY != 0,
        }
    }
}

/// How far a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It waits for a request.
    Pending,
    /// It was sent; the log page was not read yet.
    Sent,
}

/// The requests and events of one controller.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// CIDs of the outstanding requests, oldest first; at most `AERL_Z + 1`.
    requests: VecDeque<u16>,
    /// By the order of [`Notice::ALL`].
    progress: [Option<Progress>; Notice::ALL.len()],
}

impl Events {
    /// A request arrives. `Ok(Some)` answers it at once, `Ok(None)` keeps it.
    pub(super) fn request(&mut self, cid: u16) -> Result<Option<AsyncEvent>, Status> {
        for (notice, progress) in Notice::ALL.into_iter().zip(&mut self.progress) {
            if *progress == Some(Progress::Pending) {
                *progress = Some(Progress::Sent);
                return Ok(Some(notice.event()));
            }
        }
        if self.requests.len() > usize::from(AERL_Z) {
            return Err(Status::ASYNC_EVENT_LIMIT_EXCEEDED);
        }
        self.requests.push_back(cid);
        Ok(None)
    }

    /// Something happened. Returns the request that reports it now, if there is one.
    pub(super) fn raise(
        &mut self,
        notice: Notice,
        configuration: AsyncEventConfiguration,
    ) -> Option<(u16, AsyncEvent)> {
        let progress = &mut self.progress[notice as usize];
        if !notice.is_enabled(configuration) || progress.is_some() {
            return None;
        }
        let request = self.requests.pop_front();
        *progress = Some(if request.is_some() { Progress::Sent } else { Progress::Pending });
        Some((request?, notice.event()))
    }

    /// A log page was read without RAE.
    pub(super) fn log_page_read(&mut self, lid: LogPageId) {
        for (notice, progress) in Notice::ALL.into_iter().zip(&mut self.progress) {
            if lid == notice.log_page() {
                *progress = None;
            }
        }
    }

    /// Takes back one request, if it is outstanding.
    pub(super) fn abort(&mut self, cid: u16) -> bool {
        let found = self.requests.iter().position(|request| *request == cid);
        found.and_then(|index| self.requests.remove(index)).is_some()
    }

    /// Takes back all requests, and forgets all events.
    pub(super) fn reset(&mut self) -> Vec<u16> {
        self.progress = Default::default();
        self.requests.drain(..).collect()
    }
}
