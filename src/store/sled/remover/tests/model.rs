//! Anything that messages may live through, beside a model of what must be left of them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::store::{History, HistoryCursor, Page, Stretch};

#[derive(Clone, Debug)]
enum Step {
    Send { from: u64, to: u64, count: usize, named: bool },
    Mark { reader: u64, pattern: u64 },
    Sweep,
    Erase { who: u64 },
    Pack { size: u64 },
    Rewrite { wholly: bool },
    Reopen,
    Compact,
}

const USERS: u64 = 3;

fn step() -> impl Strategy<Value = Step> {
    let named = any::<bool>();
    prop_oneof![
        6 => (0..=USERS, 1..=USERS, 1..200usize, named)
            .prop_map(|(from, to, count, named)| Step::Send { from, to, count, named }),
        6 => (1..=USERS, any::<u64>()).prop_map(|(reader, pattern)| Step::Mark { reader, pattern }),
        3 => Just(Step::Sweep),
        1 => (1..=USERS).prop_map(|who| Step::Erase { who }),
        6 => (1..100u64).prop_map(|size| Step::Pack { size }),
        2 => any::<bool>().prop_map(|wholly| Step::Rewrite { wholly }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Compact),
    ]
}

/// What is there, what was read of it, and how far every pair has come.
#[derive(Default)]
struct Model {
    pairs: BTreeMap<(u64, u64), Vec<MessageId>>,
    read: BTreeSet<MessageId>,
}

impl Model {
    fn inbox(&self, of: u64, unread_only: bool) -> Vec<MessageId> {
        let pairs = self.pairs.iter().filter(|((_, to), _)| *to == of);
        let ids = pairs.flat_map(|(_, ids)| ids.iter().copied());
        let mut ids: Vec<_> = ids.filter(|id| !unread_only || !self.read.contains(id)).collect();
        ids.sort_unstable();
        ids
    }
}

/// Moves messages as the thread does, which does so by itself only where there are many.
fn moved(
    store: &SledStore,
    work: impl FnOnce(&TestDesk) -> Result<(), packer::Hindrance> + Send + 'static,
) {
    let desk = TestDesk(store.clone());
    std::thread::spawn(move || work(&desk).unwrap()).join().unwrap();
}

struct TestDesk(SledStore);

impl Desk for TestDesk {
    fn log(&self) -> Result<Log, StoreError> {
        self.0.shared.log()
    }

    fn head(&self) -> u64 {
        self.0.shared.head().get()
    }

    fn enter(&self, piece: Piece) -> Result<(), AppendError> {
        let (reply, outcome) = oneshot::channel();
        self.0.line.blocking_send(Request::Remove(piece, reply)).unwrap();
        outcome.blocking_recv().unwrap()
    }
}

/// Everything of a pair that a history shows, walked from its end and from its beginning.
async fn conversation(store: &SledStore, pair: Pair) -> Vec<MessageId> {
    let of_pair = |page: &History| -> Vec<MessageId> {
        let entries = page.entries.iter().map(|entry| &entry.message);
        entries.filter(|m| m.from == pair.from && m.to == pair.to).map(|m| m.id).collect()
    };
    let (mut back, mut stretch) = (Vec::new(), Stretch::Newest);
    while let Some(page) = store.history(pair.to, pair.from, stretch, 100).await.unwrap() {
        back.splice(0..0, of_pair(&page));
        let Some(older) = page.older else { break };
        stretch = Stretch::Before(older);
    }
    let (mut on, mut after) = (Vec::new(), HistoryCursor([0, 0]));
    while let Some(page) =
        store.history(pair.to, pair.from, Stretch::After(after), 100).await.unwrap()
    {
        on.extend(of_pair(&page));
        if page.entries.is_empty() {
            break;
        }
        after = page.newer;
    }
    assert_eq!(back, on);
    on
}

