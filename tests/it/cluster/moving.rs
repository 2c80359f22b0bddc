//! Moving house: from a folder into the streams, killed on the way, compared, and back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imserver::auth::{Revocation, TokenId};
use imserver::config::{self, Limits};
use imserver::ids::{MessageId, Sender, UserId};
use imserver::message::ClientMsgId;
use imserver::metrics::StoreMetrics;
use imserver::store::{
    AppendError, Appended, ClaimedProfile, Cursor, Draft, Entry, HistoryCursor, PacketDigest, ResendKey, Seen,
    Span, Store, Stretch, jetstream, sled,
};

use prometheus_client::registry::Registry;

use crate::nats::{self, Cluster, Place};
use crate::support::{Nodes, Setup, V2, described, mark_read, named};

/// Everybody in the house; user 8 is erased on the way and comes back.
const USERS: u64 = 8;

/// The mark of time of the first message.
const FIRST: u64 = 1_589_790_567;

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// A draw that every run makes alike.
fn draws() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

/// The folder of a server, with a store of which volumes are soon full.
struct House<'a>(&'a Path);

impl House<'_> {
    fn open(&self) -> sled::SledStore {
        if !self.0.exists() {
            fs::create_dir(self.0).unwrap();
        }
        fs::set_permissions(self.0, fs::Permissions::from_mode(0o700)).unwrap();
        let config = config::Store {
            path: self.0.to_owned(),
            cache_bytes: 16 << 20,
            volume_messages: 300,
            // A name may come twice, as it may in stores that have lived for longer.
            dedup_window: Duration::ZERO,
            resend_window: Duration::ZERO,
            ..config::Store::default()
        };
        let metrics = StoreMetrics::register(&mut Registry::default());
        sled::open(&config, &Limits::default(), metrics).unwrap().0
    }

    /// Lets everybody write to everybody, and to themselves, and the system too.
    async fn fill(&self, count: u64, mark: &str) {
        let store = self.open();
        let mut draws = draws();
        let mut receipts = Vec::new();
        let twice = Draft { resend: named_key("twice", false), ..draft(1, 2, mark) };
        receipts.push(store.append(twice).await.unwrap());
        for number in 0..count {
            let from = Sender::new(draws.u64(0..=USERS)).unwrap();
            let to = user(draws.u64(1..=USERS));
            let content = match draws.u8(..) {
                0 => "长".repeat(20_000),
                1..=9 => format!("\u{0}\r\n\"{number}\\ {mark}"),
                _ => format!("{mark} {number}"),
            };
            let resend = match number % 3 {
                0 => ResendKey::None,
                1 => packet(number, mark),
                _ => named_key(&format!("{mark}-{number}"), false),
            };
            let timestamp = format!("{}", FIRST + number);
            let draft = Draft { from, to, timestamp, content, resend, origin: None };
            receipts.push(store.append(draft).await.unwrap());
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
        store.close().await.unwrap();
    }

    /// Profiles, read flags here and there, revocations, and somebody who was erased.
    async fn live_in(&self) {
        let store = self.open();
        let mut draws = draws();
        for number in 1..USERS {
            let name = Some(format!("user {number} 明"));
            let picture = (number % 2 == 0).then(|| "https://a.example/p.png".to_owned());
            store.set_profile(user(number), ClaimedProfile { name, picture }).await.unwrap();
            let seen = inbox(&store, number).await;
            for peer in 0..USERS {
                let of: Vec<MessageId> = seen
                    .iter()
                    .map(|entry| &entry.message)
                    .filter(|message| message.from.get() == peer)
                    .map(|message| message.id)
                    .collect();
                let Some(some) = of.get(of.len() / 2) else { continue };
                if number % 3 > 0 {
                    let peer = Sender::new(peer).unwrap();
                    let seen = Seen::UpTo { peer, id: *some };
                    store.mark_read(user(number), seen, None).await.unwrap();
                }
                let islands = of.iter().filter(|_| draws.u8(..) < 40).copied().collect();
                store.mark_read(user(number), Seen::Ids(islands), None).await.unwrap();
            }
        }
        store.erase(user(USERS)).await.unwrap();
        let far = now() + 100_000;
        let jti = TokenId::new("leaked").unwrap();
        store.revoke(Revocation::Token { jti, until: far }).await.unwrap();
        let subject = Revocation::Subject { user: user(3), issued_up_to: now(), until: far };
        store.revoke(subject).await.unwrap();
        store.revoke(Revocation::Disabled { user: user(5) }).await.unwrap();
        store.close().await.unwrap();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The key of a packet that its client gave no name.
fn packet(number: u64, mark: &str) -> ResendKey {
    let mark = u128::from(mark.as_bytes()[0]) << 64;
    ResendKey::Packet(PacketDigest((mark | u128::from(number)).to_be_bytes()))
}

fn draft(from: u64, to: u64, content: &str) -> Draft {
    Draft {
        from: Sender::new(from).unwrap(),
        to: user(to),
        timestamp: "1".to_owned(),
        content: content.to_owned(),
        resend: ResendKey::None,
        origin: None,
    }
}

fn named_key(name: &str, again: bool) -> ResendKey {
    ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again }
}

async fn pages(store: &dyn Store, of: u64, after: u64, unread_only: bool) -> Vec<Arc<Entry>> {
    let mut found = Vec::new();
    let mut after = MessageId::new(after).map_or(Cursor::START, Cursor::from);
    loop {
        let span = Span { after, until: None, unread_only };
        let page = store.read_inbox(user(of), span).await.unwrap();
        found.extend(page.entries);
        if page.up_to >= page.head {
            return found;
        }
        after = page.up_to;
    }
}

async fn inbox(store: &dyn Store, of: u64) -> Vec<Arc<Entry>> {
    pages(store, of, 0, false).await
}

/// All that a client could ask for, with the ids left out where they are new ones.
async fn everything(store: &dyn Store, with_ids: bool) -> Vec<String> {
    let mut said = Vec::new();
    let shown = |id: MessageId| if with_ids { id.get() } else { 0 };
    for of in 1..=USERS {
        for entry in inbox(store, of).await {
            let mut entry = (*entry).clone();
            let id = shown(entry.message.id);
            entry.message.id = MessageId::new(1).unwrap();
            said.push(format!("{id} {entry:?}"));
        }
        let unread = pages(store, of, 0, true).await;
        let unread = unread.iter().map(|it| (shown(it.message.id), it.message.ordinal));
        said.push(format!("{of} unread: {:?}", unread.collect::<Vec<_>>()));
        if with_ids {
            said.push(format!("{of} reaches {:?}", store.inbox_head(user(of)).await.unwrap()));
        }
        said.push(format!("{of} is {:?}", store.profile(user(of)).await.unwrap()));
        let list = store.conversations(user(of), None, 100).await.unwrap();
        said.push(format!("{of} has {} unread", list.unread_total));
        let list: Vec<String> = list
            .conversations
            .iter()
            .map(|it| {
                let last = &it.last.message;
                let id = shown(last.id);
                format!("{:?} {} {} {id} {:?}", it.peer, it.unread, last.content, it.profile)
            })
            .collect();
        said.extend(list);
        for peer in 0..=USERS {
            let peer = Sender::new(peer).unwrap();
            let mut stretch = Stretch::Newest;
            while let Some(page) = store.history(user(of), peer, stretch, 37).await.unwrap() {
                for it in page.entries.iter().rev() {
                    let (id, message) = (shown(it.message.id), &it.message);
                    let line = format!("{of} {peer:?} {id} {} {}", message.content, it.read);
                    said.push(line);
                }
                let Some(older) = page.older else { break };
                stretch = Stretch::Before(older);
            }
        }
    }
    let mut revocations: Vec<String> =
        store.revocations().await.unwrap().iter().map(|it| format!("{it:?}")).collect();
    revocations.sort_unstable();
    said.extend(revocations);
    said.push(format!("{:?}", store.users(None, 1000).await.unwrap()));
    said
}

/// The store of nodes, opened here.
async fn streams(place: &Place, prefix: &str, partitions: u16) -> jetstream::JetStream {
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
    let config =
        config::Store { backend, jetstream, resend_window: window, ..config::Store::default() };
    let metrics = StoreMetrics::register(&mut Registry::default());
    jetstream::open(&config, &Limits::default(), metrics).await.unwrap().0
}

/// Nodes that are given a folder, and make no streams by themselves.
fn nodes(place: &Place) -> Nodes {
    Nodes::on(place)
        .set("store.jetstream.create", "false")
        .set("store.resend_window", "\"10m\"")
}

/// A command on the folder of a set-up, as long as its server was alone.
fn alone(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = setup.command(arguments);
    command.env("IMSERVER_STORE__BACKEND", "sled");
    command
}

/// Runs a command: its exit code, what it printed, and what it complained of.
fn run(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn done(command: Command) -> String {
    let (code, said, complained) = run(command);
    assert_eq!(code, 0, "{complained}");
    said
}

/// The digest in what a command printed.
fn digest(printed: &str) -> String {
    printed.split("digest ").nth(1).unwrap().trim().to_owned()
}

/// What lies in the files of a folder, but for the audit log.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            match path.is_dir() {
                true => folders.push(path),
                false if name.contains("audit") => {}
                false => drop(found.insert(name, fs::read(&path).unwrap())),
            }
        }
    }
    found
}

