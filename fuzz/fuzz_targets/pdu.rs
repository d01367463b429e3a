//! Every decoder of NVMe/TCP PDUs, for both ends.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::pdu::fuzz(bytes));
