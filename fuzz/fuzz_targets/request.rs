//! Reservation commands, and the state that they leave.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::reservation::fuzz_request(bytes));
