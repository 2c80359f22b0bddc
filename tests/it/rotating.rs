//! Keys that follow one another, and keys that go.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Closed, Forge, ProviderKey, Setup, Upgrade, refused};

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
async fn a_command_waits_until_the_server_knows_the_key_that_it_signs_with() {
    let (setup, _) = made();
    let server = setup.start().await;
    let token = issue(server.setup(), "1");
    let mut ming = Client::with_token(&server, 1, &token).await;
    // Two, the second of which signs, and no server has heard of either.
    server.setup().run(&["key", "generate", "--alg", "ES256"]);
    server.setup().run(&["key", "generate"]);
    let (code, out, err) = server.run(&["token", "revoke", "--sub", "1"]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(ming.closed().await, revoked());
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
    let audit = server.setup().audit_log();
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
    let done = Instant::now();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("retired {first}")) && out.contains("has taken it up"), "{out}");
    assert_eq!(ming.closed().await, revoked());
    // As with every token that is taken back: the contract's second.
    let took = done.elapsed();
    assert!(took <= Duration::from_secs(1), "{took:?}");
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
async fn another_key_under_the_same_name_takes_the_old_ones_with_it_and_nobody_else() {
    let named = |key: &ProviderKey, alg: &str| {
        let mut jwk = key.jwk();
        jwk["alg"] = alg.into();
        jwk
    };
    let (old, new) = (ProviderKey::ed25519("same"), ProviderKey::ed25519("same"));
    let other = ProviderKey::p256("other");
    let mut secret: Value =
        serde_json::from_str::<Value>(&Forge::key_set()).unwrap()["keys"][0].take();
    let setup = Setup::new();
    let path = setup.path("certs/keys.json");
    let write = |keys: Value| fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let (old_jwk, other_jwk) = (named(&old, "EdDSA"), named(&other, "ES256"));
    write(json!([secret, old_jwk, other_jwk]));
    let server = setup.start().await;
    let mut ming = Client::with_token(&server, 1, &old.token(1)).await;
    let mut hong = Client::with_token(&server, 2, &other.token(2)).await;
    let mut tian = Client::with_token(&server, 3, &Forge::token(3)).await;

    // The same keys in another order, and with members that change nothing.
    let mut commented = old_jwk.clone();
    commented["comment"] = "ours".into();
    commented["use"] = "sig".into();
    write(json!([other_jwk, commented, secret]));
    assert_eq!(server.run(&["reload"]).await.0, 0);
    for client in [&mut ming, &mut hong, &mut tian] {
        client.say(9, "the same connection", "1").await;
    }

    write(json!([other_jwk, named(&new, "EdDSA"), secret]));
    assert_eq!(server.run(&["reload"]).await.0, 0);
    assert_eq!(ming.closed().await, revoked());
    refused(&Upgrade::token(&old.token(1)).send(&server).await, "of the old key");
    assert_eq!(Upgrade::token(&new.token(1)).send(&server).await.status, 101);
    for client in [&mut hong, &mut tian] {
        client.say(9, "mine is another", "2").await;
    }

    // A secret is one too; these bytes are as good as any.
    let before = secret["k"].take();
    secret["k"] = ProviderKey::ed25519("x").jwk()["x"].take();
    write(json!([other_jwk, secret]));
    server.signal("HUP");
    assert_eq!(tian.closed().await, revoked());
    refused(&Upgrade::token(&Forge::token(3)).send(&server).await, "of the old secret");
    hong.say(9, "mine is still another", "3").await;
    let log = server.log();
    assert!(![&before, &secret["k"]].iter().any(|k| log.contains(k.as_str().unwrap())));
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
