//! What the NATS servers do not let a node do: it does not start, or it is not ready, and says what
//! it is.

use std::time::Duration;

use async_nats::jetstream::{self, Context, stream};

use super::operating::run;
use super::refusals::{is_refused, made, of_one, say_something, secret};
use crate::nats::{self, Single};
use crate::support::{Setup, TestServer, admin, frame, within};

/// What may be lacking: the deed, what is denied, and what is said.
const LACKING: [(&str, &str, &str); 15] = [
    ("publish", "$JS.API.>", "may not publish to \"$JS.API."),
    ("publish", "im.msg.>", "may not publish to \"im.msg.0.0.0\""),
    ("publish", "im.rd.>", "may not publish to \"im.rd.0.0.0\""),
    ("publish", "im.pr.>", "may not publish to \"im.pr.0\""),
    ("publish", "im.er.>", "may not publish to \"im.er.0\""),
    ("publish", "im.rv.>", "may not publish to \"im.rv.0\""),
    ("publish", "im.tk.>", "may not publish to \"im.tk.0\""),
    ("publish", "im.tu.>", "may not publish to \"im.tu.0\""),
    ("publish", "im.au.>", "may not publish to \"im.au.0\""),
    ("publish", "im.live.>", "may not publish to \"im.live.im-msg-0\""),
    ("publish", "im.nodes.>", "may not publish to \"im.nodes."),
    ("subscribe", "_INBOX.>", "may not subscribe to \"_INBOX."),
    ("subscribe", "im.live.>", "may not subscribe to \"im.live.*\""),
    ("subscribe", "im.typing", "may not subscribe to \"im.typing\""),
    ("subscribe", "im.nodes.>", "may not subscribe to \"im.nodes."),
];

/// What `deploy/nats/nats-server.conf` permits imserver.
fn documented() -> &'static str {
    let text = include_str!("../../../deploy/nats/nats-server.conf");
    let block = &text[text.find("permissions {").unwrap()..];
    &block[..=block.find('}').unwrap()]
}

/// A server with a user that may do everything, one that may do what is documented, one for each
/// permission that lacks it, and one that may not ask what time it is.
fn configuration() -> String {
    let mut users = "{ user: all, password: all }\n".to_owned();
    users += &format!("{{ user: documented, password: documented, {} }}\n", documented());
    let untimed = ("publish", "$SYS.REQ.USER.INFO", "");
    for (number, (deed, denied, _)) in LACKING.into_iter().chain([untimed]).enumerate() {
        users += &format!(
            "{{ user: u{number}, password: u{number}, permissions: {{ {deed}: {{ deny: [\"{denied}\"] }} }} }}\n"
        );
    }
    in_account(&users)
}

fn in_account(users: &str) -> String {
    format!(
        "jetstream {{ store_dir: \"{{folder}}/js\" }}\naccounts {{\n  IM {{ jetstream: enabled, users: [\n{users}] }}\n}}\n"
    )
}

fn as_user(server: &Single, user: &str) -> Setup {
    let setup = of_one(server);
    let file = secret(&setup, "password", user);
    let setup = setup.set("store.jetstream.password_file", &file);
    setup.set("store.jetstream.user", &format!("\"{user}\""))
}

/// A client that may do everything.
async fn client(server: &Single) -> Context {
    let options = async_nats::ConnectOptions::new();
    let options = options.user_and_password("all".to_owned(), "all".to_owned());
    jetstream::new(options.connect(server.url()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_lacks_a_permission_starts_no_node_and_makes_no_stream() {
    let server = Single::start(&nats::program(), &configuration());
    let context = client(&server).await;
    for (number, (_, _, sentence)) in LACKING.into_iter().enumerate() {
        let setup = as_user(&server, &format!("u{number}"));
        tokio::task::block_in_place(|| is_refused(&setup, 1, sentence));
    }
    assert!(made(&context, "im").await.is_empty());

    // What time it is can be seen afterwards, too.
    let node = as_user(&server, &format!("u{}", LACKING.len())).start().await;
    node.log_says("the clocks could not be compared before streams were made").await;
    say_something(&node).await;
    node.stop().await;

    for number in [1, 9, 12] {
        let setup = as_user(&server, &format!("u{number}"));
        let (code, out, why) = run(&setup, &["cluster", "check"]).await;
        assert!(code == 1 && why.contains(LACKING[number].2), "{code} {out}{why}");
    }
    let setup = as_user(&server, "documented");
    let (code, out, why) = run(&setup, &["cluster", "check"]).await;
    assert_eq!(code, 0, "{out}{why}");
    say_something(&setup.start().await).await;
}

/// Asks until `/readyz` says this.
async fn ready_says(node: &TestServer, words: &str) {
    let asking = async {
        loop {
            let said = admin(node, "/readyz").await.body;
            if said.contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(words, asking).await;
}

#[tokio::test]
async fn a_node_that_may_not_write_any_more_is_not_ready_until_it_may() {
    let all = "{ user: all, password: all }\n";
    let user = |permissions: &str| {
        in_account(&format!("{all}{{ user: im, password: im{permissions} }}\n"))
    };
    let server = Single::start(&nats::program(), &user(""));
    let node = as_user(&server, "im").start().await;
    say_something(&node).await;
    server.reconfigure(&user(", permissions: { publish: { deny: [\"im.msg.>\"] } }"));
    ready_says(&node, "ready\n").await;
    let mut ming = node.connect(1).await;
    ming.send(&frame(1, 2, "in vain", "2")).await;
    ready_says(&node, "not ready: nothing was stored below im.msg.0 for ").await;
    ready_says(&node, "may not publish to \"im.msg.0.2.1\"").await;
    node.log_says("a write had no outcome").await;
    server.reconfigure(&user(""));
    // By itself: nobody sends anything any more.
    node.log_says("writes succeed again").await;
    ready_says(&node, "ready\n").await;
    node.connect(3).await.say(4, "as before", "3").await;
    // Another password: the servers run.
    server.reconfigure(&in_account(&format!("{all}{{ user: im, password: another }}\n")));
    ready_says(&node, "not ready: no NATS server can be reached: they do not let us in").await;
}

#[tokio::test]
async fn a_node_whose_servers_have_no_room_is_not_ready_until_they_have() {
    let lines = in_account("{ user: all, password: all }\n");
    let lines = lines.replace("/js\"", "/js\", max_file_store: 4MB");
    let server = Single::start(&nats::program(), &lines);
    let node = as_user(&server, "all").start().await;
    let mut ming = node.connect(1).await;
    ming.say(2, "while there is room", "1").await;
    // Somebody else fills the disk.
    let context = client(&server).await;
    let ballast = stream::Config {
        name: "ballast".to_owned(),
        subjects: vec!["ballast".to_owned()],
        ..stream::Config::default()
    };
    context.create_stream(ballast).await.unwrap();
    for size in [100_000, 1000, 10] {
        while context.publish("ballast", vec![0; size].into()).await.unwrap().await.is_ok() {}
    }
    ming.send(&frame(1, 2, "in vain", "2")).await;
    ready_says(&node, "not ready: nothing was stored below im.msg.0 for ").await;
    ready_says(&node, "insufficient resources").await;
    node.log_says("a write had no outcome").await;
    ready_says(&node, "insufficient resources").await;
    context.delete_stream("ballast").await.unwrap();
    node.log_says("writes succeed again").await;
    ready_says(&node, "ready\n").await;
    node.connect(3).await.say(4, "as before", "3").await;
}
