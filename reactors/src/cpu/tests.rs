//! Pinning, on threads of the tests' own.

use std::thread;

use super::*;

#[test]
#[cfg_attr(miri, ignore = "miri has no CPUs to pin to")]
fn a_thread_runs_where_it_is_pinned_and_its_children_inherit_it() {
    let all = allowed();
    assert!(!all.is_empty());
    for cpu in all.clone() {
        let all = all.clone();
        let seen = thread::spawn(move || {
            pin(cpu, &all).unwrap();
            (rustix::thread::sched_getcpu(), allowed(), thread::spawn(allowed).join().unwrap())
        });
        assert_eq!(seen.join().unwrap(), (cpu, vec![cpu], vec![cpu]));
    }
}

#[test]
fn a_cpu_that_is_not_allowed_is_refused_without_harm() {
    for cpu in [1023, 1024, 1_000_000, usize::MAX] {
        assert_eq!(pin(cpu, &allowed()), Err(PinError::NotAllowed { cpu }));
    }
}
