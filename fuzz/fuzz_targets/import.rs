//! SPDK's file of reservations.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::reservation::fuzz_import(bytes));
