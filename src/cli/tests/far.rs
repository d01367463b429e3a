//! What is learned of a far target that is old, odd, or rude at the end.

use serde_json::{Value, json};

use super::run;
use crate::cli::{DONE, FAILED};
use crate::initiator::tests::target::{Misdeed, Script, Target};
use crate::spec::identify::Cns;
use crate::spec::status::Status;

fn name(target: &Target) -> String {
    format!("tcp://{}/nqn.2026-11.io.corelane:test", target.address)
}

#[test]
fn what_was_learned_is_told_though_taking_leave_fails() {
    let target = Target::start(Script { misdeed: Misdeed::CloseOnShutdown, ..Script::default() });
    let address = target.address.to_string();
    let ran = run(&["discover", &address], &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""), "{ran:?}");
    assert_eq!(ran.output.matches("nqn.2026-11.io.corelane:test").count(), 2, "{ran:?}");
    let ran = run(&["identify", &name(&target)], &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""), "{ran:?}");
}

#[test]
fn controllers_without_descriptors_and_with_many_formats_are_told() {
    let fail_identify = Some((Cns::NAMESPACE_DESCRIPTORS, Status::INVALID_FIELD.with_dnr(), u32::MAX));
    let target = Target::start(Script { format: (33, 8), fail_identify, ..Script::default() });
    let ran = run(&["identify", &name(&target), "--json"], &[]);
    assert_eq!((ran.code, ran.errors.as_str()), (DONE, ""), "{ran:?}");
    let object: Value = serde_json::from_str(&ran.output).unwrap();
    let namespace = &object["namespaces"][0];
    assert_eq!((&namespace["block_size"], &namespace["metadata_bytes"]), (&json!(512), &json!(8)));
    assert_eq!((&namespace["nsid"], &namespace["uuid"]), (&json!(1), &Value::Null));

    // Blocks with metadata are not as long as the data of a command.
    let ran = run(&["perf", "--target", &name(&target)], &[]);
    assert_eq!(ran.code, FAILED);
    let words = "namespace 1: its blocks carry 8 bytes of metadata, which is not supported";
    assert!(ran.errors.contains(words), "{}", ran.errors);
}
