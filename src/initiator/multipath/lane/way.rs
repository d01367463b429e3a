//! The I/O queue of a lane on one path: connected while the path is there, closed when its controller is another one.
//!
//! ```text
//!   Down -> Dialing -> Opening -> Ready
//!    ^---------+----------+---------+   the path is down, its controller another one, or the queue lost
//! ```

use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::{PollGroup, SocketId};

use crate::initiator::multipath::board::Standing;
use crate::initiator::multipath::{Access, Paths};
use crate::initiator::{Dial, Kind, QueueOptions, Queues};

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug)]
enum State {
    Down { again: Time },
    Dialing { dial: Dial, generation: u32, deadline: Time },
    Opening { socket: SocketId, generation: u32, deadline: Time },
    Ready { socket: SocketId, generation: u32 },
}

#[derive(Debug)]
pub(super) struct Way {
    /// The number of its path.
    path: usize,
    state: State,
    /// The most data of one command, while it is ready.
    pub(super) transfer_bytes_max: u32,
    avoid_until: Time,
}

impl Way {
    pub(super) fn new(path: usize) -> Self {
        let state = State::Down { again: Time::ORIGIN };
        Self { path, state, transfer_bytes_max: 0, avoid_until: Time::ORIGIN }
    }

    /// Commands can be sent, as far as the path says so.
    pub(super) fn is_usable(&self, now: Time) -> bool {
        matches!(self.state, State::Ready { .. }) && now >= self.avoid_until
    }

    /// The queue, while it is ready.
    pub(super) fn socket(&self) -> Option<SocketId> {
        match self.state {
            State::Ready { socket, .. } => Some(socket),
            State::Down { .. } | State::Dialing { .. } | State::Opening { .. } => None,
        }
    }

    /// Its queue is about to be connected, on a path that works; bounded by the time limit of connecting.
    pub(super) fn is_coming(&self, paths: &Paths) -> bool {
        let standing = self.standing(paths);
        matches!(self.state, State::Dialing { .. } | State::Opening { .. })
            && standing.access.is_open()
            && self.generation() == Some(standing.generation)
    }

    /// Nothing is to be sent before this time.
    pub(super) fn avoid(&mut self, until: Time) {
        self.avoid_until = until;
    }

    fn standing(&self, paths: &Paths) -> Standing {
        paths.0.board.paths()[self.path].standing()
    }

    fn generation(&self) -> Option<u32> {
        match self.state {
            State::Down { .. } => None,
            State::Dialing { generation, .. }
            | State::Opening { generation, .. }
            | State::Ready { generation, .. } => Some(generation),
        }
    }

    /// The queue has ended, or belongs to a controller that is gone.
    pub(super) fn is_stale(&self, paths: &Paths, queues: &Queues) -> bool {
        let Some(generation) = self.generation() else { return false };
        let standing = self.standing(paths);
        let socket = match self.state {
            State::Opening { socket, .. } | State::Ready { socket, .. } => Some(socket),
            State::Down { .. } | State::Dialing { .. } => None,
        };
        let has_ended =
            socket.is_some_and(|socket| queues.pair(socket).is_none_or(|pair| pair.end().is_some()));
        has_ended || standing.access == Access::Down || standing.generation != generation
    }

    /// Has the path's association made anew, for a queue of it is of no use.
    pub(super) fn complain(&self, paths: &Paths) {
        if let Some(generation) = self.generation() {
            paths.0.board.paths()[self.path].complain(generation);
        }
    }

    /// Closes the queue, and says so where its controller still stands.
    pub(super) fn close(&mut self, now: Time, paths: &Paths, group: &mut PollGroup, queues: &mut Queues) {
        let standing = self.standing(paths);
        let is_lost = standing.access != Access::Down && self.generation() == Some(standing.generation);
        if is_lost {
            self.complain(paths);
        }
        if let State::Opening { socket, .. } | State::Ready { socket, .. } = self.state {
            let end = queues.pair(socket).and_then(|pair| pair.end());
            tracing::debug!(path = self.path, ?end, "an I/O queue is closed");
            queues.close(group, socket);
        }
        // To another controller at once: nothing is known against it.
        self.state = State::Down { again: if is_lost { now + AGAIN } else { now } };
    }

    /// Connects, step by step. Called now and then.
    pub(super) fn advance(
        &mut self,
        now: Time,
        paths: &Paths,
        qid: u16,
        group: &mut PollGroup,
        queues: &mut Queues,
    ) {
        let options = &paths.0.options;
        let deadline = now + options.timeout;
        match &self.state {
            State::Down { again } => {
                let standing = self.standing(paths);
                let is_fresh = !paths.0.board.paths()[self.path].is_complained_of(standing.generation);
                if now >= *again && standing.access != Access::Down && is_fresh {
                    self.state = match Dial::start(options.paths[self.path]) {
                        Ok(dial) => State::Dialing { dial, generation: standing.generation, deadline },
                        Err(_) => State::Down { again: now + AGAIN },
                    };
                }
            }
            State::Dialing { dial, deadline: until, .. } => {
                if dial.is_answered() {
                    self.open(deadline, paths, qid, group, queues);
                    if matches!(self.state, State::Down { .. }) {
                        self.state = State::Down { again: now + AGAIN };
                    }
                } else if now >= *until {
                    self.close(now, paths, group, queues);
                }
            }
            State::Opening { socket, generation, deadline: until } => {
                let (socket, generation) = (*socket, *generation);
                if queues.pair(socket).is_some_and(|pair| pair.is_ready()) {
                    self.avoid_until = Time::ORIGIN;
                    self.state = State::Ready { socket, generation };
                } else if now >= *until {
                    self.close(now, paths, group, queues);
                }
            }
            State::Ready { .. } => {}
        }
    }

    /// Makes a queue of the connection that was dialled; `Down` if that does not work.
    fn open(&mut self, deadline: Time, paths: &Paths, qid: u16, group: &mut PollGroup, queues: &mut Queues) {
        let down = State::Down { again: Time::ORIGIN };
        let State::Dialing { dial, generation, .. } = std::mem::replace(&mut self.state, down) else {
            unreachable!("the caller has looked")
        };
        let path = &paths.0.board.paths()[self.path];
        let standing = path.standing();
        if standing.generation != generation || standing.access == Access::Down {
            return;
        }
        let limits = path.limits();
        let options = &paths.0.options;
        let Ok(stream) = dial.into_stream() else { return path.complain(generation) };
        let transfer_bytes_max = options.transfer_bytes_max.min(limits.transfer_bytes_max);
        let queue = QueueOptions {
            kind: Kind::Io { qid, cntlid: standing.cntlid },
            depth: options.depth.min(limits.depth_max),
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            flow_control: false,
            in_capsule_bytes_max: limits.in_capsule_bytes_max,
            transfer_bytes_max,
        };
        if let Ok(socket) = queues.open(group, stream, &options.identity, &queue) {
            self.transfer_bytes_max = transfer_bytes_max;
            self.state = State::Opening { socket, generation, deadline };
        }
    }
}
