//! Servers that are slow or have no room, and everything restarted under load.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::faults::{BACK, Rig};
use crate::nats::{Cluster, Dismissal};
use crate::support::Mount;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_is_left_out_and_comes_back() {
    let cluster = Cluster::prepare();
    let mut disks = Vec::new();
    for server in 0..3 {
        let Some(disk) = Mount::tmpfs(&cluster.place().store(server), "size=64m") else { return };
        disks.push(disk);
    }
    let mut rig = Rig::on(cluster.begin(), 1).await;
    // First one that follows, then one that leads.
    for leads in [false, true] {
        let (leader, follower) = rig.leader_and_follower();
        let server = if leads { leader } else { follower };
        let before = rig.before(server);
        let filling = rig.cluster.place().store(server).join("somebody-elses");
        fill(&filling);
        rig.cluster.wait_for_log(server, "will be DISABLED");
        // It does not hand over what it leads.
        match leads {
            true => rig.survives(before).await,
            false => rig.goes_on_within(BACK, before.at).await,
        }
        // Room alone does not bring it back.
        std::fs::remove_file(filling).unwrap();
        rig.cluster.kill(server);
        rig.cluster.run(server);
        rig.cluster.wait();
    }
    rig.settle().await;
    drop(disks);
}

/// Takes all the room that there is.
fn fill(path: &std::path::Path) {
    let file = File::create(path).unwrap();
    for at in (0..i64::MAX).step_by(64 << 10) {
        if nix::fcntl::posix_fallocate(&file, at, 64 << 10).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_delays_and_loses_nothing() {
    let rig = Rig::new().await;
    let (leader, follower) = rig.leader_and_follower();
    // The others are a majority without it; what a leader sends out waits for it.
    for (server, limit) in [(follower, BACK), (leader, 2 * BACK)] {
        let (since, over) = (Instant::now(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    // One fifth of the time.
                    for (signal, time) in [("STOP", 200), ("CONT", 50)] {
                        rig.cluster.signal(server, signal);
                        std::thread::sleep(Duration::from_millis(time));
                    }
                }
            });
            let goes_on = rig.goes_on_within(limit, since);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(goes_on));
            over.store(true, Ordering::Release);
        });
    }
    rig.cluster.wait();
    rig.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_restarted_one_by_one_and_nobody_waits() {
    let mut rig = Rig::of_three_partitions().await;
    let mut gaps = Vec::new();
    for server in 0..3 {
        let since = Instant::now();
        rig.cluster.dismiss(server, Dismissal::LameDuck);
        rig.cluster.wait_for_end(server);
        rig.cluster.run(server);
        rig.cluster.wait();
        gaps.push(rig.gap(since).await);
    }
    for node in 0..rig.load.nodes() {
        let since = Instant::now();
        rig.load.restart(node).await;
        gaps.push(rig.gap(since).await);
    }
    rig.handed_over(gaps);
    rig.settle().await;
}
