//! Moving house: from a folder into the streams, killed on the way, compared, and back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use imserver::config::{self, Limits};
use imserver::ids::{MessageId, Sender};
use imserver::metrics::StoreMetrics;
use imserver::store::{
    AppendError, Appended, Draft, Entry, HistoryCursor, Seen, Store, Stretch, jetstream,
};
use prometheus_client::registry::Registry;

use super::house::{FIRST, House, USERS, draft, everything, inbox, named_key, packet, pages, user};
use crate::nats::{self, Cluster, Place};
use crate::support::{Nodes, Setup, TestServer, V2, described, mark_read, named, within};

/// What the store of nodes is opened with here.
pub(super) fn store_config(place: &Place, prefix: &str, partitions: u16) -> config::Store {
    let jetstream = config::JetStream {
        servers: place.urls(),
        ca: Some(place.ca()),
        user: Some(place.user().to_owned()),
        password_file: Some(place.password_file()),
        prefix: prefix.to_owned(),
        partitions,
        synced: true,
        ..config::JetStream::default()
    };
    let backend = config::Backend::JetStream;
    let window = Duration::from_secs(600);
    config::Store { backend, jetstream, resend_window: window, ..config::Store::default() }
}

/// The store of nodes, opened here.
pub(super) async fn streams(place: &Place, prefix: &str, partitions: u16) -> jetstream::JetStream {
    let config = store_config(place, prefix, partitions);
    let metrics = StoreMetrics::register(&mut Registry::default());
    jetstream::open(&config, &Limits::default(), metrics).await.unwrap().0
}

/// Nodes that are given a folder, and make no streams by themselves.
pub(super) fn nodes(place: &Place) -> Nodes {
    Nodes::on(place).set("store.jetstream.create", "false").set("store.resend_window", "\"10m\"")
}

/// A command on the folder of a set-up, as long as its server was alone.
fn alone(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = setup.command(arguments);
    command.env("IMSERVER_STORE__BACKEND", "sled");
    command
}

/// Runs a command: its exit code, what it printed, and what it complained of.
pub(super) fn run(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub(super) fn done(command: Command) -> String {
    let (code, said, complained) = run(command);
    assert_eq!(code, 0, "{complained}");
    said
}

/// Runs a command that must end with this exit code and complain so.
pub(super) fn refused_by(setup: &Setup, arguments: &[&str], code: i32, what: &str) {
    let (found, said, complained) = run(setup.command(arguments));
    assert_eq!(found, code, "{said}{complained}");
    assert!(complained.contains(what), "{complained}");
}

/// The digest in what a command printed.
pub(super) fn digest(printed: &str) -> String {
    printed.split("digest ").nth(1).unwrap().trim().to_owned()
}

/// What lies in the files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(name, fs::read(&path).unwrap())),
            }
        }
    }
    found
}

