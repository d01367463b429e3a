//! Commands that several hosts sent at the same time, and the question whether one order of them explains it all.
//!
//! Each host sends one command after the other. A right order keeps to what was seen: a command that was answered before
//! another was sent comes first. In it each command that was answered is answered so by [`transition`], and one that was
//! not answered has its place or none. The search visits each pair of what is done and what came of it once; what the
//! hosts saw leaves few of them.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Instant;

use corelane::reservation::{Options, Request, State, transition};
use corelane::spec::host;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;

/// Pairs that one search visits at most; it takes some thousands for a storm.
const VISITED_MAX: usize = 2_000_000;

/// A command, as its host knows it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) host: host::Host,
    pub(crate) request: Result<Request, Status>,
    pub(crate) began: Instant,
    /// When the answer was there, and what it said.
    pub(crate) answer: Option<(Instant, Result<(), Status>)>,
}

impl Sent {
    /// One that is sent now.
    pub(crate) fn now(host: &host::Host, sqe: &Sqe, data: &[u8]) -> Self {
        let request = Request::decode(sqe, data);
        Self { host: host.clone(), request, began: Instant::now(), answer: None }
    }

    /// What comes of it, if it takes effect.
    fn outcome(&self, state: &State) -> Result<State, Status> {
        let outcome = transition(state, &self.host, &self.request?, Options { ptpl: true })?;
        Ok(outcome.next)
    }

    fn ended_before(&self, other: &Self) -> bool {
        self.answer.is_some_and(|(end, _)| end < other.began)
    }
}

/// Every state in which `hosts`, each with its commands in order, may have left a namespace that was in `state`; none if
/// no order explains the answers.
pub(crate) fn ends(state: &State, hosts: &[Vec<Sent>]) -> Vec<State> {
    let mut ends = Vec::new();
    let mut visited: HashMap<Vec<usize>, Vec<State>> = HashMap::new();
    let mut open = vec![(vec![0; hosts.len()], state.clone())];
    let mut visits = 0;
    while let Some((done, state)) = open.pop() {
        let known = visited.entry(done.clone()).or_default();
        if known.contains(&state) {
            continue;
        }
        known.push(state.clone());
        visits += 1;
        assert!(visits <= VISITED_MAX, "the hosts saw too little of each other");
        let next: Vec<Option<&Sent>> = hosts.iter().zip(&done).map(|(sent, done)| sent.get(*done)).collect();
        if next.iter().flatten().all(|sent| sent.answer.is_none()) && !ends.contains(&state) {
            ends.push(state.clone());
        }
        for (host, sent) in next.iter().enumerate().filter_map(|(host, sent)| sent.map(|sent| (host, sent))) {
            if next.iter().flatten().any(|other| other.ended_before(sent)) {
                continue;
            }
            let then = match (sent.answer.map(|(_, answer)| answer), sent.outcome(&state)) {
                (Some(Ok(())) | None, Ok(then)) => then,
                (Some(Err(told)), Err(status)) if told == status => state.clone(),
                (Some(_), _) | (None, Err(_)) => continue,
            };
            let mut done = done.clone();
            done[host] += 1;
            open.push((done, then));
        }
    }
    ends
}
