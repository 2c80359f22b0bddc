//! What somebody else does with the NATS servers, who may do whatever the nodes may: it is
//! noticed, or comes to nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nats;
use crate::support::{
    Admin, Claims, Client, Nodes, Stranger, TestServer, V2, frame, mark_read, named,
};

#[tokio::test]
async fn nonsense_where_nodes_tell_who_is_typing_disturbs_nobody() {
    let nodes = Nodes::on(&nats::shared());
    let node = nodes.start().await;
    let mut hong = V2::of(&node, 2).quiet().await;
    let mut ming = V2::of(&node, 1).quiet().await;
    let stranger = nodes.stranger().await;
    for nonsense in [
        Vec::new(),
        vec![1],
        vec![0xff; 25],
        vec![1; 1 << 16],
        b"{\"fromId\":1,\"toId\":2,\"type\":4}".to_vec(),
        // The system, oneself, more than was said.
        [&[1; 9][..], &[0, 2]].concat(),
        [&[1; 9][..], &[2, 2]].concat(),
        [&[1; 9][..], &[1, 2, 0]].concat(),
    ] {
        stranger.publish("typing", nonsense).await;
    }
    // In the form of a node it is believed: whoever may do that may write messages, too.
    stranger.publish("typing", [&[1; 9][..], &[7, 2]].concat()).await;
    let told = hong.next().await;
    assert_eq!((&told["type"], &told["fromId"]), (&json!(4), &json!(7)), "{told}");
    ming.send(&named(1, 2, "typed", "n-1", false)).await;
    assert_eq!(ming.next().await["type"], 0);
    assert_eq!(hong.message().await.1, "typed");
}

#[tokio::test]
async fn a_line_that_somebody_else_puts_into_the_audit_log_is_found_and_stops_it() {
    let nodes = Nodes::on(&nats::shared());
    let (node, stranger) = (nodes.start().await, nodes.stranger().await);
    let issue = Admin::post("/admin/tokens", &json!({ "sub": 7 }));
    issue.done(&node).await;
    issue.done(&node).await;
    let lines = Admin::get("/admin/audit").lines(&node).await;
    // Nobody can take one away.
    for (what, body) in
        [("STREAM.PURGE", json!({})), ("STREAM.MSG.DELETE", json!({ "seq": 1, "no_erase": true }))]
    {
        let answer = stranger.ask(what, "audit", &body).await;
        assert!(answer["error"]["description"].is_string(), "{what}: {answer}");
    }
    let config = &stranger.ask("STREAM.INFO", "audit", &json!({})).await["config"];
    let mut open = config.clone();
    open["deny_purge"] = json!(false);
    let answer = stranger.ask("STREAM.UPDATE", "audit", &open).await;
    assert!(answer["error"]["description"].is_string(), "for good: {answer}");
    let (code, out, err) = node.run(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("2 lines, all good"), "{out}");

    // A whole line of this log, once more, is none of its chain.
    stranger.publish("au.act", lines[0].to_string()).await;
    let (code, _, err) = node.run(&["audit", "verify"]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("line 3 is broken") && err.contains("2 lines before it"), "{err}");
    let refused = issue.send(&node).await;
    assert_eq!(refused.status, 503, "nothing is done that cannot be written down: {refused:?}");
    let line = node.logged("not written down, so it is not done").await;
    assert!(line["error"].as_str().unwrap().contains("broken in its last line"), "{line}");
}

#[tokio::test]
async fn nonsense_where_nodes_tell_what_they_wrote_disturbs_nobody() {
    let nodes = Nodes::on(&nats::shared());
    let (_both, mut ming, mut hong) = who_talk(&nodes).await;
    let stranger = nodes.stranger().await;
    let streams = ["msg-0", "rd-0"].map(|stream| format!("live.{}-{stream}", nodes.prefix()));
    // The form, a place that nobody has written yet, and one thing without and with a subject.
    let far = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for nonsense in [
        Vec::new(),
        vec![1],
        vec![0xff; 25],
        vec![1; 1 << 16],
        b"{\"fromId\":1}".to_vec(),
        [&[1][..], &[0xff; 8], &[0x7f, 0, 0]].concat(),
        [&[1][..], &far, &[0, 0]].concat(),
        [&[1][..], &far, &[3], b"a.b", &[1, 7]].concat(),
    ] {
        for stream in &streams {
            stranger.publish(stream, nonsense.clone()).await;
        }
    }
    for number in 2..6 {
        let text = number.to_string();
        ming.say(2, &text, &text).await;
        assert_eq!(hong.message().await.1, text, "once, in its order");
    }
}

#[tokio::test]
async fn streams_of_an_earlier_version_of_which_the_servers_tell_are_heard_once() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b] = [nodes.start().await, nodes.start().await];
    let stranger = nodes.stranger().await;
    let prefix = nodes.prefix();
    for (stream, kind) in [("msg-0", "msg"), ("rd-0", "rd")] {
        let info = stranger.ask("STREAM.INFO", stream, &json!({})).await;
        let mut config = info["config"].clone();
        assert_eq!(config["republish"], Value::Null, "{config}");
        let (source, live) =
            (format!("{prefix}.{kind}.0.*.*"), format!("{prefix}.live.{prefix}-{stream}"));
        config["republish"] = json!({ "src": source, "dest": live });
        let answer = stranger.ask("STREAM.UPDATE", stream, &config).await;
        assert!(answer["config"]["republish"].is_object(), "{answer}");
    }
    let (mut ming, mut hong) = (a.connect(1).await, b.connect(2).await);
    let mut say = async |from: i32| {
        for number in from..from + 4 {
            let text = number.to_string();
            ming.say(2, &text, &text).await;
            assert_eq!(hong.message().await.1, text, "once");
        }
    };
    say(1).await;
    // A node that starts takes them as they are, and the command sets them right.
    let third = nodes.start().await;
    let (code, out, err) = third.run(&["cluster", "create"]).await;
    assert_eq!(code, 0, "{err}");
    let told = format!("told of by the nodes alone from now on: {prefix}-msg-0, {prefix}-rd-0");
    assert!(out.contains(&told), "{out}");
    let info = stranger.ask("STREAM.INFO", "msg-0", &json!({})).await;
    assert_eq!(info["config"]["republish"], Value::Null, "{info}");
    say(5).await;
    let (code, out, _) = third.run(&["cluster", "create"]).await;
    assert_eq!((code, out.contains("nothing was changed")), (0, true), "{out}");
}