/// A house that was restored from a backup, and so has a gap of 2^32 ids; with the folder of
/// a node.
pub(super) async fn lived_in(nodes: &Nodes) -> (Setup, Vec<String>) {
    let first = Setup::new();
    let house = first.path("data");
    House(&house).fill(700, "a").await;
    House(&house).live_in().await;
    let backup = first.path("backup").to_str().unwrap().to_owned();
    done(alone(&first, &["backup", &backup]));
    let setup = nodes.setup().set("store.jetstream.create", "false");
    done(alone(&setup, &["restore", &backup]));
    let folder = setup.path("data");
    House(&folder).fill(500, "b").await;
    let store = House(&folder).open();
    let before = everything(&store, true).await;
    let last = inbox(&store, 2).await.last().unwrap().message.id.get();
    assert!(last > 1 << 32);
    store.close().await.unwrap();
    (setup, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_house_says_word_for_word_what_it_said_and_can_go_back() {
    let place = nats::shared();
    let nodes = nodes(&place);
    let (setup, before) = lived_in(&nodes).await;
    let folder = setup.path("data");
    let known = digest(&done(alone(&setup, &["verify"])));
    let untouched = files(&folder);
    let (code, _, complained) = run(alone(&setup, &["migrate"]));
    assert_eq!(code, 2);
    assert!(complained.contains("backend = \"jetstream\""), "{complained}");

    let said = done(setup.command(&["migrate"]));
    assert!(said.contains("nodes may start") && said.contains("pairs agree"), "{said}");
    assert_eq!(digest(&said), known);
    assert!(untouched == files(&folder), "the folder is not as it was");
    assert!(done(setup.command(&["audit", "list"])).contains("store.migrate"));
    let (code, _, complained) = run(setup.command(&["migrate"]));
    assert_eq!(code, 2);
    assert!(complained.contains("has come to its end already"), "{complained}");

    // And back: what leaves while no node runs, or through one, comes in again.
    let lines = setup.path("lines").to_str().unwrap().to_owned();
    done(setup.command(&["export", &lines]));
    let node = setup.start().await;
    let (code, through, complained) = node.run(&["export"]).await;
    assert_eq!(code, 0, "{complained}");
    let records = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(records(&through) == records(&fs::read_to_string(&lines).unwrap()));
    let back = Setup::new();
    assert_eq!(digest(&back.run(&["import", &lines])), known);
    assert_eq!(digest(&back.run(&["verify"])), known);
    let store = House(&back.path("data")).open();
    assert!(everything(&store, true).await == before, "what came back says something else");
    store.close().await.unwrap();

    let store = streams(&place, nodes.prefix(), 1).await;
    let now = everything(&store, true).await;
    for (there, here) in before.iter().zip(&now) {
        assert_eq!(here, there);
    }
    assert_eq!(now.len(), before.len());
    resends_are_known(&store).await;
    clients_go_on(&node, &store).await;
    store.close().await.unwrap();
}

/// What was sent before the move and is sent again now is not sent twice.
async fn resends_are_known(store: &dyn Store) {
    let mut tried = [0; 2];
    for entry in inbox(store, 2).await {
        let message = &entry.message;
        let number = message.timestamp.parse::<u64>().unwrap().saturating_sub(FIRST);
        let resend = match &entry.client_id {
            // The newest one of a name is found by looking, the first one by heart.
            Some(name) => named_key(name.as_str(), tried[0] % 2 == 0 && name.as_str() != "twice"),
            None if number % 3 == 1 && message.content.starts_with("b ") => packet(number, "b"),
            None => continue,
        };
        tried[usize::from(entry.client_id.is_none())] += 1;
        let draft = Draft { resend, ..draft(message.from.get(), 2, &message.content) };
        let outcome = store.append(draft).await.unwrap().await;
        match entry.client_id.as_ref().is_some_and(|name| name.as_str() == "twice") {
            // The first one of that name keeps it.
            true if message.content == "b" => assert_eq!(outcome, Err(AppendError::IdReused)),
            _ => assert_eq!(outcome, Ok(Appended { id: message.id, duplicate: true })),
        }
    }
    assert!(tried[0] > 20 && tried[1] > 5, "{tried:?}");
}

/// Clients resume at ids from before the move, and mark by them.
async fn clients_go_on(node: &TestServer, store: &dyn Store) {
    let all: Vec<u64> = inbox(store, 1).await.iter().map(|entry| entry.message.id.get()).collect();
    let middle = all.len() / 2;
    let (mut client, replayed, _) = V2::of(node, 1).after(all[middle]).replayed().await;
    let ids: Vec<u64> = replayed
        .iter()
        .map(|frame| described(frame)["messageId"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(ids, all[middle + 1..]);
    let unread = pages(store, 1, 0, true).await;
    let unread: Vec<u64> = unread.iter().map(|entry| entry.message.id.get()).collect();
    let (_, first, _) = V2::of(node, 1).replayed().await;
    assert_eq!(first.len(), unread.len());
    client.send(&mark_read(1, &unread)).await;
    let marked = async {
        while !pages(store, 1, 0, true).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within("the marks", marked).await;
    // New ones come behind the old ones.
    client.send(&named(1, 2, "from the new house", "new", false)).await;
    let answer = loop {
        let answer = client.next().await;
        if answer["type"] == 0 {
            break answer;
        }
    };
    let new: u64 = described(&answer)["messageId"].as_str().unwrap().parse().unwrap();
    let last = inbox(store, 2).await;
    assert!(last.iter().rev().skip(1).all(|entry| entry.message.id.get() < new));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_several_partitions_ids_are_new_and_old_ones_are_understood() {
    let place = nats::shared();
    let nodes = nodes(&place).set("store.jetstream.partitions", "3");
    let (setup, _) = lived_in(&nodes).await;
    let old = House(&setup.path("data")).open();
    let before = everything(&old, false).await;
    let mut inboxes = Vec::new();
    for of in 1..=USERS {
        inboxes.push(inbox(&old, of).await);
    }
    old.close().await.unwrap();
    let last = inboxes.iter().flatten().map(|entry| entry.message.id).max().unwrap();
    done(setup.command(&["migrate"]));
    done(setup.command(&["migrate", "--verify"]));

    let store = streams(&place, nodes.prefix(), 3).await;
    let now = everything(&store, false).await;
    for (there, here) in before.iter().zip(&now) {
        assert_eq!(here, there);
    }
    assert_eq!(now.len(), before.len());
    let texts = |entries: &[Arc<Entry>]| -> Vec<String> {
        entries.iter().map(|entry| entry.message.content.clone()).collect()
    };
    for (of, inbox) in (1..).zip(&inboxes) {
        let all = pages(&store, of, 0, false).await;
        assert!(all.iter().all(|entry| entry.message.id > last));
        // Resuming behind an old id misses nothing and repeats nothing.
        for at in [0, inbox.len() / 3, inbox.len() - 1] {
            let after = inbox[at].message.id.get();
            let rest = pages(&store, of, after, false).await;
            assert_eq!(texts(&rest), texts(&inbox[at + 1..]), "{of} behind {after}");
        }
    }
    let two = &inboxes[1];
    let from_one: Vec<MessageId> = two
        .iter()
        .filter(|entry| entry.message.from.get() == 1)
        .map(|entry| entry.message.id)
        .collect();
    let unread_of_one = async || {
        let unread = pages(&store, 2, 0, true).await;
        unread.iter().filter(|entry| entry.message.from.get() == 1).count()
    };
    let unread = unread_of_one().await;
    let some: Vec<MessageId> = from_one.iter().rev().take(3).copied().collect();
    let strange = MessageId::new(last.get() - 1_000_000).unwrap();
    let seen = Seen::Ids(some.iter().copied().chain([strange]).collect());
    store.mark_read(user(2), seen, None).await.unwrap();
    assert_eq!(unread_of_one().await, unread - 3);
    let (peer, id) = (Sender::User(user(1)), from_one[from_one.len() - 4]);
    store.mark_read(user(2), Seen::UpTo { peer, id }, None).await.unwrap();
    assert_eq!(unread_of_one().await, 0);
    // A page behind a cursor of the old house.
    let stretch = Stretch::After(HistoryCursor([from_one[5].get(), 0]));
    let page = store.history(user(2), peer, stretch, 1000).await.unwrap().unwrap();
    let got = page.entries.iter().filter(|entry| entry.message.to == user(2)).count();
    assert_eq!(got, from_one.len() - 6);
    store.close().await.unwrap();
}

/// All messages of everybody.
async fn inboxes(store: &dyn Store) -> Vec<Arc<Entry>> {
    let mut all = Vec::new();
    for of in 1..=USERS {
        all.extend(inbox(store, of).await);
    }
    all
}

/// A move that is watched line by line.
struct Watched {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
}

impl Watched {
    fn begin(setup: &Setup) -> Self {
        let mut command = setup.command(&["migrate"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until so many messages were handed to the servers.
    fn until(&mut self, messages: u64) {
        loop {
            let line = self.lines.next().expect("it goes on").unwrap();
            let Some(rest) = line.strip_prefix("moving: ") else { continue };
            let number: String =
                rest.chars().take_while(|c| *c != ' ').filter(char::is_ascii_digit).collect();
            if number.parse::<u64>().is_ok_and(|number| number >= messages) {
                return;
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "it had ended before it was killed");
    }

    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let lines = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), lines)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_or_loses_the_servers_goes_on_where_it_was() {
    const MESSAGES: u64 = 16_000;
    let mut cluster = Cluster::start();
    let nodes = nodes(cluster.place());
    let setup = nodes.setup().set("store.jetstream.create", "false");
    let folder = setup.path("data");
    House(&folder).fill(MESSAGES, "k").await;
    House(&folder).live_in().await;
    let store = House(&folder).open();
    let before = inboxes(&store).await;
    store.close().await.unwrap();

    for messages in [1, MESSAGES / 4, MESSAGES / 2] {
        let mut moving = Watched::begin(&setup);
        moving.until(messages);
        moving.kill();
    }
    // Half a house is served by nobody.
    let (code, said) = setup.start_in_vain();
    assert_eq!(code, Some(1));
    assert!(said.contains("imserver migrate") && said.contains("goes on where it was"), "{said}");

    // All servers are away for a while, and one stays away.
    let mut moving = Watched::begin(&setup);
    moving.until(MESSAGES / 2);
    for number in 0..3 {
        cluster.kill(number);
    }
    cluster.run(0);
    cluster.run(2);
    let (code, lines) = moving.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    cluster.run(1);
    cluster.wait();
    done(setup.command(&["migrate", "--verify"]));

    let store = streams(cluster.place(), nodes.prefix(), 1).await;
    assert!(inboxes(&store).await == before, "the inboxes are not as they were");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_refused_where_it_would_harm_and_tells_what_does_not_agree() {
    let place = nats::shared();
    let nodes = nodes(&place);
    let setup = nodes.setup();
    let folder = setup.path("data");
    let refused =
        |arguments: &[&str], code: i32, what: &str| refused_by(&setup, arguments, code, what);
    refused(&["migrate"], 2, "there is no store in");
    House(&folder).fill(50, "x").await;
    refused(&["migrate", "--verify"], 2, "nothing was moved into the stream");
    refused(&["migrate", "--abandon"], 2, "no move into the streams");
    let open = House(&folder).open();
    refused(&["migrate"], 1, "is in use: stop the server");
    open.close().await.unwrap();
    drop(open);

    // A house that is lived in already.
    let other = nodes.setup().set("store.jetstream.create", "true").start().await;
    refused(&["migrate"], 2, "it was not made by a move");
    let (_, _, said) = run(setup.command(&["migrate"]));
    assert!(!said.contains("counting"), "the folder is not copied and read for that: {said}");
    refused(&["migrate", "--abandon"], 2, "nothing was removed");
    other.stop().await;

    let nodes = self::nodes(&place);
    let setup = nodes.setup();
    let folder = setup.path("data");
    House(&folder).fill(50, "y").await;
    done(setup.command(&["migrate"]));
    // Something in the streams changes.
    let store = streams(&place, nodes.prefix(), 1).await;
    let unread = inbox(&store, 2).await.pop().unwrap();
    store.mark_read(user(2), Seen::Ids(vec![unread.message.id]), None).await.unwrap();
    store.append(draft(3, 2, "new")).await.unwrap().await.unwrap();
    store.close().await.unwrap();
    let (code, _, complained) = run(setup.command(&["migrate", "--verify"]));
    assert_eq!(code, 1);
    let pair = format!("from {} to 2: the folder has", unread.message.from.get());
    assert!(
        complained.contains("differ in 1 places") && complained.contains(&pair),
        "{complained}"
    );
}
