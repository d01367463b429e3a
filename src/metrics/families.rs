//! The metrics that are served: their names, units and labels, and how they are made of [`Data`]. docs/metrics.md says
//! what each means; a test holds the two together.

use std::collections::HashSet;
use std::fmt::Error;

use corelane_reactors::stats::Distribution;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{ConnectionData, Data, EndpointData, NamespaceData, ReactorData};
use crate::trace::{Class, CommandCounts, Kind};

/// Media type of [`exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Before every name.
const PREFIX: &str = "corelane";
/// Bounds of the buckets of times: 2^10 ns (1 us) to 2^34 ns (17 s), each twice the one before, so that the buckets of our
/// histograms never straddle one.
const TIME_BITS: std::ops::RangeInclusive<u32> = 10..=34;
/// Bounds of the buckets of batches: 1, 3, 7 and so on to 2,047, so that they are exact.
const BATCH_BITS: std::ops::RangeInclusive<u32> = 1..=11;
const NANOSECONDS_PER_SECOND: f64 = 1e9;

type Labels = Vec<(&'static str, String)>;

/// One line of a family without its name.
enum Sample {
    Counter(u64),
    Seconds(f64),
    Gauge(u64),
    /// Sum, and buckets that are not added up.
    Histogram(f64, Vec<(f64, u64)>),
}

struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    samples: Vec<(Labels, Sample)>,
}

/// The text of a scrape.
pub fn exposition(data: Data) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape(data)));
    let mut text = String::new();
    // Writing to a string does not fail, and the encoder has no failure of its own for what it is given here.
    text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

#[derive(Debug)]
struct Scrape(Data);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let Data { version, reactors, endpoints, namespaces, connections } = &self.0;
        let build = vec![(vec![("version", version.clone())], Sample::Gauge(1))];
        let mut families = vec![gauge("build_info", "The version of the program", build)];
        families.extend(of_reactors(reactors));
        families.extend(of_pollers(reactors));
        families.extend(of_mailboxes(reactors));
        families.extend(of_endpoints(endpoints));
        families.extend(of_namespaces(namespaces));
        families.extend(of_connections(connections));
        for Family { name, help, unit, kind, samples } in families {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for (labels, sample) in &samples {
                write(metric.encode_family(labels)?, sample)?;
            }
        }
        Ok(())
    }
}

