//! See `imserver_fuzz::backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::backup::check(data));
