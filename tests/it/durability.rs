//! Success means durable: what happens when the disk is slow, and when it fails.

use std::time::{Duration, Instant};

use crate::support::{Client, Forge, TestServer};
use crate::support::{Setup, Upgrade, admin, frame, store, strace, within};

/// The first syncs succeed, this one and all after it fail.
const FAILS: usize = 6;

#[tokio::test]
async fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let setup = Setup::new();
    let fault = format!("inject=fdatasync:error=EIO:when={FAILS}+");
    let command = strace(&setup, &["trace=fdatasync", &fault], &[]);
    let server = setup.start_by(command).await;
    let mut ming = server.connect(1).await;
    let mut hong = server.connect(2).await;
    let mut acknowledged = 0;
    let failed = loop {
        let text = format!("message {acknowledged}");
        ming.send(&frame(1, 2, &text, &acknowledged.to_string())).await;
        let answer = ming.next().await;
        if answer["type"] != 0 {
            break answer;
        }
        assert_eq!(answer, ming.success(&acknowledged.to_string()));
        acknowledged += 1;
        assert!(acknowledged < FAILS, "acknowledged without a sync");
    };
    // Every success had a sync of its own; the manifest takes one now and then.
    assert!(acknowledged > 0, "{}", server.log());
    assert_eq!(failed["timestamp"], acknowledged.to_string());
    assert!(failed["Describe"].as_str().unwrap().contains("store_unavailable"));

    // The same packet again, another one, a mark: nothing is promised any more.
    for text in [format!("message {acknowledged}"), "another".to_owned()] {
        ming.send(&frame(1, 2, &text, &acknowledged.to_string())).await;
        assert_eq!(ming.failure().await, "store_unavailable");
    }
    for number in 0..acknowledged {
        assert_eq!(hong.message().await.1, format!("message {number}"));
    }
    // What was not acknowledged was not shown either: the next thing that comes is an answer.
    hong.send(&frame(2, 1, "is anything there?", "probe")).await;
    assert_eq!(hong.failure().await, "store_unavailable");

    says_so(&server).await;
    let setup = server.kill().start().await.stop().await;
    let store = store::open(&setup.path("data"));
    let found = store::inbox(&*store, 2, false).await;
    // The ones that failed were perhaps written: none was written twice.
    assert!((acknowledged..=acknowledged + 2).contains(&found.len()));
    for (number, entry) in found.iter().take(acknowledged).enumerate() {
        assert_eq!(entry.message.content, format!("message {number}"));
    }
}

/// Health, new connections and the log all tell of a store that has stopped.
pub async fn says_so(server: &TestServer) {
    let ready = admin(server, "/readyz").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(admin(server, "/healthz").await.status, 200);
    let upgrade = Upgrade::token(&Forge::token(3)).send(server).await;
    assert_eq!(upgrade.status, 503, "{upgrade:?}");
    assert!(upgrade.header("retry-after").is_some());
    server.log_says("Free the disk or mend it, then restart imserver").await;
}

#[tokio::test]
async fn success_waits_for_the_disk() {
    const DELAY: Duration = Duration::from_millis(900);
    let setup = Setup::new();
    let fault = format!("inject=fdatasync:delay_enter={}", DELAY.as_micros());
    let command = strace(&setup, &["trace=fdatasync", &fault], &[]);
    let server = setup.start_by(command).await;
    let mut ming = server.connect(1).await;
    let mut hong = server.connect(2).await;
    for number in ["1", "2"] {
        let began = Instant::now();
        ming.send(&frame(1, 2, "slowly", number)).await;
        let (answer, message) =
            tokio::join!(async { (ming.next().await, began.elapsed()) }, async {
                (hong.message().await, began.elapsed())
            },);
        assert_eq!(answer.0, ming.success(number));
        assert!(answer.1 >= DELAY, "acknowledged after {:?}", answer.1);
        assert!(message.1 >= DELAY, "delivered after {:?}", message.1);
    }
}

/// A message of some length, so that sled has something to write soon.
fn message(number: usize) -> String {
    format!("message {number} {}", "…".repeat(2_000))
}

