//! A disk that is full, and one that cannot be written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imserver::store::Entry;
use serde_json::Value;

use crate::support::{
    Call, Client, Forge, Mount, Setup, TestServer, Upgrade, admin, frame, store, strace, within,
};

/// Sends large messages until one is refused; how many were acknowledged.
async fn fill(client: &mut Client, to: u64, from: usize) -> usize {
    for number in from..from + 1000 {
        client.send(&frame(client.user, to, &large(number), &number.to_string())).await;
        let answer = client.next().await;
        if answer["type"] != 0 {
            assert!(answer["Describe"].as_str().unwrap().contains("store_unavailable"));
            return number;
        }
    }
    panic!("the disk never fills");
}

fn large(number: usize) -> String {
    format!("{number} {}", "x".repeat(16_000))
}

/// Waits until the server is ready again.
async fn ready_again(server: &TestServer, times: usize) {
    server.logged_times("there is room again: the store goes on", times).await;
    within("readiness", async {
        while admin(server, "/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Health, new connections and the log all tell that there is no room, and what helps.
async fn is_full(server: &TestServer) {
    let ready = admin(server, "/readyz").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(ready.body.contains("the disk is full; the store goes on by itself once"), "{ready:?}");
    assert_eq!(admin(server, "/healthz").await.status, 200);
    let upgrade = Upgrade::token(&Forge::token(3)).send(server).await;
    assert_eq!(upgrade.status, 503, "{upgrade:?}");
    server.log_says("nothing acknowledged is lost, and reading goes on").await;
}

/// Everything that was acknowledged is in the inbox, once and in order, and the ids rise.
fn holds(found: &[Arc<Entry>], acknowledged: &[usize]) {
    let numbers: Vec<usize> = found
        .iter()
        .filter_map(|entry| entry.message.content.split(' ').next().unwrap().parse().ok())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    for number in acknowledged {
        assert!(numbers.contains(number), "{number} was acknowledged and is gone");
    }
    assert!(found.is_sorted_by(|a, b| a.message.id < b.message.id));
}

#[tokio::test]
async fn once_there_is_room_again_the_same_process_goes_on() {
    let setup = Setup::new().set("limits.messages_per_second", "0");
    let data = setup.path("data");
    let Some(disk) = Mount::tmpfs(&data, "size=48m,mode=0700") else {
        return;
    };
    let server = setup.start().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let mut acknowledged: Vec<usize> = Vec::new();
    for round in 0..3 {
        let from = 1000 * round;
        let end = fill(&mut ming, 2, from).await;
        assert!(end - from > 100, "{end}");
        acknowledged.extend(from..=end);
        is_full(&server).await;
        ming.send(&frame(1, 2, "small", "1")).await;
        assert_eq!(ming.failure().await, "store_unavailable");
        // Who is connected reads on, here and in the history: nothing is missing.
        for number in from..end {
            assert_eq!(hong.message().await.1, large(number));
        }
        let page = Call::get(2, "conversations/1/messages?limit=1").send(&server).await;
        assert!(page.body.contains(&format!("\"content\":\"{} x", end - 1)), "{page:?}");
        // A little room changes nothing, and somebody else taking what is left neither.
        let rest = std::fs::File::create(data.join("somebody-elses")).unwrap();
        let _ = nix::fcntl::posix_fallocate(&rest, 0, 20 << 20);
        disk.remount(&format!("size={}m", 58 + 80 * round));
        is_full(&server).await;
        disk.remount(&format!("size={}m", 128 + 80 * round));
        std::fs::remove_file(data.join("somebody-elses")).unwrap();
        drop(rest);
        ready_again(&server, round + 1).await;
        // The packet without an answer again, as the document's client does it.
        let mut again = server.connect(1).await;
        again.send(&frame(1, 2, &large(end), &end.to_string())).await;
        assert_eq!(again.next().await, again.success(&end.to_string()));
        assert_eq!(hong.message().await.1, large(end));
        hold_back(&disk, &data);
    }
    let setup = server.stop().await;
    let store = store::open(&data);
    holds(&store::inbox(&*store, 2, false).await, &acknowledged);
    store.close().await.unwrap();
    drop((store, disk, setup));
}

/// Makes the disk so small that some hundred messages fill it.
fn hold_back(disk: &Mount, data: &Path) {
    let used = nix::sys::statvfs::statvfs(data).unwrap();
    let used = (used.blocks() - used.blocks_free()) * used.fragment_size();
    disk.remount(&format!("size={}m", (used >> 20) + 40));
}

#[tokio::test]
async fn killed_on_a_full_disk_it_starts_or_says_what_to_do() {
    let setup = Setup::new().set("limits.messages_per_second", "0");
    let data = setup.path("data");
    let Some(disk) = Mount::tmpfs(&data, "size=40m,mode=0700") else {
        return;
    };
    let server = setup.start().await;
    let mut ming = server.connect(1).await;
    let acknowledged: Vec<usize> = (0..fill(&mut ming, 2, 0).await).collect();
    is_full(&server).await;
    // As full as that it starts again, and has everything.
    let server = server.kill().start().await;
    let mut hong = server.connect(2).await;
    for number in &acknowledged {
        assert_eq!(hong.message().await.1, large(*number));
    }
    let setup = server.kill();

    // Fuller still: it either serves what is there, or says in one sentence what to do.
    let rest = std::fs::File::create(data.join("somebody-elses")).unwrap();
    for mebibytes in 0..64 {
        let _ = nix::fcntl::posix_fallocate(&rest, mebibytes << 20, 1 << 20);
    }
    match store::try_open(&data) {
        Ok(store) => {
            holds(&store::inbox(&*store, 2, false).await, &acknowledged);
            let _ = store.close().await;
        }
        Err(error) => assert!(error.to_string().contains("Make room on the disk"), "{error}"),
    }

    disk.remount("size=256m");
    let server = setup.start().await;
    server.connect(1).await.say(2, "after", "after").await;
    let setup = server.stop().await;
    let store = store::open(&data);
    let found = store::inbox(&*store, 2, false).await;
    holds(&found, &acknowledged);
    assert_eq!(found.last().unwrap().message.content, "after");
    store.close().await.unwrap();
    drop((store, disk, setup));
}

/// Sends a packet, on new connections, until it is acknowledged.
async fn insist(server: &TestServer, packet: &Value) {
    let trying = async {
        loop {
            let token = Forge::token(1);
            let path = format!("/teaching/imserver/{token}");
            if let Ok(mut client) = Client::open(server, 1, &path, &[]).await {
                client.send(packet).await;
                if client.answer().await.is_some_and(|answer| answer["type"] == 0) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("an acknowledgement", trying).await;
}

#[tokio::test]
async fn writes_that_find_no_room_are_made_good_by_the_same_process() {
    // The quota of somebody else, say: there is room by the time one looks.
    // In the journal: while room is made in it, and behind that. And in what sled writes behind it.
    for (file, full) in [("journal/a", 12), ("journal/a", 31), ("db", 3), ("db", 6)] {
        let setup = Setup::new().set("limits.messages_per_second", "0");
        // Each thread that writes meets it once.
        let fault = format!("inject=pwrite64:error=ENOSPC:when={full}");
        let written = [setup.path("data/sled").join(file)];
        let command = strace(&setup, &["trace=pwrite64", &fault], &written);
        let server = setup.start_by(command).await;
        let mut ming = server.connect(1).await;
        let end = fill(&mut ming, 2, 0).await;
        // What was not acknowledged is there or not; tried again it is there once.
        for number in end..end + 30 {
            insist(&server, &frame(1, 2, &large(number), &number.to_string())).await;
        }
        let metrics = admin(&server, "/metrics").await.body;
        assert!(!metrics.contains("imserver_store_full_total 0\n"), "{metrics}");
        assert!(metrics.contains("imserver_store_failed_total 0\n"), "{metrics}");
        let mut hong = server.connect(2).await;
        for number in 0..end + 30 {
            assert_eq!(hong.message().await.1, large(number));
        }
        // Not told to stop: one of sled's threads may meet the fault only then.
        let setup = server.kill();
        let store = store::open(&setup.path("data"));
        let acknowledged: Vec<usize> = (0..end + 30).collect();
        holds(&store::inbox(&*store, 2, false).await, &acknowledged);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_disk_is_refused_in_one_sentence() {
    let setup = Setup::new();
    let data = setup.path("data");
    let Some(disk) = Mount::tmpfs(&data, "size=6m,mode=0700") else {
        return;
    };
    for made in [false, true] {
        disk.remount("ro");
        let (code, words) = setup.start_in_vain();
        assert_eq!(code, Some(1), "made: {made}; {words}");
        let last = words.lines().last().unwrap();
        assert!(last.starts_with("imserver: the data directory "), "{words}");
        assert!(last.contains("The file system must be writable"), "{words}");
        disk.remount("rw");
        let store = store::open(&data);
        store.close().await.unwrap();
    }
}
