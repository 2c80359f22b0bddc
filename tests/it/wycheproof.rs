//! Project Wycheproof's JSON Web Signatures at the door. Some are rightly signed with a key of
//! the server's, and none says anything that would be believed.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Door, Forge, Setup, Way, refused};

const VECTORS: &str = include_str!("../vectors/wycheproof/json_web_signature_test.json");

/// Whether a key set may hold the key, each name once.
fn usable(jwk: &Value, names: &mut BTreeSet<String>) -> bool {
    let algorithms = ["HS256", "ES256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let alg = jwk["alg"].as_str().is_some_and(|alg| algorithms.contains(&alg));
    let kid = jwk["kid"].as_str().unwrap().to_owned();
    // The other secrets are an RFC's and a row of zeroes, which are refused.
    let secret = jwk["k"].is_null() || kid == "kid-aes-sign";
    alg && secret && jwk["key_ops"].is_null() && names.insert(kid)
}

#[tokio::test]
async fn none_of_them_opens_the_door() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let groups = vectors["testGroups"].as_array().unwrap();
    let (mut names, mut keys) = (BTreeSet::new(), Vec::new());
    for group in groups {
        let jwk = [&group["private"], &group["public"]].into_iter().find(|jwk| jwk.is_object());
        keys.extend(jwk.filter(|jwk| usable(jwk, &mut names)).cloned());
    }
    assert_eq!(keys.len(), 10, "{names:?}");
    let own: Value = serde_json::from_str(&Forge::key_set()).unwrap();
    keys.extend(own["keys"].as_array().unwrap().iter().cloned());
    let setup = Setup::new();
    fs::write(setup.path("certs/keys.json"), json!({ "keys": keys }).to_string()).unwrap();
    let mut door = Door::with(setup).await;
    let mut count = 0;
    for test in groups.iter().flat_map(|group| group["tests"].as_array().unwrap()) {
        let (jws, what) = (test["jws"].as_str().unwrap(), test["tcId"].to_string());
        refused(&Way::Header.upgrade(jws).send(&door.server).await, &what);
        let in_url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte);
        if !jws.is_empty() && jws.bytes().all(in_url) {
            refused(&Way::Path.upgrade(jws).send(&door.server).await, &what);
        }
        count += 1;
    }
    assert_eq!(count, 401);
    door.opens(Way::Header, &Forge::token(7), "one of ours").await;
    assert!(!door.server.log().contains("panicked"));
}
