//! The key and the algorithm that a token names, and its signature.

use aws_lc_rs::hmac;

use super::*;

#[test]
fn a_token_of_every_algorithm_is_believed() {
    let keys = set(Alg::ALL.map(key));
    for alg in Alg::ALL {
        let key = keys.find(Some(alg.name())).unwrap();
        let identity = verify(&keys, &sign(key, &header(key), CLAIMS)).unwrap();
        assert_eq!(identity.user(), UserId::new(7).unwrap());
        assert_eq!(identity.key_id(), Some(alg.name()));
        assert_eq!(identity.ends_at(), now() + Duration::from_secs(3630));
        assert_eq!(identity.issued_at(), Some(now()));
        assert_eq!((identity.name(), identity.picture(), identity.token_id()), (None, None, None));
    }
}

#[test]
fn a_public_key_checks_what_its_private_half_signed() {
    for alg in [Alg::Rs256, Alg::Ps512, Alg::Es256, Alg::Es384, Alg::EdDsa, Alg::Ed25519] {
        let private = key(alg);
        let public = Key::read(Json::Object(public_half(&private))).unwrap();
        assert!(!public.can_sign() && !public.is_private());
        let token = sign(&private, &header(&private), CLAIMS);
        assert!(verify(&set([public]), &token).is_ok(), "{alg}");
    }
}

