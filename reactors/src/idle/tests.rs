//! The idle policies, turn by turn.

use super::*;

const IDLE: Activity = Activity::Idle { until: None, may_park: true };
const WAITING: Activity = Activity::Idle { until: None, may_park: false };

#[test]
fn policies_park_as_they_say() {
    let adaptive = IdlePolicy::Adaptive { spin: Duration::from_nanos(100) };
    let rows = [
        // policy           (time, activity, park)...
        (IdlePolicy::Spin, vec![(0, IDLE, false), (1_000_000, IDLE, false)]),
        (
            IdlePolicy::Park,
            vec![(0, IDLE, true), (1, Activity::Busy, false), (2, WAITING, false), (3, IDLE, true)],
        ),
        (adaptive, vec![(50, IDLE, false), (149, IDLE, false), (150, IDLE, true), (151, IDLE, true)]),
        (
            adaptive,
            vec![(0, IDLE, false), (99, Activity::Busy, false), (100, IDLE, false), (200, IDLE, true)],
        ),
        (adaptive, vec![(0, WAITING, false), (500, WAITING, false), (501, IDLE, true)]),
    ];
    for (policy, turns) in rows {
        let mut idleness = Idleness::new(policy);
        for (time, activity, park) in turns {
            let decided = idleness.should_park(activity, Time::from_nanos(time));
            assert_eq!(decided, park, "{policy:?} at {time}");
        }
    }
}
