//! All servers are looked at, and not only the one that a node is connected to.

use super::operating::run;
use super::refusals::{is_refused, of_one};
use crate::nats::{self, Single};
use crate::support::{Nodes, Setup};

const LINES: &str = "jetstream { store_dir: \"{folder}/js\" }\n";

/// With a second address beside that of the one server, which a node may choose as well.
fn of_two(server: &Single, other: &str) -> Setup {
    of_one(server).set("store.jetstream.servers", &format!("[\"{}\", \"{other}\"]", server.url()))
}

#[test]
fn one_server_that_can_do_too_little_is_noticed_whichever_a_node_is_connected_to() {
    let program = nats::program();
    let good = Single::start(&program, LINES);
    let old = Single::start(&nats::old_program(), LINES);
    let small = Single::start(&program, &format!("{LINES}max_payload: 100KB\n"));
    for _ in 0..4 {
        is_refused(&of_two(&good, &old.url()), 1, "is nats-server 2.10.26, and 2.12.6 is needed");
        let sentence = "takes messages of 102400 bytes at the most (max_payload)";
        is_refused(&of_two(&good, &small.url()), 1, sentence);
    }
}

#[tokio::test]
async fn one_server_that_cannot_be_reached_is_named_and_holds_up_nobody() {
    let server = Single::start(&nats::program(), LINES);
    let away = "nats://127.0.0.1:1";
    let node = of_two(&server, away).start().await;
    let warned = node.logged_times("a NATS server was not looked at", 1).await;
    assert!(warned[0].to_string().contains(away), "{warned:?}");
    let (code, out, why) = run(&of_two(&server, away), &["cluster", "check"]).await;
    assert_eq!(code, 0, "{out}{why}");
    assert!(out.contains(&format!("{away}: NOT REACHED: ")), "{out}");
}

#[tokio::test]
async fn the_check_tells_of_every_server() {
    let place = nats::shared();
    let nodes = Nodes::on(&place);
    nodes.start().await.stop().await;
    let (code, out, why) = run(&nodes.setup(), &["cluster", "check"]).await;
    assert_eq!(code, 0, "{out}{why}");
    for (number, url) in place.urls().iter().enumerate() {
        let line = format!("{url}: n{number}, nats-server 2.");
        assert!(out.contains(&line), "{line}: {out}");
    }
}
