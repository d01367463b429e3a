//! Hostile peers leave nothing behind: neither memory, nor buffers that queues need.

use serde_json::json;

use crate::acts::{ACTS, Act, Company};
use crate::scene::Scene;

/// Acts of a batch.
const BATCH: usize = 60;
/// Batches until one must have left nothing.
const BATCHES: usize = 12;
/// What a batch may leave, in bytes: about a thousand for each of its acts.
const LEFT_MAX: u64 = 64 << 10;

/// Plays an act until a batch of it leaves nothing. Memory is touched first where more connections than ever are open at once,
/// and stays; what a connection leaves behind grows with every batch.
fn leaves_nothing(scene: &mut Scene, act: &Act) {
    let mut grown = Vec::new();
    for _ in 0..BATCHES {
        let before = scene.resident_bytes();
        let mut company = Company::default();
        for number in 0..BATCH {
            let mut script = scene.script();
            // Another host each time.
            script.data.hostid[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
            (act.play)(&script, &mut company);
        }
        drop(company);
        scene.check();
        let left = scene.resident_bytes().saturating_sub(before);
        if left <= LEFT_MAX {
            return;
        }
        grown.push(left);
    }
    panic!("{BATCH} peers, each of whom {}, each time leave bytes: {grown:?}", act.name);
}

#[test]
fn memory_does_not_grow_with_the_number_of_hostile_peers() {
    // Buffers for 21 queues of 128 entries: what is not given back is soon missed.
    let memory = json!({"bytes_per_reactor": "64MiB", "hugepages": "never"});
    let mut scene = Scene::with(|configuration| configuration["memory"] = memory);
    for act in &ACTS {
        println!("{}", act.name);
        leaves_nothing(&mut scene, act);
    }
    scene.end();
}
