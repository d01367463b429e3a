//! The wheel against an ordered map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cases::{drawn, steps};

#[derive(Clone, Debug)]
enum Operation {
    /// A timer this many nanoseconds from now; negative ones are overdue.
    Insert(i64),
    /// Cancel one of the keys ever made.
    Cancel(usize),
    /// Let this much time pass, then expire with this budget.
    Expire(u64, usize),
}

fn distance() -> impl Strategy<Value = u64> {
    // Any number of digits is as likely as any other.
    (0u32..63, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (distance(), 0u8..8).prop_map(|(far, sign)| {
            let far = i64::try_from(far).unwrap();
            Operation::Insert(if sign == 0 { -far } else { far })
        }),
        1 => any::<usize>().prop_map(Operation::Cancel),
        3 => (distance(), prop_oneof![0usize..4, Just(usize::MAX)])
            .prop_map(|(passed, budget)| Operation::Expire(passed, budget)),
    ]
}

/// The wheel and an ordered map of the same timers.
struct Pair {
    now: u64,
    wheel: Wheel<usize>,
    oracle: BTreeMap<usize, u64>,
    /// By timer: its key, and whether it was due when it was inserted.
    made: Vec<(Key, bool)>,
}

impl Pair {
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Insert(distance) => {
                let at = self.now.saturating_add_signed(distance);
                let id = self.made.len();
                let key = self.wheel.insert(Time::from_nanos(at), id);
                self.made.push((key, distance <= 0));
                self.oracle.insert(id, at);
            }
            Operation::Cancel(choice) => {
                let Some(id) = choice.checked_rem(self.made.len()) else { return };
                let expected = self.oracle.remove(&id).map(|_| id);
                assert_eq!(self.wheel.cancel(self.made[id].0), expected);
            }
            Operation::Expire(passed, budget) => {
                self.now = self.now.saturating_add(passed);
                self.expire(budget);
            }
        }
        assert_eq!(self.wheel.len(), self.oracle.len());
        match (self.wheel.next(), self.oracle.values().min()) {
            (None, None) => {}
            (Some(next), Some(&earliest)) => assert!(next <= Time::from_nanos(earliest)),
            other => panic!("{other:?}"),
        }
    }

    fn expire(&mut self, budget: usize) {
        let now = Time::from_nanos(self.now);
        let mut expired = Vec::new();
        let count = self.wheel.expire(now, budget, |id| expired.push(id));
        assert_eq!(count, expired.len());
        assert!(count <= budget);
        let mut tick_before = 0;
        for id in expired {
            let at = self.oracle.remove(&id).expect("expired once");
            assert!(at <= self.now, "{id} early");
            if !self.made[id].1 {
                assert!(tick(Time::from_nanos(at)) >= tick_before, "{id} out of order");
                tick_before = tick(Time::from_nanos(at));
            }
        }
        let more = self.wheel.next().is_some_and(|next| next <= now);
        assert!(!more || budget < usize::MAX);
        if !more {
            assert!(self.oracle.values().all(|&at| at > self.now), "late");
        }
    }
}

proptest! {
    #![proptest_config(drawn(1000))]

    #[test]
    fn behaves_like_an_ordered_map(operations in prop::collection::vec(operation(), 1..steps(100))) {
        let mut pair = Pair { now: 0, wheel: Wheel::with_capacity(4), oracle: BTreeMap::new(), made: Vec::new() };
        operations.iter().for_each(|operation| pair.apply(operation));
        pair.now = u64::MAX;
        pair.expire(usize::MAX);
        prop_assert!(pair.wheel.is_empty());
    }

    #[test]
    fn sleeping_until_next_reaches_a_timer_exactly_and_soon(start in distance(), away in distance()) {
        let mut wheel = Wheel::with_capacity(1);
        wheel.expire(Time::from_nanos(start), 1, |()| ());
        let at = Time::from_nanos(start.saturating_add(away));
        wheel.insert(at, ());
        let mut now = Time::ORIGIN;
        let mut calls = 0;
        while wheel.expire(now, 100, |()| ()) == 0 {
            now = wheel.next().unwrap();
            calls += 1;
        }
        prop_assert_eq!(now, at.max(Time::ORIGIN));
        prop_assert!(calls <= 8, "{} calls", calls);
    }
}

#[test]
fn a_budget_bounds_the_work_and_the_rest_follows() {
    let mut wheel = Wheel::with_capacity(1000);
    // Far enough to hang above level 0, so that moving down is part of the work.
    let at = Time::from_nanos(1 << 40);
    for id in 0..1000 {
        wheel.insert(at, id);
    }
    let mut expired = Vec::new();
    let mut calls = 0;
    while !wheel.is_empty() {
        wheel.expire(at, 10, |id| expired.push(id));
        calls += 1;
        assert!(wheel.next().is_none_or(|next| next <= at));
    }
    expired.sort_unstable();
    assert_eq!(expired, (0..1000).collect::<Vec<_>>());
    // One step moves a timer, one expires it.
    assert_eq!(calls, 200);
}

#[test]
fn a_key_names_nothing_once_its_timer_is_gone() {
    let mut wheel = Wheel::with_capacity(1);
    let first = wheel.insert(Time::from_nanos(1), 'a');
    assert_eq!(wheel.expire(Time::from_nanos(1), 1, |_| ()), 1);
    let second = wheel.insert(Time::from_nanos(9), 'b');
    assert_eq!(wheel.cancel(first), None);
    assert_eq!(wheel.cancel(second), Some('b'));
    assert_eq!(wheel.cancel(second), None);
    assert_eq!(wheel.next(), None);
}

#[test]
fn entries_are_reused() {
    let mut wheel = Wheel::with_capacity(8);
    for round in 0..steps(1000) as u64 {
        for id in 0..8 {
            wheel.insert(Time::from_nanos(round), id);
        }
        assert_eq!(wheel.expire(Time::from_nanos(round), 8, |_| ()), 8);
    }
    assert_eq!(wheel.entries.len(), 8);
}
