//! Every stage meets everything that CSTS can say, in time and too late.

use super::*;

const LIMITS: Limits = Limits { stop: Duration::from_secs(2), start: Duration::from_secs(3) };
const NOW: Time = Time::from_nanos(1_000_000_000);

fn at(seconds: u64) -> Time {
    NOW + Duration::from_secs(seconds)
}

#[test]
fn every_stage_goes_where_the_drawing_says() {
    let (soon, late) = (at(1), Time::ORIGIN);
    let (ready, idle) = (Csts::new().with_rdy(true), Csts::new());
    let (fatal, fatal_ready) = (idle.with_cfs(true), ready.with_cfs(true));
    let stopping = Ok((Stage::Stopping { until: at(2) }, Act::ClearEnable));
    let stay = |stage| Ok((stage, Act::Wait));
    let (settling, overdue) = (Stage::Settling { until: soon }, Stage::Settling { until: late });
    let (waiting, given_up) = (Stage::Stopping { until: soon }, Stage::Stopping { until: late });
    let (starting, unready) = (Stage::Starting { until: soon }, Stage::Starting { until: late });
    let rows = [
        // stage      RDY=0                          RDY=1                          CFS                      CFS, RDY=1
        (settling, [stay(settling), stopping, stopping, stopping]),
        (overdue, [stopping, stopping, stopping, stopping]),
        (waiting, [stay(Stage::Stopped), stay(waiting), stay(Stage::Stopped), stay(waiting)]),
        (
            given_up,
            [
                stay(Stage::Stopped),
                Err(EnableError::NeverStopped),
                stay(Stage::Stopped),
                Err(EnableError::NeverStopped),
            ],
        ),
        (Stage::Stopped, [stay(Stage::Stopped); 4]),
        (starting, [stay(starting), stay(Stage::Ready), Err(EnableError::Fatal), Err(EnableError::Fatal)]),
        (
            unready,
            [
                Err(EnableError::NeverReady),
                stay(Stage::Ready),
                Err(EnableError::Fatal),
                Err(EnableError::Fatal),
            ],
        ),
        (
            Stage::Ready,
            [Err(EnableError::Lost), stay(Stage::Ready), Err(EnableError::Fatal), Err(EnableError::Fatal)],
        ),
    ];
    for (stage, expected) in rows {
        for (csts, expected) in [idle, ready, fatal, fatal_ready].into_iter().zip(expected) {
            assert_eq!(stage.step(csts, &LIMITS, NOW), expected, "{stage:?} {csts:?}");
        }
    }
}

#[test]
fn the_way_down_respects_a_controller_that_is_on_its_way_up() {
    let rows = [
        (false, false, Stage::Stopping { until: at(2) }, Act::Wait),
        (false, true, Stage::Stopping { until: at(2) }, Act::Wait),
        (true, false, Stage::Settling { until: at(3) }, Act::Wait),
        (true, true, Stage::Stopping { until: at(2) }, Act::ClearEnable),
    ];
    for (enabled, ready, stage, act) in rows {
        let csts = Csts::new().with_rdy(ready);
        assert_eq!(Stage::stop(enabled, csts, &LIMITS, NOW), (stage, act));
    }
}

#[test]
fn the_controller_says_how_long_it_may_take() {
    let cap = Cap::new().with_to(3);
    let crto = Crto::new().with_crwmt(19);
    let seconds = |half: u32| UNIT * half;
    assert_eq!(Limits::of(cap, crto), Limits { stop: seconds(4), start: seconds(4) });
    let with_media = cap.with_crwms(true);
    assert_eq!(Limits::of(with_media, crto), Limits { stop: seconds(4), start: seconds(20) });
}
