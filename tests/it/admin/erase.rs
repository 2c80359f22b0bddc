//! Erasing a user: on a running server, on a stopped one, and through a crash.

use std::time::Duration;

use imserver::ids::{Sender, UserId};
use imserver::store::{ClaimedProfile, Draft, ResendKey};
use serde_json::{Value, json};

use crate::support::{
    Admin, Call, Claims, Client, Forge, Setup, TestServer, V2, admin, described, post_message,
    store, within,
};

const WHO: u64 = 2;

fn target(user: u64) -> String {
    format!("/admin/users/{user}")
}

async fn erase(server: &TestServer, user: u64) -> Value {
    Admin::new("DELETE", &target(user), "").done(server).await
}

/// What a user has in all: their conversations, and the ids of their inbox.
async fn of(server: &TestServer, user: u64) -> (Value, Vec<Value>) {
    let list = Call::get(user, "conversations").done(server).await;
    let (_, messages, _) = V2::of(server, user).after(0).replayed().await;
    (list["conversations"].clone(), messages)
}

#[tokio::test]
async fn a_user_is_sent_away_and_nothing_of_them_is_left() {
    let server = TestServer::new().await;
    let token = Claims::of(WHO).with("name", "\u{5c0f}\u{660e}").token();
    let mut gone = Client::with_token(&server, WHO, &token).await;
    let mut last = 0;
    for number in 0..3 {
        post_message(&server, 1, WHO, &format!("to them {number}")).await;
        post_message(&server, WHO, 1, &format!("from them {number}")).await;
        last = post_message(&server, 3, 1, &format!("another's {number}")).await;
    }
    assert_eq!(erase(&server, WHO).await, json!({ "sub": WHO, "messages": 6 }));
    let (_, closed) = gone.answers_until_closed().await;
    assert_eq!(closed.code, 4403, "{closed:?}");

    // Their old tokens open nothing, a new one opens an empty house.
    assert_eq!(Call::get(WHO, "me").token(&token).send(&server).await.status, 401);
    let fresh = Claims::of(WHO).with("iat", Claims::now() + 2).token();
    let list = Call::get(WHO, "conversations").token(&fresh).done(&server).await;
    assert_eq!((&list["conversations"], &list["unreadTotal"]), (&json!([]), &json!(0)));
    let me = Call::get(WHO, "me").token(&fresh).done(&server).await;
    assert_eq!(me["userName"], "");

    // Nothing of it is left with the peer, who is told to look, and all else is.
    let (list, messages) = of(&server, 1).await;
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&list[0]["peerId"], messages.len()), (&json!(3), 3));
    let (_, _, report) = V2::of(&server, 1).after(0).replayed().await;
    assert_eq!(described(&report), json!({ "complete": false }));
    assert_eq!(
        Call::get(1, "conversations/2/messages").send(&server).await.status,
        404,
        "as with a stranger"
    );
    let log = Admin::get("/admin/audit?act=user.erase").lines(&server).await;
    assert_eq!((log.len(), &log[0]["details"]), (1, &json!({ "sub": WHO })));
    assert_eq!(log[0]["who"], format!("admin:{}", Admin::USER));

    // Again there is nothing, and what is written from now on is a new beginning.
    assert_eq!(erase(&server, WHO).await, json!({ "sub": WHO, "messages": 0 }));
    assert!(post_message(&server, 1, WHO, "hello?").await > last);
    let server = server.kill().start().await;
    assert_eq!(of(&server, 1).await.1.len(), 3);
}

