//! A request to the metrics endpoint.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::metrics::fuzz(bytes));
