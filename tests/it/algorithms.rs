//! Every algorithm from the command line to the door, and key sets that are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Claims, Door, Forge, Setup, Way, b64};

const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA", "Ed25519",
];

/// The keys in the file, as they stand there.
fn keys(setup: &Setup) -> Vec<Value> {
    let text = fs::read(setup.path("certs/keys.json")).unwrap();
    let set: Value = serde_json::from_slice(&text).unwrap();
    set["keys"].as_array().unwrap().clone()
}

fn text(key: &Value, member: &str) -> String {
    key[member].as_str().unwrap().to_owned()
}

/// The token under another header.
fn reheaded(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", b64(header.to_string().as_bytes()))
}

#[tokio::test]
async fn every_algorithm_opens_the_door_with_its_own_key_alone() {
    let setup = Setup::new();
    let mut issued = Vec::new();
    for algorithm in ALGORITHMS {
        setup.run(&["key", "generate", "--alg", algorithm]);
        let token = setup.run(&["token", "issue", "--sub", "7"]);
        issued.push((algorithm, token.trim().to_owned()));
    }
    let keys = keys(&setup).split_off(1);
    let mut door = Door::with(setup).await;
    for way in Way::ALL {
        for (algorithm, token) in &issued {
            door.opens(way, token, algorithm).await;
        }
    }
    for ((algorithm, token), own) in issued.iter().zip(&keys) {
        for other in &keys {
            let (alg, kid) = (text(other, "alg"), text(other, "kid"));
            let what = format!("{algorithm} as {alg}");
            // What the token says of itself cannot be changed, to whatever it is.
            let header = json!({ "alg": alg, "kid": text(own, "kid"), "typ": "JWT" });
            if alg != *algorithm {
                door.refuses(Way::Path, &reheaded(token, &header), "wrong_alg", &what).await;
                let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
                door.refuses(Way::Path, &reheaded(token, &header), "wrong_alg", &what).await;
                let header = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
                door.refuses(Way::Path, &reheaded(token, &header), "bad_signature", &what).await;
            }
        }
        let header = json!({ "alg": algorithm });
        door.refuses(Way::Path, &reheaded(token, &header), "missing_kid", "no kid").await;
        let (signed, _) = token.rsplit_once('.').unwrap();
        door.refuses(Way::Path, &format!("{signed}."), "bad_signature", algorithm).await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_public_key_is_nobodys_secret() {
    let setup = Setup::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        setup.run(&["key", "generate", "--alg", algorithm]);
    }
    let keys = keys(&setup).split_off(1);
    let mut door = Door::with(setup).await;
    let claims = Claims::of(7).json();
    for key in &keys {
        let mut public = key.clone();
        let private = ["d", "p", "q", "dp", "dq", "qi"];
        public.as_object_mut().unwrap().retain(|name, _| !private.contains(&name.as_str()));
        let mut secrets = vec![public.to_string().into_bytes()];
        for member in ["n", "x", "y"] {
            if let Some(part) = key[member].as_str() {
                let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
                secrets.extend([part.as_bytes().to_vec(), pem(&spki(key, &bytes)), bytes]);
            }
        }
        let pems = secrets.clone().into_iter().filter(|text| text.ends_with(b"\n"));
        secrets.extend(pems.map(|text| text.trim_ascii_end().to_vec()).collect::<Vec<_>>());
        for secret in secrets {
            for (hs, algorithm) in
                [("HS256", HMAC_SHA256), ("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)]
            {
                let header = json!({ "alg": hs, "kid": text(key, "kid") }).to_string();
                let token = Forge::sign_with(&header, &claims, algorithm, &secret);
                door.refuses(Way::Path, &token, "wrong_alg", hs).await;
                let header = json!({ "alg": text(key, "alg"), "kid": text(key, "kid") });
                let token = Forge::sign_with(&header.to_string(), &claims, algorithm, &secret);
                door.refuses(Way::Path, &token, "bad_signature", hs).await;
            }
        }
    }
    door.keeps_its_books().await;
}

/// A public key of the kind as DER, as far as an attacker needs it.
fn spki(key: &Value, bytes: &[u8]) -> Vec<u8> {
    let prefix: &[u8] = match key["kty"].as_str() {
        Some("OKP") => b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
        _ => b"\x30\x82\x01\xa2\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
    };
    [prefix, bytes].concat()
}

fn pem(der: &[u8]) -> Vec<u8> {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into_bytes()
}

#[tokio::test]
async fn a_key_without_a_name_checks_tokens_without_one() {
    let setup = Setup::new();
    let set: Value = serde_json::from_str(&Forge::key_set()).unwrap();
    let mut key = set["keys"][0].clone();
    key.as_object_mut().unwrap().remove("kid");
    let text = json!({ "keys": [key] }).to_string();
    fs::write(setup.path("certs/keys.json"), text).unwrap();
    let mut door = Door::with(setup).await;
    let named = Forge::token(7);
    let unnamed = Forge::sign(r#"{"alg":"HS256"}"#, &Claims::of(7).json());
    for way in Way::ALL {
        door.opens(way, &unnamed, "no kid").await;
        door.refuses(way, &named, "unknown_kid", "a kid").await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn an_administrators_token_opens_no_session() {
    let setup = Setup::new();
    let token = setup.run(&["token", "issue", "--sub", "7", "--admin"]);
    let mut door = Door::with(setup).await;
    for way in Way::ALL {
        door.refuses(way, token.trim(), "wrong_audience", "an administrator's").await;
    }
    door.keeps_its_books().await;
}

#[test]
fn the_system_gets_no_token_from_the_command_line() {
    let setup = Setup::new();
    for sub in ["0", "00", "-1", "+7", "07", "9007199254740992", "seven", ""] {
        let output = setup.command(&["token", "issue", &format!("--sub={sub}")]).output();
        let output = output.unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{sub:?}");
    }
}

#[test]
fn a_key_set_that_cannot_be_trusted_keeps_the_server_from_starting() {
    let secret = b64(Forge::secret());
    let oct = |alg: &str, k: &str| json!({ "kty": "oct", "kid": "a", "alg": alg, "k": k });
    let set = |keys: Value| json!({ "keys": keys }).to_string();
    let good = oct("HS256", &secret);
    let mut unnamed = good.clone();
    unnamed.as_object_mut().unwrap().remove("kid");
    let rows = [
        ("empty", String::new()),
        ("no JSON", secret.clone()),
        ("no list", good.to_string()),
        ("no alg", set(json!([{ "kty": "oct", "kid": "a", "k": secret }]))),
        ("alg none", set(json!([oct("none", &secret)]))),
        ("alg of another type", set(json!([oct("RS256", &secret)]))),
        ("no secret", set(json!([oct("HS256", "")]))),
        ("31 bytes", set(json!([oct("HS256", &b64(&Forge::secret()[..31]))]))),
        ("32 for 384", set(json!([oct("HS384", &secret)]))),
        ("32 for 512", set(json!([oct("HS512", &secret)]))),
        ("a word", set(json!([oct("HS256", &b64(b"secret"))]))),
        ("one letter", set(json!([oct("HS256", &b64(&[b'a'; 32]))]))),
        (
            "a word, stretched",
            set(json!([oct("HS256", &b64(b"your-256-bit-secret0000000000000"))])),
        ),
        ("a known text", set(json!([oct("HS256", &b64(b"my_very_long_and_safe_secret_key"))]))),
        ("a known key", set(json!([oct("HS256", "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg")]))),
        ("padded", set(json!([oct("HS256", &format!("{secret}="))]))),
        ("one name", set(json!([good, good]))),
        ("no name", set(json!([good, unnamed]))),
        ("twice", Forge::key_set().replace("\"kid\"", "\"kid\":\"b\",\"kid\"")),
        ("for encryption", Forge::key_set().replace("\"kid\"", "\"use\":\"enc\",\"kid\"")),
    ];
    let setup = Setup::new();
    let path = setup.path("certs/keys.json");
    for (what, text) in rows {
        fs::write(&path, text).unwrap();
        let (code, said) = setup.start_in_vain();
        assert_eq!(code, Some(2), "{what}: {said}");
        assert!(said.contains("keys.json"), "{what}: {said}");
        assert!(!said.contains(&secret[..20]), "{what}: {said}");
    }
    fs::write(&path, Forge::key_set()).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (code, said) = setup.start_in_vain();
        assert_eq!(code, Some(2), "{mode:o}: {said}");
        assert!(said.contains("chmod"), "{mode:o}: {said}");
    }
    fs::remove_file(&path).unwrap();
    let (code, said) = setup.start_in_vain();
    assert_eq!(code, Some(2), "{said}");
}
