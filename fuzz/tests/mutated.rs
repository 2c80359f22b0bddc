//! The corpus as it stands, and mutations of it, always the same ones: what a fuzzer would
//! try first is tried with every change. Over a hundred thousand tokens and as many frames.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, as it should"
)]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;

/// Pieces that the readers look for.
const PIECES: [&str; 32] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "\n",
    ".",
    "=",
    "%",
    "null",
    "true",
    "-0",
    "1e400",
    "0",
    "9007199254740992",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "好",
    "\"fromId\":1",
    "\"toId\":2",
    "\"type\":5",
    "\"Describe\":\"\"",
    "\"exp\":1800000001",
    "\"kid\":\"e\"",
    "\"crit\":[]",
    "im.v2",
    "\0",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{target} has a corpus");
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Changes one to four places: a byte, a piece, a stretch of its own or of another input.
fn mutate(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=bytes.len());
        let end = rng.usize(at..=bytes.len().min(at + 16));
        match rng.u8(0..7) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.insert(at, rng.u8(..)),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            3 if at < bytes.len() => bytes[at] = rng.u8(..),
            4 => drop(bytes.splice(at..end, rng.choice(PIECES).unwrap().bytes())),
            5 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => {
                let from = rng.usize(0..=other.len());
                let to = rng.usize(from..=other.len().min(from + 64));
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
        }
    }
    bytes
}

/// Gives `check` the corpus of `target`, and `count` mutations of it.
fn try_all(target: &str, check: fn(&[u8]), count: usize) {
    let corpus = corpus(target);
    let mut rng = Rng::with_seed(1);
    let mutations = (0..count).map(|_| {
        let [one, other] = [(); 2].map(|()| rng.choice(&corpus).unwrap());
        mutate(&mut rng, one, other)
    });
    for input in corpus.iter().cloned().chain(mutations) {
        let done = catch_unwind(|| check(&input));
        assert!(done.is_ok(), "{target}: {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn a_hundred_thousand_frames_mean_what_they_say() {
    try_all("frame", imserver_fuzz::frame::check, 100_000);
}

#[test]
fn of_a_hundred_thousand_tokens_only_those_rightly_signed_are_believed() {
    try_all("token", imserver_fuzz::token::check, 100_000);
}

#[test]
fn key_sets_that_can_sign_believe_what_they_signed() {
    try_all("key_set", imserver_fuzz::key_set::check, 10_000);
}

#[test]
fn rows_that_are_read_are_written_the_same() {
    try_all("row", imserver_fuzz::row::check, 50_000);
}

#[test]
fn configurations_are_within_bounds_or_name_their_faults() {
    try_all("config", imserver_fuzz::config::check, 2_000);
}

#[test]
fn requests_mean_what_they_say() {
    try_all("request", imserver_fuzz::request::check, 50_000);
}

#[test]
fn what_administrators_ask_for_is_what_they_said() {
    try_all("admin", imserver_fuzz::admin::check, 50_000);
}

#[test]
fn handshakes_let_in_one_token_at_the_most() {
    try_all("handshake", imserver_fuzz::handshake::check, 50_000);
}

#[test]
fn proxy_headers_say_what_another_reader_finds() {
    try_all("proxy_header", imserver_fuzz::proxy_header::check, 50_000);
}

#[test]
fn a_changed_audit_log_is_noticed_and_goes_on_where_it_may() {
    try_all("audit", imserver_fuzz::audit::check, 5_000);
}

#[test]
fn a_changed_backup_is_none() {
    try_all("backup", imserver_fuzz::backup::check, 20_000);
}

#[test]
fn lines_become_a_whole_store_or_nothing() {
    try_all("lines", imserver_fuzz::lines::check, 2_000);
}