fn write(mut metric: MetricEncoder<'_>, sample: &Sample) -> Result<(), Error> {
    const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
    match sample {
        Sample::Counter(value) => metric.encode_counter(value, NO_EXEMPLAR),
        Sample::Seconds(value) => metric.encode_counter(value, NO_EXEMPLAR),
        Sample::Gauge(value) => metric.encode_gauge(value),
        Sample::Histogram(sum, buckets) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

fn of_reactors(reactors: &[ReactorData]) -> Vec<Family> {
    let labels = |it: &ReactorData| vec![("reactor", it.reactor.to_string())];
    let each = |value: &dyn Fn(&ReactorData) -> Sample| {
        reactors.iter().map(|it| (labels(it), value(it))).collect::<Vec<_>>()
    };
    let core = reactors.iter().map(|it| (labels(it), Sample::Gauge(it.core as u64))).collect();
    let time = |name, help, time: &dyn Fn(&ReactorData) -> f64| {
        seconds(name, help, each(&|it| Sample::Seconds(time(it))))
    };
    let count = |name, help, value: &dyn Fn(&ReactorData) -> u64| {
        counter(name, help, each(&|it| Sample::Counter(value(it))))
    };
    vec![
        gauge("reactor_core", "The core that the reactor runs on", core),
        time("reactor_busy", "Time in turns that found work", &|it| it.report.stats.busy.as_secs_f64()),
        time("reactor_idle", "Time in turns that found no work", &|it| it.report.stats.idle.as_secs_f64()),
        time("reactor_parked", "Time asleep", &|it| it.report.stats.parked.as_secs_f64()),
        count("reactor_turns", "Turns taken", &|it| it.report.stats.turns),
        count("reactor_busy_turns", "Turns that found work", &|it| it.report.stats.busy_turns),
        count("reactor_parks", "Times the reactor fell asleep", &|it| it.report.stats.parks),
        count("reactor_wakes", "Sleeps that a message ended", &|it| it.report.stats.wakes),
        times("reactor_busy_turn", "Length of busy turns", each(&|it| time_buckets(&it.report.busy_turns))),
        times("reactor_lateness", "Delay of turns behind the time that a poller had asked for", {
            each(&|it| time_buckets(&it.report.lateness))
        }),
        Family {
            name: "reactor_batch_items",
            help: "What busy pollers did in one run",
            unit: None,
            kind: MetricType::Histogram,
            samples: each(&|it| buckets(&it.report.batches, BATCH_BITS, 1.0, 1)),
        },
    ]
}

fn of_pollers(reactors: &[ReactorData]) -> Vec<Family> {
    let (mut runs, mut busy_runs, mut items, mut busy) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for it in reactors {
        let mut names = Names::default();
        for poller in &it.report.pollers {
            let labels = vec![("reactor", it.reactor.to_string()), ("poller", names.unique(&poller.name))];
            runs.push((labels.clone(), Sample::Counter(poller.runs)));
            busy_runs.push((labels.clone(), Sample::Counter(poller.busy_runs)));
            items.push((labels.clone(), Sample::Counter(poller.done)));
            busy.push((labels, Sample::Seconds(poller.time.as_secs_f64())));
        }
    }
    vec![
        counter("poller_runs", "Times the poller was polled", runs),
        counter("poller_busy_runs", "Runs that found work", busy_runs),
        counter("poller_items", "What the poller did in all its runs", items),
        seconds("poller_busy", "Time in busy runs, estimated from some of them", busy),
    ]
}

fn of_mailboxes(reactors: &[ReactorData]) -> Vec<Family> {
    let (mut capacity, mut depth, mut most) = (Vec::new(), Vec::new(), Vec::new());
    let (mut received, mut refused) = (Vec::new(), Vec::new());
    for it in reactors {
        let mut names = Names::default();
        for mailbox in &it.report.mailboxes {
            let name = names.unique(mailbox.name.unwrap_or("unnamed"));
            let labels = vec![("reactor", it.reactor.to_string()), ("mailbox", name)];
            capacity.push((labels.clone(), Sample::Gauge(mailbox.capacity as u64)));
            depth.push((labels.clone(), Sample::Gauge(mailbox.depth as u64)));
            most.push((labels.clone(), Sample::Gauge(mailbox.depth_max as u64)));
            received.push((labels.clone(), Sample::Counter(mailbox.received)));
            refused.push((labels, Sample::Counter(mailbox.refused)));
        }
    }
    vec![
        gauge("mailbox_capacity", "Messages that the mailbox has room for", capacity),
        gauge("mailbox_depth", "Messages in the mailbox", depth),
        gauge("mailbox_depth_max", "Most messages that were ever found in the mailbox", most),
        counter("mailbox_received", "Messages that were received", received),
        counter("mailbox_refused", "Messages that found no room", refused),
    ]
}

fn of_endpoints(endpoints: &[EndpointData]) -> Vec<Family> {
    let labels = |it: &EndpointData| vec![("reactor", it.reactor.to_string()), ("role", it.role.to_owned())];
    let io = endpoints.iter().filter(|it| it.role == "io");
    let pauses = io.map(|it| (labels(it), time_buckets(&it.pauses))).collect();
    let count = |name, help, value: &dyn Fn(&EndpointData) -> u64| {
        let samples = endpoints.iter().map(|it| (labels(it), Sample::Counter(value(it)))).collect();
        counter(name, help, samples)
    };
    vec![
        count("endpoint_commands", "I/O commands that arrived", &|it| it.commands),
        count("endpoint_late_completions", "Commands whose connection was gone when they completed", &|it| {
            it.completed_late
        }),
        count("endpoint_protocol_errors", "Connections that a peer's mistake ended", &|it| {
            it.protocol_errors
        }),
        count("endpoint_queues_opened", "Queues that were opened", &|it| it.queues_opened),
        count("endpoint_queues_moved", "I/O queues that came from another reactor", &|it| it.queues_moved),
        count("endpoint_moves_refused", "Moves of I/O queues that came to nothing", &|it| it.moves_refused),
        times("endpoint_move_pause", "Time for which queues that moved were served by nobody", pauses),
        count("endpoint_events", "Events that were written to the ring", &|it| it.events),
    ]
}

fn of_namespaces(namespaces: &[NamespaceData]) -> Vec<Family> {
    let counted = namespaces.iter().map(|it| {
        let labels = vec![("subsystem", it.subsystem.clone()), ("nsid", it.nsid.to_string())];
        (labels, &it.counts)
    });
    let Commands { commands, errors, bytes, media_errors, latency } = Commands::of(counted);
    vec![
        counter("namespace_commands", "Commands that were answered", commands),
        counter("namespace_errors", "Commands that failed", errors),
        counter("namespace_media_errors", "Commands that failed on the medium", media_errors),
        bytes_counter("namespace_data", "Data that commands moved", bytes),
        times("namespace_latency", "Time from the capsule to the response", latency),
    ]
}

fn of_connections(connections: &[ConnectionData]) -> Vec<Family> {
    let labels = |it: &ConnectionData| {
        vec![
            ("subsystem", it.subsystem.clone()),
            ("host", it.host.clone()),
            ("cntlid", it.cntlid.to_string()),
            ("qid", it.qid.to_string()),
            ("peer", it.peer.to_string()),
            ("reactor", it.reactor.to_string()),
        ]
    };
    let live = connections.iter().map(|it| (labels(it), Sample::Gauge(1))).collect();
    let counted = connections.iter().filter_map(|it| Some((labels(it), it.counts.as_ref()?)));
    let Commands { commands, errors, bytes, media_errors, latency } = Commands::of(counted);
    vec![
        gauge("connection", "A live connection", live),
        counter("connection_commands", "Commands that were answered", commands),
        counter("connection_errors", "Commands that failed", errors),
        counter("connection_media_errors", "Commands that failed on the medium", media_errors),
        bytes_counter("connection_data", "Data that commands moved", bytes),
        times("connection_latency", "Time from the capsule to the response", latency),
    ]
}

/// The samples of commands, of namespaces and connections alike. Kinds that never occurred are left out, but for reads and
/// writes: there may be a thousand connections.
#[derive(Default)]
struct Commands {
    commands: Vec<(Labels, Sample)>,
    errors: Vec<(Labels, Sample)>,
    bytes: Vec<(Labels, Sample)>,
    media_errors: Vec<(Labels, Sample)>,
    latency: Vec<(Labels, Sample)>,
}

impl Commands {
    fn of<'a>(counted: impl Iterator<Item = (Labels, &'a CommandCounts)>) -> Self {
        let mut all = Self::default();
        for (labels, counts) in counted {
            for kind in Kind::ALL {
                let (failed, bytes) = (counts.failed(kind), counts.bytes(kind));
                let commands = counts.succeeded(kind) + failed;
                if commands == 0 && !matches!(kind, Kind::Read | Kind::Write) {
                    continue;
                }
                let with = || {
                    let mut labels = labels.clone();
                    labels.push(("command", kind.name().to_owned()));
                    labels
                };
                all.commands.push((with(), Sample::Counter(commands)));
                all.errors.push((with(), Sample::Counter(failed)));
                all.bytes.push((with(), Sample::Counter(bytes)));
            }
            for class in Class::ALL {
                let latency = counts.latency(class);
                if latency.count() == 0 && class == Class::Other {
                    continue;
                }
                let mut labels = labels.clone();
                labels.push(("class", class.name().to_owned()));
                all.latency.push((labels, time_buckets(latency)));
            }
            all.media_errors.push((labels, Sample::Counter(counts.media_errors)));
        }
        all
    }
}

