//! The HTTP server: one thread that waits in the kernel for visitors, and gives each of them one answer.
//!
//! ```text
//!   Reading --request, or too much of it--> Writing --all written--> Leaving --peer closed--> gone
//!      +---------------------- time is over, or the socket fails -----------------------------^
//! ```
//!
//! Invariant: at most [`VISITORS_MAX`] visitors, each for at most [`VISIT_MAX`] and a half. One more takes the place of the one
//! that came first: whoever says nothing keeps nobody else out.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::metrics::request::{REQUEST_BYTES_MAX, Refusal, Wanted, judge};
use crate::metrics::{CONTENT_TYPE, Data, Events, events, exposition};

/// Visitors at a time.
const VISITORS_MAX: usize = 16;
/// From a visitor's arrival to the end of its request, and from there to its last byte of the answer.
const VISIT_MAX: Duration = Duration::from_secs(5);
/// What is read of one visitor at a time.
const READ_BYTES: usize = 4096;
/// Bytes that a visitor may send behind its request while it reads the answer.
const IGNORED_BYTES_MAX: usize = 64 << 10;
/// How long the server stays away from a listener that fails.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where the numbers come from. Asked by the server's thread, which it may hold up for about a second.
pub trait Source: Send {
    /// The metrics; `None` when the target does not answer.
    fn data(&mut self) -> Option<Data>;
    /// The newest events of all rings.
    fn events(&mut self) -> Vec<Events>;
}

/// A server that runs. Dropping it ends it, and waits for that.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `source` on `listener`, by a thread named `metrics` that may run on `cpus`: those of the management reactor
    /// or of no reactor. With no `cpus` it may run where the calling thread may.
    ///
    /// # Errors
    /// When there is no thread or descriptor, or the thread may not run on `cpus`.
    pub fn spawn(listener: TcpListener, cpus: &[usize], source: impl Source + 'static) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let end = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let mut set = CpuSet::new();
        cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(*cpu));
        let pinned = !cpus.is_empty();
        let (report, started) = std::sync::mpsc::sync_channel(1);
        let mut room = Room { listener, end: Arc::clone(&end), visitors: Vec::new(), resting: None, source };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            let placed = if pinned { sched_setaffinity(None, &set) } else { Ok(()) };
            let is_placed = placed.is_ok();
            // Nobody is left to be told when the receiver is gone.
            let _ = report.send(placed);
            if is_placed {
                while room.serve() {}
            }
        })?;
        let server = Self { address, end, thread: Some(thread) };
        started.recv().unwrap_or(Ok(())).map(|()| server).map_err(io::Error::from)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It cannot fail: nothing else counts it up.
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
enum Step {
    Reading(Vec<u8>),
    Writing { answer: Vec<u8>, written: usize },
    Leaving { ignored: usize },
}

#[derive(Debug)]
struct Visitor {
    stream: TcpStream,
    step: Step,
    until: Instant,
}

/// The server on its thread.
struct Room<S> {
    listener: TcpListener,
    end: Arc<OwnedFd>,
    /// In the order in which they came.
    visitors: Vec<Visitor>,
    /// The listener failed, and is left alone until then.
    resting: Option<Instant>,
    source: S,
}

impl<S: Source> Room<S> {
    /// Waits for something to happen and sees to it; false when it is to end.
    fn serve(&mut self) -> bool {
        let ready = match self.wait() {
            Ok(ready) => ready,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) => {
                tracing::error!(%error, "the metrics endpoint cannot wait for visitors and ends");
                return false;
            }
        };
        let [end, arrived, visitors @ ..] = &ready[..] else { unreachable!("two are always there") };
        if *end {
            return false;
        }
        let now = Instant::now();
        let source = &mut self.source;
        let mut ready = visitors.iter();
        self.visitors.retain_mut(|visitor| {
            let is_ready = ready.next().is_some_and(|ready| *ready);
            let stays = !is_ready || visitor.go_on(now, source);
            stays && now < visitor.until
        });
        self.resting = self.resting.filter(|until| now < *until);
        if *arrived && self.resting.is_none() {
            self.accept(now);
        }
        true
    }

    /// What is ready: the wish to end, the listener, and the visitors in their order.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let arrivals = if self.resting.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut descriptors =
            vec![PollFd::new(&self.end, PollFlags::IN), PollFd::new(&self.listener, arrivals)];
        descriptors.extend(self.visitors.iter().map(|visitor| {
            let flags = match visitor.step {
                Step::Reading(_) | Step::Leaving { .. } => PollFlags::IN,
                Step::Writing { .. } => PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(visitor.stream.as_fd(), flags)
        }));
        let visitors = self.visitors.iter().map(|visitor| visitor.until);
        let next = visitors.chain(self.resting).min();
        let timeout = next.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
        });
        poll(&mut descriptors, timeout.as_ref())?;
        Ok(descriptors.iter().map(|descriptor| !descriptor.revents().is_empty()).collect())
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..VISITORS_MAX {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "the metrics endpoint cannot accept a visitor");
                    self.resting = Some(now + PATIENCE);
                    return;
                }
            };
            if stream.set_nonblocking(true).is_ok() {
                if self.visitors.len() == VISITORS_MAX {
                    self.visitors.remove(0);
                }
                let until = now + VISIT_MAX;
                self.visitors.push(Visitor { stream, step: Step::Reading(Vec::new()), until });
            }
        }
    }
}

impl Visitor {
    /// Does what can be done without waiting; false when the visit is over.
    fn go_on(&mut self, now: Instant, source: &mut impl Source) -> bool {
        let mut bytes = [0; READ_BYTES];
        match &mut self.step {
            Step::Reading(request) => match self.stream.read(&mut bytes) {
                Ok(0) => false,
                Ok(count) => {
                    request.extend_from_slice(&bytes[..count]);
                    assert!(request.len() <= REQUEST_BYTES_MAX + READ_BYTES);
                    let Some(wanted) = judge(request) else { return true };
                    let answer = answer(wanted, source);
                    self.step = Step::Writing { answer, written: 0 };
                    self.until = now.max(Instant::now()) + VISIT_MAX;
                    self.go_on(now, source)
                }
                Err(error) => is_early(&error),
            },
            Step::Writing { answer, written } => match self.stream.write(&answer[*written..]) {
                Ok(count) => {
                    *written += count;
                    if *written == answer.len() {
                        self.step = Step::Leaving { ignored: 0 };
                        // With bytes that nobody read, closing would reset the connection and take the answer away.
                        return self.stream.shutdown(Shutdown::Write).is_ok();
                    }
                    count > 0
                }
                Err(error) => is_early(&error),
            },
            Step::Leaving { ignored } => match self.stream.read(&mut bytes) {
                Ok(count) => {
                    *ignored += count;
                    count > 0 && *ignored < IGNORED_BYTES_MAX
                }
                Err(error) => is_early(&error),
            },
        }
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn answer(wanted: Result<Wanted, Refusal>, source: &mut impl Source) -> Vec<u8> {
    let found = match wanted {
        Err(refusal) => Err(refusal),
        Ok(Wanted::Events) => Ok((events::CONTENT_TYPE, events::lines(&source.events()))),
        Ok(Wanted::Metrics) => {
            source.data().map(|data| (CONTENT_TYPE, exposition(data))).ok_or(Refusal::Unavailable)
        }
    };
    let (status, kind, body) = match found {
        Ok((kind, body)) => ("200 OK", kind, body),
        Err(refusal) => (refusal.line(), "text/plain; charset=utf-8", format!("{}\n", refusal.line())),
    };
    let allow = if status == Refusal::Method.line() { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

#[cfg(test)]
mod tests;