#[tokio::test]
async fn a_revocation_whose_announcement_is_lost_holds_within_a_second_all_the_same() {
    let nodes = Nodes::on(&nats::shared());
    let [a, b] = [nodes.start().await, nodes.start().await];
    let stranger = nodes.stranger().await;
    let token = Claims::of(1).with("jti", "leaked").token();
    let mut connection = Client::with_token(&b, 1, &token).await;
    // From now on nobody is told what the stream takes in.
    let info = stranger.ask("STREAM.INFO", "revoked", &json!({})).await;
    let mut config = info["config"].clone();
    assert!(config["republish"].is_object(), "{config}");
    config.as_object_mut().unwrap().remove("republish");
    let answer = stranger.ask("STREAM.UPDATE", "revoked", &config).await;
    assert_eq!(answer["config"]["republish"], Value::Null, "{answer}");
    let began = Instant::now();
    Admin::post("/admin/revocations", &json!({ "jti": "leaked" })).done(&a).await;
    assert_eq!(connection.closed().await.code, 4403);
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_deployment_of_an_earlier_version_is_told_which_streams_are_missing() {
    let nodes = Nodes::on(&nats::shared());
    let node = nodes.start().await;
    node.connect(1).await.say(2, "from before", "1").await;
    let setup = node.stop().await;
    let stranger = nodes.stranger().await;
    for stream in ["tickets", "audit"] {
        let answer = stranger.ask("STREAM.DELETE", stream, &json!({})).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
    let old = setup.set("store.jetstream.create", "false");
    let (code, said) = old.start_in_vain();
    assert_eq!(code, Some(1), "{said}");
    for part in ["-tickets and ", "-audit must be made", "imserver cluster create"] {
        assert!(said.contains(part), "{said}");
    }
    let node = old.set("store.jetstream.create", "true").start().await;
    let mut hong = node.connect(2).await;
    assert_eq!(hong.message().await.1, "from before");
    hong.send(&frame(2, 1, "and since", "2")).await;
    assert_eq!(hong.next().await, hong.success("2"));
    Admin::post("/admin/tokens", &json!({ "sub": 7 })).done(&node).await;
}

#[tokio::test]
async fn a_stream_that_was_lost_is_not_made_anew_beside_what_is_left() {
    let nodes = Nodes::on(&nats::shared());
    let node = nodes.start().await;
    node.connect(1).await.say(2, "to be lost", "1").await;
    let mut hong = node.connect(2).await;
    let (id, _) = hong.message().await;
    hong.send(&mark_read(2, &[id])).await;
    // The answer comes behind the mark.
    hong.say(1, "read", "2").await;
    let mut setup = node.stop().await;
    let stranger = nodes.stranger().await;
    let answer = stranger.ask("STREAM.DELETE", "msg-0", &json!({})).await;
    assert_eq!(answer["success"], true, "{answer}");
    for create in ["true", "false"] {
        setup = setup.set("store.jetstream.create", create);
        let (code, said) = setup.start_in_vain();
        assert!(code == Some(1) && said.contains("-msg-0 is not there, and was: "), "{said}");
    }
}

#[tokio::test]
async fn what_is_gone_before_anybody_has_heard_of_it_holds_nobody_up() {
    let nodes = Nodes::on(&nats::shared());
    let (both, mut ming, mut hong) = who_talk(&nodes).await;
    let stranger = nodes.stranger().await;
    // In the middle: what is told next comes early, and the leader has nothing before it.
    come_and_go(&stranger, nodes.prefix()).await;
    ming.say(2, "behind it", "2").await;
    assert_eq!(hong.message().await.1, "behind it");
    // At the end: whether it is gone nobody knows, until something is written behind it.
    come_and_go(&stranger, nodes.prefix()).await;
    for node in &both {
        node.logged("its leader has nothing there: is it gone?").await;
    }
    ming.say(2, "behind both", "3").await;
    assert_eq!(hong.message().await.1, "behind both");
}

/// Two nodes, with one user at each who has written to the other.
async fn who_talk(nodes: &Nodes) -> ([TestServer; 2], Client, Client) {
    let [a, b] = [nodes.start().await, nodes.start().await];
    let (mut ming, mut hong) = (a.connect(1).await, b.connect(2).await);
    ming.say(2, "before", "1").await;
    assert_eq!(hong.message().await.1, "before");
    ([a, b], ming, hong)
}

/// Puts something between the messages of which no node tells, and takes it out before one looks.
async fn come_and_go(stranger: &Stranger, prefix: &str) {
    stranger.publish("msg.0.9.8", "nothing").await;
    let it = json!({ "filter": format!("{prefix}.msg.0.9.8") });
    while stranger.ask("STREAM.PURGE", "msg-0", &it).await["purged"] != 1 {}
}
