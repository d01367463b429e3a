//! What happened between two scrapes, per second.

use serde::Serialize;
use serde_json::{Value, json};

use super::scrape::{Labels, Scrape};

/// What a target did in an interval.
#[derive(Debug, Serialize)]
pub(super) struct Rates {
    /// Length of the interval in seconds.
    pub(super) interval_seconds: f64,
    pub(super) reactors: Vec<ReactorRow>,
    pub(super) namespaces: Vec<NamespaceRow>,
    pub(super) connections: Vec<ConnectionRow>,
}

/// A reactor.
#[derive(Debug, Serialize)]
pub(super) struct ReactorRow {
    pub(super) reactor: String,
    pub(super) core: f64,
    /// Share of the time in which it found work.
    pub(super) busy: f64,
    pub(super) turns_per_second: f64,
    pub(super) parks_per_second: f64,
    pub(super) wakes_per_second: f64,
    /// Messages in its mailboxes.
    pub(super) mailbox_depth: f64,
    /// Messages that found no room.
    pub(super) refused_per_second: f64,
}

/// A namespace.
#[derive(Debug, Serialize)]
pub(super) struct NamespaceRow {
    pub(super) subsystem: String,
    pub(super) nsid: String,
    #[serde(flatten)]
    pub(super) flow: Flow,
}

/// A connection.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionRow {
    pub(super) subsystem: String,
    pub(super) host: String,
    pub(super) cntlid: String,
    pub(super) qid: String,
    pub(super) peer: String,
    pub(super) reactor: String,
    #[serde(flatten)]
    pub(super) flow: Flow,
}

/// Commands of a namespace or a connection.
#[derive(Debug, Default, Serialize)]
pub(super) struct Flow {
    pub(super) reads_per_second: f64,
    pub(super) writes_per_second: f64,
    /// Of all other kinds.
    pub(super) others_per_second: f64,
    pub(super) read_bytes_per_second: f64,
    pub(super) written_bytes_per_second: f64,
    pub(super) errors_per_second: f64,
    /// Errors since the target, or the connection, began.
    pub(super) errors: f64,
    /// Latencies in seconds; none without a command.
    pub(super) p50_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
}

impl Rates {
    /// What happened from `earlier` to `now`.
    pub(super) fn between(earlier: &Scrape, now: &Scrape) -> Self {
        let interval = now.at.duration_since(earlier.at).as_secs_f64().max(1e-9);
        let change = Change { earlier, now, interval };
        let label = |labels: &Labels, name: &str| labels.get(name).cloned().unwrap_or_default();
        let reactors = now.series("reactor_turns_total").iter().map(|(labels, _)| {
            let rate = |name| change.rate(name, labels);
            let busy = change.sum("reactor_busy_seconds_total", labels);
            let rest = change.sum("reactor_idle_seconds_total", labels)
                + change.sum("reactor_parked_seconds_total", labels);
            ReactorRow {
                reactor: label(labels, "reactor"),
                core: now.value("reactor_core", labels).unwrap_or(0.0),
                busy: if busy + rest > 0.0 { busy / (busy + rest) } else { 0.0 },
                turns_per_second: rate("reactor_turns_total"),
                parks_per_second: rate("reactor_parks_total"),
                wakes_per_second: rate("reactor_wakes_total"),
                mailbox_depth: now.sum("mailbox_depth", labels),
                refused_per_second: rate("mailbox_refused_total"),
            }
        });
        let namespaces = now.series("namespace_media_errors_total").iter().map(|(labels, _)| NamespaceRow {
            subsystem: label(labels, "subsystem"),
            nsid: label(labels, "nsid"),
            flow: change.flow("namespace", labels),
        });
        let connections = now.series("connection").iter().map(|(labels, _)| ConnectionRow {
            subsystem: label(labels, "subsystem"),
            host: label(labels, "host"),
            cntlid: label(labels, "cntlid"),
            qid: label(labels, "qid"),
            peer: label(labels, "peer"),
            reactor: label(labels, "reactor"),
            flow: change.flow("connection", labels),
        });
        Self {
            interval_seconds: interval,
            reactors: reactors.collect(),
            namespaces: namespaces.collect(),
            connections: connections.collect(),
        }
    }

    /// As one object.
    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| json!({}))
    }
}

struct Change<'a> {
    earlier: &'a Scrape,
    now: &'a Scrape,
    interval: f64,
}

impl Change<'_> {
    /// How much a counter grew. One that shrank began anew with its target.
    fn sum(&self, name: &str, labels: &Labels) -> f64 {
        let (earlier, now) = (self.earlier.sum(name, labels), self.now.sum(name, labels));
        if now >= earlier { now - earlier } else { now }
    }

    fn rate(&self, name: &str, labels: &Labels) -> f64 {
        self.sum(name, labels) / self.interval
    }

    fn flow(&self, of: &str, labels: &Labels) -> Flow {
        let of_command = |name: &str, command: &str| {
            let mut labels = labels.clone();
            labels.insert("command".to_owned(), command.to_owned());
            self.rate(&format!("{of}_{name}"), &labels)
        };
        let reads = of_command("commands_total", "read");
        let writes = of_command("commands_total", "write");
        let buckets = self.buckets(&format!("{of}_latency_seconds_bucket"), labels);
        Flow {
            reads_per_second: reads,
            writes_per_second: writes,
            others_per_second: (self.rate(&format!("{of}_commands_total"), labels) - reads - writes).max(0.0),
            read_bytes_per_second: of_command("data_bytes_total", "read"),
            written_bytes_per_second: of_command("data_bytes_total", "write"),
            errors_per_second: self.rate(&format!("{of}_errors_total"), labels),
            errors: self.now.sum(&format!("{of}_errors_total"), labels),
            p50_seconds: quantile(&buckets, 0.5),
            p99_seconds: quantile(&buckets, 0.99),
        }
    }

    /// Bounds, and how many values came below each, of all classes together.
    fn buckets(&self, name: &str, labels: &Labels) -> Vec<(f64, f64)> {
        let has = |found: &Labels| labels.iter().all(|(name, value)| found.get(name) == Some(value));
        let mut bounds: Vec<(f64, String)> = Vec::new();
        for (labels, _) in self.now.series(name).iter().filter(|(labels, _)| has(labels)) {
            let Some(text) = labels.get("le") else { continue };
            let Ok(bound) = text.parse() else { continue };
            if bounds.iter().all(|(known, _)| *known != bound) {
                bounds.push((bound, text.clone()));
            }
        }
        bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let below = |(bound, text): (f64, String)| {
            let mut labels = labels.clone();
            labels.insert("le".to_owned(), text);
            (bound, self.sum(name, &labels))
        };
        bounds.into_iter().map(below).collect()
    }
}

/// The value that a share of all values does not exceed, as if they were spread evenly within their bucket. For values above
/// all bounds, the last bound.
pub(super) fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let count = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let rank = quantile * count;
    let (mut lower, mut before) = (0.0, 0.0);
    for &(bound, below) in buckets {
        if below >= rank {
            let share = if below > before { (rank - before) / (below - before) } else { 1.0 };
            return Some(if bound.is_finite() { lower + (bound - lower) * share } else { lower });
        }
        (lower, before) = (bound, below);
    }
    Some(lower)
}
