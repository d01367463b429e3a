//! What there is at the far end, before a load.

use crate::initiator::blocking::{HostError, HostOptions};
use crate::initiator::multipath::FormatError;
use crate::initiator::tests::target::{BLOCK_BYTES, BLOCKS, Misdeed, Script, Target};
use crate::perf::{Survey, SurveyError, find_data, survey};
use crate::spec::nqn::Nqn;

fn look(script: Script) -> Result<(Survey, Option<u64>), SurveyError> {
    let target = Target::start(script);
    let options = HostOptions::new(Nqn::parse("nqn.2026-11.io.corelane:test").unwrap());
    let found = survey(target.address, &options, None, 1)?;
    Ok((found, find_data(target.address, &options, &found.space)?))
}

#[test]
fn a_survey_stands_though_taking_leave_fails() {
    let (found, data) = look(Script { misdeed: Misdeed::CloseOnShutdown, ..Script::default() }).unwrap();
    assert_eq!((found.space.blocks, found.space.block_size as usize, data), (BLOCKS, BLOCK_BYTES, None));
}

#[test]
fn all_bits_of_the_format_count_and_blocks_with_metadata_are_refused() {
    for format in [1, 15, 17, 63] {
        let (found, _) = look(Script { format: (format, 0), ..Script::default() }).unwrap();
        assert_eq!(found.space.block_size as usize, BLOCK_BYTES, "format {format}");
        let refused = look(Script { format: (format, 8), ..Script::default() }).unwrap_err();
        let SurveyError::Host(HostError::Format { nsid: 1, error }) = refused else { panic!("{refused:?}") };
        assert_eq!(error, FormatError::Metadata { bytes: 8 }, "format {format}");
    }
}
