//! The power goes at all NATS servers at once: what they had not brought to their disks is
//! gone. Each keeps what it stores on an ext4 of its own.

use super::faults::{Rig, SOME};
use super::load::Load;
use super::operating;
use crate::nats::Cluster;
use crate::support::{Mount, Nodes};

/// A cluster on disks whose power can be cut.
fn on_disks(cluster: &Cluster) -> Option<Vec<Mount>> {
    let place = cluster.place();
    let disk = |server| {
        let image = place.file(&format!("disk-{server}.img"));
        Mount::ext4(&image, &place.store(server), 96 << 20)
    };
    (0..3).map(disk).collect()
}

/// Cuts the power of all servers and starts them on what is left.
///
/// They are held before: an ext4 that is shut down may call a sync done whose transaction it has
/// just dropped, and a server that was still there would acknowledge by it.
fn cut(cluster: &mut Cluster, disks: &[Mount]) {
    for server in 0..3 {
        cluster.signal(server, "STOP");
    }
    for disk in disks {
        disk.cut_power();
    }
    for server in 0..3 {
        cluster.kill(server);
    }
    for disk in disks {
        disk.mount_again();
    }
    cluster.run_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_all_servers_loses_nothing() {
    let cluster = Cluster::prepare();
    let Some(disks) = on_disks(&cluster) else { return };
    let mut rig = Rig::on(cluster.begin(), 3).await;
    cut(&mut rig.cluster, &disks);
    rig.settle().await;
    drop(disks);
}

/// A server goes on although its disk takes nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_under_a_leader_loses_nothing() {
    let cluster = Cluster::prepare();
    let Some(disks) = on_disks(&cluster) else { return };
    let mut rig = Rig::on(cluster.begin(), 3).await;
    let (leader, _) = rig.leader_and_follower();
    disks[leader].cut_power();
    rig.load.goes_on(SOME).await;
    // Whoever looks sees that one is missing.
    let fewer = |found: &[(String, f64)]| found.iter().any(|(_, copies)| *copies == 2.0);
    operating::until(rig.load.node(0), "stream_copies{", fewer).await;
    assert!(!rig.cluster.place().is_healthy(leader));
    rig.cluster.kill(leader);
    disks[leader].mount_again();
    rig.cluster.run_all();
    rig.settle().await;
    drop(disks);
}

/// Why `store.jetstream.synced` is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_servers_own_sync_interval_it_loses_what_was_acknowledged() {
    let cluster = Cluster::prepare();
    let Some(disks) = on_disks(&cluster) else { return };
    cluster.place().reconfigure("sync_interval: always", "");
    let mut cluster = cluster.begin();
    let nodes = Nodes::on(cluster.place());
    let load = Load::begin([nodes.start().await]);
    load.goes_on(SOME).await;
    cut(&mut cluster, &disks);
    // With the streams gone, one that may make them anew is not told.
    let lost = load.lost(&nodes.start().await).await;
    eprintln!("{lost} acknowledged messages are lost");
    assert!(lost > 0, "nothing is lost although nothing is synced: the rig is broken");
    drop((disks, cluster));
}
