//! Any sequence of calls, against a model that is a list.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imserver::ids::MessageId;
use imserver::store::{AppendError, Cursor, Entry, HistoryEntry, Span, Stretch};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use crate::backend::{
    Backend, Bench, Settings, draft, ids, packet, pages, receipts, sender, stored, user,
};
use crate::walking;

const USERS: u64 = 3;

/// Small enough to be met.
const UNREAD_MAX: u64 = 40;

/// How long a failing sequence is made shorter, in milliseconds. On streams every try takes a while,
/// and a test that is ended for its time shows nothing of what it found.
const SHRINKING: u32 = 30_000;

#[derive(Clone, Debug)]
enum Step {
    /// A burst of messages in one line; the sizes make pages end by their bytes too.
    Send {
        from: u64,
        to: u64,
        sizes: Vec<usize>,
    },
    /// A packet out of a few, so that some are sent again.
    Resend {
        from: u64,
        to: u64,
        mark: u64,
    },
    /// Every message of the inbox at which the pattern has a bit.
    Mark {
        reader: u64,
        pattern: u64,
        shift: usize,
    },
    /// All that one wrote up to a part of what was given.
    MarkUpTo {
        reader: u64,
        peer: u64,
        part: f64,
    },
    /// A conversation either way and the list, in pages whose sizes vary.
    Walk {
        who: u64,
        peer: u64,
        limits: Vec<usize>,
    },
    /// A span between two of the ids given so far.
    Read {
        inbox: u64,
        after: f64,
        until: Option<f64>,
        unread_only: bool,
    },
    Erase {
        who: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![9 => 0..40usize, 1 => Just(20_000usize)];
    let sizes = prop::collection::vec(size, 1..30);
    let part = 0.0..1.1f64;
    prop_oneof![
        6 => (0..=USERS, 1..=USERS, sizes).prop_map(|(from, to, sizes)| Step::Send { from, to, sizes }),
        2 => (1..=USERS, 1..=USERS, 0..6u64).prop_map(|(from, to, mark)| Step::Resend { from, to, mark }),
        4 => (1..=USERS, any::<u64>(), 0..8usize)
            .prop_map(|(reader, pattern, shift)| Step::Mark { reader, pattern, shift }),
        2 => (1..=USERS, 0..=USERS, part.clone())
            .prop_map(|(reader, peer, part)| Step::MarkUpTo { reader, peer, part }),
        5 => (1..=USERS, 0..=USERS, prop::collection::vec(1..20usize, 1..6))
            .prop_map(|(who, peer, limits)| Step::Walk { who, peer, limits }),
        6 => (1..=USERS, part.clone(), prop::option::of(part), any::<bool>())
            .prop_map(|(inbox, after, until, unread_only)| Step::Read { inbox, after, until, unread_only }),
        1 => (1..=USERS).prop_map(|who| Step::Erase { who }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    /// Inbox, id, sender, content, in the order of the appends.
    log: Vec<(u64, MessageId, u64, String)>,
    /// Those of them that were erased.
    gone: BTreeSet<MessageId>,
    read: BTreeSet<MessageId>,
    packets: Vec<((u64, u64, u64), MessageId)>,
    /// What every reader must have told every sender, each once.
    told: BTreeMap<(u64, u64), BTreeSet<MessageId>>,
}

impl Model {
    fn kept(&self) -> impl DoubleEndedIterator<Item = &(u64, MessageId, u64, String)> {
        self.log.iter().filter(|(_, id, ..)| !self.gone.contains(id))
    }

    fn of(&self, inbox: u64) -> impl DoubleEndedIterator<Item = &(u64, MessageId, u64, String)> {
        self.kept().filter(move |(to, ..)| *to == inbox)
    }

    /// The newest message of an inbox, be it kept or gone.
    fn head(&self, inbox: u64) -> Cursor {
        let mut all = self.log.iter().filter(|(to, ..)| *to == inbox);
        all.next_back().map_or(Cursor::START, |(_, id, ..)| Cursor::from(*id))
    }

    /// Whether nothing of an inbox is gone behind a cursor.
    fn is_complete(&self, inbox: u64, after: Cursor) -> bool {
        let mut all = self.log.iter().filter(|(to, ..)| *to == inbox);
        all.all(|(_, id, ..)| Cursor::from(*id) <= after || !self.gone.contains(id))
    }

    fn erase(&mut self, who: u64) -> u64 {
        let gone = self.kept().filter(|(to, _, from, _)| *to == who || *from == who);
        let gone: Vec<MessageId> = gone.map(|(_, id, ..)| *id).collect();
        self.gone.extend(&gone);
        gone.len() as u64
    }

    fn unread(&self, inbox: u64) -> u64 {
        let unread = self.of(inbox).filter(|(_, id, ..)| !self.read.contains(id));
        unread.count() as u64
    }

    /// The cursor at a part of all that was given: 0 the start, 1 the newest.
    fn at(&self, part: f64) -> Cursor {
        let last = self.log.last().map_or(0, |(_, id, ..)| id.get()) as f64;
        MessageId::new((last * part) as u64).map_or(Cursor::START, Cursor::from)
    }

    /// Takes what `reader` has seen, whoever wrote it.
    fn seen(&mut self, reader: u64, ids: &[MessageId]) {
        for (to, id, from, _) in &self.log {
            let seen = *to == reader && ids.contains(id) && !self.gone.contains(id);
            if seen && self.read.insert(*id) {
                self.told.entry((reader, *from)).or_default().insert(*id);
            }
        }
    }

    /// What two wrote to each other: id, sender, text, whether it was read.
    fn between(&self, one: u64, other: u64) -> Vec<(MessageId, u64, String, bool)> {
        let both = self.kept().filter(|(to, _, from, _)| {
            (*to, *from) == (one, other) || (*to, *from) == (other, one)
        });
        both.map(|(_, id, from, text)| (*id, *from, text.clone(), self.read.contains(id))).collect()
    }

    /// Peer, unread messages and newest message of every conversation.
    fn list(&self, who: u64) -> Vec<(u64, u64, MessageId)> {
        let mut list: Vec<_> = (0..=USERS)
            .filter_map(|peer| {
                let (last, ..) = self.between(who, peer).pop()?;
                let unread = self
                    .of(who)
                    .filter(|(_, id, from, _)| *from == peer && !self.read.contains(id));
                Some((peer, unread.count() as u64, last))
            })
            .collect();
        list.sort_unstable_by_key(|(.., last)| Reverse(*last));
        list
    }

    fn appended(&mut self, from: u64, to: u64, id: MessageId, content: String) {
        assert!(self.head(to) < id.into(), "ids must rise in an inbox");
        self.log.push((to, id, from, content));
    }
}

async fn take<B: Backend>(bench: &mut Bench<B>, model: &mut Model, step: Step) {
    match step {
        Step::Send { from, to, sizes } => {
            let mut receipts = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let content = format!("{number}{}", "x".repeat(*size));
                receipts.push((bench.line_up(draft(from, to, &content)).await, content));
            }
            for (receipt, content) in receipts {
                match receipt.await {
                    Ok(appended) => {
                        assert!(!appended.duplicate && model.unread(to) < UNREAD_MAX);
                        model.appended(from, to, appended.id, content);
                    }
                    Err(error) => {
                        assert_eq!((error, model.unread(to)), (AppendError::InboxFull, UNREAD_MAX));
                    }
                }
            }
        }
        Step::Resend { from, to, mark } => {
            let key = (from, to, mark);
            let known = model.packets.iter().rfind(|(known, _)| *known == key);
            let known = known.map(|(_, id)| *id);
            // An erased one may be known, and is no more after a reopening.
            let is_new = known.is_none_or(|id| model.gone.contains(&id));
            let content = format!("packet {mark}");
            let digest = from << 32 | to << 16 | mark;
            match bench.try_append(packet(from, to, &content, digest)).await {
                Ok(appended) if appended.duplicate => assert_eq!(Some(appended.id), known),
                Ok(appended) => {
                    assert!(is_new);
                    model.appended(from, to, appended.id, content);
                    model.packets.push((key, appended.id));
                }
                Err(error) => {
                    assert!(is_new);
                    assert_eq!((error, model.unread(to)), (AppendError::InboxFull, UNREAD_MAX));
                }
            }
        }
        Step::Mark { reader, pattern, shift } => {
            // Of others too: they must not count.
            let marked = model.log.iter().map(|(_, id, ..)| *id).enumerate();
            let marked = marked.filter(|(at, _)| pattern.rotate_left(*at as u32 >> shift) & 1 == 1);
            let marked: Vec<MessageId> = marked.map(|(_, id)| id).collect();
            bench.mark(reader, &marked).await;
            model.seen(reader, &marked);
        }
        Step::MarkUpTo { reader, peer, part } => {
            let Some(end) = MessageId::new(model.at(part).get()) else { return };
            bench.mark_up_to(reader, peer, end).await;
            let marked = model.of(reader).filter(|(_, id, from, _)| *from == peer && *id <= end);
            let marked: Vec<MessageId> = marked.map(|(_, id, ..)| *id).collect();
            model.seen(reader, &marked);
        }
        Step::Walk { who, peer, limits } => walk(bench, model, who, peer, &limits).await,
        Step::Read { inbox, after, until, unread_only } => {
            let span = Span {
                after: model.at(after),
                until: until.map(|until| model.at(until)),
                unread_only,
            };
            let found = pages(&*bench.store, inbox, span).await.unwrap();
            let expected: Vec<_> = model
                .of(inbox)
                .filter(|(_, id, ..)| {
                    let at = Cursor::from(*id);
                    span.after < at
                        && span.until.is_none_or(|until| at <= until)
                        && !(unread_only && model.read.contains(id))
                })
                .map(|(_, id, from, content)| (*id, *from, content.clone()))
                .collect();
            assert_eq!(told(&found), expected);
            let complete = bench.page(inbox, span).await.complete;
            assert_eq!(complete, unread_only || model.is_complete(inbox, span.after));
        }
        Step::Erase { who } => {
            let erased = bench.store.erase(user(who)).await.unwrap();
            assert_eq!(erased.messages, model.erase(who));
        }
        Step::Reopen => bench.reopen().await,
    }
}

async fn walk<B: Backend>(bench: &Bench<B>, model: &Model, who: u64, peer: u64, limits: &[usize]) {
    let limit = || {
        let mut limits = limits.iter().copied().cycle();
        move || limits.next().unwrap()
    };
    let expected = model.between(who, peer);
    if expected.is_empty() {
        let none = bench.store.history(user(who), sender(peer), Stretch::Newest, 10).await;
        assert_eq!(none, Ok(None));
    } else {
        let found = walking::older(&*bench.store, who, peer, limit()).await;
        assert_eq!(walking::from_the_beginning(&*bench.store, who, peer, limit()).await, found);
        let found: Vec<_> = found
            .into_iter()
            .map(|HistoryEntry { message, read }| {
                (message.id, message.from.get(), message.content, read)
            })
            .collect();
        assert_eq!(found, expected);
    }
    let (list, unread) = walking::list(&*bench.store, who, limit()).await.unwrap();
    assert!(list.is_sorted_by(|a, b| a.last.message.stored_at >= b.last.message.stored_at));
    let list = list.iter().map(|listed| (listed.peer.get(), listed.unread, listed.last.message.id));
    let (mut list, mut expected) = (list.collect::<Vec<_>>(), model.list(who));
    if !B::ONE_ORDER {
        // What was stored within a millisecond to inboxes of several partitions has no order.
        list.sort_unstable();
        expected.sort_unstable();
    }
    assert_eq!(list, expected);
    assert_eq!(unread, model.unread(who));
    assert_eq!(bench.store.inbox_head(user(who)).await, Ok(model.head(who)));
}

fn told(entries: &[Arc<Entry>]) -> Vec<(MessageId, u64, String)> {
    let told = entries.iter().map(|entry| {
        let message = &entry.message;
        (message.id, message.from.get(), message.content.clone())
    });
    told.collect()
}

async fn check<B: Backend>(steps: Vec<Step>) {
    let mut bench =
        Bench::<B>::with(Settings { unread_max: UNREAD_MAX, ..Settings::default() }).await;
    let mut model = Model::default();
    for step in steps {
        take(&mut bench, &mut model, step).await;
    }
    bench.reopen().await;
    for inbox in 1..=USERS {
        let all: Vec<MessageId> = model.of(inbox).map(|(_, id, ..)| *id).collect();
        assert_eq!(ids(&bench.all(inbox).await), all);
        let unread = all.into_iter().filter(|id| !model.read.contains(id));
        assert_eq!(bench.unread(inbox).await, unread.collect::<Vec<_>>());
    }
    let announced: Vec<MessageId> = model.log.iter().map(|(_, id, ..)| *id).collect();
    let news = bench.closed().await;
    let heard: Vec<MessageId> =
        stored(&news).iter().map(|stored| stored.entry.message.id).collect();
    assert_eq!(heard, announced);
    let mut told: BTreeMap<_, BTreeSet<MessageId>> = BTreeMap::new();
    for receipt in receipts(&news) {
        assert!(receipt.ids.is_sorted() && !receipt.ids.is_empty());
        let by_now = told.entry((receipt.reader.get(), receipt.from.get())).or_default();
        assert!(receipt.ids.into_iter().all(|id| by_now.insert(id)), "told twice");
    }
    assert_eq!(told, model.told);
}

pub async fn any_sequence_of_calls_is_as_the_model_says<B: Backend>() {
    let config = Config {
        cases: 12,
        failure_persistence: None,
        max_shrink_time: SHRINKING,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let steps = prop::collection::vec(step(), 1..40);
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&steps, |steps| {
            Handle::current().block_on(check::<B>(steps));
            Ok(())
        })
    });
    outcome.unwrap();
}
