//! See `imserver_fuzz::lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::lines::check(data));
