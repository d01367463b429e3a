//! Controllers that say that they are shut down: what their hosts wrote is durable then.

use std::sync::Arc;
use std::time::Duration;

use corelane::initiator::command;
use corelane::spec::register::{Csts, Property, ShutdownStatus};
use corelane::spec::status::Status;

use crate::fence_rig::{FenceRig, HostIndex};
use crate::log::warnings;
use crate::protection::cached::Cached;
use crate::rig::memory;

const SHUT_DOWN: u32 = 0x0046_4001;
const RESET: u32 = 0;
const ENABLE: u32 = 0x0046_0001;

/// I/O queues of two hosts, on two I/O reactors; the admin queue of each is the one before.
const A: HostIndex = 1;
const B: HostIndex = 3;

fn two_hosts(seed: u64, device: &Arc<Cached>) -> FenceRig {
    println!("seed {seed}");
    let mut rig = FenceRig::new(seed, |_| vec![(1, Arc::clone(device) as _), (2, memory())]);
    assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
    rig
}

fn set_cc(rig: &mut FenceRig, host: HostIndex, value: u32) {
    rig.hosts[host - 1].plain(3, command::property_set(Property::CC, value));
    assert_eq!(rig.completion(host - 1), (3, Status::SUCCESS));
}

fn csts(rig: &mut FenceRig, host: HostIndex) -> Csts {
    let admin = host - 1;
    rig.hosts[admin].plain(4, command::property_get(Property::CSTS));
    rig.until("an answer", |rig| !rig.hosts[admin].completions.is_empty());
    let cqe = rig.hosts[admin].completions.pop_front().expect("waited for");
    assert_eq!((cqe.cid.get(), cqe.status()), (4, Status::SUCCESS));
    Csts::from_bits(cqe.dw0.get())
}

fn write(rig: &mut FenceRig, host: HostIndex, cid: u16) {
    rig.write(host, cid, 1, 0, 0xaa);
    assert_eq!(rig.completion(host), (cid, Status::SUCCESS));
}

#[test]
fn what_a_host_wrote_is_durable_before_its_shutdown_is_complete() {
    for seed in 0..4 {
        let device = Cached::new();
        let mut rig = two_hosts(seed, &device);
        [A, B].into_iter().for_each(|host| write(&mut rig, host, 1));
        set_cc(&mut rig, A, SHUT_DOWN);
        rig.quiet();
        assert_eq!((device.cached(), device.flushing()), (2, 2), "each reactor asks for it");
        assert_eq!(csts(&mut rig, A).shst(), ShutdownStatus::OCCURRING);
        write(&mut rig, B, 2);
        // Another host that shuts down waits for a flush that begins after its writes.
        set_cc(&mut rig, B, SHUT_DOWN);
        rig.quiet();
        assert_eq!(device.flushing(), 2, "one at a time");
        device.flushes(true);
        rig.quiet();
        assert_eq!(device.cached(), 0);
        assert_eq!([A, B].map(|host| csts(&mut rig, host).shst()), [ShutdownStatus::COMPLETE; 2]);
        assert_eq!(device.flushed(), 4);
    }
}

#[test]
fn a_flush_that_fails_or_does_not_end_is_no_complete_shutdown_and_is_logged() {
    for (seed, ends) in [(0, true), (1, true), (2, false), (3, false)] {
        let device = Cached::new();
        let mut rig = two_hosts(seed, &device);
        write(&mut rig, A, 1);
        if ends {
            device.flushes(false);
        }
        let log = warnings(|| {
            set_cc(&mut rig, A, SHUT_DOWN);
            rig.quiet();
            if !ends {
                assert_eq!(csts(&mut rig, A).shst(), ShutdownStatus::OCCURRING);
                rig.pass(Duration::from_secs(15));
            }
            let csts = csts(&mut rig, A);
            assert_eq!((csts.cfs(), csts.shst()), (true, ShutdownStatus::NORMAL));
        });
        let told = |line: &String| line.contains("ERROR") && line.contains("a shutdown fails");
        assert_eq!(log.iter().filter(|line| told(line)).count(), 1, "{log:?}");
        write(&mut rig, B, 1);
        // The next one succeeds, once the device does.
        device.flushes(true);
        rig.quiet();
        set_cc(&mut rig, A, RESET);
        set_cc(&mut rig, A, SHUT_DOWN);
        rig.quiet();
        assert_eq!(csts(&mut rig, A).shst(), ShutdownStatus::COMPLETE);
    }
}

#[test]
fn hosts_that_shut_down_again_and_again_do_not_pile_up_flushes() {
    let device = Cached::new();
    let mut rig = two_hosts(1, &device);
    for _ in 0..50 {
        set_cc(&mut rig, A, SHUT_DOWN);
        rig.quiet();
        set_cc(&mut rig, A, RESET);
        set_cc(&mut rig, A, ENABLE);
        assert_eq!(device.flushing(), 2, "one on each reactor");
    }
    device.flushes(true);
    rig.quiet();
    assert_eq!(device.flushed(), 4, "that of the first, and one for all others");
    assert!(csts(&mut rig, A).rdy());
}
