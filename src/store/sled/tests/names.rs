//! The rows of the names that clients gave to their messages.

use super::*;

/// The names of a stretch are looked for in its row, and of the last one in its messages.
#[tokio::test]
async fn an_old_name_is_found_in_every_stretch() {
    let folder = folder();
    let mut store = open_at(folder.path()).unwrap().0;
    let pair = Pair { to: draft(1).to, from: draft(1).from };
    let other = Sender::new(7).unwrap();
    let mut given = Vec::new();
    // Three full stretches, the second without a name, and a part of one more.
    for number in 0..800u64 {
        let resend = match number {
            256..512 => ResendKey::None,
            _ => named(&format!("n{number}")),
        };
        let receipt = store.append(Draft { resend, ..draft(1) }).await.unwrap();
        // Neighbours in the inbox, and in the commit.
        let neighbour = Draft { from: other, resend: ResendKey::None, ..draft(1) };
        store.append(neighbour).await.unwrap().await.unwrap();
        given.push(receipt.await.unwrap().id);
        // The books begin anew in the middle of a stretch, and at an end of one.
        if number == 600 || number == 767 {
            store.close().await.unwrap();
            store = open_at(folder.path()).unwrap().0;
        }
    }
    let tree = store.shared.log().unwrap();
    let stretches: Vec<_> = tree.scan_prefix(keys::NAMES).map(|row| row.unwrap().0).collect();
    assert_eq!(stretches, [keys::names(pair, 1), keys::names(pair, 3)]);
    let find = |name: &str, head: MessageId| {
        let name = ClientMsgId::new(name).unwrap();
        let found = reader::find_named(&tree, pair, &name, head.into()).unwrap();
        found.map(|record| record.message.id)
    };
    let newest = given[799];
    for (number, id) in given.iter().enumerate() {
        let expected = (!(256..512).contains(&number)).then_some(*id);
        assert_eq!(find(&format!("n{number}"), newest), expected);
        // Nothing beyond the head, also where a row of names is.
        let before = given[number.saturating_sub(1)];
        assert_eq!(find(&format!("n{number}"), before), expected.filter(|id| *id == before));
    }
    assert_eq!(find("n800", newest), None);
    drop(tree);
    store.close().await.unwrap();
    // Its rows are counted like others.
    for stretch in [1, 3] {
        let key = keys::names(pair, stretch);
        let row = bare(&folder, |db| db.remove(&key).unwrap().unwrap());
        assert!(refused(folder.path()).contains("name record"));
        bare(&folder, |db| db.insert(keys::names(pair, 2), row.clone()).unwrap());
        assert!(open_at(folder.path()).is_err());
        bare(&folder, |db| db.remove(keys::names(pair, 2)).unwrap());
        bare(&folder, |db| db.insert(&key, row).unwrap());
    }
    open_at(folder.path()).unwrap();
}
