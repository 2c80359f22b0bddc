//! What a node asks the NATS servers for, when somebody reads.

use crate::nats;
use crate::support::Nodes;

#[tokio::test]
async fn large_messages_are_not_read_again_for_every_page() {
    const UNREAD: usize = 64;
    const SIZE: usize = 16_000;
    let place = nats::shared();
    let nodes = Nodes::on(&place);
    let node = nodes.start().await;
    let (mut ming, mut li) = (node.connect(1).await, node.connect(3).await);
    let large = "x".repeat(SIZE);
    for number in 0..UNREAD {
        ming.say(2, &format!("{number} {large}"), &number.to_string()).await;
    }
    // What the node hears of all that is over, once it has told the last of it.
    ming.say(3, "that is all", "all").await;
    assert_eq!(li.message().await.1, "that is all");
    let before = place.sent_to(nodes.prefix());
    assert!(before > (UNREAD * SIZE) as u64, "the node has heard of them: {before}");

    let mut hong = node.connect(2).await;
    for number in 0..UNREAD {
        assert!(hong.message().await.1.starts_with(&format!("{number} x")), "{number}");
    }
    // A page takes five of them, and the newest of the sender comes along with each.
    let read = place.sent_to(nodes.prefix()) - before;
    eprintln!("{read} bytes for {UNREAD} messages of {SIZE}");
    assert!(read < 4 * (UNREAD * SIZE) as u64, "{read} bytes");
}
