use zeroize::Zeroizing;

use super::*;
use crate::auth::json::{from_base64url, to_base64url};
use crate::auth::testing::{jwk, key, public_half, replace};

fn read(members: Object) -> Result<Key, KeyFault> {
    Key::read(Json::Object(members))
}

/// The fault of a good key after one member was changed, or left out.
fn fault(alg: Alg, member: &str, value: Option<Json>) -> KeyFault {
    let mut members = jwk(alg);
    match value {
        Some(value) => replace(&mut members, member, value),
        None => drop(members.take(member)),
    }
    read(members).unwrap_err()
}

fn material(alg: Alg, member: &str) -> Zeroizing<Vec<u8>> {
    from_base64url(jwk(alg).get(member).unwrap().as_text().unwrap()).unwrap()
}

#[test]
fn a_key_says_exactly_one_algorithm_that_fits_it() {
    for alg in Alg::ALL {
        assert_eq!(key(alg).alg(), alg);
        let KeyFault::Missing { member: "alg", needed } = fault(alg, "alg", None) else {
            panic!("{alg} without alg")
        };
        assert!(needed.contains(alg.name()), "{needed}");
        for other in Alg::ALL {
            let (of, is) = (alg.family(), other.family());
            if (of.key_type(), of.curve()) != (is.key_type(), is.curve()) {
                let fault = fault(alg, "alg", Some(Json::text(other.name())));
                assert!(matches!(fault, KeyFault::Mismatch { .. }), "{alg} {other}: {fault}");
            }
        }
        for bad in ["none", "ES512", "RSA-OAEP", "hs256", ""] {
            let fault = fault(alg, "alg", Some(Json::text(bad)));
            assert!(matches!(fault, KeyFault::UnknownAlg { .. }), "{fault}");
        }
        let list = Json::List(vec![Json::text(alg.name())]);
        assert_eq!(fault(alg, "alg", Some(list)), KeyFault::NotText { member: "alg" });
    }
}

#[test]
fn unknown_types_and_curves_are_refused() {
    for bad in ["AKP", "oct-pair", "rsa", ""] {
        let fault = fault(Alg::EdDsa, "kty", Some(Json::text(bad)));
        assert_eq!(fault, KeyFault::UnknownType(bad.to_owned()));
    }
    for (alg, bad) in [
        (Alg::Es256, "P-521"),
        (Alg::Es256, "P-384"),
        (Alg::Es384, "secp256k1"),
        (Alg::EdDsa, "Ed448"),
    ] {
        let fault = fault(alg, "crv", Some(Json::text(bad)));
        assert!(matches!(fault, KeyFault::Mismatch { member: "crv", .. }), "{fault}");
    }
    assert!(matches!(fault(Alg::Es256, "crv", None), KeyFault::Missing { member: "crv", .. }));
}

#[test]
fn a_secret_is_as_long_as_its_hash_and_not_a_word() {
    for (alg, least) in [(Alg::Hs256, 32), (Alg::Hs384, 48), (Alg::Hs512, 64)] {
        let secret = material(alg, "k");
        assert_eq!(secret.len(), least);
        for length in [0, 1, 16, least - 1] {
            let short = Json::text(to_base64url(&secret[..length]));
            let fault = fault(alg, "k", Some(short));
            assert!(matches!(fault, KeyFault::ShortSecret { .. }), "{fault}");
        }
        let word = format!("secret{}", "a".repeat(least));
        for weak in [vec![b'a'; least], word.into_bytes(), vec![0; least]] {
            let weak = Json::text(to_base64url(weak));
            assert_eq!(fault(alg, "k", Some(weak)), KeyFault::WeakSecret { alg });
        }
        assert!(matches!(fault(alg, "k", None), KeyFault::Missing { member: "k", .. }));
        let padded = Json::text(format!("{}=", to_base64url(&secret)));
        assert_eq!(fault(alg, "k", Some(padded)), KeyFault::NotBase64Url { member: "k" });
    }
}

