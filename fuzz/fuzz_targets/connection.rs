//! An open connection with commands outstanding, both ends of it, with and without digests.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::connection::fuzz(bytes));
