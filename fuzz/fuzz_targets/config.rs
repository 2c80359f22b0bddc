//! See `imserver_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::config::check(data));
