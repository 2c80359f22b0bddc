//! The rooms of the house: who may use whom, and which library lives where.
//!
//! Reads the `use` lines of `src/` and fails with the sentence that was broken.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, as it should"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down: a room may use those that stand below it.
const ROOMS: [&[&str]; 10] = [
    &["main", "lib"],
    &["cli"],
    &["server", "torture"],
    &["admin"],
    &["session"],
    &["hub"],
    &["store"],
    &["protocol"],
    &["auth", "certificate"],
    SMALL,
];

/// Small things that all may use, and that may use each other.
const SMALL: &[&str] = &[
    "config",
    "digest",
    "epoch",
    "https",
    "ids",
    "message",
    "metrics",
    "secret_file",
    "telemetry",
    "ticks",
];

/// Each of these libraries has one home.
const HOMES: [(&str, &[&str]); 23] = [
    ("async_nats", &["store/jetstream"]),
    ("listenfd", &["server"]),
    ("sd_notify", &["server"]),
    ("warp", &["server"]),
    ("hyper", &["server", "https"]),
    ("hyper_util", &["server", "https"]),
    ("tokio_tungstenite", &["server", "torture/wire"]),
    ("tokio_rustls", &["server", "https", "torture/wire", "torture/place"]),
    (
        "rustls",
        &[
            "server",
            "certificate",
            "https",
            "store/jetstream/connect",
            "torture/wire",
            "torture/place",
            "main",
        ],
    ),
    ("rustls_native_certs", &["https", "store/jetstream/connect"]),
    ("rcgen", &["certificate"]),
    ("sled", &["store/sled"]),
    ("crossbeam_epoch", &["store/sled"]),
    ("jsonwebtoken", &["auth"]),
    ("pkcs1", &["auth"]),
    ("pkcs8", &["auth"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli", "main"]),
    ("toml_edit", &["config"]),
    ("prometheus_client", &["metrics", "server"]),
    ("tikv_jemallocator", &["main"]),
    ("tracing_subscriber", &["telemetry"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

/// Every file of `src/` by its path there, with its code but not its comments and tests.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    sources(&root)
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().display().to_string(), path))
        .filter(|(name, _)| !is_test(name))
        .map(|(name, path)| {
            let text = fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            (name, code.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn room(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

fn storey(room: &str) -> usize {
    let found = ROOMS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("`{room}` has no place in the house: give it one in ROOMS"))
}

/// The words that follow `before` in `code`, up to the next sign.
fn words_after<'a>(code: &'a str, before: &str) -> impl Iterator<Item = &'a str> {
    code.match_indices(before).map(move |(at, _)| {
        let rest = &code[at + before.len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
    })
}

#[test]
fn a_room_uses_only_those_below_it() {
    let mut broken = Vec::new();
    for (name, code) in code() {
        let here = room(&name);
        for used in words_after(&code, "crate::").filter(|used| !used.is_empty()) {
            let sibling = SMALL.contains(&here) && SMALL.contains(&used);
            if used != here && storey(used) <= storey(here) && !sibling {
                broken.push(format!("{name} uses `{used}`, which does not stand below `{here}`"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn store_and_protocol_do_not_know_each_other() {
    for (name, code) in code() {
        let other = match room(&name) {
            "store" => "protocol",
            "protocol" => "store",
            _ => continue,
        };
        let knows = words_after(&code, "crate::").any(|used| used == other);
        assert!(!knows, "{name} knows `{other}`; the session translates between the two");
    }
}

#[test]
fn a_library_lives_in_its_room() {
    let mut broken = Vec::new();
    for (name, code) in code() {
        for (library, homes) in HOMES {
            let path = format!("{library}::");
            let used = code.match_indices(&path).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            // Within a file a room of ours may go by the same name.
            let is_room = code.lines().any(|line| {
                line.starts_with("use crate::")
                    && (line.contains(&format!("::{library}::{{self"))
                        || line.ends_with(&format!("::{library};")))
            });
            let used = used && !is_room;
            let at_home = homes.iter().any(|home| name.starts_with(home));
            if used && !at_home {
                broken.push(format!("{name} uses {library}, which lives in {}", homes.join(", ")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    for (name, code) in code().into_iter().filter(|(name, _)| room(name) != "cli") {
        for printer in ["println!", "print!", "io::stdout", "dbg!"] {
            assert!(!code.contains(printer), "{name} has {printer}; only `cli` prints");
        }
    }
}