#[test]
fn an_rsa_key_has_2048_bits_and_fits_together() {
    let n = material(Alg::Rs256, "n");
    assert_eq!(n.len(), 384);
    let mut small = Object::default();
    for (name, value) in [("kty", "RSA"), ("alg", "RS256"), ("e", "AQAB")] {
        small.push(name, Json::text(value));
    }
    let mut bits_2047 = n[..256].to_vec();
    bits_2047[0] = 0x7f;
    for (modulus, bits) in [(&n[..128], 1024), (&bits_2047, 2047)] {
        let mut small = small.clone();
        small.push("n", Json::text(to_base64url(modulus)));
        let found = read(small).unwrap_err();
        assert!(matches!(found, KeyFault::RsaSize { bits: b } if bits - b <= 1), "{found}");
    }
    let with_zero = [&[0], n.as_slice()].concat();
    let fault_of =
        |member, bytes: &[u8]| fault(Alg::Rs256, member, Some(Json::text(to_base64url(bytes))));
    assert_eq!(fault_of("n", &with_zero), KeyFault::LeadingZero { member: "n" });
    assert_eq!(fault_of("e", &[0]), KeyFault::LeadingZero { member: "e" });
    for bad in [&[][..], &[1], &[2], &[4], &[1, 0], &[7; 5]] {
        assert_eq!(fault_of("e", bad), KeyFault::RsaExponent);
    }
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        let missing = fault(Alg::Rs256, private, None);
        assert!(matches!(missing, KeyFault::Missing { .. }), "{private}: {missing}");
        assert_eq!(fault_of(private, &[7; 192]), KeyFault::BadPrivate, "{private}");
    }
    assert_eq!(fault(Alg::Rs256, "oth", Some(Json::List(vec![]))), KeyFault::ManyPrimes);
}

#[test]
fn a_private_half_belongs_to_its_public_half() {
    for alg in [Alg::Es256, Alg::Es384, Alg::EdDsa, Alg::Ed25519] {
        let others = jwk(alg);
        let foreign = others.get("d").cloned();
        assert_eq!(fault(alg, "d", foreign), KeyFault::BadPrivate);
        let size = material(alg, "d").len();
        for (member, bad) in [("x", vec![7; size - 1]), ("x", vec![7; size + 1]), ("d", vec![7; 1])]
        {
            let fault = fault(alg, member, Some(Json::text(to_base64url(bad))));
            assert!(matches!(fault, KeyFault::Length { .. }), "{fault}");
        }
    }
    // Points under which anybody can sign.
    let mut sign = [0; 32];
    sign[31] = 0x80;
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    for small in [[0; 32], sign, one, minus_one] {
        let small = Json::text(to_base64url(small));
        assert_eq!(fault(Alg::EdDsa, "x", Some(small)), KeyFault::BadPublic);
    }
    // A point that is not on the curve.
    let off = Json::text(to_base64url([7; 32]));
    assert_eq!(fault(Alg::Es256, "y", Some(off)), KeyFault::BadPublic);
}

#[test]
fn use_and_key_ops_must_permit_it() {
    let list = |names: &[&str]| Json::List(names.iter().map(|name| Json::text(*name)).collect());
    let read_with = |members: &Object, operations: &[&str]| {
        let mut members = members.clone();
        replace(&mut members, "key_ops", list(operations));
        read(members).map(|key| key.can_sign())
    };
    for alg in [Alg::Hs256, Alg::Es256, Alg::EdDsa, Alg::Ps256] {
        let enc = Some(Json::text("enc"));
        assert_eq!(fault(alg, "use", enc), KeyFault::BadUse("enc".to_owned()));
        let private = jwk(alg);
        assert_eq!(read_with(&private, &["sign", "verify"]), Ok(true));
        assert_eq!(read_with(&private, &["verify"]), Ok(false));
        assert_eq!(read_with(&private, &[]), Err(KeyFault::BadOperations));
        assert_eq!(read_with(&private, &["encrypt"]), Err(KeyFault::BadOperations));
        if alg == Alg::Hs256 {
            assert_eq!(read_with(&private, &["sign"]), Err(KeyFault::BadOperations));
        } else {
            assert_eq!(read_with(&private, &["sign"]), Ok(true));
            let public = public_half(&key(alg));
            assert_eq!(read_with(&public, &["verify"]), Ok(false));
            assert_eq!(read_with(&public, &["sign"]), Err(KeyFault::BadOperations));
        }
    }
}

#[test]
fn a_kid_is_a_short_text() {
    for bad in [String::new(), "k".repeat(129), "a\nb".to_owned(), "\u{1b}[2J".to_owned()] {
        assert_eq!(fault(Alg::EdDsa, "kid", Some(Json::text(bad))), KeyFault::BadKid);
    }
    assert_eq!(
        fault(Alg::EdDsa, "kid", Some(Json::Integer(7))),
        KeyFault::NotText { member: "kid" }
    );
}

#[test]
fn the_key_of_rfc_8037_signs_as_the_rfc_says() {
    let jwk = br#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = Key::read(Json::parse(jwk).unwrap()).unwrap();
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = jsonwebtoken::crypto::sign(
        signed.as_bytes(),
        key.signing().unwrap(),
        key.alg().algorithm(),
    );
    assert_eq!(
        signature.unwrap(),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}
