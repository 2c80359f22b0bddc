use super::*;
use crate::auth::current::CurrentKeys;
use crate::auth::keys::KeySet;
use crate::auth::refused::Refused;
use crate::auth::testing::{CLAIMS, header, key, now, public_half, replace, set, sign, verify};

fn text(jwks: impl IntoIterator<Item = Object>) -> Vec<u8> {
    let mut set = Object::default();
    set.push("keys", Json::List(jwks.into_iter().map(Json::Object).collect()));
    serde_json::to_vec(&set).unwrap()
}

fn without(members: &Object, name: &str) -> Object {
    let mut members = members.clone();
    members.take(name);
    members
}

fn with(members: &Object, name: &str, value: &str) -> Object {
    let mut members = members.clone();
    replace(&mut members, name, Json::text(value));
    members
}

/// Why the only key of a set is not taken.
fn why_not(jwk: Object) -> String {
    match Provided::parse(&text([jwk])) {
        Err(ProvidedFault::NothingOfUse(passed_over)) => passed_over[0].to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_providers_key_checks_beside_the_files_and_signs_nothing() {
    let (ours, theirs) = (key(Alg::Hs256), key(Alg::EdDsa));
    let token = sign(&theirs, &header(&theirs), CLAIMS);
    let current = CurrentKeys::new(set([ours]));
    assert_eq!(verify(&current.get(), &token), Err(Refused::UnknownKid));
    current.provide(Provided::parse(&text([public_half(&theirs)])).unwrap());
    assert!(verify(&current.get(), &token).is_ok());
    assert_eq!(current.get().signing_key().unwrap().kid(), Some("HS256"));
    assert_eq!(current.get().list().len(), 1);
    // The file is read again: theirs stay, and the other way round.
    current.replace(set([key(Alg::Es256)]));
    assert!(verify(&current.get(), &token).is_ok());
    assert!(current.get().find(Some("HS256")).is_none());
    current.provide(Provided::parse(&text([public_half(&key(Alg::Es384))])).unwrap());
    assert_eq!(verify(&current.get(), &token), Err(Refused::UnknownKid));
    assert!(current.get().find(Some("ES256")).is_some());
    assert!(current.get().opens_to_anybody(now()));
    assert!(!CurrentKeys::new(KeySet::default()).get().opens_to_anybody(now()));
    // What is saved is the file's.
    let saved = KeySet::parse(&current.get().to_text().unwrap()).unwrap();
    assert_eq!(saved.list(), current.get().list());
}

#[test]
fn of_two_keys_with_one_name_the_files_is_meant() {
    let (ours, theirs) = (key(Alg::EdDsa), key(Alg::EdDsa));
    let by_us = sign(&ours, &header(&ours), CLAIMS);
    let by_them = sign(&theirs, &header(&theirs), CLAIMS);
    let jwks = text([public_half(&theirs), public_half(&key(Alg::Es256))]);
    let current = CurrentKeys::new(set([ours]));
    current.provide(Provided::parse(&jwks).unwrap());
    assert!(verify(&current.get(), &by_us).is_ok());
    assert_eq!(verify(&current.get(), &by_them), Err(Refused::BadSignature));
    assert_eq!(current.get().shadowed(), ["EdDSA"]);
}

#[test]
fn a_token_without_a_kid_is_the_files_as_before() {
    let ours = key(Alg::EdDsa);
    let token = sign(&ours, r#"{"alg":"EdDSA"}"#, CLAIMS);
    let current = CurrentKeys::new(set([ours]));
    let theirs = || Provided::parse(&text([public_half(&key(Alg::Es256))])).unwrap();
    current.provide(theirs());
    assert!(verify(&current.get(), &token).is_ok());
    // And never the provider's, though that has but one.
    let alone = CurrentKeys::new(KeySet::default());
    alone.provide(theirs());
    assert_eq!(verify(&alone.get(), &token), Err(Refused::MissingKid));
}

#[test]
fn secrets_are_never_taken_from_an_address() {
    for alg in Alg::ALL {
        let members = key(alg).members().clone();
        assert!(why_not(members.clone()).contains("holds a secret"), "{alg}");
        // Nor under another name.
        let hidden = with(&with(&members, "kty", "EC"), "alg", "ES256");
        assert!(why_not(hidden).contains("holds a secret"), "{alg}");
    }
    assert!(why_not(without(key(Alg::Hs256).members(), "k")).contains("holds a secret"));
}

#[test]
fn what_is_of_no_use_spoils_nothing() {
    let good = public_half(&key(Alg::EdDsa));
    let es256 = public_half(&key(Alg::Es256));
    let jwks = [
        with(&es256, "use", "enc"),
        with(&es256, "alg", "ECDH-ES"),
        with(&es256, "kty", "AKP"),
        with(&es256, "crv", "P-521"),
        without(&es256, "kid"),
        key(Alg::Hs256).members().clone(),
        good.clone(),
        good.clone(),
        Object::default(),
    ];
    let provided = Provided::parse(&text(jwks)).unwrap();
    assert_eq!((provided.count(), provided.passed_over().len()), (1, 8));
    for bad in ["", "{}", "[]", "<html>", r#"{"keys":[],"keys":[]}"#, r#"{"keys":{}}"#] {
        let fault = Provided::parse(bad.as_bytes()).unwrap_err();
        assert!(fault.to_string().starts_with("the answer is not a key set"), "{fault}");
    }
    for nothing in [r#"{"keys":[]}"#, r#"{"keys":[5]}"#] {
        let fault = Provided::parse(nothing.as_bytes()).unwrap_err();
        assert!(fault.to_string().starts_with("the answer has no key"), "{fault}");
    }
}

#[test]
fn a_key_without_an_alg_has_the_usual_one() {
    for (alg, usual) in [
        (Alg::Rs512, Alg::Rs256),
        (Alg::Es256, Alg::Es256),
        (Alg::Es384, Alg::Es384),
        (Alg::EdDsa, Alg::EdDsa),
    ] {
        let members = without(&public_half(&key(alg)), "alg");
        let provided = Provided::parse(&text([members])).unwrap();
        assert_eq!(provided.keys[0].alg(), usual);
    }
    // One that is named is never replaced.
    assert!(why_not(with(&public_half(&key(Alg::Rs256)), "alg", "none")).contains("\"none\""));
    let mut odd = public_half(&key(Alg::Rs256));
    replace(&mut odd, "alg", Json::Null);
    assert!(why_not(odd).contains("\"alg\" with something else than a text"));
}

#[test]
fn a_provider_cannot_say_when_our_keys_end() {
    let mut members = public_half(&key(Alg::EdDsa));
    members.push(UNTIL, Json::Integer(1));
    let provided = Provided::parse(&text([members])).unwrap();
    assert_eq!(provided.keys[0].until(), None);
}
