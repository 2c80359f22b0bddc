//! The wire, as the 2020 document has it: text in, types out, and back.

pub mod close;
pub mod failure;
pub mod frame;
mod json;
pub mod reply;