#[tokio::test]
async fn what_is_no_user_is_not_erased() {
    let server = TestServer::new().await;
    for nobody in ["0", "007", "-1", "x", "9007199254740992", "2/", ""] {
        let answer =
            Admin::new("DELETE", &format!("/admin/users/{nobody}"), "").send(&server).await;
        assert_eq!(answer.status, 404, "{nobody}: {answer:?}");
    }
    let answer = Admin::new("POST", &target(WHO), "").send(&server).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("DELETE")));
    assert_eq!(Admin::get("/admin/audit").lines(&server).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_command_erases_on_a_running_server() {
    let server = two_who_wrote().await;
    let (code, _, said) = server.run(&["erase", "--sub", "2"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--yes"), "{said}");
    let (code, out, said) = server.run(&["erase", "--sub", "2", "--yes"]).await;
    assert_eq!((code, out.trim_end()), (0, "user 2 is erased, with 2 messages"), "{said}");
    assert_eq!(of(&server, 1).await.1.len(), 1);
    assert_eq!(server.setup().audit_log().matches("\"act\":\"user.erase\"").count(), 1);
}

/// A server on which two users and user 1 wrote to each other.
async fn two_who_wrote() -> TestServer {
    let server = TestServer::new().await;
    for user in [WHO, 3] {
        post_message(&server, user, 1, "x").await;
        post_message(&server, 1, user, "y").await;
    }
    server
}

#[tokio::test]
async fn where_no_server_runs_the_command_erases_in_its_folder() {
    let server = two_who_wrote().await;
    let before = Forge::token(3);
    let setup = server.stop().await;
    assert_eq!(
        setup.run(&["erase", "--sub", "3", "--yes"]).trim_end(),
        "user 3 is erased, with 2 messages"
    );
    assert_eq!(setup.audit_log().matches("\"act\":\"user.erase\"").count(), 1);
    let server = setup.start().await;
    let (list, messages) = of(&server, 1).await;
    assert_eq!((&list[0]["peerId"], list.as_array().unwrap().len()), (&json!(WHO), 1), "{list}");
    assert_eq!(messages.len(), 1);
    let answer = Call::get(3, "me").token(&before).send(&server).await;
    assert_eq!(answer.status, 401, "a token of before");
}

#[test]
fn the_command_makes_no_store() {
    let setup = Setup::new();
    let output = setup.command(&["erase", "--sub", "2", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let why = String::from_utf8_lossy(&output.stderr);
    let expected = if setup.is_in_streams() { "goes through a node" } else { "there is no data" };
    assert!(why.contains(expected), "{why}");
    assert!(!setup.path("data").exists());
}

fn removed(metrics: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with("imserver_removed_total"));
    line.map_or(0, |line| line.split(' ').nth(1).unwrap().parse().unwrap())
}

#[tokio::test]
async fn an_erasure_that_is_killed_goes_on_by_itself() {
    let setup = Setup::new();
    let data = setup.path("data");
    let before = store::open(&data);
    let (mut receipts, total) = (Vec::new(), 20_000);
    for number in 0..2 * total {
        let (from, to) = [(1, WHO), (1, 3)][number as usize % 2];
        let draft = Draft {
            from: Sender::new(from).unwrap(),
            to: UserId::new(to).unwrap(),
            timestamp: String::new(),
            content: format!("number {number}"),
            resend: ResendKey::None,
            origin: None,
        };
        receipts.push(before.append(draft).await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let claimed = ClaimedProfile { name: Some("n".to_owned()), picture: None };
    before.set_profile(UserId::new(WHO).unwrap(), claimed).await.unwrap();
    before.close().await.unwrap();

    let server = setup.start().await;
    let mut erasing = server.command(&["erase", "--sub", "2", "--yes"]);
    let mut erasing = erasing.stderr(std::process::Stdio::null()).spawn().unwrap();
    within("the erasure to begin", async {
        while removed(&admin(&server, "/metrics").await.body) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let setup = server.kill();
    assert!(!erasing.wait().unwrap().success(), "it was not done");

    let left = store::open(&data);
    // It goes on meanwhile, but not to its end before this.
    let rest = store::inbox(&*left, WHO, false).await.len() as u64;
    assert!((1..total).contains(&rest), "{rest} of {total} were left");
    within("the rest to go", async {
        while !store::inbox(&*left, WHO, false).await.is_empty()
            || !left.profile(UserId::new(WHO).unwrap()).await.unwrap().name.is_empty()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(store::inbox(&*left, 3, false).await.len() as u64, total);
    left.close().await.unwrap();
    let server = setup.start().await;
    assert_eq!(of(&server, 1).await.0[0]["peerId"], 3);
}