/// Names that must differ: the second of a name gets a number.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn unique(&mut self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name} {number}"));
        let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
        let unique = candidates.find(|candidate| self.0.insert(candidate.clone()));
        unique.unwrap_or_else(|| unreachable!("there are more numbers than names"))
    }
}

fn time_buckets(times: &Distribution) -> Sample {
    buckets(times, TIME_BITS, NANOSECONDS_PER_SECOND, 0)
}

/// Buckets that end at the powers of two, less `less`: 1 where a value that equals a bound has to be below it, and 0 for
/// times, which are not that exact.
fn buckets(values: &Distribution, bits: std::ops::RangeInclusive<u32>, per_unit: f64, less: u64) -> Sample {
    let mut below = 0;
    let mut buckets = Vec::new();
    for bound in bits.map(|bits| 1u64 << bits) {
        let until = values.below(bound);
        buckets.push(((bound - less) as f64 / per_unit, until - below));
        below = until;
    }
    buckets.push((f64::INFINITY, values.count() - below));
    Sample::Histogram(values.sum() as f64 / per_unit, buckets)
}

fn family(name: &'static str, help: &'static str, unit: Option<Unit>, kind: MetricType) -> Family {
    Family { name, help, unit, kind, samples: Vec::new() }
}

fn counter(name: &'static str, help: &'static str, samples: Vec<(Labels, Sample)>) -> Family {
    Family { samples, ..family(name, help, None, MetricType::Counter) }
}

fn seconds(name: &'static str, help: &'static str, samples: Vec<(Labels, Sample)>) -> Family {
    Family { samples, ..family(name, help, Some(Unit::Seconds), MetricType::Counter) }
}

fn bytes_counter(name: &'static str, help: &'static str, samples: Vec<(Labels, Sample)>) -> Family {
    Family { samples, ..family(name, help, Some(Unit::Bytes), MetricType::Counter) }
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<(Labels, Sample)>) -> Family {
    Family { samples, ..family(name, help, None, MetricType::Gauge) }
}

fn times(name: &'static str, help: &'static str, samples: Vec<(Labels, Sample)>) -> Family {
    Family { samples, ..family(name, help, Some(Unit::Seconds), MetricType::Histogram) }
}

#[cfg(test)]
mod tests;
