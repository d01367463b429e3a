//! Random commands of many hosts, against [`super::oracle`].

use std::hash::{BuildHasher, RandomState};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::oracle::{Deeds, Fields, Oracle};
use super::record::identity;
use super::*;
use crate::reservation::{Persist, Record, report, rights};

const HOSTS: u8 = 12;
/// A host that never sends anything.
const OUTSIDER: u8 = HOSTS + 1;
const COMMANDS_MAX: usize = 250;
/// How many commands there are from one writing of the record to the next.
const RECORD_EVERY: usize = 20;

/// Which key a field holds: the issuer's own, that of the holder, or one of few.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Own,
    Holders,
    Number(u64),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    host: u8,
    /// Whether the issuer is one of the registrants, chosen by `host`.
    registered: bool,
    fields: Fields,
    /// Whether RTYPE is the type that is held.
    held: bool,
    crkey: Choice,
    second_key: Choice,
}

/// A runner whose seed is printed when a test fails, and can be given again.
pub(super) fn runner() -> TestRunner {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one("seed"));
    }
    println!("PROPTEST_RNG_SEED={}", config.rng_seed);
    TestRunner::new(config)
}

/// A command of this opcode. Most are such that they could succeed: what is refused changes nothing, and tells less.
fn steps_of(
    opcode: u8,
    registered: f64,
    actions: impl Strategy<Value = u8>,
    second_key: impl Strategy<Value = Choice>,
) -> impl Strategy<Value = Step> {
    let issuer = (1..=HOSTS, prop::bool::weighted(registered));
    let action = prop_oneof![40 => actions, 1 => 3u8..8];
    let crkey = prop_oneof![20 => Just(Choice::Own), 1 => Just(Choice::Holders), 1 => few()];
    let cptpl = prop_oneof![8 => Just(0u8), 1 => 1u8..4];
    let rtype = prop_oneof![20 => 1u8..7, 1 => Just(0u8), 1 => 7u8..9];
    let flags = (prop::bool::weighted(0.05), prop::bool::weighted(0.4));
    (issuer, action, crkey, second_key, cptpl, rtype, flags).prop_map(
        move |((host, registered), action, crkey, second_key, cptpl, rtype, (iekey, held))| {
            let fields = Fields { opcode, action, iekey, cptpl, rtype, crkey: 0, second_key: 0 };
            Step { host, registered, fields, held, crkey, second_key }
        },
    )
}

fn few() -> impl Strategy<Value = Choice> + Clone {
    (0u64..6).prop_map(Choice::Number)
}

fn steps() -> impl Strategy<Value = Step> {
    let registers = prop_oneof![4 => Just(0u8), 1 => Just(1), 2 => Just(2)];
    let acquires = prop_oneof![3 => Just(0u8), 2 => 1u8..3];
    let releases = prop_oneof![5 => Just(0u8), 1 => Just(1)];
    let preempted = prop_oneof![1 => Just(Choice::Own), 2 => Just(Choice::Holders), 4 => few()];
    prop_oneof![
        6 => steps_of(0x0d, 0.3, registers, few()),
        5 => steps_of(0x11, 0.9, acquires, preempted),
        2 => steps_of(0x15, 0.9, releases, few()),
    ]
}

#[test]
fn random_commands_do_what_the_oracle_does() {
    runner()
        .run(&vec(steps(), 1..COMMANDS_MAX), |steps| {
            let (mut rig, mut oracle) = (Rig::new(), Oracle::new());
            for (number, step) in steps.iter().enumerate() {
                oracle = walk(&mut rig, &oracle, step)?;
                if number % RECORD_EVERY == 0 {
                    let state = rig.state.clone();
                    let record = Record { identity: identity(), sequence: 1, write_protected: false, state };
                    prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
                }
            }
            Ok(())
        })
        .unwrap();
}

