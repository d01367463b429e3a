//! Every state with every event.

use std::time::Duration;

use corelane_reactors::clock::Time;

use crate::nvmf::controller::{Closing, Event, Lifecycle};
use crate::spec::register::{Cc, ShutdownStatus};
use crate::spec::status::Status;

const UNTIL: Time = Time::from_nanos(5);
const LATER: Time = Time::from_nanos(9);

const DISABLED: Lifecycle = Lifecycle::Disabled;
const READY: Lifecycle = Lifecycle::Ready;
const DISABLING: Lifecycle = Lifecycle::Disabling { until: UNTIL };
const SHUTTING: Lifecycle = Lifecycle::ShuttingDown { until: UNTIL };
const SHUT: Lifecycle = Lifecycle::ShutDown;
const FAILED: Lifecycle = Lifecycle::Failed;

#[test]
fn every_event_leads_where_the_drawing_says() {
    const SEQUENCE: Result<Lifecycle, Status> = Err(Status::COMMAND_SEQUENCE_ERROR);
    let disabling = Ok(Lifecycle::Disabling { until: LATER });
    let shutting = Ok(Lifecycle::ShuttingDown { until: LATER });
    let (good, bad) = (Event::Enable { supported: true }, Event::Enable { supported: false });
    let columns = [DISABLED, READY, DISABLING, SHUTTING, SHUT, FAILED];
    #[rustfmt::skip]
    let rows = [
        // event, queues     Disabled      Ready       Disabling       ShuttingDown  ShutDown       Failed
        (good, false,       [Ok(READY),    SEQUENCE,   SEQUENCE,       SEQUENCE,     Ok(READY),     SEQUENCE]),
        (bad, false,        [Ok(FAILED),   SEQUENCE,   SEQUENCE,       SEQUENCE,     Ok(FAILED),    SEQUENCE]),
        (Event::Disable, false,
                            [Ok(DISABLED), Ok(DISABLED), Ok(DISABLING), Ok(DISABLED), Ok(DISABLED), Ok(DISABLED)]),
        (Event::Disable, true,
                            [Ok(DISABLED), disabling,  Ok(DISABLING),  disabling,    disabling,     disabling]),
        (Event::Shutdown, false,
                            [Ok(SHUT),     Ok(SHUT),   Ok(SHUT),       Ok(SHUTTING), Ok(SHUT),      Ok(SHUT)]),
        (Event::Shutdown, true,
                            [shutting,     shutting,   shutting,       Ok(SHUTTING), Ok(SHUT),      shutting]),
        (Event::QueuesGone, false,
                            [Ok(DISABLED), Ok(READY),  Ok(DISABLED),   Ok(SHUT),     Ok(SHUT),      Ok(FAILED)]),
        (Event::Overdue, true,
                            [Ok(DISABLED), Ok(READY),  Ok(FAILED),     Ok(FAILED),   Ok(SHUT),      Ok(FAILED)]),
        (Event::AssociationLost, true,
                            [Ok(FAILED),   Ok(FAILED), Ok(FAILED),     Ok(FAILED),   Ok(FAILED),    Ok(FAILED)]),
    ];
    for (event, queues, expected) in rows {
        for (state, next) in columns.into_iter().zip(expected) {
            assert_eq!(
                state.next(event, Closing { queues, until: LATER }),
                next,
                "{state:?} {event:?} {queues}"
            );
        }
    }
}

#[test]
fn csts_tells_the_state() {
    let enabled = Cc::new().with_en(true);
    let rows = [
        (DISABLED, Cc::new(), (false, false, ShutdownStatus::NORMAL)),
        (READY, enabled, (true, false, ShutdownStatus::NORMAL)),
        (DISABLING, Cc::new(), (true, false, ShutdownStatus::NORMAL)),
        (SHUTTING, enabled, (true, false, ShutdownStatus::OCCURRING)),
        (SHUT, enabled, (true, false, ShutdownStatus::COMPLETE)),
        (SHUT, Cc::new(), (false, false, ShutdownStatus::COMPLETE)),
        (FAILED, enabled, (false, true, ShutdownStatus::NORMAL)),
    ];
    for (state, cc, expected) in rows {
        let csts = state.csts(cc);
        assert_eq!((csts.rdy(), csts.cfs(), csts.shst()), expected, "{state:?}");
        assert_eq!(state.is_ready(), state == READY);
        let waits = matches!(state, Lifecycle::Disabling { .. } | Lifecycle::ShuttingDown { .. });
        assert_eq!(state.deadline(), waits.then_some(Time::ORIGIN + Duration::from_nanos(5)));
    }
}
