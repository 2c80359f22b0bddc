//! See `imserver_fuzz::audit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imserver_fuzz::audit::check(data));
