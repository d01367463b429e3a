//! A reservation file that SPDK wrote, made into a record. Such a file holds `ptpl`, `rtype`, `crkey`, `bdev_uuid`,
//! `holder_uuid` and `registrants` with `rkey` and `host_uuid`; keys are JSON numbers. It holds no generation, which
//! starts again at 0, and no names of hosts, which are learned when they register again. An empty file means that PTPL
//! was off.
//!
//! Whatever SPDK itself would restore is accepted, and also what it writes and cannot restore: a reservation of all
//! registrants whose `crkey` is that of a host which is gone.

use serde::Deserialize;
use uuid::Uuid;

use crate::reservation::fault::{self, Fault, Names, Reason};
use crate::reservation::kind::Kind;
use crate::reservation::record::{Identity, RECORD_BYTES_MAX, Record};
use crate::reservation::state::{Key, Registrant, State};
use crate::spec::host::HostId;
use crate::spec::reservation::ReservationType;

const NAMES: Names = Names { host: "host_uuid", key: "rkey", holder: "holder_uuid", kind: "rtype" };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    ptpl: bool,
    #[serde(default)]
    rtype: u32,
    #[serde(default)]
    crkey: u64,
    bdev_uuid: Uuid,
    /// Empty for none.
    #[serde(default)]
    holder_uuid: String,
    registrants: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rkey: u64,
    host_uuid: Uuid,
}

/// The record for `namespace` from the bytes of a file that SPDK wrote for a bdev of the same UUID. Its sequence is 0.
///
/// # Errors
/// What is wrong, and in which field of the file.
pub fn from_spdk(bytes: &[u8], namespace: &Identity) -> Result<Record, Fault> {
    let text = fault::text(bytes, RECORD_BYTES_MAX)?;
    let state = if text.is_empty() { State::new() } else { parse(text)?.state(namespace)? };
    Ok(Record { identity: namespace.clone(), sequence: 0, write_protected: false, state })
}

fn parse(text: &str) -> Result<Document, Fault> {
    let mut json = serde_json::Deserializer::from_str(text);
    let document = serde_path_to_error::deserialize(&mut json).map_err(Fault::from_parser)?;
    json.end().map_err(|error| Fault::of(".", Reason::Malformed { message: error.to_string() }))?;
    Ok(document)
}

impl Document {
    fn state(self, namespace: &Identity) -> Result<State, Fault> {
        if self.bdev_uuid != namespace.uuid {
            let reason = Reason::OtherUuid { found: self.bdev_uuid, expected: namespace.uuid };
            return Err(Fault::of("bdev_uuid", reason));
        }
        let kind = self.kind()?;
        let holder = self.holder()?;
        let registrants = self.registrants.iter().map(|entry| {
            (HostId(entry.host_uuid.into_bytes()), Registrant { key: Key(entry.rkey), nqn: None })
        });
        let state = State::restore(0, self.ptpl, registrants, kind, holder)
            .map_err(|impossible| Fault::from_state(impossible, &NAMES))?;
        if self.crkey != 0 && state.holder_key().is_some_and(|key| key != Key(self.crkey)) {
            return Err(Fault::of("crkey", Reason::NotTheHoldersKey));
        }
        // With PTPL 0 nothing of it was meant to survive.
        Ok(state.after_power_loss())
    }

    fn kind(&self) -> Result<Option<Kind>, Fault> {
        if self.rtype == 0 {
            return Ok(None);
        }
        let kind = u8::try_from(self.rtype).ok().and_then(|rtype| Kind::from_wire(ReservationType(rtype)));
        let fault = || Fault::of("rtype", Reason::ImpossibleType(self.rtype));
        kind.map(Some).ok_or_else(fault)
    }

    fn holder(&self) -> Result<Option<HostId>, Fault> {
        if self.holder_uuid.is_empty() {
            return Ok(None);
        }
        let malformed =
            |error: uuid::Error| Fault::of("holder_uuid", Reason::Malformed { message: error.to_string() });
        let holder = Uuid::try_parse(&self.holder_uuid).map_err(malformed)?;
        Ok(Some(HostId(holder.into_bytes())))
    }
}
