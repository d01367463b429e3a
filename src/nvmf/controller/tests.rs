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
const FLUSHING: Lifecycle = Lifecycle::Flushing { until: UNTIL };
const SHUT: Lifecycle = Lifecycle::ShutDown;
const FAILED: Lifecycle = Lifecycle::Failed;

#[test]
fn every_event_leads_where_the_drawing_says() {
    const SEQUENCE: Result<Lifecycle, Status> = Err(Status::COMMAND_SEQUENCE_ERROR);
    let disabling = Ok(Lifecycle::Disabling { until: LATER });
    let shutting = Ok(Lifecycle::ShuttingDown { until: LATER });
    let (good, bad) = (Event::Enable { supported: true }, Event::Enable { supported: false });
    let flushing = Ok(Lifecycle::Flushing { until: LATER });
    let columns = [DISABLED, READY, DISABLING, SHUTTING, FLUSHING, SHUT, FAILED];
    let same = columns.map(Ok);
    let failed = [Ok(FAILED); 7];
    #[rustfmt::skip]
    let rows = [
        // event, queues, caches   Disabled      Ready         Disabling      ShuttingDown  Flushing      ShutDown      Failed
        (good, false, false,      [Ok(READY),    SEQUENCE,     SEQUENCE,      SEQUENCE,     SEQUENCE,     Ok(READY),    SEQUENCE]),
        (bad, false, true,        [Ok(FAILED),   SEQUENCE,     SEQUENCE,      SEQUENCE,     SEQUENCE,     Ok(FAILED),   SEQUENCE]),
        (Event::Disable, false, true,
                                  [Ok(DISABLED), Ok(DISABLED), Ok(DISABLING), Ok(DISABLED), Ok(DISABLED), Ok(DISABLED), Ok(DISABLED)]),
        (Event::Disable, true, true,
                                  [Ok(DISABLED), disabling,    Ok(DISABLING), disabling,    disabling,    disabling,    disabling]),
        (Event::Shutdown, false, false,
                                  [Ok(SHUT),     Ok(SHUT),     Ok(SHUT),      Ok(SHUTTING), Ok(FLUSHING), Ok(SHUT),     Ok(SHUT)]),
        (Event::Shutdown, false, true,
                                  [flushing,     flushing,     flushing,      Ok(SHUTTING), Ok(FLUSHING), Ok(SHUT),     flushing]),
        (Event::Shutdown, true, true,
                                  [shutting,     shutting,     shutting,      Ok(SHUTTING), Ok(FLUSHING), Ok(SHUT),     shutting]),
        (Event::QueuesGone, false, false,
                                  [Ok(DISABLED), Ok(READY),    Ok(DISABLED),  Ok(SHUT),     Ok(FLUSHING), Ok(SHUT),     Ok(FAILED)]),
        (Event::QueuesGone, false, true,
                                  [Ok(DISABLED), Ok(READY),    Ok(DISABLED),  Ok(FLUSHING), Ok(FLUSHING), Ok(SHUT),     Ok(FAILED)]),
        (Event::Flushed, false, true,
                                  [same[0],      same[1],      same[2],       same[3],      Ok(SHUT),     same[5],      same[6]]),
        (Event::NotFlushed, false, true,
                                  [same[0],      same[1],      same[2],       same[3],      Ok(FAILED),   same[5],      same[6]]),
        (Event::Overdue, true, true,
                                  [Ok(DISABLED), Ok(READY),    Ok(FAILED),    Ok(FAILED),   Ok(FAILED),   Ok(SHUT),     Ok(FAILED)]),
        (Event::AssociationLost, true, true, failed),
    ];
    for (event, queues, caches, expected) in rows {
        for (state, next) in columns.into_iter().zip(expected) {
            assert_eq!(
                state.next(event, Closing { queues, caches, until: LATER }),
                next,
                "{state:?} {event:?} {queues} {caches}"
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
        (FLUSHING, enabled, (true, false, ShutdownStatus::OCCURRING)),
        (SHUT, enabled, (true, false, ShutdownStatus::COMPLETE)),
        (SHUT, Cc::new(), (false, false, ShutdownStatus::COMPLETE)),
        (FAILED, enabled, (false, true, ShutdownStatus::NORMAL)),
    ];
    for (state, cc, expected) in rows {
        let csts = state.csts(cc);
        assert_eq!((csts.rdy(), csts.cfs(), csts.shst()), expected, "{state:?}");
        assert_eq!(state.is_ready(), state == READY);
        let waits = [DISABLING, SHUTTING, FLUSHING].contains(&state);
        assert_eq!(state.deadline(), waits.then_some(Time::ORIGIN + Duration::from_nanos(5)));
    }
}
