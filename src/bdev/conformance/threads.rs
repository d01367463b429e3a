//! Two channels of one device on two threads, as two reactors have them.

use std::{
    sync::{Barrier, mpsc},
    thread,
};

use super::{
    Contents, Subject,
    random::work,
    rig::{Rig, pattern},
};
use crate::bdev::random::Random;

/// Blocks written by one thread and read by the other, one after the other.
const EXCHANGES: u64 = 50;

/// Writes of both threads to the same blocks.
const COLLISIONS: u64 = 50;

pub(super) fn run(subject: &Subject<'_>) {
    what_completed_on_one_channel_is_seen_on_another(subject);
    channels_do_not_disturb_each_other(subject);
    colliding_writes_leave_bytes_of_either(subject);
}

fn what_completed_on_one_channel_is_seen_on_another(subject: &Subject<'_>) {
    let bdev = (subject.make)();
    let surroundings = subject.surroundings();
    let (sender, receiver) = mpsc::sync_channel(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rig = Rig::on(&bdev, surroundings);
            let sender = sender;
            for seed in 0..EXCHANGES {
                let bytes = pattern(seed, rig.bytes_of(2));
                rig.write(seed % 8, &bytes);
                sender.send((seed % 8, rig.kept(&bytes))).unwrap();
                // The next write may start only when this one was read: rendezvous.
                sender.send((0, Vec::new())).unwrap();
            }
        });
        let mut rig = Rig::on(&bdev, surroundings);
        while let Ok((first, expected)) = receiver.recv() {
            if !expected.is_empty() {
                assert!(rig.read(first, 2) == expected);
            }
        }
        writer.join().unwrap();
    });
}

fn channels_do_not_disturb_each_other(subject: &Subject<'_>) {
    let bdev = (subject.make)();
    let surroundings = subject.surroundings();
    // Each needs 64 blocks of its own.
    if bdev.geometry().blocks < 128 {
        return;
    }
    thread::scope(|scope| {
        for (base, seed) in [(0, 1), (64, 2)] {
            let bdev = &bdev;
            scope.spawn(move || work(&mut Rig::on(bdev, surroundings), &mut Random::new(seed), base));
        }
    });
}

fn colliding_writes_leave_bytes_of_either(subject: &Subject<'_>) {
    let bdev = (subject.make)();
    let surroundings = subject.surroundings();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        for fill in [0x11, 0x22] {
            let (bdev, barrier) = (&bdev, &barrier);
            scope.spawn(move || {
                let mut rig = Rig::on(bdev, surroundings);
                let bytes = vec![fill; rig.bytes_of(4)];
                barrier.wait();
                for _ in 0..COLLISIONS {
                    rig.write(0, &bytes);
                    let read = rig.read(0, 4);
                    let allowed: &[u8] =
                        if surroundings.contents == Contents::Kept { &[0x11, 0x22] } else { &[0] };
                    assert!(read.iter().all(|byte| allowed.contains(byte)));
                }
            });
        }
    });
}
