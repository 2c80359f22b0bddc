//! What a node asks the NATS servers for, when somebody reads.

use crate::nats;
use crate::support::Nodes;

const SIZE: usize = 16_000;

/// How many times as much as was unread a node reads for who connects, where so many have sent so
/// many large messages each.
async fn read_for(senders: u64, messages: usize) -> f64 {
    let place = nats::shared();
    let nodes = Nodes::on(&place);
    let node = nodes.start().await;
    let large = "x".repeat(SIZE);
    for sender in 11..11 + senders {
        let mut ming = node.connect(sender).await;
        for number in 0..messages {
            ming.say(2, &format!("{sender} {number} {large}"), &number.to_string()).await;
        }
    }
    let (mut ming, mut li) = (node.connect(1).await, node.connect(3).await);
    // What the node hears of all that is over, once it has told the last of it.
    ming.say(3, "that is all", "all").await;
    assert_eq!(li.message().await.1, "that is all");
    let before = place.sent_to(nodes.prefix());
    let unread = senders as usize * messages * SIZE;
    assert!(before > unread as u64, "the node has heard of them: {before}");

    let mut hong = node.connect(2).await;
    for sender in 11..11 + senders {
        for number in 0..messages {
            let came = hong.message().await.1;
            assert!(came.starts_with(&format!("{sender} {number} x")), "{sender} {number}");
        }
    }
    let read = place.sent_to(nodes.prefix()) - before;
    eprintln!("{read} bytes for {unread}, of {senders} senders");
    read as f64 / unread as f64
}

#[tokio::test]
async fn large_messages_are_not_read_again_for_every_page() {
    // A page takes five of them, and the newest of all comes along with each.
    let times = read_for(1, 64).await;
    assert!(times < 2.0, "{times}");
}

#[tokio::test]
async fn the_newest_messages_of_all_senders_are_read_once_and_not_for_every_page() {
    let times = read_for(16, 4).await;
    assert!(times < 2.0, "{times}");
}
