//! Who gets a chunk, who waits for one, and what leases keep.

use std::{cell::RefCell, io::Write, rc::Rc};

use super::{Group, Recorder, connected, drive, drive_quiet, group, pair, pattern};
use crate::{buffer::Lease, poll_group::Taken};

on_both_engines! {
    kept_leases_do_not_change_while_receiving_goes_on,
    empty_pool_stops_receiving_until_a_chunk_is_back,
    used_up_credit_stops_receiving_until_a_chunk_is_back,
    socket_without_credit_does_not_stop_others,
    closing_a_waiting_socket_forgets_it,
}

/// A recorder that takes everything and keeps a lease of it.
fn keeper() -> (Recorder, Rc<RefCell<Vec<Lease>>>) {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keeps = Rc::clone(&kept);
    let recorder = Recorder::new(move |_, bytes| {
        keeps.borrow_mut().push(bytes.clone());
        Taken::bytes(bytes.len())
    });
    (recorder, kept)
}

fn kept_leases_do_not_change_while_receiving_goes_on() {
    let (mut group, _, mut far) = connected(12);
    let (mut recorder, kept) = keeper();
    let sent = pattern(9 * 4096);
    for (at, part) in sent.chunks(900).enumerate() {
        far.write_all(part).unwrap();
        drive(&mut group, &mut recorder, |recorder| recorder.taken.len() >= (at * 900 + part.len()));
    }
    let kept = kept.take();
    assert_eq!(kept.concat_bytes(), sent);
    drop(group);
    assert_eq!(kept.concat_bytes(), sent);
}

fn empty_pool_stops_receiving_until_a_chunk_is_back() {
    assert_recovers(group(3, 8), 3);
}

fn used_up_credit_stops_receiving_until_a_chunk_is_back() {
    assert_recovers(group(8, 3), 3);
}

/// Receives with kept leases until `chunks` chunks are full; then drops one lease at a time.
#[track_caller]
fn assert_recovers(mut group: Group, chunks: usize) {
    let (mut far, near) = pair();
    group.add(near, &[]).unwrap();
    let (mut recorder, kept) = keeper();
    let sent = pattern(5 * chunks * 4096);
    far.write_all(&sent).unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == chunks * 4096);
    drive_quiet(&mut group, &mut recorder);
    while recorder.taken.len() < sent.len() {
        let before = recorder.taken.len();
        // Leases of the oldest chunk go; only the last of them brings it back.
        let oldest = kept.borrow()[0].segment().pointer().addr() / 4096;
        while kept.borrow().first().is_some_and(|lease| lease.segment().pointer().addr() / 4096 == oldest) {
            assert!(!group.pending());
            kept.borrow_mut().remove(0);
        }
        assert!(group.pending());
        let expected = sent.len().min(before + 4096);
        drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == expected);
        drive_quiet(&mut group, &mut recorder);
    }
    assert_eq!(recorder.taken, sent);
}

fn socket_without_credit_does_not_stop_others() {
    let mut group = group(8, 2);
    let (mut greedy_far, near) = pair();
    let greedy = group.add(near, &[]).unwrap();
    let (mut far, near) = pair();
    group.add(near, &[]).unwrap();
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keeps = Rc::clone(&kept);
    let mut recorder = Recorder::new(move |id, bytes| {
        if id == greedy {
            keeps.borrow_mut().push(bytes.clone());
        }
        Taken::bytes(bytes.len())
    });
    greedy_far.write_all(&pattern(20 * 4096)).unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == 2 * 4096);
    drive_quiet(&mut group, &mut recorder);
    for _ in 0..20 {
        far.write_all(b"served").unwrap();
        drive(&mut group, &mut recorder, |recorder| recorder.taken.ends_with(b"served"));
        recorder.taken.clear();
    }
}

#[test]
fn idle_socket_does_not_keep_the_chunk_of_its_former_leases() {
    let mut group = group(1, 2);
    let (mut idle_far, near) = pair();
    group.add(near, &[]).unwrap();
    let (mut far, near) = pair();
    group.add(near, &[]).unwrap();
    let (mut recorder, kept) = keeper();
    idle_far.write_all(b"leased").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"leased");
    far.write_all(b"waiting").unwrap();
    drive_quiet(&mut group, &mut recorder);
    kept.borrow_mut().clear();
    assert!(group.pending());
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"leasedwaiting");
}

fn closing_a_waiting_socket_forgets_it() {
    let mut group = group(1, 2);
    let (mut far, near) = pair();
    let mut id = group.add(near, &[]).unwrap();
    let mut fars = Vec::new();
    let (mut recorder, kept) = keeper();
    far.write_all(&pattern(3 * 4096)).unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == 4096);
    drive_quiet(&mut group, &mut recorder);
    // More often than there are places in the list of the waiting.
    for _ in 0..20 {
        group.close(id);
        let (mut far, near) = pair();
        id = group.add(near, &[]).unwrap();
        far.write_all(b"next").unwrap();
        drive_quiet(&mut group, &mut recorder);
        fars.push(far);
    }
    kept.borrow_mut().clear();
    assert!(group.pending());
    drive(&mut group, &mut recorder, |recorder| recorder.taken.ends_with(b"next"));
    assert_eq!(recorder.taken.len(), 4096 + 4);
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for Vec<Lease> {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|lease| lease.as_ref().iter().copied()).collect()
    }
}
