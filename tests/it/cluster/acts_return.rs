//! The audit log of several nodes goes back into a folder, and goes on there.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use imserver::admin::audit;
use imserver::admin::{Act, Audit, Who};
use serde_json::{Value, json};

use super::house::House;
use super::moving::{done, nodes, refused_by};
use super::old_acts::{good, live_in};
use crate::nats;
use crate::support::{Admin, Setup};

/// The acts that a folder begins with, and the number of the line that names a torn one.
const LINES: usize = 30;
const TORN: usize = LINES + 1;

/// What a power cut leaves of a line.
const REST: &[u8] = b"{\"n\":31,\"at\":\"20";

/// A log in which a line was torn, in the folder of a house.
fn written(folder: &Path) -> Audit {
    let audit = live_in(folder, LINES);
    let mut file = OpenOptions::new().append(true).open(folder.join(audit::FILE)).unwrap();
    file.write_all(REST).unwrap();
    audit.append(&Who::Shell("root".to_owned()), &Act::new("reload")).unwrap();
    audit
}

fn lines(folder: &Path) -> String {
    fs::read_to_string(folder.join(audit::FILE)).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_goes_there_and_back_and_on_as_often_as_one_likes() {
    let place = nats::shared();
    let setup = nodes(&place).setup();
    let folder = setup.path("data");
    House(&folder).fill(20, "a").await;
    let (_, noted) = good(&written(&folder));
    let noted = noted.to_string();
    let at_first = lines(&folder);
    done(setup.command(&["migrate"]));
    let node = setup.start().await;
    let made = Admin::post("/admin/tokens", &json!({ "sub": 7 })).done(&node).await;
    let setup = node.stop().await;

    // Back, with the rest of the torn line, which the folder of before still has.
    let messages = setup.path("messages");
    done(setup.command(&["export", text(&messages)]));
    let back = Setup::new();
    let home = back.path("data");
    let said = done(setup.command(&["audit", "export", text(&home)]));
    let came = lines(&home);
    assert!(came.starts_with(&at_first), "{came}");
    assert_eq!(came, done(setup.command(&["audit", "list"])));
    let last: Value = serde_json::from_str(came.lines().last().unwrap()).unwrap();
    assert_eq!(last["act"], "export");
    let (count, newest) = (came.lines().count(), last["hash"].as_str().unwrap());
    let file = home.join(audit::FILE);
    let told = format!("{}: {count} lines, all good; newest hash: {newest}\n", file.display());
    assert_eq!(said, told);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read(home.join(format!("audit.torn-{TORN}"))).unwrap(), REST);

    // One machine goes on behind it, and takes back what was issued before, there and here.
    back.run(&["import", text(&messages)]);
    back.run(&["audit", "verify", "--expect", &noted]);
    let server = back.start().await;
    for jti in [&json!("old.0"), &made["jti"]] {
        let revoked = Admin::post("/admin/revocations", &json!({ "jti": jti })).done(&server).await;
        assert_eq!(revoked["remark"], Value::Null, "it is in the ledger: {revoked}");
    }
    let back = server.stop().await;
    for hash in [&noted, newest] {
        let said = back.run(&["audit", "verify", "--expect", hash]);
        assert!(said.contains(&format!("{} lines, all good", count + 3)), "{said}");
    }
    let now = lines(&home);
    assert!(now.starts_with(&came), "{now}");

    // And there again, and back: the folder that has the rest is not where it is looked for.
    let again = nodes(&place).setup();
    done(again.command(&["migrate", "--from", text(&home)]));
    let third = again.path("third");
    let said = done(again.command(&["audit", "export", text(&third)]));
    assert!(said.contains(&format!("a line names audit.torn-{TORN}")), "{said}");
    let rest = lines(&third).strip_prefix(&now).map(str::to_owned).unwrap();
    assert!(rest.lines().count() == 1 && rest.contains("\"store.migrate\""), "{rest}");
    let verify = ["audit", "verify", "--folder", text(&third), "--expect", &noted];
    refused_by(&again, &verify, 1, &format!("line {TORN} is broken: the file that it names"));
    fs::write(third.join(format!("audit.torn-{TORN}")), REST).unwrap();
    done(again.command(&verify));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_is_a_whole_log_or_none() {
    let place = nats::shared();
    let nodes = nodes(&place);
    let setup = nodes.setup();
    let folder = setup.path("data");
    House(&folder).fill(20, "b").await;
    live_in(&folder, LINES);
    let there = lines(&folder);
    done(setup.command(&["migrate"]));

    // The log that moved in is not written over.
    let export = ["audit", "export", text(&folder)];
    refused_by(&setup, &export, 2, "there is an audit log already");
    assert_eq!(lines(&folder), there);

    // A chain that somebody has broken is told, and nothing of it is taken.
    let stranger = nodes.stranger().await;
    stranger.publish("au.act", there.lines().next().unwrap()).await;
    let home = setup.path("home");
    let broken = format!("line {} is broken", LINES + 2);
    refused_by(&setup, &["audit", "export", text(&home)], 1, &broken);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
}
