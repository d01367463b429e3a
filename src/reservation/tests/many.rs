//! More registrants than other targets take.

use super::*;
use crate::reservation::{Impossible, Key, REGISTRANTS_MAX, Registrant, Rights, report, rights};

/// [`REGISTRANTS_MAX`], for numbers of hosts.
const MAX: u32 = 65_535;
const _: () = assert!(MAX as usize == REGISTRANTS_MAX);

fn numbered(number: u32) -> Host {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&(number + 1).to_be_bytes());
    Host { id: HostId(id), ..host(A) }
}

fn registered(count: u32) -> State {
    let mut state = State::new();
    for number in 0..count {
        run(&mut state, &numbered(number), &register(u64::from(number) + 1)).unwrap();
    }
    state
}

fn full() -> State {
    let registrants = (0..MAX).map(|number| (numbered(number).id, Registrant { key: Key(1), nqn: None }));
    State::restore(0, false, registrants, None, None).unwrap()
}

#[test]
fn three_hundred_hosts_register_reserve_and_are_preempted() {
    let mut state = registered(300);
    assert_eq!((state.registrants().len(), state.generation()), (300, 300));
    run(&mut state, &numbered(299), &acquire(5, 300)).unwrap();
    assert!((0..300).all(|number| rights(&state, numbered(number).id) == Rights::ALL));
    assert_eq!(rights(&state, numbered(300).id), Rights::READ);
    let report = report::encode(&state, u64::MAX, |_| None);
    assert_eq!((report.len(), &report[5..7]), (64 * 301, &300u16.to_le_bytes()[..]));
    let effects = run(&mut state, &numbered(0), &acquire_command(2, 2, 1, 0)).unwrap();
    assert_eq!((effects.drain.len(), effects.notices.len()), (299, 299));
    assert_eq!((state.registrants().len(), state.generation()), (1, 301));
    assert_eq!(rights(&state, numbered(1).id), Rights::NONE);
}

#[test]
fn the_seventeenth_registrant_is_one_like_any_other() {
    let state = registered(17);
    assert!(state.is_registrant(numbered(16).id));
}

#[test]
fn there_is_room_for_a_registrant_behind_every_cntlid() {
    // CNTLIDs of dynamic controllers go from 1 to FFEFh (base 2.1, section 4.6.1).
    const { assert!(REGISTRANTS_MAX > 0xffef) };
    let state = full();
    let report = report::encode(&state, 64, |_| None);
    assert_eq!(report[5..7], [0xff, 0xff]);
}

#[test]
fn a_registrant_that_the_report_could_not_count_is_refused() {
    let mut state = full();
    let before = state.clone();
    let newcomer = numbered(MAX);
    for command in [register(7), replace(0, 7).ignoring_key()] {
        let refusal = run(&mut state, &newcomer, &command);
        assert_eq!(refusal, Err(Status::CAPACITY_EXCEEDED.with_dnr()));
        assert_eq!(state, before);
    }
    // Those who are there go on.
    run(&mut state, &numbered(0), &replace(1, 7)).unwrap();
    run(&mut state, &numbered(1), &unregister(1)).unwrap();
    run(&mut state, &newcomer, &register(7)).unwrap();
}

#[test]
fn more_registrants_than_that_make_no_state() {
    let registrants = (0..=MAX).map(|number| (numbered(number).id, Registrant { key: Key(1), nqn: None }));
    assert_eq!(State::restore(0, false, registrants, None, None), Err(Impossible::TooMany));
}
