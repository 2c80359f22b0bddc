//! A first start that is cut short.

use std::process::Stdio;

use crate::support::{Setup, strace};

/// Kills the first start at its first, second, … system call on the data directory
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
    for step in 1.. {
        let data = setup.path("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        let paths: Vec<_> = names.iter().map(|name| setup.path(name)).collect();
        let calls = "openat,mkdir,write,pwrite64,ftruncate,rename,fsync,fdatasync,sync_file_range";
        let fault = format!("inject={calls}:signal=KILL:when={step}");
        let mut command = strace(&setup, &[&format!("trace={calls}"), &fault], &paths);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut words = String::new();
        let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let serves = loop {
            words.clear();
            if std::io::BufRead::read_line(&mut stderr, &mut words).unwrap() == 0 {
                break false;
            }
            if words.contains("\"serving\"") {
                break true;
            }
        };
        let _ = child.kill();
        child.wait().unwrap();
        if serves {
            break;
        }
        cuts += 1;
        let server = setup.start().await;
        server.connect(1).await.say(2, "hello", "1").await;
        setup = server.kill();
    }
    assert!(cuts > 10, "only {cuts} steps were found to cut at");
}
