//! A disk that is full, and one that cannot be written.

use std::path::Path;
use std::process::Command;

use crate::durability::says_so;
use crate::support::{Setup, frame, store};

/// A small file system of its own, unmounted at the end.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// Mounts one, or says loudly that it cannot: that needs root and the permission
    /// to mount, which a container often has not.
    fn new(at: &'a Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        if mount(at, options) {
            return Some(Self(at));
        }
        eprintln!(
            "\n*** NOT TESTED: no file system can be mounted here, so nobody checked what \
             happens on a full or read-only disk. Run as root, with permission to mount. ***\n"
        );
        None
    }

    fn remount(&self, options: &str) {
        assert!(mount(self.0, &format!("remount,{options}")));
    }
}

fn mount(at: &Path, options: &str) -> bool {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
    command.output().is_ok_and(|output| output.status.success())
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let setup = Setup::new().set("limits.messages_per_second", "0");
    let data = setup.path("data");
    let Some(disk) = Mount::new(&data, "size=6m,mode=0700") else {
        return;
    };
    let server = setup.start().await;
    let mut ming = server.connect(1).await;
    let large = "x".repeat(16_000);
    let mut acknowledged = 0;
    loop {
        let packet = frame(1, 2, &format!("{acknowledged} {large}"), &acknowledged.to_string());
        ming.send(&packet).await;
        let answer = ming.next().await;
        if answer["type"] != 0 {
            assert!(answer["Describe"].as_str().unwrap().contains("store_unavailable"));
            break;
        }
        acknowledged += 1;
        assert!(acknowledged < 1000, "the disk never fills");
    }
    assert!(acknowledged > 100);
    ming.send(&frame(1, 2, "small", "1")).await;
    assert_eq!(ming.failure().await, "store_unavailable");
    // Reading goes on.
    says_so(&server).await;
    let setup = server.kill();

    // Still full: it either serves what is there, or says in one sentence what to do.
    match store::try_open(&data) {
        Ok(store) => {
            assert!(store::inbox(&*store, 2, false).await.len() >= acknowledged);
            let _ = store.close().await;
        }
        Err(error) => assert!(error.to_string().contains("Make room on the disk"), "{error}"),
    }

    disk.remount("size=64m");
    let server = setup.start().await;
    server.connect(1).await.say(2, "after", "after").await;
    let setup = server.stop().await;
    let store = store::open(&data);
    let found = store::inbox(&*store, 2, false).await;
    for (number, entry) in found.iter().take(acknowledged).enumerate() {
        assert_eq!(entry.message.content, format!("{number} {large}"));
    }
    assert_eq!(found.last().unwrap().message.content, "after");
    store.close().await.unwrap();
    drop((store, disk, setup));
}

#[tokio::test]
async fn a_read_only_disk_is_refused_in_one_sentence() {
    let setup = Setup::new();
    let data = setup.path("data");
    let Some(disk) = Mount::new(&data, "size=6m,mode=0700") else {
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
