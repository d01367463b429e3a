//! A poller: it reads numbers from a stream, a batch in each turn, and its reactor sleeps while there are none.
//!
//! The reactor runs on a thread of its own, pinned to the first core that the process may use.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use corelane_reactors::clock::Clock;
use corelane_reactors::cpu;
use corelane_reactors::group::{Group, Layout};
use corelane_reactors::idle::IdlePolicy;
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;

/// Bytes that one turn reads: a poller does one batch, so that the others get their share.
const BATCH_BYTES: usize = 64;

/// Adds up the bytes of a stream, and tells the sum when the stream ends.
struct Sum {
    stream: UnixStream,
    sum: u64,
    turns: u64,
    done: Option<mpsc::Sender<(u64, u64)>>,
}

impl Poller for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        if self.done.is_none() {
            return Poll::Idle(Wake::Never);
        }
        let mut bytes = [0; BATCH_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                let told = self.done.take().map(|done| done.send((self.sum, self.turns)));
                assert!(told.is_some_and(|told| told.is_ok()), "somebody waits for the sum");
            }
            Ok(count) => {
                self.sum += bytes[..count].iter().map(|&byte| u64::from(byte)).sum::<u64>();
                self.turns += 1;
            }
            // Nothing to read: the descriptor ends the sleep.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Idle(Wake::Descriptor),
            Err(error) => panic!("a pair of sockets does not fail: {error}"),
        }
        Poll::Busy
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let core = *cpu::allowed().first().ok_or("no core to run on")?;
    // Management and I/O on one core are one reactor.
    let layout = Layout { management: core, io: vec![core] };
    let group = Group::new(&layout, IdlePolicy::Park, Clock::real())?;

    let (mut writer, stream) = UnixStream::pair()?;
    stream.set_nonblocking(true)?;
    let (done, finished) = mpsc::channel();
    group.spawn(group.management(), "reactor-0", move |reactor| {
        let sum = Sum { stream, sum: 0, turns: 0, done: Some(done) };
        reactor.add_poller(Phase::Ingress, Box::new(sum)).map(drop)
    })?;

    for _ in 0..100 {
        writer.write_all(&[1; 100])?;
    }
    drop(writer);
    let (sum, turns) = finished.recv()?;
    assert_eq!(sum, 10_000);
    let stats = group.stats(group.management());
    println!("{sum} bytes of 1 in {turns} batches; the reactor slept {} times", stats.parks);

    group.stop();
    Ok(group.join()?)
}
