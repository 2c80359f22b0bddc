//! Servers and streams with which messages would be lost, or that are not those that were
//! meant: the start is refused in one sentence that says what would be right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, Source, StorageType, SubjectTransform,
};
use futures_util::TryStreamExt as _;

use super::decentralized::Operator;
use crate::clock::ahead_of_time;
use crate::nats::{self, Single};
use crate::support::{Nodes, Setup, TestServer, V2, named};

/// What any node that is refused does: it ends with this code, and its last words are these;
/// a line of the log may still come behind them.
pub(super) fn is_refused(setup: &Setup, code: i32, sentence: &str) {
    let (ended, words) = setup.start_in_vain();
    let last = words.lines().rfind(|line| line.starts_with("imserver: ")).unwrap_or_default();
    assert!(last.contains(sentence), "{sentence}: {words}");
    assert_eq!(ended, Some(code), "{words}");
}

/// A set-up for one server with nothing in front of it.
pub(super) fn of_one(server: &Single) -> Setup {
    Setup::new()
        .set("store.backend", "\"jetstream\"")
        .set("store.jetstream.servers", &format!("[\"{}\"]", server.url()))
        .set("store.jetstream.replicas", "1")
        .set("store.jetstream.create", "true")
        .set("store.jetstream.synced", "true")
}

/// A file with a secret, for its owner alone.
pub(super) fn secret(setup: &Setup, name: &str, text: &str) -> String {
    let path = setup.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("\"{}\"", path.display())
}

