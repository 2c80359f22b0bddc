//! The audit log of one machine comes along into the streams, and goes on there.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use imserver::admin::audit::{self, Hash, Verified};
use imserver::admin::{Act, Audit, Who};
use imserver::config;
use imserver::store::jetstream::migrate::{self, ActLines, MigrateError};
use imserver::store::jetstream::survey;
use imserver::store::sled::Departure;
use serde_json::{Value, json};

use super::house::House;
use super::moving::{done, nodes, refused_by, store_config};
use crate::nats;
use crate::support::{Admin, Setup};

/// Acts of every kind, so many, as the server of one machine wrote them.
pub(super) fn live_in(folder: &Path, count: usize) -> Audit {
    let audit = Audit::open(folder).unwrap();
    for number in 0..count {
        let act = match number % 3 {
            0 => Act::new("token.issue")
                .with("jti", format!("old.{number}"))
                .with("sub", 1 + number % 7)
                .with("kid", "test")
                .with("issued", "2020-05-18T08:16:07Z")
                .with("until", "2120-05-18T08:16:07Z")
                .with("admin", false),
            1 => Act::new("user.disable").with("sub", 3),
            _ => Act::new("store.backup").with("messages", number),
        };
        audit.append(&Who::Shell("root".to_owned()), &act).unwrap();
    }
    audit
}

pub(super) fn good(audit: &Audit) -> (u64, Hash) {
    let Verified { lines, newest, fault: None, .. } = audit.verify(None).unwrap() else {
        panic!("the log is broken")
    };
    (lines, newest.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_goes_on_where_it_was_and_old_tokens_are_known() {
    const LINES: usize = 60;
    let place = nats::shared();
    let nodes = nodes(&place);
    let setup = nodes.setup();
    let folder = setup.path("data");
    House(&folder).fill(20, "a").await;
    let (lines, newest) = good(&live_in(&folder, LINES));
    assert_eq!(lines, LINES as u64);
    // What a power cut leaves was not done, and stays.
    let file = folder.join(audit::FILE);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], b"{\"n\":61,\"at\":\"20"].concat()).unwrap();
    let said = done(setup.command(&["migrate"]));
    assert!(said.contains(&format!("and so do {LINES} lines of the audit log")), "{said}");

    // The whole of it is in the stream, with one line behind it.
    let said = done(setup.command(&["audit", "verify", "--expect", &newest.to_string()]));
    assert!(said.contains(&format!("{} lines, all good", LINES + 1)), "{said}");
    let listed = done(setup.command(&["audit", "list"]));
    let listed: Vec<&str> = listed.lines().collect();
    let before = String::from_utf8(whole).unwrap();
    assert_eq!(listed[..LINES], before.lines().collect::<Vec<_>>());
    let last: Value = serde_json::from_str(listed[LINES]).unwrap();
    assert_eq!((&last["act"], &last["n"]), (&json!("store.migrate"), &json!(LINES + 1)));

    // What is written since is no difference.
    done(setup.command(&["migrate", "--verify"]));

    let node = setup.start().await;
    let ledger = Admin::get("/admin/tokens?sub=1").lines(&node).await;
    assert!(ledger.iter().any(|line| line["jti"] == "old.0"), "{ledger:?}");
    let revoked = Admin::post("/admin/revocations", &json!({ "jti": "old.0" })).done(&node).await;
    assert_eq!(revoked["remark"], Value::Null, "it is in the ledger: {revoked}");
    let setup = node.stop().await;
    // Another log is.
    fs::remove_file(&file).unwrap();
    live_in(&folder, 2);
    refused_by(&setup, &["migrate", "--verify"], 1, "the line 1 of the audit log is another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_log_is_not_moved_and_nothing_else_is() {
    let place = nats::shared();
    let nodes = nodes(&place);
    let setup = nodes.setup();
    let folder = setup.path("data");
    House(&folder).fill(20, "b").await;
    live_in(&folder, 9);
    let file = folder.join(audit::FILE);
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.replacen("\"sub\":3", "\"sub\":4", 1)).unwrap();
    refused_by(&setup, &["migrate"], 1, "line 2 of ");
    refused_by(&setup, &["cluster", "check"], 1, "there are no streams of imserver");
    // As it says: moved away, it stays behind.
    fs::rename(&file, setup.path("audit.kept")).unwrap();
    done(setup.command(&["migrate"]));
    assert!(!file.exists());
    let listed = done(setup.command(&["audit", "list"]));
    assert_eq!(listed.lines().count(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_moved_in_part_is_gone_on_with() {
    const LINES: usize = 40;
    let place = nats::shared();
    let nodes = nodes(&place);
    let setup: Setup = nodes.setup();
    let folder = setup.path("data");
    House(&folder).fill(20, "c").await;
    live_in(&folder, LINES);
    let config: config::Store = store_config(&place, nodes.prefix(), 1);
    let departure = || Departure::open(&folder, 16 << 20).unwrap();
    // The folder is whole when it is counted, and fails when half of it is written.
    let opened = AtomicUsize::new(0);
    let failing = || -> Result<ActLines, String> {
        let lines = audit::departing(&folder).map_err(|error| error.to_string())?;
        Ok(match opened.fetch_add(1, Ordering::Relaxed) {
            0 => lines,
            _ => {
                let half = lines.take(LINES / 2);
                Box::new(half.chain([Err("the disk is gone".to_owned())]))
            }
        })
    };
    let failed = migrate::migrate(&config, departure(), &failing, &|_| {}).await.unwrap_err();
    assert!(matches!(&failed, MigrateError::Acts(why) if why == "the disk is gone"), "{failed}");
    let whole = || audit::departing(&folder).map_err(|error| error.to_string());
    // Of what was sent before it failed some may be there, and all of it comes to lie where it must.
    let found = migrate::migrate(&config, departure(), &whole, &|_| {}).await.unwrap();
    assert_eq!(found.acts, LINES as u64);
    let surveyed = survey(&config, &mut Vec::new()).await.unwrap();
    let log = surveyed.iter().find(|stream| stream.stream.ends_with("-audit")).unwrap();
    assert_eq!(log.entries, LINES as u64);
    migrate::compare(&config, departure(), &whole, &|_| {}).await.unwrap();
}
