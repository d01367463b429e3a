//! Budgets of one: a reactor that does one thing of each kind in a turn is slow, loses nothing, and starves nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::Server;
use crate::pattern;
use crate::scene::{NQN, configuration, connect};

/// Hosts at once: with one core, each waits for all others.
const HOSTS: usize = 8;
/// Blocks that each writes and reads back before the test ends.
const ROUNDS: u64 = 100;
const TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_reactor_that_does_one_thing_at_a_time_serves_all_who_come_at_once() {
    let core = corelane_reactors::cpu::allowed()[0];
    for engine in ["epoll", "io_uring"] {
        let mut configuration = configuration();
        configuration["reactors"] = json!({
            "management": core, "io": [core], "engine": engine,
            "budgets": {"messages_per_turn": 1, "sockets_per_turn": 1, "accepts_per_turn": 1}
        });
        let server = Server::start(configuration);
        let address = server.listeners()[0];
        let deadline = Instant::now() + TIME_MAX;
        let satisfied = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..HOSTS as u64 {
                let satisfied = &satisfied;
                scope.spawn(move || {
                    // Each is two connections to accept, and a queue to hand over.
                    let mut host = connect(address, NQN);
                    let mut round = 0;
                    // Who has enough goes on until all have: the others must get theirs meanwhile.
                    while satisfied.load(Ordering::Relaxed) < HOSTS {
                        let first = number * 1024 + round % 128 * 8;
                        let data = pattern::blocks(round, first, 4096);
                        host.write(1, first, &data).expect("a write");
                        assert!(host.read(1, first, 8).expect("a read") == data, "what was written is read");
                        round += 1;
                        if round == ROUNDS {
                            satisfied.fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(
                            Instant::now() < deadline,
                            "host {number} has done {round} rounds, others wait"
                        );
                    }
                });
            }
        });
        server.stop();
    }
}
