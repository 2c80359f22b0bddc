//! Whose the streams are: no deployment serves, fills or removes what another has stored.

use async_nats::jetstream::context::Context;

use super::operating::run;
use super::refusals::{administrator, is_refused, say_something};
use crate::nats;
use crate::support::Nodes;

/// What the streams say whose they are.
const KEY: &str = "imserver.deployment";

/// Streams as an earlier version has made them.
async fn forget_whose(context: &Context, prefix: &str) {
    for stream in ["msg-0", "rd-0", "profiles", "revoked", "tickets", "audit"] {
        let mut found =
            context.get_stream(format!("{prefix}-{stream}")).await.unwrap().cached_info().clone();
        assert!(found.config.metadata.remove(KEY).is_some(), "{stream}");
        context.update_stream(&found.config).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_deployment_has_stored_is_neither_served_nor_changed() {
    let nodes = Nodes::on(&nats::shared());
    let production = nodes.start().await;
    say_something(&production).await;
    let staging = nodes.setup().set("auth.issuer", "\"https://staging.example\"");
    let sentence = "is of the deployment \"imserver of imserver\", and this configuration is of \
                    \"imserver of https://staging.example\"";
    tokio::task::block_in_place(|| is_refused(&staging, 1, sentence));
    let commands: [&[&str]; 5] = [
        &["cluster", "check"],
        &["cluster", "create"],
        &["cluster", "create", "--claim"],
        &["migrate", "--abandon"],
        &["audit", "list"],
    ];
    for command in commands {
        let (code, out, why) = run(&staging, command).await;
        assert!(code == 1 && why.contains(sentence), "{command:?} {code} {out}{why}");
    }
    say_something(&production).await;
    production.stop().await;
    // It is the same one after all: its tokens come from elsewhere now.
    let moved = staging.set("store.jetstream.deployment", "\"imserver of imserver\"");
    moved.start().await.stop().await;
    // A name of one's own is as good as any.
    let named = nodes.setup().set("store.jetstream.deployment", "\"production\"");
    let sentence = "write store.jetstream.deployment = \"imserver of imserver\"";
    tokio::task::block_in_place(|| is_refused(&named, 1, sentence));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_before_are_served_until_somebody_says_whose_they_are() {
    let nodes = Nodes::on(&nats::shared());
    nodes.start().await.stop().await;
    let context = administrator().await;
    forget_whose(&context, nodes.prefix()).await;
    let of = |name: &str| {
        let setup = nodes.setup().set("store.jetstream.create", "false");
        setup.set("store.jetstream.deployment", &format!("\"{name}\""))
    };
    // What is made beside them does not say it for them, whoever asks.
    let added = format!("{}-tickets", nodes.prefix());
    context.delete_stream(&added).await.unwrap();
    let (code, out, why) = run(&of("staging"), &["cluster", "create"]).await;
    assert!(code == 0 && out.contains(&format!("made {added}")), "{code} {out}{why}");
    assert!(out.contains("do not say whose they are"), "{out}");
    for name in ["production", "staging"] {
        say_something(&of(name).start().await).await;
    }

    let (code, out, why) = run(&of("production"), &["cluster", "create", "--claim"]).await;
    assert_eq!(code, 0, "{out}{why}");
    let all = ["msg-0", "rd-0", "profiles", "revoked", "tickets", "audit"]
        .map(|name| format!("{}-{name}", nodes.prefix()));
    let claimed = format!("of the deployment \"production\" from now on: {}", all.join(", "));
    assert_eq!(out.trim(), claimed);
    for arguments in [&["cluster", "create"][..], &["cluster", "create", "--claim"]] {
        let (code, out, _) = run(&of("production"), arguments).await;
        assert!(code == 0 && out.contains("nothing was changed"), "{out}");
        assert!(!out.contains("whose"), "{out}");
    }
    say_something(&of("production").start().await).await;
    let sentence = "is of the deployment \"production\", and this configuration is of \"staging\"";
    tokio::task::block_in_place(|| is_refused(&of("staging"), 1, sentence));
}
