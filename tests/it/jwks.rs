//! An identity provider's keys, fetched from its https address.

use std::fs;

use serde_json::json;

use crate::support::{
    Client, Closed, Forge, Provider, ProviderKey, Says, Setup, TestServer, Upgrade, admin, refused,
};

const TAKEN: &str = "keys taken from auth.jwks_url";
const STAY: &str = "no keys from auth.jwks_url; those in use stay";
const NOT_USED: &str = "some keys of auth.jwks_url are not used";

/// A set-up that fetches from `provider` and believes its authority.
fn set_up(provider: &Provider) -> Setup {
    let authority = provider.authority();
    Setup::new()
        .set("auth.jwks_url", &provider.url())
        .env("SSL_CERT_FILE", authority.to_str().unwrap())
        // Or this machine's authorities would be there too.
        .env("SSL_CERT_DIR", "")
}

/// The same without a key in the file.
fn set_up_alone(provider: &Provider) -> Setup {
    let setup = set_up(provider);
    fs::write(setup.path("certs/keys.json"), r#"{"keys":[]}"#).unwrap();
    setup
}

async fn opens(server: &TestServer, token: &str) {
    let answer = Upgrade::token(token).send(server).await;
    assert_eq!(answer.status, 101, "{answer:?}");
}

async fn stays_out(server: &TestServer, token: &str) {
    refused(&Upgrade::token(token).send(server).await, "of a key that is not there");
}

/// Why the first fetch failed, and its word in the metric; the file's keys are good.
async fn fails(setup: Setup, word: &str) -> String {
    let server = setup.start().await;
    let why = server.logged(STAY).await["error"].as_str().unwrap().to_owned();
    opens(&server, &Forge::token(1)).await;
    let page = admin(&server, "/metrics").await.body;
    assert!(
        page.contains(&format!("imserver_jwks_fetches_total{{outcome=\"{word}\"}} 1")),
        "{page}"
    );
    assert!(page.contains("imserver_jwks_last_good_seconds 0"), "{page}");
    why
}

#[tokio::test]
async fn tokens_of_a_provider_are_good_beside_our_own() {
    let (one, two) = (ProviderKey::ed25519("one"), ProviderKey::p256("two"));
    let provider = Provider::saying(Says::keys([one.jwk(), two.jwk()])).await;
    let mut server = set_up(&provider).start().await;
    assert_eq!(server.logged(TAKEN).await["keys"], 2);
    let mut ming = Client::with_token(&server, 1, &one.token(1)).await;
    let mut hong = Client::with_token(&server, 2, &two.token(2)).await;
    ming.say(2, "hello", "1").await;
    assert_eq!(hong.message().await.1, "hello");
    opens(&server, &Forge::token(3)).await;
    let page = admin(&server, "/metrics").await.body;
    assert!(page.contains("imserver_jwks_fetches_total{outcome=\"good\"} 1"), "{page}");
    assert!(page.contains("imserver_jwks_keys 2"), "{page}");
    assert!(!page.contains("imserver_jwks_last_good_seconds 0"), "{page}");

    // The file is read again, and theirs stay.
    let path = server.setup().path("certs/keys.json");
    fs::write(&path, Forge::key_set().replace("\"test\"", "\"other\"")).unwrap();
    server.logged("key set read again").await;
    stays_out(&server, &Forge::token(3)).await;
    opens(&server, &one.token(1)).await;
    ming.say(2, "still here", "2").await;

    // Without the server nobody knows their keys, and the command says so.
    let output = server.command(&["token", "inspect", &one.token(1)]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("only the keys in auth.keys were used"), "{said}");
    let checked = server.setup().run(&["config", "check"]);
    assert!(
        checked.contains("1 key; other (HS256) signs; beside them those of https://"),
        "{checked}"
    );
    server.setup_mut().change("auth.jwks_url", "\"http://127.0.0.1/keys\"");
    let output = server.command(&["config", "check"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("auth.jwks_url") && said.contains("is not https"), "{said}");
}

#[tokio::test]
async fn a_new_key_is_found_and_one_that_is_gone_takes_its_own_with_it() {
    let (old, new) = (ProviderKey::ed25519("old"), ProviderKey::ed25519("new"));
    let provider = Provider::saying(Says::keys([old.jwk()])).await;
    let server = set_up_alone(&provider).start().await;
    let mut ming = Client::with_token(&server, 1, &old.token(1)).await;
    provider.say(Says::keys([new.jwk()]));
    stays_out(&server, &new.token(2)).await;
    server.logged_times(TAKEN, 2).await;
    opens(&server, &new.token(2)).await;
    let revoked = Closed { code: 4403, reason: "token_revoked".to_owned() };
    assert_eq!(ming.closed().await, revoked);
    stays_out(&server, &old.token(1)).await;

    // Whatever is made up now is asked for within the minute by nobody.
    let stranger = ProviderKey::ed25519("stranger");
    for _ in 0..200 {
        stays_out(&server, &stranger.token(3)).await;
    }
    opens(&server, &new.token(2)).await;
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn another_key_under_a_providers_name_takes_the_old_ones_with_it() {
    let (old, new) = (ProviderKey::ed25519("same"), ProviderKey::ed25519("same"));
    let (other, next) = (ProviderKey::p256("other"), ProviderKey::p256("next"));
    let provider = Provider::saying(Says::keys([old.jwk(), other.jwk()])).await;
    let server = set_up_alone(&provider).start().await;
    let mut ming = Client::with_token(&server, 1, &old.token(1)).await;
    let mut hong = Client::with_token(&server, 2, &other.token(2)).await;
    provider.say(Says::keys([next.jwk(), other.jwk(), new.jwk()]));
    // Its name is not known yet, so that they are fetched again.
    stays_out(&server, &next.token(3)).await;
    server.logged_times(TAKEN, 2).await;
    let revoked = Closed { code: 4403, reason: "token_revoked".to_owned() };
    assert_eq!(ming.closed().await, revoked);
    stays_out(&server, &old.token(1)).await;
    opens(&server, &new.token(1)).await;
    hong.say(9, "mine is another", "1").await;
}

#[tokio::test]
async fn a_provider_that_is_down_locks_nobody_out() {
    let key = ProviderKey::p256("theirs");
    let down = Says::Answer(503, String::new(), Vec::new());
    let provider = Provider::saying(down.clone()).await;
    let server = set_up_alone(&provider).start().await;
    server.logged(STAY).await;
    server.log_says("there is NO KEY to check tokens with").await;
    // It comes up, and the first token that needs it finds it.
    provider.say(Says::keys([key.jwk()]));
    stays_out(&server, &key.token(1)).await;
    server.logged(TAKEN).await;
    let mut ming = Client::with_token(&server, 1, &key.token(1)).await;
    ming.say(2, "hello", "1").await;
    assert_eq!(provider.asked(), 2);

    // It goes down again while ours runs, and comes back with rubbish.
    let setup = server.kill();
    let server = setup.start().await;
    provider.say(down);
    stays_out(&server, &ProviderKey::p256("other").token(1)).await;
    server.logged(STAY).await;
    opens(&server, &key.token(1)).await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_provider_should_not_say_changes_nothing() {
    let key = ProviderKey::ed25519("theirs");
    let answer = |status: u16, headers: &str, body: &[u8]| {
        Says::Answer(status, headers.to_owned(), body.to_owned())
    };
    let mut large = json!({ "keys": [key.jwk()] }).to_string().into_bytes();
    large.resize((1 << 20) + 1, b' ');
    let secret: serde_json::Value = serde_json::from_str(&Forge::key_set()).unwrap();
    for (says, word, sentence) in [
        (answer(200, "", &large), "too_long", "longer than 1048576 bytes"),
        (
            answer(302, "Location: https://127.0.0.1/elsewhere\r\n", b""),
            "redirect",
            "it sends us elsewhere (status 302)",
        ),
        (answer(404, "", b""), "status", "the status 404"),
        (answer(200, "", b"<html>"), "unusable", "is not a key set"),
        (Says::keys([secret["keys"][0].clone()]), "unusable", "holds a secret"),
        (Says::Nothing, "too_slow", "did not answer in time"),
    ] {
        let provider = Provider::saying(says).await;
        let why = fails(set_up(&provider), word).await;
        assert!(why.contains(sentence), "{why}");
        assert!(!why.contains(secret["keys"][0]["k"].as_str().unwrap()));
        assert_eq!(provider.asked(), 1);
    }
}

#[tokio::test]
async fn a_provider_that_nobody_vouches_for_is_not_asked() {
    let provider = Provider::saying(Says::keys([ProviderKey::ed25519("theirs").jwk()])).await;
    let other = Provider::saying(Says::Nothing).await;
    let setup = set_up(&provider).env("SSL_CERT_FILE", other.authority().to_str().unwrap());
    let why = fails(setup, "tls").await;
    assert!(why.starts_with("TLS failed: "), "{why}");
    assert_eq!(provider.asked(), 0);

    // Without any authority there is no way to ask, ever.
    let none = set_up(&provider).env("SSL_CERT_FILE", "/nowhere/ca.pem");
    let (code, said) = none.start_in_vain();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("knows no certification authority"), "{said}");
}

#[tokio::test]
async fn keys_that_are_not_to_be_had_from_an_address_are_passed_over() {
    let (good, same) = (ProviderKey::ed25519("good"), ProviderKey::ed25519(Forge::KID));
    let mut encrypting = ProviderKey::p256("encrypting").jwk();
    encrypting["use"] = "enc".into();
    let mut secret: serde_json::Value = serde_json::from_str(&Forge::key_set()).unwrap();
    secret["keys"][0]["kid"] = "secret".into();
    let jwks = [encrypting, secret["keys"][0].clone(), same.jwk(), good.jwk()];
    let provider = Provider::saying(Says::keys(jwks)).await;
    let server = set_up(&provider).start().await;
    let told = server.logged(NOT_USED).await;
    let why = told["why"].as_str().unwrap();
    assert_eq!(told["not_taken"], 3, "{why}");
    for expected in ["key 1 (\"encrypting\") has \"use\"", "key 2 (\"secret\") holds a secret"] {
        assert!(why.contains(expected), "{why}");
    }
    assert!(why.contains("\"test\" names a key of auth.keys too"), "{why}");
    opens(&server, &good.token(1)).await;
    opens(&server, &Forge::token(1)).await;
    // The file's key is the one that the name means.
    stays_out(&server, &same.token(1)).await;
    let by_their_secret =
        Forge::sign(r#"{"alg":"HS256","kid":"secret"}"#, &crate::support::Claims::of(1).json());
    stays_out(&server, &by_their_secret).await;
    provider.asked_times(2).await;
    server.logged_times(TAKEN, 2).await;
    assert_eq!(server.log().matches(NOT_USED).count(), 1, "said once");
}

#[tokio::test]
async fn a_key_file_must_be_there_though_it_may_be_empty() {
    let provider = Provider::saying(Says::keys([ProviderKey::ed25519("theirs").jwk()])).await;
    let setup = set_up(&provider);
    fs::remove_file(setup.path("certs/keys.json")).unwrap();
    let (code, said) = setup.start_in_vain();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("write {\"keys\":[]} there"), "{said}");
}
