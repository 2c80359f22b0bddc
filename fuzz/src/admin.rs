//! What administrators ask for: the bodies of their calls.
//!
//! The first byte chooses: `t` a token to be issued, `r` what is to be taken back, anything
//! else a notification.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use imserver::admin::revoke::Target;
use imserver::auth::{
    AdminVerifier, CurrentKeys, KeySet, Revocations, TokenId, Verifier, install_provider, issue,
};
use imserver::config::Auth;
use imserver::ids::ID_END;
use imserver::message::TIMESTAMP_MAX;
use imserver::server::fuzzing::{notification, revocation, token};
use serde_json::{Map, Value, json};

use crate::strict;

const CONTENT_MAX: usize = 64;

/// A secret that is none: it signs for fuzzers.
const KEYS: &str = r#"{"keys":[{"kid":"h","kty":"oct","alg":"HS256",
    "k":"RXZlcnlib2R5IG1heSByZWFkIHRoaXMga2V5OiBpdCBzaWducyBmb3IgZnV6emVycy4"}]}"#;

static ISSUER: LazyLock<(CurrentKeys, Auth)> = LazyLock::new(|| {
    install_provider();
    match KeySet::parse(KEYS.as_bytes()) {
        Ok(keys) => (CurrentKeys::new(keys), Auth::default()),
        Err(fault) => panic!("our own key set {fault}"),
    }
});

/// Reads a body; one that is taken says what it says to a second reader too, and nothing
/// beside that.
pub fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    match kind {
        b't' => tokens(text),
        b'r' => revocations(text),
        _ => notifications(text),
    }
}

/// The members that a body which was taken says something with: known ones, once each.
fn members(text: &str, known: &[&str]) -> Map<String, Value> {
    let Some(mut members) = strict::object(text) else { panic!("{text:?} is no JSON object") };
    assert!(members.keys().all(|name| known.contains(&name.as_str())), "{text:?}");
    members.retain(|_, value| !value.is_null());
    members
}

fn text_of<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn tokens(text: &str) {
    let Some(request) = token(text) else { return };
    let says = members(text, &["sub", "name", "picture", "ttl", "admin"]);
    assert_eq!(says.get("sub").and_then(Value::as_u64), Some(request.user.get()));
    assert_eq!(text_of(&says, "name"), request.name.as_deref());
    assert_eq!(text_of(&says, "picture"), request.picture.as_deref());
    let seconds = says.get("ttl").map_or(Some(3600), Value::as_u64);
    assert_eq!(seconds.map(Duration::from_secs), Some(request.ttl));
    assert_eq!(says.get("admin").map_or(Some(false), Value::as_bool), Some(request.admin));

    // What is issued is believed, for what was asked and by who is meant.
    let (keys, auth) = &*ISSUER;
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Ok(issued) = issue(&keys.get(), auth, &request, now) else { return };
    let user = Verifier::new(keys, &Revocations::default(), auth).verify(&issued.token, now);
    let admin = AdminVerifier::new(keys, &Revocations::default(), auth).verify(&issued.token, now);
    assert_eq!((user.is_ok(), admin.is_ok()), (!request.admin, request.admin));
    if let Ok(admin) = admin {
        assert_eq!(admin.user(), request.user);
    }
    let Ok(user) = user else { return };
    let shown = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    assert_eq!(user.user(), request.user);
    assert_eq!(user.name().map(str::to_owned), shown(&request.name));
    assert_eq!(user.picture().map(str::to_owned), shown(&request.picture));
    assert_eq!(user.token_id(), Some(issued.id.as_str()));
    assert_eq!(user.expires_at(), issued.expires_at);
    assert!(issued.expires_at <= now + request.ttl);
}

fn revocations(text: &str) {
    let Some(target) = revocation(text) else { return };
    let says = members(text, &["token", "jti", "sub"]);
    assert_eq!(says.len(), 1, "{text:?} names one of them");
    let again = match &target {
        Target::Token(token) => {
            assert_eq!(text_of(&says, "token"), Some(token.as_str()));
            json!({ "token": token })
        }
        Target::Jti(jti) => {
            assert_eq!(text_of(&says, "jti"), Some(jti.as_str()));
            assert!(TokenId::new(jti.as_str()).is_some());
            json!({ "jti": jti.as_str() })
        }
        Target::Subject(user) => {
            assert_eq!(says.get("sub").and_then(Value::as_u64), Some(user.get()));
            json!({ "sub": user.get() })
        }
    };
    assert_eq!(revocation(&again.to_string()), Some(target));
}

fn notifications(text: &str) {
    let Some(sent) = notification(text, CONTENT_MAX) else { return };
    let says = members(text, &["to", "content", "timestamp", "clientMsgId"]);
    let to = match (says.get("to"), &sent.to) {
        (Some(Value::String(word)), None) => {
            assert_eq!(word, "all");
            json!("all")
        }
        (Some(Value::Array(users)), Some(to)) => {
            let users: Option<BTreeSet<u64>> = users.iter().map(Value::as_u64).collect();
            assert_eq!(users, Some(to.iter().copied().collect()), "{text:?}");
            assert!(!to.is_empty() && to.is_sorted());
            assert!(to.iter().all(|user| (1..ID_END).contains(user)));
            json!(to)
        }
        other => panic!("{text:?} went to {other:?}"),
    };
    assert_eq!(text_of(&says, "content"), Some(sent.content.as_str()));
    assert!((1..=CONTENT_MAX).contains(&sent.content.len()));
    assert_eq!(text_of(&says, "timestamp").unwrap_or(&sent.timestamp), sent.timestamp);
    assert!(sent.timestamp.len() <= TIMESTAMP_MAX);
    assert_eq!(text_of(&says, "clientMsgId").unwrap_or(&sent.name), sent.name);
    assert!((1..=64).contains(&sent.name.len()));
    let again = json!({ "to": to, "content": sent.content, "timestamp": sent.timestamp,
        "clientMsgId": sent.name });
    assert_eq!(notification(&again.to_string(), CONTENT_MAX), Some(sent));
}