/// One command, for both; and everything that can be seen of them afterwards.
fn walk(rig: &mut Rig, oracle: &Oracle, step: &Step) -> Result<Oracle, TestCaseError> {
    let count = oracle.registrants.len();
    let issuer = match step.registered {
        true if count > 0 => oracle.registrants[usize::from(step.host) % count].0,
        _ => step.host,
    };
    let choose = |choice| match choice {
        Choice::Own => oracle.key(issuer).unwrap_or(0),
        Choice::Holders => oracle.holder.and_then(|holder| oracle.key(holder)).unwrap_or(0),
        Choice::Number(key) => key,
    };
    let rtype = if step.held { oracle.rtype } else { step.fields.rtype };
    let (crkey, second_key) = (choose(step.crkey), choose(step.second_key));
    let fields = Fields { rtype, crkey, second_key, ..step.fields };
    let before = rig.state.clone();
    let done = run(&mut rig.state, &host(issuer), &wire(&fields));
    let after = match (oracle.apply(issuer, &fields), done) {
        (Ok((after, deeds)), Ok(effects)) => {
            same_effects(oracle, &after, &deeds, &effects)?;
            after
        }
        (Err(code), Err(status)) => {
            prop_assert_eq!((code, true), (status.code(), status.dnr()), "{:?}", &fields);
            prop_assert_eq!(&rig.state, &before, "a refused command changes nothing");
            oracle.clone()
        }
        (expected, got) => {
            let message = format!("{fields:?}: expected {expected:?}, got {got:?}");
            return Err(TestCaseError::fail(message));
        }
    };
    same_state(rig, &after)?;
    Ok(after)
}

fn wire(fields: &Fields) -> Command {
    let Fields { opcode, action, iekey, cptpl, rtype, crkey, second_key } = *fields;
    let (action, rtype) = (u32::from(action), u32::from(rtype));
    let command = match NvmOpcode(opcode) {
        NvmOpcode::RESERVATION_REGISTER => {
            register_command(action, crkey, second_key).cptpl(u32::from(cptpl))
        }
        NvmOpcode::RESERVATION_ACQUIRE => acquire_command(action, rtype, crkey, second_key),
        _ => release_command(action, rtype, crkey),
    };
    if iekey { command.ignoring_key() } else { command }
}

fn same_state(rig: &Rig, oracle: &Oracle) -> Result<(), TestCaseError> {
    let state = &rig.state;
    prop_assert_eq!(u64::from(state.generation()), oracle.generation);
    prop_assert_eq!(state.ptpl(), oracle.ptpl);
    let mut registrants = oracle.registrants.clone();
    registrants.sort_unstable();
    let found: Vec<(u8, u64)> =
        state.registrants().map(|(host, registrant)| (host.0[0], registrant.key.0)).collect();
    prop_assert_eq!(&found, &registrants);
    prop_assert_eq!(rig.reservation(), (u32::from(oracle.rtype), oracle.holder));
    if let Some(holder) = rig.reservation().1 {
        prop_assert!(state.is_registrant(id(holder)), "a holder is a registrant");
    }
    for host in 1..=OUTSIDER {
        prop_assert_eq!(read_and_write(state, host), oracle.rights(host), "host {}", host);
        prop_assert_eq!(state.is_holder(id(host)), oracle.holds(host));
    }
    let report = report::encode(state, u64::MAX, |_| None);
    let holding: Vec<bool> = report[64..].chunks_exact(64).map(|entry| entry[2] == 1).collect();
    let expected: Vec<bool> = registrants.iter().map(|&(host, _)| oracle.holds(host)).collect();
    prop_assert_eq!(holding, expected);
    Ok(())
}

fn read_and_write(state: &State, host: u8) -> &'static str {
    let rights = rights(state, id(host));
    match (rights.read, rights.write) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => "",
    }
}

fn same_effects(
    before: &Oracle,
    after: &Oracle,
    deeds: &Deeds,
    effects: &Effects,
) -> Result<(), TestCaseError> {
    let mut notices: Vec<(u8, u8)> =
        effects.notices.iter().map(|notice| (notice.host.0[0], notice.kind.to_wire().0)).collect();
    notices.sort_unstable();
    prop_assert_eq!(&notices, &deeds.notices);
    prop_assert_eq!(&effects.drain, &ids(&deeds.aborted));
    let gone = |host: &u8| before.key(*host).is_some() && after.key(*host).is_none();
    let unregistered: Vec<u8> = (1..=HOSTS).filter(gone).collect();
    prop_assert_eq!(&effects.unregistered, &ids(&unregistered));
    let persist = match (before.ptpl, after.ptpl) {
        (true, false) => Persist::Remove,
        (_, true) if before != after => Persist::Write,
        _ => Persist::Keep,
    };
    prop_assert_eq!(effects.persist, persist);
    let changed = (1..=OUTSIDER).any(|host| before.rights(host) != after.rights(host));
    prop_assert_eq!(effects.rights_changed, changed);
    Ok(())
}
