//! See `imserver_fuzz::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::proxy_header::check(data));
