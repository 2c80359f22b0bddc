//! How large the store grows, in memory and on the disk.

use super::*;

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// sled collects its garbage at every pin, and without help it grows with the load:
/// two million messages once took 15 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_under_load_and_no_value_is_large() {
    let folder = folder();
    let (store, tail) = open_at(folder.path()).unwrap();
    drop(tail);
    let mut early = 0;
    let mut receipts = std::collections::VecDeque::new();
    for number in 0..200_000 {
        receipts.push_back(store.append(draft(number)).await.unwrap());
        if receipts.len() >= 512 {
            receipts.pop_front().unwrap().await.unwrap();
        }
        if number == 50_000 {
            early = resident();
        }
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    // 16 MB of cache, and the index of some 150,000 more messages.
    let grown = resident().saturating_sub(early) / 1024;
    assert!(grown < 150, "grown by {grown} MiB");
    let tree = store.shared.log().unwrap();
    let largest = tree.iter().map(|row| row.unwrap().1.len()).max().unwrap();
    assert!(largest < 64 * 1024, "{largest}");
    let blobs = fs::read_dir(folder.path().join("sled/blobs")).unwrap();
    assert_eq!(blobs.count(), 0, "sled put a value into a file of its own");
    drop(tree);
    store.close().await.unwrap();
}

/// A page in a file of its own is what a power cut takes, whatever is synced and when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_so_large_that_sled_gives_it_a_file() {
    let folder = folder();
    let (store, tail) = open_at(folder.path()).unwrap();
    drop(tail);
    let files = folder.path().join("sled/blobs");
    let untouched = fs::metadata(&files).unwrap().modified().unwrap();
    let mut receipts = Vec::new();
    for number in 0..400 {
        // The largest there are, and in the end such as fill a row together.
        let bytes = if number < 200 { 48 << 10 } else { 6 << 10 };
        let draft = Draft { content: "x".repeat(bytes), ..draft(number) };
        receipts.push(store.append(draft).await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(fs::metadata(&files).unwrap().modified().unwrap(), untouched);
}
