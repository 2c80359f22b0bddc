//! Out of several partitions, of which ids do not say what came first, and in again.

use std::collections::BTreeSet;
use std::fs;

use imserver::ids::Sender;
use imserver::store::{Appended, Draft, Seen, Store};
use serde_json::Value;

use super::house::{House, USERS, draft, inbox, named_key, pages, shown, user};
use super::moving::{digest, done, lived_in, nodes, run, streams};
use crate::nats;
use crate::support::{Setup, TestServer, V2, described};

/// Messages that are written after the move, most of them to one user.
const WRITTEN: u64 = 600;

/// Everybody writes to everybody, one after the other, some of it is read, and one is erased and
/// comes back.
async fn go_on_living(store: &dyn Store) {
    let mut draws = fastrand::Rng::with_seed(9);
    for number in 0..WRITTEN {
        // Into one inbox comes most, of which the other ids are soon far behind.
        let to = if draws.u8(..) < 180 { 1 } else { draws.u64(1..=USERS) };
        let from = if to != 1 && draws.bool() { 1 } else { draws.u64(0..=USERS) };
        let resend = named_key(&format!("out-{number}"), false);
        let draft = Draft { resend, ..draft(from, to, &format!("out {number}")) };
        store.append(draft).await.unwrap().await.unwrap();
        if number == WRITTEN / 3 {
            store.erase(user(4)).await.unwrap();
        }
    }
    for of in 1..=USERS {
        let seen = inbox(store, of).await.into_iter().filter(|_| draws.bool());
        let seen = seen.map(|entry| entry.message.id).collect();
        store.mark_read(user(of), Seen::Ids(seen), None).await.unwrap();
        let peer = Sender::new(of % 3).unwrap();
        let of_peer = inbox(store, of).await.into_iter().filter(|it| it.message.from == peer);
        let of_peer: Vec<_> = of_peer.collect();
        if let Some(some) = of_peer.get(of_peer.len() / 2) {
            let seen = Seen::UpTo { peer, id: some.message.id };
            store.mark_read(user(of), seen, None).await.unwrap();
        }
    }
}

/// The ids of all messages.
async fn ids(store: &dyn Store) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for of in 1..=USERS {
        found.extend(inbox(store, of).await.iter().map(|entry| entry.message.id.get()));
    }
    found
}

fn assert_same(before: &[String], after: &[String]) {
    for (before, after) in before.iter().zip(after) {
        assert_eq!(after, before);
    }
    assert_eq!(after.len(), before.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_come_out_of_several_partitions_as_they_were_shown() {
    let place = nats::shared();
    let several = nodes(&place).set("store.jetstream.partitions", "3");
    let (setup, _) = lived_in(&several).await;
    done(setup.command(&["migrate"]));
    let store = streams(&place, several.prefix(), 3).await;
    go_on_living(&store).await;
    let (before, old_ids) = (shown(&store).await, ids(&store).await);
    let unread = pages(&store, 1, 0, true).await.len();
    store.close().await.unwrap();
    let fullest = (0..3).map(|part| old_ids.iter().filter(|id| *id % 3 == part).count());
    let [fullest, emptiest] = [fullest.clone().max(), fullest.min()].map(Option::unwrap);
    assert!(fullest > 2 * emptiest && emptiest > 0, "{fullest} {emptiest}");

    // While no node runs, and through one: the same lines.
    let lines = setup.path("lines").to_str().unwrap().to_owned();
    let (code, _, told) = run(setup.command(&["export", &lines]));
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("of 3 partitions") && told.contains("new ids"), "{told}");
    let node = setup.start().await;
    let (code, through, told) = node.run(&["export"]).await;
    assert!(code == 0 && told.contains("new ids"), "{told}");
    let written = fs::read_to_string(&lines).unwrap();
    let records = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(records(&through) == records(&written));
    let first: Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    let lapsed: u64 = first["lapsedUpTo"].as_str().unwrap().parse().unwrap();
    assert!(lapsed >= *old_ids.last().unwrap());
    let _setup = node.stop().await;

    let back = Setup::new();
    let known = digest(&back.run(&["import", &lines]));
    assert_eq!(digest(&back.run(&["verify"])), known);
    let store = House(&back.path("data")).open();
    assert_same(&before, &shown(&store).await);
    let new_ids = ids(&store).await;
    assert_eq!(new_ids.len(), old_ids.len());
    assert!(new_ids.iter().all(|id| *id > lapsed));
    is_known_by_its_name(&store).await;
    store.close().await.unwrap();
    let old_id = *old_ids.iter().nth(old_ids.len() / 2).unwrap();
    let server = back.start().await;
    clients_begin_anew(&server, old_id, unread).await;
    let back = server.stop().await;

    // And in again, into one and into more of them, and out.
    let folder = back.path("data").to_str().unwrap().to_owned();
    for partitions in [1, 4] {
        let again = nodes(&place).set("store.jetstream.partitions", &partitions.to_string());
        let setup = again.setup();
        assert_eq!(digest(&done(setup.command(&["migrate", "--from", &folder]))), known);
        let store = streams(&place, again.prefix(), partitions).await;
        assert_same(&before, &shown(&store).await);
        store.close().await.unwrap();
        let lines = setup.path("lines").to_str().unwrap().to_owned();
        done(setup.command(&["export", &lines]));
        let node = setup.start().await;
        clients_begin_anew(&node, old_id, unread).await;
        let _setup = node.stop().await;
        let back = Setup::new();
        let found = digest(&back.run(&["import", &lines]));
        // With one partition ids stay, and so does all that is said.
        assert_eq!(found == known, partitions == 1);
        let store = House(&back.path("data")).open();
        assert_same(&before, &shown(&store).await);
        let stay = ids(&store).await == new_ids;
        assert_eq!(stay, partitions == 1);
        store.close().await.unwrap();
    }
}

/// What a client sends once more under its name is the message that it was.
async fn is_known_by_its_name(store: &dyn Store) {
    let inbox = inbox(store, 1).await;
    let written = inbox.iter().filter(|entry| entry.message.content.starts_with("out "));
    for entry in written.step_by(20) {
        let (message, name) = (&entry.message, entry.client_id.as_ref().unwrap());
        let resend = named_key(name.as_str(), true);
        let draft = Draft { resend, ..draft(message.from.get(), 1, &message.content) };
        let appended = store.append(draft).await.unwrap().await;
        assert_eq!(appended, Ok(Appended { id: message.id, duplicate: true }));
    }
}

/// Who resumes behind an id of before gets what is unread, and is told to load the rest.
async fn clients_begin_anew(server: &TestServer, old_id: u64, unread: usize) {
    let (_, replayed, report) = V2::of(server, 1).after(old_id).replayed().await;
    assert_eq!((replayed.len(), &described(&report)["complete"]), (unread, &Value::Bool(false)));
    let head = report["content"].as_str().unwrap();
    let (_, replayed, report) = V2::of(server, 1).after(head).replayed().await;
    assert_eq!((replayed.len(), &described(&report)["complete"]), (0, &Value::Bool(true)));
    // All of it may be asked for, as ever.
    let (_, replayed, report) = V2::of(server, 1).after(0).replayed().await;
    assert!(replayed.len() > unread);
    assert_eq!(report["content"], head);
}
