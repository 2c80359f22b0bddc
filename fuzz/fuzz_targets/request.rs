//! See `imserver_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::request::check(data));
