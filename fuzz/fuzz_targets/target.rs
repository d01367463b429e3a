//! A target that is asked to connect, and sent commands of any kind.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::nvmf::fuzz::fuzz(bytes));
