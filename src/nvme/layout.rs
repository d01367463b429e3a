//! How the memory of the queues is divided: shadow doorbells, the admin queue with a page for each command, and for each
//! queue pair its rings, a page for each command, and its bounce buffers.

use super::admin;
use super::memory::{PAGE_BYTES, Part, QueueMemory};
use super::options::Options;
use super::registers::Doorbells;
use super::rings::{RingMemory, Shadow};
use super::seat::Seat;
use crate::spec::cqe::Cqe;
use crate::spec::register::{Cap, completion_doorbell, submission_doorbell};
use crate::spec::sqe::Sqe;

/// Bytes of a page of doorbells in memory, or of event indices.
pub(super) fn shadow_bytes(options: &Options, cap: Cap) -> usize {
    submission_doorbell(options.io_queue_pairs + 1, cap.dstrd()).next_multiple_of(PAGE_BYTES)
}

fn ring_bytes(entries: u16) -> usize {
    let bytes = |entry: usize| (usize::from(entries) * entry).next_multiple_of(PAGE_BYTES);
    bytes(size_of::<Sqe>()) + bytes(size_of::<Cqe>())
}

/// Bytes of everything that [`super::Controller::new`] takes, in whole pages.
pub(super) fn queue_bytes(options: &Options, cap: Cap) -> usize {
    let admin = ring_bytes(options.admin_entries) + admin::slots(options.admin_entries) * PAGE_BYTES;
    let pages = usize::from(options.entries - 1) * PAGE_BYTES;
    let bounces = usize::from(options.bounce_buffers) * options.bounce_bytes;
    let pair = ring_bytes(options.entries) + pages + bounces;
    2 * shadow_bytes(options, cap) + admin + usize::from(options.io_queue_pairs) * pair
}

pub(super) fn rings(
    memory: &mut QueueMemory,
    qid: u16,
    entries: u16,
    cap: Cap,
    shadow: &[Part; 2],
) -> RingMemory {
    let [values, events] = shadow;
    let doorbells = Doorbells::of(qid, cap.dstrd());
    RingMemory {
        entries,
        submission: memory.take(usize::from(entries) * size_of::<Sqe>()),
        completion: memory.take(usize::from(entries) * size_of::<Cqe>()),
        doorbells,
        shadow: Shadow {
            values: values.words.clone(),
            events: events.words.clone(),
            submission: submission_doorbell(qid, cap.dstrd()),
            completion: completion_doorbell(qid, cap.dstrd()),
        },
    }
}

pub(super) fn seat(
    memory: &mut QueueMemory,
    qid: u16,
    options: &Options,
    cap: Cap,
    shadow: &[Part; 2],
) -> Seat {
    let rings = rings(memory, qid, options.entries, cap, shadow);
    let pages = memory.take(usize::from(options.entries - 1) * PAGE_BYTES);
    let bounces = memory.take(usize::from(options.bounce_buffers) * options.bounce_bytes);
    Seat::new(qid, rings, pages, bounces)
}
