//! Arbitrary commands, from a seed that proptest prints.

use proptest::prelude::*;

use crate::nvmf::fuzz::fuzz;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_sequence_of_commands_breaks_a_promise(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
        fuzz(&bytes);
    }

    #[test]
    fn no_sequence_of_small_steps_breaks_a_promise(
        steps in proptest::collection::vec((0u8..=255, proptest::array::uniform16(0u8..16)), 0..200),
    ) {
        // Short fields make valid commands likely.
        let bytes: Vec<u8> = steps.iter().flat_map(|(step, fields)| {
            let mut sqe = [0; 64];
            sqe[..4].copy_from_slice(&fields[..4]);
            sqe[4] = fields[4] / 4;
            sqe[37] = 0x10;
            sqe[40..52].copy_from_slice(&fields[4..]);
            std::iter::once(*step).chain(sqe)
        }).collect();
        fuzz(&bytes);
    }
}
