//! Backups that are proven: made under load, restored elsewhere, and compared.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    Admin, Call, Claims, Forge, Setup, TestServer, Upgrade, V2, post_message, store, within,
};

/// Who writes while a backup is made; each to the next.
const WRITERS: u64 = 4;

/// A set-up whose commands find no running server.
fn setup() -> Setup {
    Setup::new().set("limits.messages_per_second", "0")
}

/// Runs a command that must fail; its exit code and what it complained of.
fn fails(setup: &Setup, arguments: &[&str]) -> (i32, String) {
    let output = setup.command(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?} went well");
    (output.status.code().unwrap(), said)
}

/// The digest in what a command printed.
fn digest(printed: &str) -> String {
    printed.split("digest ").nth(1).unwrap().trim().to_owned()
}

fn folder(setup: &Setup, name: &str) -> String {
    setup.path(name).to_str().unwrap().to_owned()
}

async fn named(server: &TestServer, name: &str) -> Value {
    let body = json!({"toId": 2, "content": "named", "clientMsgId": name});
    Call::post(1, "messages", &body).done(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_server_under_load_becomes_a_server_that_knows_all_that_was_acknowledged() {
    let server = Arc::new(setup().start().await);
    let first = named(&server, "before").await;
    let leaked = Claims::of(1).with("jti", "leaked").token();
    let (code, _, said) = server.run(&["token", "revoke", &leaked]).await;
    assert_eq!(code, 0, "{said}");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 1..=WRITERS {
        let (server, acknowledged, stop) = (server.clone(), acknowledged.clone(), stop.clone());
        writers.spawn(async move {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let content = format!("{writer}: {number}");
                let to = writer % WRITERS + 1;
                let id = post_message(&server, writer, to, &content).await;
                acknowledged.lock().unwrap().push((to, id, content));
            }
        });
    }
    let enough = async {
        while acknowledged.lock().unwrap().len() < 200 {
            tokio::task::yield_now().await;
        }
    };
    within("the writers to begin", enough).await;
    let before = acknowledged.lock().unwrap().clone();
    let (code, said, complained) = server.run(&["backup", &folder(server.setup(), "b")]).await;
    assert_eq!(code, 0, "{complained}");
    assert!(said.contains("written and checked"), "{said}");
    stop.store(true, Ordering::Relaxed);
    within("the writers to end", writers.join_all()).await;
    // The machine is lost; what is left is the backup.
    let lost = Arc::try_unwrap(server).unwrap().kill();

    let other = setup();
    let said = other.run(&["restore", &folder(&lost, "b")]);
    assert!(said.contains("verified"), "{said}");
    let audit = fs::read_to_string(other.path("data/audit.jsonl")).unwrap();
    assert!(audit.contains("\"backup\"") && audit.contains("\"restore\""), "{audit}");
    other.run(&["audit", "verify"]);
    let server = other.start().await;
    assert_eq!(Upgrade::token(&leaked).send(&server).await.status, 401, "still revoked");
    let mut seen = HashSet::new();
    for user in 1..=WRITERS {
        let (_, messages, up_to_date) = V2::of(&server, user).after(0).replayed().await;
        let ids: Vec<u64> = messages.iter().map(id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "user {user}");
        assert_eq!(up_to_date["content"], ids.last().unwrap().to_string());
        for message in &messages {
            let content = message["content"].as_str().unwrap().to_owned();
            assert!(seen.insert((user, id(message), content)), "{message} came twice");
        }
    }
    for message in &before {
        assert!(seen.contains(message), "{message:?} was acknowledged before the backup");
    }
    let again = named(&server, "before").await;
    assert_eq!((&again["messageId"], &again["duplicate"]), (&first["messageId"], &json!(true)));
    let next = post_message(&server, 1, 2, "after").await;
    assert!(next > 1 << 32, "{next}");
}

fn id(message: &Value) -> u64 {
    let described: Value = serde_json::from_str(message["Describe"].as_str().unwrap()).unwrap();
    described["messageId"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_stopped_store_its_backup_and_what_is_restored_of_it_have_one_digest() {
    let server = setup().start().await;
    for number in 0..20 {
        post_message(&server, 1, 2 + number % 3, "x").await;
    }
    let (code, _, said) = server.run(&["verify"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("is in use") && said.contains("imserver backup DIR"), "{said}");
    let setup = server.stop().await;

    let verified = setup.run(&["verify"]);
    assert!(verified.contains("20 messages"), "{verified}");
    let backup = folder(&setup, "deep/b");
    setup.run(&["backup", &backup]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = setup.path("deep/b/imserver.backup");
    assert_eq!((mode(file.parent().unwrap()), mode(&file)), (0o700, 0o600));
    assert_eq!(digest(&setup.run(&["verify", &backup])), digest(&verified));
    assert_eq!(digest(&setup.run(&["verify", file.to_str().unwrap()])), digest(&verified));
    let left: Vec<_> = fs::read_dir(&backup).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let (code, said) = fails(&setup, &["backup", &backup]);
    assert_eq!(code, 2);
    assert!(said.contains("none is overwritten"), "{said}");
    let (code, said) = fails(&setup, &["restore", &backup]);
    assert_eq!(code, 2);
    assert!(said.contains("is not empty"), "{said}");
    assert_eq!(digest(&setup.run(&["verify"])), digest(&verified), "and nothing was changed");

    let other = self::setup();
    assert_eq!(digest(&other.run(&["restore", &backup])), digest(&verified));
    assert_eq!(digest(&other.run(&["verify"])), digest(&verified));
    let nowhere = folder(&other, "nothing");
    let (code, said) = fails(&other, &["restore", &nowhere]);
    assert_eq!(code, 2);
    assert!(said.contains("there is no backup"), "{said}");
}

#[tokio::test]
async fn a_folder_takes_one_backup_and_one_at_a_time() {
    let server = setup().start().await;
    named(&server, "one").await;
    let backup = folder(server.setup(), "b");
    fs::create_dir(&backup).unwrap();
    // As one holds it that is under way.
    let held = Flock::lock(File::open(&backup).unwrap(), FlockArg::LockExclusive).unwrap();
    let (code, _, said) = server.run(&["backup", &backup]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another backup is being written to it"), "{said}");
    assert_eq!(fs::read_dir(&backup).unwrap().count(), 0);
    drop(held);
    let (code, _, said) = server.run(&["backup", &backup]).await;
    assert_eq!(code, 0, "{said}");
    let first = fs::read(server.setup().path("b/imserver.backup")).unwrap();
    let (code, _, said) = server.run(&["backup", &backup]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("none is overwritten: name another folder"), "{said}");
    assert_eq!(fs::read(server.setup().path("b/imserver.backup")).unwrap(), first);
    let (code, _, said) = server.run(&["backup", &folder(server.setup(), "data")]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("it is the data directory of a server"), "{said}");
}

#[tokio::test]
async fn a_backup_that_was_changed_or_cut_short_is_refused_and_restores_nothing() {
    let server = setup().start().await;
    for _ in 0..10 {
        post_message(&server, 1, 2, "x").await;
    }
    let setup = server.stop().await;
    let backup = folder(&setup, "b");
    setup.run(&["backup", &backup]);
    let file = setup.path("b/imserver.backup");
    let whole = fs::read(&file).unwrap();
    let other = self::setup();
    for at in (0..whole.len()).step_by(whole.len() / 8) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        for bad in [&flipped, &whole[..at]] {
            fs::write(&file, bad).unwrap();
            for command in ["verify", "restore"] {
                let (code, said) = fails(&other, &[command, &backup]);
                assert_eq!(code, 1, "{command}, byte {at}: {said}");
                assert!(!other.path("data/sled").exists());
            }
        }
    }
    fs::write(&file, &whole).unwrap();
    other.run(&["restore", &backup]);
}

/// Kills a command that fills the store, in the middle, when it has half of `input`.
async fn killed_half_way(setup: &Setup, arguments: &[&str], input: Vec<u8>, way_in: Option<&Path>) {
    let mut command = setup.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let way_in = way_in.map(Path::to_owned);
    let feeding = std::thread::spawn(move || {
        // Kept open: the command waits for the rest until it is killed.
        let half = &input[..input.len() / 2];
        let mut stdin = stdin;
        let mut pipe = way_in.map(|path| fs::File::options().write(true).open(path).unwrap());
        let _ = match &mut pipe {
            Some(pipe) => pipe.write_all(half),
            None => stdin.write_all(half),
        };
        (stdin, pipe)
    });
    let begun = async {
        while !setup.path("data/restoring/sled/db").exists() {
            tokio::task::yield_now().await;
        }
    };
    within("it to begin", begun).await;
    let kept = feeding.join().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(kept);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_restore_or_an_import_leaves_no_store() {
    let server = setup().start().await;
    for number in 0..50 {
        post_message(&server, 1, 2, &format!("{number} {}", "x".repeat(4000))).await;
    }
    let setup = server.stop().await;
    let backup = folder(&setup, "b");
    setup.run(&["backup", &backup]);
    let lines = setup.run(&["export"]);
    let whole = digest(&setup.run(&["verify"]));

    let other = self::setup();
    fs::create_dir(other.path("pipe")).unwrap();
    let pipe = other.path("pipe/imserver.backup");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bytes = fs::read(setup.path("b/imserver.backup")).unwrap();
    killed_half_way(&other, &["restore", &folder(&other, "pipe")], bytes, Some(&pipe)).await;
    let (code, said) = other.start_in_vain();
    assert_eq!(code, Some(1));
    assert!(said.contains("was cut short"), "{said}");
    killed_half_way(&other, &["import", "-"], lines.clone().into_bytes(), None).await;
    assert!(fails(&other, &["verify"]).1.contains("was cut short"));
    assert_eq!(digest(&other.run(&["restore", &backup])), whole);
    other.start().await.connect(2).await.message().await;
}

#[tokio::test]
async fn what_is_exported_from_a_running_server_comes_in_as_the_same_store() {
    let server = setup().start().await;
    let contents = [
        "\u{0}\u{1}\u{7f}\u{2028}".to_owned(),
        "\"\\\n\r\t</script>".to_owned(),
        "👩‍👩‍👧‍👦 你好 \u{202e}".to_owned(),
        "長".repeat(5000),
        " ".to_owned(),
    ];
    let mut ids = Vec::new();
    for content in &contents {
        ids.push(post_message(&server, 1, 2, content).await);
        post_message(&server, 3, 1, content).await;
    }
    named(&server, "n").await;
    let read = json!({"ids": [ids[0].to_string(), ids[2].to_string()]});
    assert_eq!(Call::post(2, "read", &read).send(&server).await.status, 204);
    let file = folder(server.setup(), "all.jsonl");
    // One that is killed used to leave half of a file under the name of the whole.
    let export = server.command(&["export", &file]);
    let mut killed = Command::new("prlimit");
    killed.args(["--core=0:0", "--fsize=200:200"]).arg(export.get_program());
    killed.args(export.get_args());
    killed.envs(export.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(killed.status().unwrap().signal(), Some(Signal::SIGXFSZ as i32));
    let partial = format!("{file}.partial");
    assert!(!Path::new(&file).exists());
    assert!(Path::new(&partial).exists());
    let (code, _, said) = server.run(&["export", &file]).await;
    assert!(code == 2 && said.contains("all.jsonl.partial exists"), "{code} {said}");
    fs::remove_file(&partial).unwrap();
    let (code, _, said) = server.run(&["export", &file]).await;
    assert_eq!(code, 0, "{said}");
    assert!(!Path::new(&partial).exists());
    assert_eq!(server.run(&["export", &file]).await.0, 2, "nothing is overwritten");
    let (_, of_three, _) = server.run(&["export", "--sub", "3"]).await;
    assert_eq!(of_three.matches("\"kind\":\"message\"").count(), contents.len());
    assert!(!of_three.contains("\"toId\":2"));
    let answer = Admin::get("/admin/users/3/export").send(&server).await;
    assert_eq!(answer.status, 200);
    let setup = server.stop().await;

    let other = self::setup();
    let imported = other.run(&["import", &file]);
    assert_eq!(digest(&imported), digest(&setup.run(&["verify"])));
    let (code, said) = fails(&other, &["import", &file]);
    assert_eq!(code, 2, "{said}");
    let store = store::open(&other.path("data"));
    let inbox = store::inbox(&*store, 2, false).await;
    let found: Vec<_> = inbox.iter().map(|entry| entry.message.content.clone()).collect();
    assert_eq!(found[..contents.len()], contents);
    assert_eq!(store::inbox(&*store, 2, true).await.len(), contents.len() + 1 - 2);

    let bad = fs::read_to_string(&file).unwrap().replacen("\"ordinal\":1,", "\"ordinal\":7,", 1);
    fs::write(&file, bad).unwrap();
    let third = self::setup();
    let (code, said) = fails(&third, &["import", &file]);
    assert_eq!(code, 1);
    assert!(said.contains("all.jsonl, line ") && said.contains("ordinal 1"), "{said}");
    assert!(!third.path("data/manifest.json").exists());
}

#[tokio::test]
async fn nobody_but_an_administrator_gets_data_out() {
    let server = setup().start().await;
    for target in ["/admin/backup", "/admin/export", "/admin/users/1/export"] {
        let users = Forge::token(1);
        let answer = Admin::get(target).bearer(&users).send(&server).await;
        assert_eq!(answer.status, 401, "{target}");
        assert_eq!(Admin::new("POST", target, "").send(&server).await.status, 405, "{target}");
    }
    assert_eq!(Admin::get("/admin/users/0/export").send(&server).await.status, 404);
}
