//! The record of one namespace: what is kept of its reservations while the power is off, and that it is write protected,
//! as JSON that a person can read. Does no I/O: bytes in, a value or a [`Fault`] out, and back.
//!
//! ```json
//! {
//!   "format": 1,
//!   "sequence": 12,
//!   "subsystem": "nqn.2014-08.org.example:disk0",
//!   "nsid": 1,
//!   "uuid": "3f6d52a8-...",
//!   "ptpl": true,
//!   "generation": 7,
//!   "type": "write-exclusive",
//!   "holder": "6f1c...",
//!   "registrants": [
//!     { "hostid": "6f1c...", "key": "00000000000000a1", "hostnqn": "nqn.2014-08.org.nvmexpress:uuid:..." }
//!   ],
//!   "checksum": "crc32c:8a9136aa"
//! }
//! ```
//!
//! The record of a namespace that is write protected has `"write_protected": true` behind `uuid`, and format 2: a version
//! that does not know of it refuses the record, and so the namespace, instead of letting hosts write. Every other record
//! has format 1.
//!
//! The checksum is taken over the other fields, written in this order without white space. Keys are hexadecimal text,
//! because JSON numbers lose the lower bits of large ones in many readers. A proper prefix of a record is no record.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::reservation::fault::{self, Fault, Names, Reason};
use crate::reservation::kind::Kind;
use crate::reservation::state::{Key, Registrant, State};
use crate::spec::host::HostId;
use crate::spec::nqn::Nqn;

/// The format of a record whose namespace may be written.
pub const FORMAT: u64 = 1;

/// The format of a record whose namespace is write protected: the last one that is known.
pub const FORMAT_PROTECTED: u64 = 2;

/// No record is longer, in bytes: [`super::REGISTRANTS_MAX`] registrants with the longest names fit.
pub const RECORD_BYTES_MAX: usize = 128 << 20;

const NAMES: Names = Names { host: "hostid", key: "key", holder: "holder", kind: "type" };

/// Which namespace a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// NQN of the subsystem.
    pub subsystem: Nqn,
    /// NSID in it.
    pub nsid: u32,
    /// UUID of the namespace, which gives the record its name.
    pub uuid: Uuid,
}

/// What is kept of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub identity: Identity,
    /// Which writing this is: every record that replaces another has a higher number.
    pub sequence: u64,
    /// Hosts have made it write protected.
    pub write_protected: bool,
    /// Its reservations.
    pub state: State,
}

/// The JSON document. Its fields stand in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u64,
    sequence: u64,
    subsystem: String,
    nsid: u32,
    uuid: Uuid,
    /// `true` in every record of format 2, and in no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write_protected: Option<bool>,
    ptpl: bool,
    generation: u32,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    holder: Option<Uuid>,
    registrants: Vec<Entry>,
    /// `None` while the checksum is taken over the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    hostid: Uuid,
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    key: Key,
    /// `null` where it is not known.
    hostnqn: Option<String>,
}

/// All that a document of any format has.
#[derive(Deserialize)]
struct Versioned {
    format: u64,
}

impl Record {
    /// The bytes of the record: UTF-8, ending with a line feed.
    pub fn encode(&self) -> Vec<u8> {
        let mut document = self.document();
        document.checksum = Some(checksum(&document));
        let mut bytes = serde_json::to_vec_pretty(&document).expect("a document of text and numbers");
        bytes.push(b'\n');
        bytes
    }

