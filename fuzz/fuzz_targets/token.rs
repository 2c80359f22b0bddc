//! See `imserver_fuzz::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::token::check(data));
