//! See `imserver_fuzz::row`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::row::check(data));
