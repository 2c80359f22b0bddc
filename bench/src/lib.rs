//! Measures an imserver from outside: over wss, as its clients see it.
//!
//! Nothing here shares code with the server. The generator runs in a process of
//! its own, on one thread, and reports its own CPU beside the server's, because
//! both usually share the same cores.
//!
//! From the outside in:
//!
//! | module | what |
//! | --- | --- |
//! | [`cli`] | the command line |
//! | [`run`] | one file a measurement |
//! | [`report`], [`mod@print`], [`table`] | what a measurement found, and how it is shown |
//! | [`side`], [`results`], [`plot`] | the comparison: who takes part, what is kept of it, its pictures |
//! | [`load`] | senders and receivers, shared by the measurements |
//! | [`pacer`] | the fixed schedule of the open loop |
//! | [`ledger`] | every message of a pair: lost, duplicated, out of order |
//! | [`target`] | the server under test: its files, its process, its address |
//! | [`cluster`] | three NATS servers, which nodes have in common, and what JetStream does alone |
//! | [`link`] | one connection in the words of its server: imserver's, MQTT, NATS, XMPP |
//! | [`wire`], [`frame`], [`scan`] | a lean WebSocket client; frames written and read as bytes |
//! | [`api`] | a lean client of the HTTPS API |
//! | [`token`], [`meter`] | tokens for the made-up users; CPU and memory of a process |
//! | [`floor`] | the relay that shows how fast this machine could be at all |

pub mod api;
pub mod cli;
pub mod cluster;
pub mod floor;
pub mod frame;
pub mod ledger;
pub mod link;
pub mod load;
pub mod meter;
pub mod pacer;
pub mod plot;
pub mod print;
pub mod report;
pub mod results;
pub mod run;
pub mod scan;
pub mod side;
pub mod table;
pub mod target;
pub mod token;
pub mod wire;
