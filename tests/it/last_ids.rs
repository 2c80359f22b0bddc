//! The last message ids below 2^53: given to the letter, and none after them.

use imserver::ids::ID_END;
use imserver::store::sled::fuzzing::seal;

use crate::support::{Setup, TestServer, admin, frame, mark_read};

/// A number as the rows of the store hold it.
fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Lets an empty store go on behind `last`, as if the ids up to it had been skipped.
fn skip(setup: &Setup, last: u64) {
    let path = setup.path("data").join("sled");
    let db = sled::Config::new().path(path).segment_size(4 << 20).open().unwrap();
    let body = [vec![1], number(last), number(last)].concat();
    db.insert(b"K", seal(b"K", &body)).unwrap();
    db.flush().unwrap();
}

/// Asserts what operators are told of the ids that are given.
async fn told(server: &TestServer, newest: u64) {
    let metrics = admin(server, "/metrics").await.body;
    assert!(metrics.contains(&format!("imserver_newest_message_id {newest}\n")), "{metrics}");
}

#[tokio::test]
async fn the_last_ids_are_given_exactly_and_none_is_given_twice() {
    let setup = TestServer::new().await.stop().await;
    skip(&setup, ID_END - 3);
    let server = setup.start().await;
    told(&server, ID_END - 3).await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    for (content, id) in [("the last but one", ID_END - 2), ("the last", ID_END - 1)] {
        ming.say(2, content, content).await;
        assert_eq!(hong.message().await, (id, content.to_owned()));
    }
    told(&server, ID_END - 1).await;
    for content in ["one more", "and another"] {
        ming.send(&frame(1, 2, content, content)).await;
        assert_eq!(ming.failure().await, "store_unavailable");
    }
    // A resend of what has an id is still known by it, and marking read still works.
    server.connect(1).await.say(2, "the last", "the last").await;
    hong.send(&mark_read(2, &[ID_END - 2])).await;
    // Answered behind it: the mark has arrived.
    hong.send(&frame(2, 1, "and I?", "behind")).await;
    assert_eq!(hong.failure().await, "store_unavailable");

    // The other one is there, once, also after a restart, and still nothing is given.
    let server = server.stop().await.start().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    assert_eq!(hong.message().await, (ID_END - 1, "the last".to_owned()));
    ming.send(&frame(1, 2, "one more", "again")).await;
    assert_eq!(ming.failure().await, "store_unavailable");
}