/// A house that was restored from a backup, and so has a gap of 2^32 ids; with the folder of
/// a node.
async fn lived_in(nodes: &Nodes) -> (Setup, Vec<String>) {
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
    let (code, _, complained) = run(setup.command(&["migrate"]));
    assert_eq!(code, 2);
    assert!(complained.contains("has come to its end already"), "{complained}");

    // And back: what left through a node comes in again.
    let node = setup.start().await;
    let lines = node.setup().path("lines").to_str().unwrap().to_owned();
    let (code, _, complained) = node.run(&["export", &lines]).await;
    assert_eq!(code, 0, "{complained}");
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
async fn clients_go_on(node: &crate::support::TestServer, store: &dyn Store) {
    let all: Vec<u64> =
        inbox(store, 1).await.iter().map(|entry| entry.message.id.get()).collect();
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
    crate::support::within("the marks", marked).await;
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

/// A move that is watched line by line.
struct Watched {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
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
    let before = everything(&store, true).await;
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
    let now = everything(&store, true).await;
    for (there, here) in before.iter().zip(&now) {
        assert_eq!(here, there);
    }
    assert_eq!(now.len(), before.len());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_refused_where_it_would_harm_and_tells_what_does_not_agree() {
    let place = nats::shared();
    let nodes = nodes(&place);
    let setup = nodes.setup();
    let folder = setup.path("data");
    let refused = |arguments: &[&str], code: i32, what: &str| {
        let (found, said, complained) = run(setup.command(arguments));
        assert_eq!(found, code, "{said}{complained}");
        assert!(complained.contains(what), "{complained}");
    };
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
    assert!(complained.contains("differ in 1 places") && complained.contains(&pair), "{complained}");
}
