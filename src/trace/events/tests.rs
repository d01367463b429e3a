//! What a ring keeps, and that readers beside a writer see whole events only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

#[test]
fn the_newest_events_are_kept_in_order() {
    let ring = EventRing::default();
    assert_eq!((ring.events(), ring.written()), (Vec::new(), 0));
    let event = |number: u64| Event {
        number,
        time: Time::from_nanos(number * 10),
        what: What::ALL[usize::try_from(number).unwrap() % What::ALL.len()],
        values: [number, number + 1, number + 2],
    };
    let kept = EVENTS_KEPT as u64;
    for number in 0..kept + 5 {
        let Event { time, what, values, .. } = event(number);
        ring.write(time, what, values);
        assert_eq!(ring.events().last(), Some(&event(number)));
    }
    assert_eq!(ring.events(), (5..kept + 5).map(event).collect::<Vec<_>>());
    assert_eq!(ring.written(), kept + 5);
}

#[test]
fn readers_beside_the_writer_see_whole_events() {
    let (ring, over) = (EventRing::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut seen = 0usize;
                while !over.load(Ordering::Relaxed) || seen == 0 {
                    for Event { number, time, values, .. } in ring.events() {
                        assert_eq!((time.as_nanos(), values), (number, [number, !number, number ^ 0x5555]));
                        seen += 1;
                    }
                }
                seen
            })
        });
        for number in 0..200_000u64 {
            let values = [number, !number, number ^ 0x5555];
            ring.write(Time::from_nanos(number), What::QueueOpened, values);
        }
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn every_event_has_a_name_and_values_of_different_names() {
    for what in What::ALL {
        let mut values: Vec<_> = what.values().into_iter().filter(|name| !name.is_empty()).collect();
        let count = values.len();
        values.dedup();
        assert!(count > 0 && values.len() == count, "{}", what.name());
        assert_eq!(What::ALL.iter().filter(|other| other.name() == what.name()).count(), 1);
    }
}
