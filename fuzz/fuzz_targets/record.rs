//! The record of a namespace's reservations.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::reservation::fuzz_record(bytes));