#[test]
fn servers_that_do_not_let_us_in_or_are_not_ours() {
    let nodes = Nodes::on(&nats::shared());
    let wrong = nodes.setup();
    let file = secret(&wrong, "wrong", "not the password");
    let wrong = wrong.set("store.jetstream.password_file", &file);
    is_refused(&wrong, 1, "they do not let us in; look at store.jetstream.user and password_file");

    let stranger = nodes.setup();
    let other = format!("\"{}\"", stranger.path("certs/server.pem").display());
    let stranger = stranger.set("store.jetstream.ca", &other);
    is_refused(&stranger, 1, "nobody vouches for their certificate whom store.jetstream.ca names");

    let nobody = nodes.setup().set("store.jetstream.servers", "[\"tls://127.0.0.1:1\"]");
    is_refused(&nobody, 1, "no NATS server can be used (tls://127.0.0.1:1): ");

    let open = nodes.setup();
    let file = secret(&open, "open", "whatever");
    fs::set_permissions(open.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = open.set("store.jetstream.password_file", &file);
    is_refused(&open, 2, "store.jetstream.password_file: /");
    is_refused(&open, 2, "run `chmod 600 ");
    let empty = nodes.setup();
    let file = secret(&empty, "empty", "\n");
    is_refused(&empty.set("store.jetstream.password_file", &file), 2, "it holds no password");
    let missing = nodes.setup().set("store.jetstream.ca", "\"certs/nobody.pem\"");
    is_refused(&missing, 2, "certs/nobody.pem cannot be used: No such file");
}

#[test]
fn servers_that_cannot_do_what_is_needed() {
    let jetstream = "jetstream { store_dir: \"{folder}/js\" }\n";
    let old = Single::start(&nats::old_program(), jetstream);
    is_refused(&of_one(&old), 1, "is nats-server 2.10.26, and 2.12.6 is needed");

    let program = nats::program();
    let small = Single::start(&program, &format!("{jetstream}max_payload: 100KB\n"));
    is_refused(&of_one(&small), 1, "takes messages of 102400 bytes at the most (max_payload)");

    let without = format!(
        "{jetstream}accounts {{\n  with {{ jetstream: enabled, users: [{{ user: a, password: a }}] }}\n  \
         without {{ users: [{{ user: im, password: im }}] }}\n}}\n"
    );
    let without = Single::start(&program, &without);
    let setup = of_one(&without);
    let file = secret(&setup, "password", "im");
    let setup =
        setup.set("store.jetstream.user", "\"im\"").set("store.jetstream.password_file", &file);
    is_refused(&setup, 1, "JetStream must be on, on a majority of them, and the user allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_has_to_say_first() {
    let nodes = Nodes::on(&nats::shared());
    let silent = nodes.setup().set("store.jetstream.synced", "false");
    let refused = |setup: &Setup, code: i32, sentence: &str| {
        tokio::task::block_in_place(|| is_refused(setup, code, sentence));
    };
    refused(&silent, 2, "`sync_interval: always` into the `jetstream` block of every nats-server");
    let elsewhere = nodes.setup().set("store.jetstream.create", "false");
    refused(&elsewhere, 1, "there are no streams of imserver whose names begin with");
    let clock = "the clock of this machine and that of the NATS servers are 1m";
    for ahead in ["+90s", "-90s"] {
        refused(&ahead_of_time(nodes.setup(), ahead), 1, clock);
    }
    // Where there is nothing yet, nothing was made for it.
    assert!(made(&administrator().await, nodes.prefix()).await.is_empty());
    nodes.start().await.stop().await;
    refused(&ahead_of_time(nodes.setup(), "+90s"), 1, clock);
}

/// The streams whose names begin so.
pub(super) async fn made(context: &Context, prefix: &str) -> Vec<String> {
    let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
    names.into_iter().filter(|name| name.starts_with(prefix)).collect()
}

/// A client of the cluster that all tests share, as an administrator has one.
pub(super) async fn administrator() -> Context {
    let place = nats::shared();
    let password = fs::read_to_string(place.password_file()).unwrap();
    let client = async_nats::ConnectOptions::new()
        .user_and_password(place.user().to_owned(), password)
        .add_root_certificates(place.ca())
        .connect(place.urls())
        .await
        .unwrap();
    jetstream::new(client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_not_as_they_must_be() {
    let nodes = Nodes::on(&nats::shared());
    nodes.start().await.stop().await;
    let context = administrator().await;
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 10] = [
        (|it| it.max_age = Duration::from_secs(3600), "has another max_age than imserver needs"),
        (|it| it.discard = DiscardPolicy::Old, "has another discard than imserver needs"),
        (|it| it.max_bytes = 1 << 30, "has another max_bytes than imserver needs"),
        (|it| it.allow_atomic_publish = false, "has another allow_atomic than imserver needs"),
        (|it| it.max_message_size = 1000, "has another max_msg_size than imserver needs"),
        (|it| it.no_ack = true, "has another no_ack than imserver needs"),
        (
            |it| it.sources = Some(vec![source(&it.name.replace("msg-0", "revoked"))]),
            "has another sources than imserver needs",
        ),
        (
            |it| {
                let source = it.subjects[0].clone();
                let destination = source.replace("*.*", "{{wildcard(2)}}.{{wildcard(1)}}");
                it.subject_transform = Some(SubjectTransform { source, destination });
            },
            "has another subject_transform than imserver needs",
        ),
        (|it| it.num_replicas = 1, "is kept by 1 servers, and store.jetstream.replicas is 3"),
        (
            |it| drop(it.metadata.insert("imserver.schema".to_owned(), "7".to_owned())),
            "its imserver.schema is 7, not 1",
        ),
    ];
    let changes = changes.map(|(change, sentence)| ("msg-0", change, sentence));
    let silent: (_, Change, _) =
        ("revoked", |it| it.republish = None, "has another republish than imserver needs");
    for (stream, change, sentence) in changes.into_iter().chain([silent]) {
        let name = format!("{}-{stream}", nodes.prefix());
        let good = context.get_stream(&name).await.unwrap().cached_info().config.clone();
        let mut changed = good.clone();
        change(&mut changed);
        context.update_stream(&changed).await.unwrap();
        let setup = nodes.setup();
        tokio::task::block_in_place(|| is_refused(&setup, 1, sentence));
        context.update_stream(&good).await.unwrap();
    }
    let other = nodes.setup().set("store.jetstream.partitions", "2");
    is_refused(&other, 1, "was made for store.jetstream.partitions = 1, which can never change");
    // One that is gone is not made anew without being told.
    context.delete_stream(format!("{}-rd-0", nodes.prefix())).await.unwrap();
    let gone = nodes.setup().set("store.jetstream.create", "false");
    is_refused(&gone, 1, "-rd-0 is not there, though others of imserver are");
    // Fewer servers are enough where that is written.
    let fewer = Nodes::on(&nats::shared()).set("store.jetstream.replicas", "1");
    say_something(&fewer.start().await).await;
}

fn source(name: &str) -> Source {
    Source { name: name.to_owned(), ..Source::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_can_never_be_again_as_they_must_be() {
    let nodes = Nodes::on(&nats::shared()).set("store.jetstream.replicas", "1");
    nodes.start().await.stop().await;
    let context = administrator().await;
    let name = format!("{}-rd-0", nodes.prefix());
    let good = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 5] = [
        (|it| it.sealed = true, "sealed"),
        (|it| it.deny_purge = true, "deny_purge"),
        (|it| it.storage = StorageType::Memory, "storage"),
        (
            |it| {
                it.persist_mode = Some(PersistenceMode::Async);
                it.allow_atomic_publish = false;
            },
            "persist_mode",
        ),
        (
            |it| {
                it.mirror = Some(source(&it.name.replace("rd-0", "revoked")));
                it.subjects = Vec::new();
                it.republish = None;
                it.allow_atomic_publish = false;
            },
            "mirror",
        ),
    ];
    for (change, what) in changes {
        context.delete_stream(&name).await.unwrap();
        let mut changed = good.clone();
        change(&mut changed);
        if changed.sealed {
            context.create_stream(&good).await.unwrap();
            context.update_stream(&changed).await.unwrap();
        } else {
            context.create_stream(&changed).await.unwrap();
        }
        let sentence = format!("has another {what} than imserver needs, and nobody can change");
        tokio::task::block_in_place(|| is_refused(&nodes.setup(), 1, &sentence));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_somebody_else_are_left_alone_and_nothing_is_made_beside_them() {
    let context = administrator().await;
    let nodes = Nodes::on(&nats::shared());
    let prefix = nodes.prefix();
    let refused = |sentence: &str| {
        tokio::task::block_in_place(|| is_refused(&nodes.setup(), 1, sentence));
    };
    let own = format!("{prefix}-profiles");
    let foreign = |name: &str, subject: String| Config {
        name: name.to_owned(),
        subjects: vec![subject],
        ..Config::default()
    };
    context.create_stream(foreign(&own, format!("elsewhere.{prefix}"))).await.unwrap();
    refused(&format!("the stream {own} is there already, and imserver has not made it"));
    assert_eq!(made(&context, prefix).await, [own.as_str()]);
    context.delete_stream(&own).await.unwrap();

    let archive = format!("archive-{prefix}");
    context.create_stream(foreign(&archive, format!("{prefix}.au.>"))).await.unwrap();
    refused(&format!("is taken in by the stream {archive} already, which is none of ours"));
    assert!(made(&context, prefix).await.is_empty());
    context.delete_stream(&archive).await.unwrap();
    say_something(&nodes.start().await).await;
}

pub(super) async fn say_something(node: &TestServer) {
    let mut ming = V2::of(node, 1).quiet().await;
    ming.send(&named(1, 2, "hello", "1", false)).await;
    let answer = ming.next().await;
    assert_eq!(answer["type"], 0, "{answer}");
}

#[tokio::test]
async fn a_user_of_a_decentralized_account_comes_in_by_a_credentials_file() {
    let operator = Operator::new();
    let server = Single::start(&nats::program(), &operator.configuration());
    let setup = of_one(&server);
    let file = secret(&setup, "im.creds", &operator.credentials(Duration::from_secs(3600)));
    let node = setup.set("store.jetstream.credentials", &file).start().await;
    say_something(&node).await;
    // Nobody else comes in.
    let setup = of_one(&server);
    let file = secret(&setup, "im.creds", &Operator::new().credentials(Duration::from_secs(3600)));
    is_refused(
        &setup.set("store.jetstream.credentials", &file),
        1,
        "they do not let us in; look at store.jetstream.user and password_file, or credentials",
    );
    let setup = of_one(&server);
    let file = secret(&setup, "im.creds", "these are no credentials");
    is_refused(&setup.set("store.jetstream.credentials", &file), 2, "im.creds cannot be used: ");
}
