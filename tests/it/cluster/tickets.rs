//! A ticket of one node is good at every node, and once over all of them.

use futures_util::future::join_all;

use crate::nats;
use crate::support::{
    Admin, Call, Claims, Client, Closed, Nodes, TestServer, Upgrade, frame, refused,
};

async fn ticket(node: &TestServer, token: &str) -> String {
    let answer = Call::new("POST", 1, "tickets").token(token).done(node).await;
    assert_eq!(answer["expiresIn"], 30);
    answer["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_connection_at_whichever_node() {
    let nodes = Nodes::on(&nats::shared()).three().await;
    let token = Claims::of(1).with("jti", "behind").token();
    for from in &nodes {
        for to in &nodes {
            let ticket = ticket(from, &token).await;
            let mut client = Client::with_token(to, 1, &ticket).await;
            client.send(&frame(1, 2, "by ticket", "1")).await;
            assert_eq!(client.next().await, client.success("1"));
            for node in &nodes {
                refused(&Upgrade::token(&ticket).send(node).await, "used before");
            }
        }
    }
    // At all nodes in the same instant.
    for _ in 0..5 {
        let ticket = ticket(&nodes[0], &token).await;
        let upgrade = Upgrade::token(&ticket);
        let answers = join_all((0..12).map(|at| upgrade.send(&nodes[at % 3]))).await;
        let opened = answers.iter().filter(|answer| answer.status == 101).count();
        assert_eq!(opened, 1);
        for answer in answers.iter().filter(|answer| answer.status != 101) {
            refused(answer, "somebody else was first");
        }
    }
}

#[tokio::test]
async fn a_ticket_outlives_its_node_and_not_the_token_behind_it() {
    let [a, b, c] = Nodes::on(&nats::shared()).three().await;
    let token = Claims::of(1).with("jti", "behind").token();
    let (unused, revoked) = (ticket(&a, &token).await, ticket(&a, &token).await);
    let _stopped = a.stop().await;
    // Neither of the two has seen one of its tickets before.
    let mut client = Client::with_token(&b, 1, &unused).await;
    Admin::post("/admin/revocations", &serde_json::json!({ "jti": "behind" })).done(&c).await;
    let closed = client.closed().await;
    assert_eq!(closed, Closed { code: 4403, reason: "token_revoked".to_owned() });
    refused(&Upgrade::token(&revoked).send(&b).await, "with the token behind it");
}
