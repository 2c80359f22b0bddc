//! Project Wycheproof's JSON Web Signatures: what is a good signature, and what only looks
//! like one. None has claims that would be believed, so it is the signature that is asked for.

use serde_json::Value;

use super::*;

/// Those that are valid by the standard and refused here: an RSA key is for PS256, says its
/// `alg`, and the token is signed with it for PS384.
const NOT_THE_KEYS_ALG: [u64; 2] = [346, 350];

fn is_good(keys: &KeySet, jws: &str) -> Result<(), Refused> {
    let compact = Compact::split(jws)?;
    let header = object(compact.header)?;
    check_signature(choose_key(keys, &header)?, &compact)
}

#[test]
fn a_signature_is_good_where_it_is_valid_and_nowhere_else() {
    let vectors = include_str!("../../../../tests/vectors/wycheproof/json_web_signature_test.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let (mut good, mut refused, mut keyless) = (0, 0, Vec::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        let jwk = [&group["private"], &group["public"]].into_iter().find(|jwk| jwk.is_object());
        let jwk = Json::parse(jwk.unwrap().to_string().as_bytes()).unwrap();
        let tests = group["tests"].as_array().unwrap();
        let Ok(key) = Key::read(jwk) else {
            keyless.extend(tests.iter().map(|test| test["tcId"].as_u64().unwrap()));
            continue;
        };
        let keys = set([key]);
        for test in tests {
            let id = test["tcId"].as_u64().unwrap();
            let valid = test["result"] == "valid" && !NOT_THE_KEYS_ALG.contains(&id);
            let found = is_good(&keys, test["jws"].as_str().unwrap());
            assert_eq!(found.is_ok(), valid, "{id}, {}: {found:?}", test["comment"]);
            if valid { good += 1 } else { refused += 1 }
        }
    }
    // ES512, operations that are none, keys for encryption, and two secrets that everybody has
    // read: an RFC's and a row of zeroes.
    let zeroes = 357..=377;
    let others = [347, 348, 349, 351, 352, 353, 354, 355, 356];
    assert_eq!(keyless, others.into_iter().chain(zeroes).collect::<Vec<_>>());
    assert_eq!((good, refused), (32, 339));
}
