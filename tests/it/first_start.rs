//! A first start, and a first write, that are cut short.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Client, Setup, TestServer, V2, described, named, strace, within};

/// The system calls by which anything of a data directory is made, written, or brought to the
/// disk. strace counts each by itself: all at once, only the one that comes most often would
/// ever be the tenth.
const CALLS: [&str; 9] = [
    "openat",
    "mkdir",
    "write",
    "pwrite64",
    "ftruncate",
    "rename",
    "fsync",
    "fdatasync",
    "sync_file_range",
];

/// A server that is killed at its `step`-th `call` on one of these files.
struct Doomed {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Doomed {
    fn start(setup: &Setup, call: &str, step: usize, names: &[&str]) -> Self {
        let paths: Vec<_> = names.iter().map(|name| setup.path(name)).collect();
        let fault = format!("inject={call}:signal=KILL:when={step}");
        let mut command = strace(setup, &[&format!("trace={call}"), &fault], &paths);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Where it serves, if it comes to that.
    fn serves(&mut self) -> Option<SocketAddr> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stderr.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if line.contains("\"serving\"") {
                let line: Value = serde_json::from_str(&line).unwrap();
                return Some(line["address"].as_str().unwrap().parse().unwrap());
            }
        }
    }

    fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills the first start at its first, second, … call of each kind on the data directory
/// until one gets through, and starts on whatever each left behind.
#[tokio::test]
async fn a_first_start_cut_short_at_any_step_is_completed_by_the_next() {
    let mut setup = Setup::new();
    let names = [
        "data",
        "data/manifest.json",
        "data/manifest.json.new",
        "data/sled",
        "data/sled/conf",
        "data/sled/db",
        "data/sled/blobs",
    ];
    let mut cuts = 0;
    for call in CALLS {
        for step in 1.. {
            let data = setup.path("data");
            if data.exists() {
                fs::remove_dir_all(&data).unwrap();
            }
            let mut doomed = Doomed::start(&setup, call, step, &names);
            if doomed.serves().is_some() {
                break;
            }
            drop(doomed);
            cuts += 1;
            let server = setup.start().await;
            server.connect(1).await.say(2, "hello", "1").await;
            setup = server.kill();
        }
    }
    assert!(cuts > 20, "only {cuts} steps were found to cut at");
}

/// Does the same to the first write behind a start, which makes the journal, and to the manifest
/// that is renewed after it: what was acknowledged is there, and what was not is there once.
#[tokio::test]
async fn a_first_write_cut_short_at_any_step_keeps_its_word() {
    let server = TestServer::new().await;
    // The very first message is in the manifest before it is acknowledged, and no other one is.
    server.connect(3).await.say(4, "long ago", "1").await;
    let roots = server.roots();
    let mut setup = server.stop().await;
    let closed = setup.path("closed");
    copy(&setup.path("data"), &closed);
    // Each by itself, for strace counts the calls of every thread apart.
    let journal = ["data/sled", "data/sled/journal", "data/sled/journal/a", "data/sled/journal/b"];
    let (mut cuts, mut kept) = (0, 0);
    for (names, call) in [&journal[..], &["data/manifest.json"]]
        .into_iter()
        .flat_map(|n| CALLS.map(|call| (n, call)))
    {
        for step in 1.. {
            fs::remove_dir_all(setup.path("data")).unwrap();
            copy(&closed, &setup.path("data"));
            let mut doomed = Doomed::start(&setup, call, step, names);
            let told = match doomed.serves() {
                Some(address) => first_write((address, roots.clone())).await,
                None => None,
            };
            if told.is_some() && is_renewed(&setup, &mut doomed).await {
                break;
            }
            assert!(told.is_some() || within_a_moment(&mut doomed).await, "{call} {step}: silent");
            drop(doomed);
            cuts += 1;
            kept += usize::from(told.is_some());
            let server = setup.start().await;
            let mut ming = V2::of(&server, 1).quiet().await;
            ming.send(&named(1, 2, "first", "name", true)).await;
            let answer = ming.next().await;
            assert_eq!(answer["type"], 0, "{call} {step}: {answer}");
            let id = described(&answer)["messageId"].clone();
            assert!(told.is_none_or(|told| told == id), "{call} {step}: {answer}");
            let mut hong = server.connect(2).await;
            assert_eq!(hong.message().await.1, "first", "{call} {step}");
            hong.nothing_came().await;
            setup = server.kill();
        }
    }
    assert!(cuts > 8 && kept > 0, "only {cuts} steps were found to cut at, {kept} behind success");
}

/// Sends a message: the id that it is told to have, if there is time for that.
async fn first_write(
    reached_at: (SocketAddr, std::sync::Arc<rustls::RootCertStore>),
) -> Option<Value> {
    let mut ming = Client::reach(reached_at, 1, 0).await?;
    ming.send_into_the_blue(&named(1, 2, "first", "name", false)).await;
    loop {
        let frame = ming.answer().await?;
        match frame["type"].as_u64() {
            Some(6) => {}
            Some(0) => return Some(described(&frame)["messageId"].clone()),
            _ => panic!("{frame}"),
        }
    }
}

/// Waits until the manifest knows of the message, or the server is killed before.
async fn is_renewed(setup: &Setup, doomed: &mut Doomed) -> bool {
    let manifest = setup.path("data/manifest.json");
    within("the manifest or the end", async {
        loop {
            if doomed.is_dead() {
                return false;
            }
            if fs::read_to_string(&manifest).is_ok_and(|text| text.contains("\"last_id\":2,")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Waits for the end of a server that gave no answer.
async fn within_a_moment(doomed: &mut Doomed) -> bool {
    within("the end", async {
        while !doomed.is_dead() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    })
    .await
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}
