//! The pages that an NVMe device answers with.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::nvme::fuzz(bytes));
