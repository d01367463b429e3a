//! The newest events of the rings, as lines of JSON.

use serde_json::{Map, Value, json};

use crate::trace::Event;

/// Media type of the lines.
pub(super) const CONTENT_TYPE: &str = "application/x-ndjson; charset=utf-8";

/// The events of one ring.
#[derive(Clone, Debug)]
pub struct Events {
    /// The reactor that wrote them.
    pub reactor: usize,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// One line for each event, oldest first over all rings.
pub(super) fn lines(rings: &[Events]) -> String {
    let mut all: Vec<(usize, &Event)> =
        rings.iter().flat_map(|ring| ring.events.iter().map(|event| (ring.reactor, event))).collect();
    all.sort_by_key(|(reactor, event)| (event.time, *reactor, event.number));
    all.into_iter().map(|(reactor, event)| line(reactor, event)).collect()
}

fn line(reactor: usize, event: &Event) -> String {
    let mut fields = Map::new();
    fields.insert("time_ns".to_owned(), event.time.as_nanos().into());
    fields.insert("reactor".to_owned(), reactor.into());
    fields.insert("number".to_owned(), event.number.into());
    fields.insert("event".to_owned(), json!(event.what.name()));
    for (name, value) in event.what.values().into_iter().zip(event.values) {
        if !name.is_empty() {
            fields.insert(name.to_owned(), value.into());
        }
    }
    format!("{}\n", Value::Object(fields))
}
