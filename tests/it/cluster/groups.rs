//! What waits together is written together: all of it or none, and then apart.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;

use crate::nats::{self, Cluster};
use crate::support::{Client, Nodes, V2, described, frame, named};

/// The ids of so many messages by their names, from the answers to them. What other devices
/// of theirs have sent may come between.
async fn ids(client: &mut Client, count: usize) -> BTreeMap<String, u64> {
    let mut ids = BTreeMap::new();
    while ids.len() < count {
        let answer = client.next().await;
        if answer["type"] == 2 {
            continue;
        }
        assert_eq!(answer["type"], 0, "{answer}");
        let said = described(&answer);
        let text = |key: &str| said[key].as_str().unwrap().to_owned();
        let before = ids.insert(text("clientMsgId"), text("messageId").parse().unwrap());
        assert_eq!(before, None, "answered twice: {answer}");
    }
    ids
}

/// Sends a packet until it is stored: servers that were away, or came just now, may be too slow for a
/// first try.
async fn until_stored(client: &mut Client, packet: &Value) {
    loop {
        client.send(packet).await;
        let answer = client.next().await;
        if answer["type"] == 0 {
            return;
        }
        assert_eq!(described(&answer)["code"], "store_unavailable", "{answer}");
    }
}

#[tokio::test]
async fn what_one_user_sends_on_two_nodes_at_once_is_stored_once_in_the_order_of_each() {
    const EACH: usize = 80;
    let [a, b, c] = Nodes::on(&nats::shared()).three().await;
    let mut readers = [c.connect(8).await, c.connect(9).await];
    let senders = [&a, &b].into_iter().zip(["a", "b"]).map(|(node, name)| async move {
        let mut client = node.connect(1).await;
        for number in 0..EACH {
            // Both nodes write to the same two pairs, and get in each other's way.
            let (to, text) = (8 + number as u64 % 2, format!("{name} {number}"));
            client.send(&frame(1, to, &text, &text)).await;
        }
        let mut answers = Vec::new();
        for _ in 0..EACH {
            answers.push(client.next().await);
        }
        let expected = |number| client.success(&format!("{name} {number}"));
        assert_eq!(answers, (0..EACH).map(expected).collect::<Vec<_>>());
    });
    join_all(senders).await;
    for (at, reader) in readers.iter_mut().enumerate() {
        let mut shown = Vec::new();
        for _ in 0..EACH {
            shown.push(reader.message().await);
        }
        assert!(shown.is_sorted_by(|one, other| one.0 < other.0));
        for name in ["a", "b"] {
            let of_one = shown.iter().filter(|(_, text)| text.starts_with(name));
            let expected = (at..EACH).step_by(2).map(|number| format!("{name} {number}"));
            assert!(of_one.map(|(_, text)| text.clone()).eq(expected), "{shown:?}");
        }
        reader.nothing_came().await;
    }
}

#[tokio::test]
async fn resends_among_new_messages_are_the_same_messages_and_hold_none_of_them_up() {
    const EACH: usize = 60;
    let [a, b, c] = Nodes::on(&nats::shared()).three().await;
    let mut reader = c.connect(2).await;
    let mut first = V2::of(&a, 1).quiet().await;
    let packet = |number: usize, kind: &str| {
        let name = format!("{kind}-{number}");
        named(1, 2 + number as u64 % 3, &name, &name, false)
    };
    for number in 0..EACH {
        first.send(&packet(number, "old")).await;
    }
    let stored = ids(&mut first, EACH).await;
    // The other node knows nothing of them but what the streams say.
    let mut second = V2::of(&b, 1).quiet().await;
    for number in 0..EACH {
        second.send(&packet(number, "old")).await;
        second.send(&packet(number, "new")).await;
    }
    let answered = ids(&mut second, 2 * EACH).await;
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        answered.into_iter().partition(|(name, _)| name.starts_with("old"));
    assert_eq!(old, stored);
    assert_eq!(new.len(), EACH);
    let mut shown = Vec::new();
    for _ in 0..2 * EACH / 3 {
        shown.push(reader.message().await);
    }
    assert!(shown.is_sorted_by(|one, other| one.0 < other.0));
    let of = |kind: &'static str| (0..EACH).step_by(3).map(move |at| format!("{kind}-{at}"));
    assert!(shown.iter().map(|(_, text)| text.clone()).eq(of("old").chain(of("new"))), "{shown:?}");
    reader.nothing_came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_ends_while_no_server_answers_and_what_was_under_way_is_stored_once() {
    // As many as one connection may have on their way, from each of some.
    const EACH: usize = 32;
    const SENDERS: u64 = 8;
    const READER: u64 = 100;
    let cluster = Cluster::start();
    let nodes = Nodes::on(cluster.place());
    let node = nodes.start().await;
    let packet = |user, number, again| {
        let name = format!("{user}-{number}");
        named(user, READER, &name, &name, again)
    };
    let mut clients = Vec::new();
    for user in 1..=SENDERS {
        let mut client = V2::of(&node, user).quiet().await;
        until_stored(&mut client, &packet(user, 0, true)).await;
        clients.push(client);
    }
    // None of them says anything any more, which is seen only after some seconds.
    (0..3).for_each(|server| cluster.signal(server, "STOP"));
    // What comes behind it waits until this one is given up, and used to get as much time again.
    clients[0].send(&packet(1, 1, false)).await;
    node.log_says("writing again").await;
    let refused = (1..).zip(&mut clients).map(|(user, client)| async move {
        for number in 1 + usize::from(user == 1)..=EACH {
            client.send(&packet(user, number, false)).await;
        }
        for _ in 0..EACH {
            assert_eq!(client.failure().await, "store_unavailable");
        }
    });
    join_all(refused).await;
    node.stop().await;
    (0..3).for_each(|server| cluster.signal(server, "CONT"));
    cluster.wait();
    let fresh = nodes.start().await;
    let again = (1..=SENDERS).map(|user| {
        let fresh = &fresh;
        async move {
            let mut client = V2::of(fresh, user).quiet().await;
            for number in 1..=EACH {
                until_stored(&mut client, &packet(user, number, true)).await;
            }
        }
    });
    join_all(again).await;
    let (_, messages, _) = V2::of(&fresh, READER).replayed().await;
    let shown: Vec<&str> =
        messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
    for user in 1..=SENDERS {
        let of_one = shown.iter().filter(|text| text.starts_with(&format!("{user}-")));
        let expected = (0..=EACH).map(|number| format!("{user}-{number}"));
        assert!(of_one.copied().eq(expected), "{shown:?}");
    }
}
