//! A second process on a store that a server has open.

use crate::support::TestServer;

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused_and_the_first_goes_on() {
    let server = TestServer::new().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    ming.say(2, "before", "1").await;
    let data = server.setup().path("data");
    let refused = format!(
        "imserver: the data directory {} is in use by another process; stop that one first, or \
         give this one a `store.path` of its own",
        data.display()
    );
    for number in ["2", "3"] {
        // On ports of its own: it is the store that tells them apart.
        let (code, words) = server.setup().start_in_vain();
        assert_eq!(code, Some(1), "{words}");
        let said: Vec<&str> = words.lines().filter(|line| !line.starts_with('{')).collect();
        assert_eq!(said, [refused.as_str()], "{words}");
        assert!(!words.contains("\"serving\""), "{words}");
        ming.say(2, "still here", number).await;
    }
    // What a command writes into the folder itself is for a server that is stopped.
    let output = server.setup().command(&["verify"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && words.contains("is in use"), "{words}");
    let expected = ["before", "still here", "still here"];
    for content in expected {
        assert_eq!(hong.message().await.1, content);
    }
    // A process that was killed holds nothing any more.
    let server = server.kill().start().await;
    let mut hong = server.connect(2).await;
    for content in expected {
        assert_eq!(hong.message().await.1, content);
    }
    hong.nothing_came().await;
}
