//! The `imserver` program.
fn main() {}
