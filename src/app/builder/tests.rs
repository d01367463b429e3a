//! Namespaces that a program adds, and reactors that it runs itself.

use std::net::TcpStream;

use corelane_reactors::cpu;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::bdev::Null;

const NQN: &str = "nqn.2026-11.io.corelane:own";

fn nqn(text: &str) -> Nqn {
    Nqn::parse(text).unwrap()
}

/// A subsystem with one namespace, NSID 1 with UUID 1, on the block device `void`.
fn builder(directory: &std::path::Path) -> Builder {
    let document = json!({
        "reactors": {"idle": {"policy": "park"}},
        "limits": {"connections_max": 4},
        "bdevs": [{"name": "void", "type": "null", "size": "1MiB"}],
        "subsystems": [{
            "nqn": NQN,
            "allow_any_host": true,
            "listeners": [{"address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": 1, "bdev": "void", "uuid": Uuid::from_u128(1).to_string()}]
        }]
    });
    let config = config::parse(&document.to_string(), &cpu::allowed()).unwrap().config;
    Builder::new(Options { config, state_directory: directory.to_owned() })
}

fn namespace(name: &str, nsid: u32, uuid: u128) -> Namespace {
    Namespace { nsid, uuid: Uuid::from_u128(uuid), bdev: Arc::new(Null::new(name, 1 << 20, 512).unwrap()) }
}

#[test]
fn what_a_configuration_could_not_say_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let taken = |name: &str| NamespaceError::NameTaken(name.to_owned());
    let rows = [
        ("nqn.2026-11.io.corelane:other", namespace("own", 2, 2), NamespaceError::NoSubsystem),
        (NQN, namespace("own", 0, 2), NamespaceError::Nsid),
        (NQN, namespace("own", NSID_MAX + 1, 2), NamespaceError::Nsid),
        (NQN, namespace("own", 1, 2), NamespaceError::NsidTaken),
        (NQN, namespace("own", 3, 2), NamespaceError::NsidTaken),
        (NQN, namespace("own", 2, 0), NamespaceError::Uuid),
        (NQN, namespace("own", 2, 1), NamespaceError::Uuid),
        (NQN, namespace("own", 2, 3), NamespaceError::Uuid),
        (NQN, namespace("void", 2, 2), taken("void")),
        (NQN, namespace("first", 2, 2), taken("first")),
    ];
    for (subsystem, refused, reason) in rows {
        let builder = builder(directory.path()).namespace(nqn(NQN), namespace("first", 3, 3));
        match builder.namespace(nqn(subsystem), refused).start() {
            Err(ServeError::Namespace { source, .. }) => assert_eq!(source, reason),
            other => panic!("{reason:?}: {other:?}"),
        }
    }
}

#[test]
fn reactors_in_the_hands_of_the_caller_serve_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let builder = builder(directory.path()).namespace(nqn(NQN), namespace("own", 2, 2));
    let (appliance, handovers) = builder.hand_over().unwrap();
    assert_eq!(appliance.subsystems()[0].namespaces, 2);
    let indices: Vec<_> = handovers.iter().map(Handover::index).collect();
    assert_eq!(indices.last(), Some(&appliance.group().management()));
    let mut reactors: Vec<_> = handovers.into_iter().map(|handover| handover.start().unwrap()).collect();

    let peer = TcpStream::connect(appliance.addresses()[0]).unwrap();
    appliance.stopper().stop();
    for turns in 0.. {
        reactors.retain(|reactor| !reactor.stopping());
        if reactors.is_empty() {
            break;
        }
        assert!(turns < 1_000_000, "it does not stop");
        for reactor in &mut reactors {
            let _ = reactor.turn();
        }
    }
    drop(peer);
    appliance.join().unwrap();
}
