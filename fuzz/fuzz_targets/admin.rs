//! See `imserver_fuzz::admin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::admin::check(data));
