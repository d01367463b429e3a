//! Controllers that cannot be driven, or not as asked: each with words that say what to do.

use corelane::nvme::emulated::{NamespaceOptions, Options as DeviceOptions};
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::status::Status;

use super::world::World;
use crate::suite::{Rig, Shape};

fn refused(options: &DeviceOptions, wrong: impl FnOnce(&World), words: &str) {
    let world = World::new(options);
    wrong(&world);
    let refused = world.refused();
    assert!(refused.contains(words), "{refused:?} does not say {words:?}");
    world.assert_obeyed();
}

#[test]
fn what_cannot_be_driven_is_refused_with_the_reason() {
    let plain = DeviceOptions::default();
    let faults =
        |change: fn(&mut corelane::nvme::emulated::Faults)| move |world: &World| world.device.faults(change);
    refused(&plain, |world| world.device.remove(), "gone");
    refused(&plain, faults(|faults| faults.never_ready = true), "did not become ready");
    refused(&plain, faults(|faults| faults.silent.push(AdminOpcode::IDENTIFY)), "does not answer");
    let refuses = |faults: &mut corelane::nvme::emulated::Faults| {
        faults.refused_queue = Some((1, Status::INVALID_QUEUE_SIZE.with_dnr()));
    };
    refused(&plain, faults(refuses), "refuses");
    refused(&DeviceOptions { namespaces: Vec::new(), ..plain.clone() }, |_| {}, "no active namespace");
    refused(&DeviceOptions { page_shift: 1, ..plain.clone() }, |_| {}, "4096 are needed");
}

#[test]
fn fewer_queue_pairs_than_asked_are_taken_as_they_are() {
    let grants = |faults: &mut corelane::nvme::emulated::Faults| faults.queue_pairs = Some(1);
    let refuses = |faults: &mut corelane::nvme::emulated::Faults| {
        faults.refused_queue = Some((2, Status::INTERNAL_ERROR));
    };
    for wrong in [grants as fn(&mut corelane::nvme::emulated::Faults), refuses] {
        let world = World::new(&DeviceOptions::default());
        world.device.faults(wrong);
        let ready = world.with(|subject| {
            Rig::try_new(subject).map(|mut rig| {
                assert_eq!(rig.queues.len(), 1);
                rig.write(0, 0, &vec![1; rig.block_size], &Shape::default()).unwrap();
            })
        });
        // Whoever refuses what it granted may also be refused.
        assert!(ready.is_ok() || world.device.faults(|faults| faults.refused_queue.is_some()), "{ready:?}");
        world.assert_obeyed();
    }
}

#[test]
fn a_namespace_with_metadata_is_named_and_refused_and_others_serve() {
    let namespaces = vec![
        NamespaceOptions::default(),
        NamespaceOptions { metadata: 8, ..NamespaceOptions::default() },
        NamespaceOptions { block_size: 4096, blocks: 8192, ..NamespaceOptions::default() },
    ];
    let world = World::new(&DeviceOptions { namespaces, ..DeviceOptions::default() });
    world.run(|_, rig| {
        let refused: Vec<_> = rig.controller.namespaces().iter().map(|info| info.refused).collect();
        assert!(refused[0].is_none() && refused[2].is_none());
        let words = refused[1].unwrap().to_string();
        assert!(words.contains("namespace 2") && words.contains("metadata"), "{words}");
        rig.write(0, 0, &vec![1; rig.block_size], &Shape::default()).unwrap();
    });
    world.assert_obeyed();
}