#[test]
fn alg_none_is_refused_in_any_spelling() {
    let claims = to_base64url(CLAIMS);
    let signature = sign(the_key(), &header(the_key()), CLAIMS);
    let signature = signature.rsplit('.').next().unwrap();
    for none in ["none", "None", "NONE", "nOnE", ""] {
        for kid in [r#","kid":"HS256""#, ""] {
            let header = to_base64url(format!(r#"{{"alg":"{none}"{kid}}}"#));
            for end in ["", ".", &format!(".{signature}")] {
                let refused = verify(&KEYS, &format!("{header}.{claims}{end}")).unwrap_err();
                assert!(matches!(refused, Refused::WrongAlg | Refused::Malformed), "{refused}");
            }
        }
    }
    assert_eq!(with_header(r#"{"kid":"HS256"}"#), Err(Refused::WrongAlg));
    assert_eq!(with_header(r#"{"kid":"HS256","alg":5}"#), Err(Refused::Header("alg")));
    assert_eq!(with_header(r#"{"kid":"HS256","alg":["HS256"]}"#), Err(Refused::Header("alg")));
}

#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    // One secret, long enough for all three: only the key's own hash counts.
    let mut long = jwk(Alg::Hs512);
    for signer in [Alg::Hs256, Alg::Hs384] {
        replace(&mut long, "alg", Json::text("HS512"));
        let keys = set([Key::read(Json::Object(long.clone())).unwrap()]);
        replace(&mut long, "alg", Json::text(signer.name()));
        let same_secret = Key::read(Json::Object(long.clone())).unwrap();
        for claimed in [signer, Alg::Hs512] {
            let header = format!(r#"{{"alg":"{claimed}","kid":"HS512"}}"#);
            assert!(verify(&keys, &sign(&same_secret, &header, CLAIMS)).is_err());
        }
    }
    // PKCS#1 padding is not PSS, and EdDSA is not the name of an Ed25519 key.
    for (of, signer) in
        [(Alg::Ps256, Alg::Rs256), (Alg::Rs512, Alg::Rs256), (Alg::Ed25519, Alg::EdDsa)]
    {
        let mut members = jwk(of);
        let keys = set([Key::read(Json::Object(members.clone())).unwrap()]);
        replace(&mut members, "alg", Json::text(signer.name()));
        let same_key = Key::read(Json::Object(members)).unwrap();
        let header = format!(r#"{{"alg":"{signer}","kid":"{of}"}}"#);
        assert_eq!(verify(&keys, &sign(&same_key, &header, CLAIMS)), Err(Refused::WrongAlg));
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for alg in [Alg::Rs256, Alg::Es256, Alg::EdDsa] {
        let private = key(alg);
        let public = public_half(&private);
        let material = |name| from_base64url(public.get(name).unwrap().as_text().unwrap());
        let secrets = match alg {
            Alg::Rs256 => vec![material("n").unwrap()],
            _ => vec![material("x").unwrap()],
        };
        let keys = set([private]);
        for secret in secrets.iter().map(|s| s.as_slice()).chain([&b""[..], b"1"]) {
            for name in ["HS256", alg.name()] {
                let header = to_base64url(format!(r#"{{"alg":"{name}","kid":"{alg}"}}"#));
                let signed = format!("{header}.{}", to_base64url(CLAIMS));
                let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
                let token = format!("{signed}.{}", to_base64url(mac));
                let refused = verify(&keys, &token).unwrap_err();
                assert!(matches!(refused, Refused::WrongAlg | Refused::BadSignature));
            }
        }
    }
}

#[test]
fn a_damaged_signature_does_not_hold() {
    let token = sign(the_key(), &header(the_key()), CLAIMS);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let good = from_base64url(signature).unwrap();
    for bit in 0..256 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{signed}.{}", to_base64url(bad));
        assert_eq!(verify(&KEYS, &token), Err(Refused::BadSignature));
    }
    for length in 0..32 {
        let token = format!("{signed}.{}", to_base64url(&good[..length]));
        assert_eq!(verify(&KEYS, &token), Err(Refused::BadSignature));
    }
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), signed.as_bytes());
    let token = format!("{signed}.{}", to_base64url(mac));
    assert_eq!(verify(&KEYS, &token), Err(Refused::BadSignature));
}

#[test]
fn a_kid_is_looked_up_and_nothing_else() {
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "|sleep 10",
        "x' UNION SELECT '1';--",
        "hs256",
        "HS256 ",
        "",
    ] {
        let header = format!(r#"{{"alg":"HS256","kid":{kid:?}}}"#);
        assert_eq!(with_header(&header), Err(Refused::UnknownKid));
    }
    for kid in ["null", "7", "[\"HS256\"]", "{}"] {
        let header = format!(r#"{{"alg":"HS256","kid":{kid}}}"#);
        assert_eq!(with_header(&header), Err(Refused::Header("kid")));
    }
    let twice = r#"{"alg":"HS256","kid":"HS256","kid":"other"}"#;
    assert_eq!(with_header(twice), Err(Refused::DuplicateMember));
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(10_000));
    assert_eq!(with_header(&long), Err(Refused::TooLong));
}

#[test]
fn a_token_without_kid_is_for_a_set_of_one_key() {
    let without = r#"{"alg":"HS256"}"#;
    assert!(with_header(without).is_ok());
    let token = sign(the_key(), without, CLAIMS);
    let two = set([key(Alg::Hs256), key(Alg::EdDsa)]);
    assert_eq!(verify(&two, &token), Err(Refused::MissingKid));
    assert_eq!(verify(&KeySet::default(), &token), Err(Refused::MissingKid));

    let mut nameless = jwk(Alg::Es256);
    nameless.take("kid");
    let keys = set([Key::read(Json::Object(nameless)).unwrap()]);
    let signing = keys.signing_key().unwrap();
    let identity = verify(&keys, &sign(signing, r#"{"alg":"ES256"}"#, CLAIMS)).unwrap();
    assert_eq!(identity.key_id(), None);
    let named = sign(signing, r#"{"alg":"ES256","kid":"ES256"}"#, CLAIMS);
    assert_eq!(verify(&keys, &named), Err(Refused::UnknownKid));
}

#[test]
fn a_key_does_not_answer_for_another() {
    let (a, b) = (key(Alg::EdDsa), key(Alg::EdDsa));
    let token = sign(&b, &header(&a), CLAIMS);
    assert_eq!(verify(&set([a]), &token), Err(Refused::BadSignature));
}