    /// The record in these bytes. It may be anybody's: see [`Record::judge_owner`].
    ///
    /// # Errors
    /// What is wrong, and in which field. The format is judged first, then the form, then the checksum, then what the
    /// fields say.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let text = fault::text(bytes, RECORD_BYTES_MAX)?;
        let Versioned { format } = parse(text)?;
        match format {
            FORMAT | FORMAT_PROTECTED => {}
            found if found > FORMAT_PROTECTED => {
                return Err(Fault::of("format", Reason::NewerFormat { found, known: FORMAT_PROTECTED }));
            }
            found => return Err(Fault::of("format", Reason::UnknownFormat { found })),
        }
        let mut document: Document = parse(text)?;
        let found = document.checksum.take().unwrap_or_else(|| "missing".to_owned());
        let computed = checksum(&document);
        if found != computed {
            return Err(Fault::of("checksum", Reason::Checksum { found, computed }));
        }
        if !text.ends_with('\n') {
            return Err(Fault::of(".", Reason::Truncated));
        }
        document.record()
    }

    /// Whether the record is the one of this namespace.
    ///
    /// # Errors
    /// The first field that says that it is another's.
    pub fn judge_owner(&self, namespace: &Identity) -> Result<(), Fault> {
        let (found, expected) = (&self.identity, namespace);
        if found.uuid != expected.uuid {
            let reason = Reason::OtherUuid { found: found.uuid, expected: expected.uuid };
            return Err(Fault::of("uuid", reason));
        }
        if found.subsystem != expected.subsystem {
            let reason = Reason::OtherSubsystem {
                found: found.subsystem.to_string(),
                expected: expected.subsystem.to_string(),
            };
            return Err(Fault::of("subsystem", reason));
        }
        if found.nsid != expected.nsid {
            return Err(Fault::of("nsid", Reason::OtherNsid { found: found.nsid, expected: expected.nsid }));
        }
        Ok(())
    }

    fn document(&self) -> Document {
        let Self { identity, sequence, write_protected, state } = self;
        let reservation = state.reservation();
        Document {
            format: if *write_protected { FORMAT_PROTECTED } else { FORMAT },
            sequence: *sequence,
            subsystem: identity.subsystem.as_str().to_owned(),
            nsid: identity.nsid,
            uuid: identity.uuid,
            write_protected: write_protected.then_some(true),
            ptpl: state.ptpl(),
            generation: state.generation(),
            kind: state.kind(),
            holder: reservation.and_then(|held| held.holder()).map(|host| Uuid::from_bytes(host.0)),
            registrants: state
                .registrants()
                .map(|(host, registrant)| Entry {
                    hostid: Uuid::from_bytes(host.0),
                    key: registrant.key,
                    hostnqn: registrant.nqn.as_ref().map(|nqn| nqn.as_str().to_owned()),
                })
                .collect(),
            checksum: None,
        }
    }
}

impl Document {
    fn record(self) -> Result<Record, Fault> {
        let write_protected = self.format == FORMAT_PROTECTED;
        if self.write_protected != write_protected.then_some(true) {
            let (found, format) = (self.write_protected, self.format);
            return Err(Fault::of("write_protected", Reason::Protection { found, format }));
        }
        let name = |field: String, text: &str| {
            Nqn::lenient(text).map_err(|error| Fault::of(field, Reason::Name(error)))
        };
        let subsystem = name("subsystem".to_owned(), &self.subsystem)?;
        let mut registrants = Vec::with_capacity(self.registrants.len());
        for (index, entry) in self.registrants.into_iter().enumerate() {
            let field = || format!("registrants[{index}].hostnqn");
            let nqn = entry.hostnqn.map(|text| name(field(), &text)).transpose()?;
            registrants.push((HostId(entry.hostid.into_bytes()), Registrant { key: entry.key, nqn }));
        }
        let holder = self.holder.map(|host| HostId(host.into_bytes()));
        let state = State::restore(self.generation, self.ptpl, registrants, self.kind, holder)
            .map_err(|impossible| Fault::from_state(impossible, &NAMES))?;
        let identity = Identity { subsystem, nsid: self.nsid, uuid: self.uuid };
        Ok(Record { identity, sequence: self.sequence, write_protected, state })
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(Fault::from_parser)?;
    json.end().map_err(|error| Fault::of(".", Reason::Malformed { message: error.to_string() }))?;
    Ok(value)
}

/// The checksum of a document that has none yet.
fn checksum(document: &Document) -> String {
    assert!(document.checksum.is_none(), "the checksum is taken over the rest");
    let rest = serde_json::to_vec(document).expect("a document of text and numbers");
    format!("crc32c:{:08x}", crc32c::crc32c(&rest))
}

fn write_key<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// 1 to 16 hexadecimal digits.
fn read_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    key.map(Key).ok_or_else(|| {
        de::Error::invalid_value(de::Unexpected::Str(&text), &"a key as 1 to 16 hexadecimal digits")
    })
}