/// Sends messages until one is refused, or `most`; how many were acknowledged.
async fn acknowledged(client: &mut Client, most: usize) -> usize {
    for number in 0..most {
        client.send(&frame(1, 2, &message(number), &number.to_string())).await;
        let answer = client.answer().await;
        if answer.is_none_or(|answer| answer["type"] != 0) {
            return number;
        }
    }
    most
}

#[tokio::test]
async fn after_a_failed_write_nothing_more_is_acknowledged() {
    // In the journal: while room is made in it, and behind that. And in what sled writes behind it.
    for (file, failing) in [("journal/a", 3), ("journal/a", 40), ("db", 3), ("db", 6)] {
        let setup = Setup::new().set("limits.messages_per_second", "0");
        let fault = format!("inject=pwrite64:error=EIO:when={failing}+");
        let written = [setup.path("data/sled").join(file)];
        let command = strace(&setup, &["trace=pwrite64", &fault], &written);
        let server = setup.start_by(command).await;
        let mut ming = server.connect(1).await;
        let count = acknowledged(&mut ming, 1000).await;
        assert!(count < 1000, "acknowledged without a write");
        says_so(&server).await;
        let setup = server.kill().start().await.stop().await;
        let store = store::open(&setup.path("data"));
        let found = store::inbox(&*store, 2, false).await;
        assert!((count..=count + 1).contains(&found.len()), "{count}, {}", found.len());
        for (number, entry) in found.iter().enumerate() {
            assert_eq!(entry.message.content, message(number));
        }
    }
}

#[tokio::test]
async fn a_disk_that_lies_about_a_write_is_found_out_at_the_next_start() {
    let mut found_out = 0;
    // The first of them matters to nobody, for it makes room, and the second is made good by what
    // sled has by then.
    let lies = [("journal/a", 5), ("journal/a", 20), ("journal/a", 72), ("db", 3), ("db", 5)];
    for (file, lie) in lies {
        let setup = Setup::new().set("limits.messages_per_second", "0");
        // It says that three bytes were written, and wrote none.
        let fault = format!("inject=pwrite64:retval=3:when={lie}");
        let written = [setup.path("data/sled").join(file)];
        let command = strace(&setup, &["trace=pwrite64", &fault], &written);
        let server = setup.start_by(command).await;
        let count = acknowledged(&mut server.connect(1).await, 60).await;
        // The manifest, which is renewed once a second, says how much must be there.
        let manifest = server.setup().path("data/manifest.json");
        let last = format!("\"last_id\":{count},");
        within("the manifest", async {
            while !std::fs::read_to_string(&manifest).unwrap().contains(&last) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let setup = server.kill();
        match store::try_open(&setup.path("data")) {
            Ok(store) => {
                let found = store::inbox(&*store, 2, false).await;
                assert!(found.len() >= count, "{} of {count}, and not a word", found.len());
                store.close().await.unwrap();
            }
            Err(error) => {
                assert!(error.to_string().contains("restore the newest backup"), "{error}");
                found_out += 1;
            }
        }
    }
    assert!(found_out > 0, "no lie was told where it mattered");
}

#[tokio::test]
async fn after_a_kill_the_start_reads_what_is_on_the_disk_and_not_what_the_system_remembers() {
    let server = TestServer::new().await;
    server.connect(1).await.say(2, "kept", "1").await;
    let setup = server.kill();
    let calls = ["trace=openat,fsync,fadvise64,copy_file_range,sendfile,read,pread64"];
    let server = {
        let command = strace(&setup, &calls, &[setup.path("data/sled/db")]);
        setup.start_by(command).await
    };
    assert_eq!(server.connect(2).await.message().await.1, "kept");
    let setup = server.kill();
    let traced = std::fs::read_to_string(setup.path("strace.txt")).unwrap();
    let at = |call: &str| traced.lines().position(|line| line.contains(call));
    let (synced, dropped) = (at("fsync(").unwrap(), at("POSIX_FADV_DONTNEED").unwrap());
    assert!(synced < dropped, "{traced}");
    for read in [" read(", "pread64(", "copy_file_range(", "sendfile("] {
        assert!(at(read).is_none_or(|read| dropped < read), "{traced}");
    }
}
