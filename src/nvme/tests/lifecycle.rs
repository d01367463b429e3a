//! From power-up to the end.

use super::*;
use crate::nvme::{Condition, IoCommand};
use crate::spec::opcode::NvmOpcode;

#[test]
fn a_controller_becomes_ready_and_reads() {
    let mut rig = Rig::ready(Fake::new(), &options());
    assert_eq!(rig.controller.condition(), Condition::Ready);
    assert_eq!(rig.controller.identity().serial, "SERIAL");
    assert_eq!(rig.controller.namespaces().len(), 1);
    let mut pair = rig.controller.take_queue_pair().unwrap();
    let into = [rig.memory.segment_mut(0..4096)];
    pair.submit(7, &IoCommand::Read { nsid: 1, slba: 5, blocks: 8, into: &into }).unwrap();
    pair.commit();
    assert_eq!(rig.run_with(&mut pair, MOMENT), [(7, Ok(0))]);
    assert_eq!(rig.device.opcodes(), [NvmOpcode::READ]);
}
