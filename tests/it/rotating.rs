//! Keys that follow one another, and keys that go.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Client, Closed, Forge, Setup, Upgrade, refused};

/// A set-up whose key set the command made, and the name of the key in it.
fn made() -> (Setup, String) {
    let setup = Setup::new();
    fs::remove_file(setup.path("certs/keys.json")).unwrap();
    setup.run(&["key", "generate"]);
    let kid = kids(&setup).remove(0);
    (setup, kid)
}

fn kids(setup: &Setup) -> Vec<String> {
    let listed = setup.run(&["key", "list"]);
    listed.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

fn issue(setup: &Setup, user: &str) -> String {
    setup.run(&["token", "issue", "--sub", user]).trim().to_owned()
}

fn revoked() -> Closed {
    Closed { code: 4403, reason: "token_revoked".to_owned() }
}

#[tokio::test]
async fn a_rotation_logs_nobody_out() {
    let (setup, first) = made();
    let server = setup.start().await;
    let old = issue(server.setup(), "1");
    let mut ming = Client::with_token(&server, 1, &old).await;
    let (code, out, err) = server.run(&["key", "rotate"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Nobody is logged out") && out.contains("has taken it up"), "{out}");
    let new = issue(server.setup(), "1");
    assert_ne!(old.split('.').next(), new.split('.').next(), "signed by another key");
    ming.say(1, "still here", "1").await;
    for token in [&old, &new] {
        assert_eq!(Upgrade::token(token).send(&server).await.status, 101);
    }
    let listed = server.setup().run(&["key", "list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with(&format!("{first}\tEdDSA\tchecks until ")), "{listed}");
    assert!(lines[0].contains("its last token issued here lives until"), "{listed}");
    assert!(lines[1].contains("\tEdDSA\tsigns and checks"), "{listed}");
    let file = fs::read_to_string(server.setup().path("certs/keys.json")).unwrap();
    let keys: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert!(keys["keys"][0].get("d").is_none(), "the private half of the old key is gone");
    let mode = fs::metadata(server.setup().path("certs/keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Another algorithm, and the one before it.
    let (code, _, err) = server.run(&["key", "rotate", "--alg", "HS256"]).await;
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = server.run(&["key", "rotate", "--alg", "ES256"]).await;
    assert_eq!(code, 0, "{err}");
    for token in [old, new, issue(server.setup(), "1")] {
        assert_eq!(Upgrade::token(&token).send(&server).await.status, 101);
    }
    let listed = server.setup().run(&["key", "list"]);
    assert_eq!(listed.matches("checks until").count(), 3, "{listed}");
    ming.say(1, "still here", "2").await;
    let audit = fs::read_to_string(server.setup().path("data/audit.jsonl")).unwrap();
    assert_eq!(audit.matches("\"key.rotate\"").count(), 3);
    assert!(!audit.contains("\"d\"") && !audit.contains("\"k\""));
}

#[tokio::test]
async fn a_retired_key_takes_its_own_with_it_and_nobody_else() {
    let (setup, first) = made();
    let server = setup.start().await;
    let old = issue(server.setup(), "1");
    let mut ming = Client::with_token(&server, 1, &old).await;
    let (code, _, err) = server.run(&["key", "retire", &first]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("no other key"), "{err}");
    assert_eq!(server.run(&["key", "rotate"]).await.0, 0);
    let new = issue(server.setup(), "2");
    let mut hong = Client::with_token(&server, 2, &new).await;

    let (code, out, err) = server.run(&["key", "retire", &first]).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("1 live connection and ") && err.contains("--yes"), "{err}");
    ming.say(1, "still here", "1").await;
    let (code, out, err) = server.run(&["key", "retire", &first, "--yes"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("retired {first}")) && out.contains("has taken it up"), "{out}");
    assert_eq!(ming.closed().await, revoked());
    refused(&Upgrade::token(&old).send(&server).await, "of a retired key");
    hong.say(2, "mine is another", "1").await;
    assert_eq!(kids(server.setup()).len(), 1);
    for wrong in
        [&["key", "retire", "nobody"][..], &["key", "retire"], &["key", "rotate", "--alg", "none"]]
    {
        let (code, out, err) = server.run(wrong).await;
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
    }
}

#[tokio::test]
async fn a_key_whose_time_is_over_checks_nothing_and_is_swept() {
    let (setup, first) = made();
    let old = issue(&setup, "1");
    setup.run(&["key", "rotate"]);
    let path = setup.path("certs/keys.json");
    let mut keys: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    keys["keys"][0]["imserver_until"] = crate::support::Claims::now().into();
    fs::write(&path, keys.to_string()).unwrap();
    let server = setup.start().await;
    refused(&Upgrade::token(&old).send(&server).await, "of a key whose time is over");
    let (code, out, err) = server.run(&["key", "rotate"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("removed {first}, whose time was over")), "{out}");
    assert_eq!(kids(server.setup()).len(), 2);
}

#[tokio::test]
async fn a_public_key_set_has_nothing_to_rotate() {
    let setup = Setup::new();
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"theirs",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    fs::write(setup.path("certs/keys.json"), key).unwrap();
    let output = setup.command(&["key", "rotate"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("imserver key generate"), "{said}");
    assert_eq!(fs::read_to_string(setup.path("certs/keys.json")).unwrap(), key);
    assert!(!said.contains(Forge::KID));
}
