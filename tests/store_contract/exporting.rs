//! Everything that is kept, on its way out.

use imserver::ids::UserId;
use imserver::store::{ClaimedProfile, Exported, Piece, Record};

use crate::backend::{Backend, Bench, draft, named, user};

/// An export to its end, which must come.
async fn exported<B: Backend>(bench: &Bench<B>, whose: Option<UserId>) -> (u64, Vec<Record>) {
    let mut export = bench.store.export(whose).await.unwrap();
    let mut found = Vec::new();
    let mut has_end = false;
    while let Some(piece) = export.pieces.recv().await {
        assert!(!has_end, "something came behind the end");
        match piece.unwrap() {
            Piece::Records(records) => found.extend(records),
            Piece::End => has_end = true,
        }
    }
    assert!(has_end);
    (export.last_id, found)
}

fn messages(records: &[Record]) -> Vec<&Exported> {
    let messages = records.iter().filter_map(|record| match record {
        Record::Message(message) => Some(message),
        _ => None,
    });
    messages.collect()
}

pub async fn everything_is_exported_by_id_with_its_flags<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let (last_id, nothing) = exported(&bench, None).await;
    assert_eq!((last_id, nothing.len()), (0, 0));
    let mut ids = Vec::new();
    for number in 0..600 {
        let (from, to) = [(1, 2), (2, 1), (3, 3), (0, 2)][number % 4];
        let name = number.to_string();
        let draft =
            if from == 0 { draft(0, to, &name) } else { named(from, to, &name, &name, false) };
        ids.push(bench.append(draft).await);
    }
    bench.mark(2, &[ids[0], ids[8], ids[3]]).await;
    let claimed = ClaimedProfile { name: Some("小明".to_owned()), picture: None };
    bench.store.set_profile(user(4), claimed).await.unwrap();
    for _ in 0..2 {
        let (last_id, records) = exported(&bench, None).await;
        assert!(
            matches!(&records[0], Record::Profile(who, known) if *who == user(4) && known.name == "小明")
        );
        let found = messages(&records);
        let found_ids: Vec<_> = found.iter().map(|found| found.message.id).collect();
        if B::ONE_ORDER {
            assert_eq!((found_ids == ids, last_id), (true, ids[599].get()));
        } else {
            // Ids of before would say nothing: all are new.
            let highest = ids.iter().max().unwrap();
            assert!(found_ids[0] > *highest && found_ids.is_sorted());
            assert!(last_id >= found_ids[599].get());
        }
        assert_eq!(found.len(), 600);
        let numbers: Vec<usize> =
            found.iter().map(|found| found.message.content.parse().unwrap()).collect();
        assert!(!B::ONE_ORDER || numbers.is_sorted());
        for conversation in [0..=1, 2..=2, 3..=3] {
            let of = numbers.iter().filter(|number| conversation.contains(&(**number % 4)));
            assert!(of.is_sorted());
        }
        for (found, number) in found.iter().zip(numbers) {
            assert_eq!(found.client_id.is_some(), number % 4 != 3);
            assert_eq!(found.read, [0, 3, 8].contains(&number), "{number}");
        }
        bench.reopen().await;
    }
}

pub async fn what_concerns_one_user_is_exported_alone<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut ids = Vec::new();
    for (from, to) in [(1, 2), (2, 3), (3, 1), (1, 1), (0, 1), (2, 2), (2, 1)] {
        ids.push(bench.append(draft(from, to, &format!("{from} {to}"))).await);
    }
    for known in [1, 2] {
        let claimed = ClaimedProfile { name: Some("n".to_owned()), picture: None };
        bench.store.set_profile(user(known), claimed).await.unwrap();
    }
    let (_, records) = exported(&bench, Some(user(1))).await;
    assert!(matches!(records[0], Record::Profile(who, _) if who == user(1)));
    let found = messages(&records);
    assert_eq!(found.len() + 1, records.len());
    let mut found: Vec<_> =
        found.iter().map(|found| (found.message.content.as_str(), found.message.id)).collect();
    if !B::ONE_ORDER {
        // Only within a conversation it is told what came first.
        let at = |text| found.iter().position(|(content, _)| *content == text);
        assert!(at("1 2") < at("2 1"));
        found.sort_unstable_by_key(|(_, id)| ids.iter().position(|of| of == id));
    }
    // The ids are those that clients know.
    let expected = [("1 2", 0), ("3 1", 2), ("1 1", 3), ("0 1", 4), ("2 1", 6)];
    assert_eq!(found, expected.map(|(content, at)| (content, ids[at])));
    assert!(exported(&bench, Some(user(9))).await.1.is_empty());
}