/// Sees that what is said of an inbox, with a read or without, is what a read finds.
async fn known_by_heart(store: &SledStore, inbox: u64, ids: &[MessageId]) {
    let (log, head, inbox) = (store.shared.log().unwrap(), store.shared.head(), user(inbox));
    let newest = reader::inbox_head(&log, inbox, head).unwrap();
    // The second time what the first one found is known, too.
    for _ in 0..2 {
        assert_eq!(store.inbox_head(inbox).await.unwrap(), newest);
        let ends = ids.iter().copied().map(Cursor::from).rev().take(2);
        for after in ends.chain([newest, head, Cursor::START]) {
            for unread_only in [false, true] {
                let span = Span { after, until: None, unread_only };
                let said = store.read_inbox(inbox, span).await.unwrap();
                let found = reader::page(&log, inbox, span, head).unwrap();
                assert_eq!(said.entries, found.entries, "{span:?}");
                let ends = |page: &Page| (page.up_to, page.head, page.complete);
                assert_eq!(ends(&said), ends(&found), "{span:?}");
            }
        }
    }
}

async fn check(steps: Vec<Step>) {
    let folder = folder();
    let mut store = open_at(folder.path()).unwrap().0;
    let (mut model, mut name) = (Model::default(), 0);
    for step in steps {
        match step {
            Step::Send { from, to, count, named: is_named } => {
                let mut receipts = Vec::new();
                for _ in 0..count {
                    name += 1;
                    let resend = if is_named { named(&name.to_string()) } else { ResendKey::None };
                    let Pair { from, to } = pair(from, to);
                    let draft = Draft { from, to, resend, ..draft(0) };
                    receipts.push(store.append(draft).await.unwrap());
                }
                for receipt in receipts {
                    let id = receipt.await.unwrap().id;
                    model.pairs.entry((from, to)).or_default().push(id);
                }
            }
            Step::Mark { reader, pattern } => {
                let ids = model.inbox(reader, true).into_iter().enumerate();
                // Mostly from the top, with holes.
                let ids = ids.filter(|(at, _)| pattern.rotate_right((*at / 16) as u32) & 7 != 0);
                let ids: Vec<_> = ids.map(|(_, id)| id).take(pattern as usize % 700).collect();
                mark(&store, reader, &ids).await;
                model.read.extend(ids);
            }
            Step::Sweep => {
                let mut expected = 0;
                for ids in model.pairs.values_mut() {
                    let prefix = ids.iter().take_while(|id| model.read.contains(id)).count();
                    expected += prefix as u64;
                    ids.drain(..prefix);
                }
                assert_eq!(sweep(&store).await.0, expected);
            }
            Step::Erase { who } => {
                store.erase(user(who)).await.unwrap();
                model.pairs.retain(|(from, to), _| *from != who && *to != who);
            }
            // One volume, then as many as there are.
            Step::Pack { size } => {
                moved(&store, move |desk| packer::pack(desk, size).map(drop));
                if size % 3 == 0 {
                    moved(&store, move |desk| {
                        while packer::pack(desk, size)? {}
                        Ok(())
                    });
                }
            }
            Step::Rewrite { wholly } => {
                moved(&store, move |desk| packer::rewrite(desk, wholly));
            }
            Step::Reopen => store = counted(&folder, store).await,
            Step::Compact => {
                store.close().await.unwrap();
                drop(store);
                let config = crate::config::Store {
                    path: folder.path().to_owned(),
                    cache_bytes: 16 << 20,
                    ..crate::config::Store::default()
                };
                crate::store::sled::compact(&config, |_| {}).unwrap();
                store = open_at(folder.path()).unwrap().0;
            }
        }
        for (&(from, to), ids) in &model.pairs {
            assert_eq!(conversation(&store, pair(from, to)).await, *ids, "from {from} to {to}");
        }
        for inbox in 1..=USERS {
            for unread_only in [false, true] {
                let (found, _) = page(&store, inbox, Cursor::START, unread_only).await;
                assert_eq!(found, model.inbox(inbox, unread_only));
            }
            known_by_heart(&store, inbox, &model.inbox(inbox, false)).await;
        }
    }
    counted(&folder, store).await;
}

#[test]
fn whatever_goes_the_store_is_as_the_model_says_and_whole() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..25), |steps| {
        runtime.block_on(check(steps));
        Ok(())
    });
    outcome.unwrap();
}
