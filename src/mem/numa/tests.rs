//! The nodes of the machine at hand: at least one, perhaps only that.

use super::*;
use crate::mem::Extent;

/// Asks about an address (linux/mempolicy.h).
const MPOL_F_ADDR: libc::c_ulong = 2;

/// Mode and lowest node of the policy of an address; `None` where the kernel has no policies or forbids asking.
fn policy(address: usize) -> Option<(i32, u32)> {
    let mut mode: libc::c_int = -1;
    let mut mask = [0_u64; NODES_MAX / WORD_BITS];
    let (bits, by_address) = (NODES_MAX + 1, MPOL_F_ADDR);
    // SAFETY: both places are as large as the kernel is told, and the address is only looked up.
    let result = unsafe {
        libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, mask.as_mut_ptr(), bits, address, by_address)
    };
    let node = (0..).zip(mask).find(|&(_, word)| word != 0);
    let node = node.map_or(u32::MAX, |(index, word): (u32, u64)| index * 64 + word.trailing_zeros());
    (result == 0).then_some((mode, node))
}

#[test]
fn every_core_has_a_node_that_is_there() {
    assert!(nodes() >= 1);
    assert!(u64::from(node_of_core(0)) < NODES_MAX as u64);
    // A core that is not there is on the node that every machine has.
    assert_eq!(node_of_core(1_000_000), 0);
}

#[test]
fn memory_is_bound_to_its_node() {
    for (wanted, mode) in [(Policy::Prefer, libc::MPOL_PREFERRED), (Policy::Bind, libc::MPOL_BIND)] {
        let extent = Extent::ordinary(1 << 20).unwrap();
        // SAFETY: the range is the extent's.
        let bound = unsafe { bind(extent.base(), extent.len(), wanted, 0) };
        match policy(extent.address()) {
            Some(found) => {
                bound.unwrap();
                assert_eq!(found, (mode, 0));
            }
            None => println!("this kernel binds no memory: {bound:?}"),
        }
    }
}

#[test]
fn nodes_that_are_not_there_are_refused() {
    let extent = Extent::ordinary(1 << 20).unwrap();
    for node in [1023, 1024, u32::MAX] {
        // SAFETY: the range is the extent's.
        assert!(unsafe { bind(extent.base(), extent.len(), Policy::Bind, node) }.is_err(), "{node}");
    }
}
