//! What a target answers to our initiator.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::initiator::fuzz(bytes));
