//! More NATS servers than before, and more of them that keep each message.

use super::faults::{KILLED, Rig, SOME};
use super::operating::{run_to_its_end as run, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_grow_to_five_under_load_and_then_bear_the_loss_of_two() {
    let mut rig = Rig::new().await;
    let tool = rig.nodes.setup().set("store.jetstream.create", "false");
    let tool = tool.set("store.jetstream.replicas", "5");
    // There are not so many yet, and nothing was changed for that.
    let (code, _, why) = run(&tool, &["cluster", "create"]).await;
    assert!(code == 1 && why.contains("cannot be kept by 5 servers"), "{code:?} {why}");
    rig.cluster.grow(2);
    let (code, _, why) = run(&tool, &["cluster", "check"]).await;
    let sentence =
        "is kept by 3 servers, and store.jetstream.replicas is 5: `imserver cluster create`";
    assert!(code == 1 && why.contains(sentence), "{code:?} {why}");

    let (code, said, why) = run(&tool, &["cluster", "create", "--wait", "1m"]).await;
    assert_eq!(code, 0, "{said}{why}");
    let prefix = rig.nodes.prefix();
    let all = ["msg-0", "rd-0", "profiles", "revoked", "tickets", "audit"]
        .map(|name| format!("{prefix}-{name}"));
    assert_eq!(said.trim(), format!("kept by 5 servers from now on: {}", all.join(", ")));
    let (code, again, _) = run(&tool, &["cluster", "create"]).await;
    assert!(code == 0 && again.contains("nothing was changed"), "{again}");
    let (code, can, why) = run(&tool, &["cluster", "check"]).await;
    assert!(code == 0 && can.contains("a node can serve"), "{can}{why}");
    rig.load.goes_on(SOME).await;
    // A node that asks for three sees that there should be five, and are.
    let node = rig.nodes.start().await;
    for name in ["stream_copies_wanted{", "stream_copies{"] {
        until(&node, name, |found| found.iter().all(|(_, copies)| *copies == 5.0)).await;
    }

    // One that leads and one that follows: the others are a majority of five.
    let leader = rig.cluster.leader(&rig.streams()[0]).unwrap();
    let before = rig.before(leader);
    for server in [leader, (leader + 1) % 5] {
        rig.cluster.kill(server);
    }
    before.survived(&rig.cluster, &rig.load, KILLED).await;
    rig.settle().await;
}
