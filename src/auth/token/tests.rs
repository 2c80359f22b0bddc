//! Tokens that are believed, and a long list of those that are not.

use aws_lc_rs::hmac;
use proptest::prelude::*;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::auth::alg::Alg;
use crate::auth::json::to_base64url;
use crate::auth::testing::*;
use crate::auth::{Revocation, TokenId};
use crate::ids::UserId;

/// The signing key of most tests, alone in its set.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| set([key(Alg::Hs256)]));

fn the_key() -> &'static Key {
    KEYS.signing_key().unwrap()
}

fn with_header(header: &str) -> Result<Identity, Refused> {
    verify(&KEYS, &sign(the_key(), header, CLAIMS))
}

fn with_claims(claims: &str) -> Result<Identity, Refused> {
    verify(&KEYS, &sign(the_key(), &header(the_key()), claims))
}

/// The usual claims with these members instead of or beside the usual ones.
fn with(changes: &[(&str, &str)]) -> Result<Identity, Refused> {
    let usual = [
        ("iss", r#""imserver""#),
        ("aud", r#""imserver""#),
        ("sub", r#""7""#),
        ("exp", "1800003600"),
    ];
    let kept = usual.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let members: Vec<String> = kept
        .chain(changes.iter().filter(|(_, value)| !value.is_empty()))
        .map(|(name, value)| format!("{name:?}:{value}"))
        .collect();
    with_claims(&format!("{{{}}}", members.join(",")))
}

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
fn only_the_strict_compact_form_is_read() {
    let token = sign(the_key(), &header(the_key()), CLAIMS);
    let [header_part, claims_part, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    // A respelling of the last character with its unused bits set.
    let last = signature.bytes().last().unwrap();
    let respelled = format!("{}{}", &token[..token.len() - 1], char::from(last + 1));
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}?"),
        format!("{header_part}.{claims_part}"),
        format!("{header_part} .{claims_part}.{signature}"),
        format!("{header_part}=.{claims_part}.{signature}"),
        format!("{header_part}.{claims_part}.{signature}.{signature}.{signature}"),
        format!(".{claims_part}.{signature}"),
        format!(
            r#"{{"protected":"{header_part}","payload":"{claims_part}","signature":"{signature}"}}"#
        ),
        respelled,
    ] {
        assert_eq!(verify(&KEYS, &bad), Err(Refused::Malformed), "{bad}");
    }
    for bad in ["[]", "7", "null", "", "{", "{}{}", r#"["alg","HS256"]"#, "\u{feff}{}"] {
        assert_eq!(with_header(bad), Err(Refused::Malformed), "{bad}");
        assert_eq!(with_claims(bad), Err(Refused::Malformed), "{bad}");
    }
    // Rightly signed, but spelled with padding.
    let header = to_base64url(header(the_key()));
    let padded = sign_parts(the_key(), &header, &format!("{}=", to_base64url(CLAIMS)));
    assert_eq!(verify(&KEYS, &padded), Err(Refused::Malformed));
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

#[test]
fn a_header_that_asks_for_more_is_refused() {
    for (name, value) in [
        ("crit", r#"["exp"]"#),
        ("crit", "[]"),
        ("jku", r#""https://example.com/keys""#),
        ("jwk", r#"{"kty":"oct","k":"AA"}"#),
        ("x5u", r#""https://example.com/cert""#),
        ("x5c", r#"["MIIB"]"#),
        ("b64", "false"),
        ("b64", "true"),
        ("zip", r#""DEF""#),
        ("cty", r#""JWT""#),
        ("enc", r#""A256GCM""#),
        ("typ", "5"),
        ("typ", "null"),
    ] {
        let header = format!(r#"{{"alg":"HS256","kid":"HS256","{name}":{value}}}"#);
        assert_eq!(with_header(&header), Err(Refused::Header(name)), "{header}");
    }
    for typ in ["JWT", "at+jwt", "jwt", ""] {
        let header =
            format!(r#"{{"alg":"HS256","typ":"{typ}","kid":"HS256","x5t":"a","own":[1]}}"#);
        assert!(with_header(&header).is_ok(), "{typ}");
    }
    let deep = format!(r#"{{"alg":"HS256","kid":"HS256","a":{}"#, "[".repeat(3000));
    assert_eq!(with_header(&deep), Err(Refused::Malformed));
}

#[test]
fn users_and_administrators_have_tokens_of_their_own() {
    let current = CurrentKeys::new(set([key(Alg::EdDsa)]));
    let keys = current.get();
    let signing = keys.signing_key().unwrap();
    let user = sign(signing, &header(signing), CLAIMS);
    let admin = CLAIMS.replace(r#""aud":"imserver""#, r#""aud":"imserver-admin""#);
    let admin = sign(signing, &header(signing), &admin);
    let (users, admins) = (
        Verifier::new(&current, &Revocations::default(), &auth()),
        AdminVerifier::new(&current, &Revocations::default(), &auth()),
    );
    assert!(users.verify(&user, now()).is_ok());
    assert_eq!(users.verify(&admin, now()), Err(Refused::WrongAudience));
    assert_eq!(admins.verify(&admin, now()).unwrap().user(), UserId::new(7).unwrap());
    assert_eq!(admins.verify(&user, now()), Err(Refused::WrongAudience));
}

#[test]
fn verifiers_follow_the_key_set() {
    let current = CurrentKeys::new(set([key(Alg::Es256)]));
    let verifier = Verifier::new(&current, &Revocations::default(), &auth()).clone();
    let keys = current.get();
    let signing = keys.signing_key().unwrap();
    let token = sign(signing, &header(signing), CLAIMS);
    assert!(verifier.verify(&token, now()).is_ok());
    current.replace(set([key(Alg::EdDsa)]));
    assert_eq!(verifier.verify(&token, now()), Err(Refused::UnknownKid));
}

#[test]
fn exp_is_required_and_honoured() {
    for bad in [
        "",
        "\"9999999999\"",
        "\"never\"",
        "null",
        "true",
        "-1",
        "1800003600.5",
        "1800003600.0",
        "1.8e9",
        "1e300",
        "[1800003600]",
        "18446744073709551616",
    ] {
        assert_eq!(with(&[("exp", bad)]), Err(Refused::BadClaim("exp")), "{bad}");
    }
    // The leeway is 30 s; at its end the connection would be closed at once.
    assert_eq!(with(&[("exp", &(NOW - 30).to_string())]), Err(Refused::Expired));
    assert_eq!(with(&[("exp", "0")]), Err(Refused::Expired));
    let last = with(&[("exp", &(NOW - 29).to_string())]).unwrap();
    assert_eq!(last.ends_at(), now() + Duration::from_secs(1));
    assert!(with(&[("exp", &(NOW + 60).to_string())]).is_ok());
}

#[test]
fn a_token_may_not_live_too_long() {
    const MAX: u64 = 30 * 24 * 3600;
    let lives = |iat: Option<u64>, exp: u64| {
        let iat = iat.map_or_else(String::new, |iat| iat.to_string());
        with(&[("iat", &iat), ("exp", &exp.to_string())]).map(|_| ())
    };
    assert_eq!(lives(None, NOW + MAX), Ok(()));
    assert_eq!(lives(None, NOW + MAX + 1), Err(Refused::TooLongLived));
    assert_eq!(lives(Some(NOW + 30), NOW + 30 + MAX), Ok(()));
    assert_eq!(lives(Some(NOW - 10), NOW + MAX - 10), Ok(()));
    assert_eq!(lives(Some(NOW - 10), NOW + MAX), Err(Refused::TooLongLived));
    assert_eq!(lives(Some(0), NOW + 60), Err(Refused::TooLongLived));
    assert_eq!(lives(None, NOW + 10 * 365 * 24 * 3600), Err(Refused::TooLongLived));
    assert_eq!(lives(None, u64::MAX), Err(Refused::TooLongLived));
}

#[test]
fn nbf_and_iat_are_honoured_where_they_stand() {
    for claim in ["nbf", "iat"] {
        for bad in ["null", "\"99999999999\"", "\"x\"", "1.5", "-1", "[1]", "true"] {
            assert_eq!(with(&[(claim, bad)]), Err(Refused::BadClaim(claim)), "{bad}");
        }
        assert!(with(&[(claim, &(NOW + 30).to_string())]).is_ok());
    }
    assert_eq!(with(&[("nbf", &(NOW + 31).to_string())]), Err(Refused::NotYetValid));
    assert_eq!(with(&[("iat", &(NOW + 31).to_string())]), Err(Refused::IssuedInFuture));
    assert_eq!(with(&[("iat", "18446744073709551615")]), Err(Refused::IssuedInFuture));
}

#[test]
fn issuer_and_audience_are_required() {
    for bad in ["", "\"other\"", "\"\"", "\"imserver \"", "[\"imserver\"]", "5", "null"] {
        assert_eq!(with(&[("iss", bad)]), Err(Refused::WrongIssuer), "{bad}");
    }
    for bad in [
        "",
        "\"other\"",
        "\"imserver-admin\"",
        "[\"other\"]",
        "[]",
        "5",
        "null",
        "[\"imserver\",5]",
        "[[\"imserver\"]]",
        "{\"imserver\":1}",
    ] {
        assert_eq!(with(&[("aud", bad)]), Err(Refused::WrongAudience), "{bad}");
    }
    assert!(with(&[("aud", "[\"other\",\"imserver\"]")]).is_ok());
}

#[test]
fn the_subject_is_a_canonical_user_id() {
    for bad in [
        "\"0\"",
        "\"-1\"",
        "\"07\"",
        "\"+7\"",
        "\" 7\"",
        "\"7\\n\"",
        "\"7.0\"",
        "\"1e3\"",
        "\"0x7\"",
        "\"٧\"",
        "\"\"",
        "\"a\"",
        "\"9007199254740992\"",
        "\"18446744073709551616\"",
        "[\"7\"]",
        "null",
        "7",
        "",
    ] {
        assert_eq!(with(&[("sub", bad)]), Err(Refused::BadSubject), "{bad}");
    }
    let last = with(&[("sub", "\"9007199254740991\"")]).unwrap();
    assert_eq!(last.user().get(), 9_007_199_254_740_991);
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    for twice in [
        CLAIMS.replace(r#""sub":"7""#, r#""sub":"7","sub":"8""#),
        CLAIMS.replace(r#""sub":"7""#, r#""sub":"7","\u0073ub":"8""#),
        CLAIMS.replace(r#""iat""#, r#""exp":1,"iat""#),
        CLAIMS.replace(r#""iat""#, r#""own":{"a":[{"b":1,"b":2}]},"iat""#),
    ] {
        assert_eq!(with_claims(&twice), Err(Refused::DuplicateMember), "{twice}");
    }
}

#[test]
fn a_token_over_8_kib_is_refused_unread() {
    let filler = |length: usize| {
        let claims =
            CLAIMS.replace(r#""iat""#, &format!(r#""own":"{}","iat""#, "x".repeat(length)));
        sign(the_key(), &header(the_key()), &claims)
    };
    let fits = (5000..7000).rev().map(filler).find(|token| token.len() <= TOKEN_MAX).unwrap();
    assert!(verify(&KEYS, &fits).is_ok());
    for long in [filler(6200), "a".repeat(8193), ".".repeat(500_000)] {
        assert_eq!(verify(&KEYS, &long), Err(Refused::TooLong));
    }
}

#[test]
fn a_jti_is_optional_unless_it_is_asked_for() {
    for bad in ["\"\"", "5", "null", &format!("{:?}", "j".repeat(129))] {
        assert_eq!(with(&[("jti", bad)]), Err(Refused::BadClaim("jti")), "{bad}");
    }
    let long = "j".repeat(128);
    assert_eq!(with(&[("jti", &format!("{long:?}"))]).unwrap().token_id(), Some(long.as_str()));

    let mut auth = auth();
    auth.require_jti = true;
    let rules = Rules::user(&auth);
    let token = sign(the_key(), &header(the_key()), CLAIMS);
    assert_eq!(check(&KEYS, &rules, &token, now()), Err(Refused::MissingTokenId));
}

#[test]
fn name_and_picture_are_checked_before_others_see_them() {
    let full = with(&[("name", "\"小明\""), ("picture", "\"www.example.com/a.png\"")]).unwrap();
    assert_eq!((full.name(), full.picture()), (Some("小明"), Some("www.example.com/a.png")));
    let empty = with(&[("name", "\"\""), ("picture", "\"\"")]).unwrap();
    assert_eq!((empty.name(), empty.picture()), (None, None));
    for bad in ["5", "null", &format!("{:?}", "n".repeat(129))] {
        assert_eq!(with(&[("name", bad)]), Err(Refused::BadProfile("name")), "{bad}");
    }
    for bad in [
        "5",
        "\"javascript:alert(1)\"",
        "\"data:text/html,x\"",
        "\"a\\u0000b\"",
        &format!("{:?}", "p".repeat(2049)),
    ] {
        assert_eq!(with(&[("picture", bad)]), Err(Refused::BadProfile("picture")), "{bad}");
    }
}

#[test]
fn before_1970_nothing_is_believed_for_ever() {
    let token = sign(the_key(), &header(the_key()), CLAIMS);
    let early = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(check(&KEYS, &Rules::user(&auth()), &token, early), Err(Refused::IssuedInFuture));
}

#[test]
fn every_other_character_at_every_place_breaks_a_token() {
    let token = sign(the_key(), &header(the_key()), CLAIMS).into_bytes();
    for place in 0..token.len() {
        for other in (0..128).filter(|other| *other != token[place]) {
            let mut bad = token.clone();
            bad[place] = other;
            assert!(verify(&KEYS, str::from_utf8(&bad).unwrap()).is_err(), "{place} {other}");
        }
    }
}

/// Tokens of the asymmetric kinds, with the sets that believe them.
static SIGNED: LazyLock<Vec<(KeySet, String)>> = LazyLock::new(|| {
    [Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::Es384, Alg::EdDsa]
        .into_iter()
        .map(|alg| {
            let key = key(alg);
            let token = sign(&key, &header(&key), CLAIMS);
            (set([key]), token)
        })
        .collect()
});

proptest! {
    #[test]
    fn a_changed_token_is_never_believed(
        which in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (keys, token) = &SIGNED[which];
        let mut bytes = token.clone().into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let bad = String::from_utf8_lossy(&bytes);
        prop_assume!(bad != token.as_str());
        prop_assert!(verify(keys, &bad).is_err());
    }

    #[test]
    fn no_text_is_a_token_or_a_panic(text in "\\PC{0,200}", dots in "[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(verify(&KEYS, &text).is_err());
        prop_assert!(verify(&KEYS, &dots).is_err());
    }

    #[test]
    fn no_signed_json_is_a_panic(header in "\\PC{0,80}", claims in "\\PC{0,80}") {
        prop_assert!(verify(&KEYS, &sign(the_key(), &header, &claims)).is_err());
        prop_assert!(with_claims(&claims).is_err());
    }
}

#[test]
fn what_was_taken_back_is_refused_though_all_else_is_right() {
    let current = CurrentKeys::new(set([key(Alg::EdDsa)]));
    let revocations = Revocations::default();
    let users = Verifier::new(&current, &revocations, &auth());
    let admins = AdminVerifier::new(&current, &revocations, &auth());
    let keys = current.get();
    let signing = keys.signing_key().unwrap();
    let claims = CLAIMS.replace(r#""sub""#, r#""jti":"one","sub""#);
    let admin = claims.replace(r#""aud":"imserver""#, r#""aud":"imserver-admin""#);
    let [user, other, admin] =
        [&claims, CLAIMS, &admin].map(|claims| sign(signing, &header(signing), claims));
    let believed = users.verify(&user, now()).unwrap();
    assert!(users.stands(&believed.token()));
    revocations.add(Revocation::Token { jti: TokenId::new("one").unwrap(), until: u64::MAX });
    assert_eq!(users.verify(&user, now()), Err(Refused::Revoked));
    assert_eq!(admins.verify(&admin, now()), Err(Refused::Revoked));
    assert!(!users.stands(&believed.token()));
    let believed = users.verify(&other, now()).unwrap();
    let (user, issued_up_to) = (believed.user(), NOW);
    revocations.add(Revocation::Subject { user, issued_up_to, until: u64::MAX });
    assert_eq!(users.verify(&other, now()), Err(Refused::Revoked));
    assert!(!users.stands(&believed.token()));
}

#[test]
fn a_token_stands_by_its_key_and_not_by_that_keys_name() {
    // One of each family: an RSA key takes its time to be made.
    for alg in [Alg::Hs256, Alg::Rs256, Alg::Es256, Alg::EdDsa] {
        let first = key(alg);
        let token = sign(&first, &header(&first), CLAIMS);
        let again = Key::read(Json::Object(first.members().clone())).unwrap();
        let current = CurrentKeys::new(set([first]));
        let users = Verifier::new(&current, &Revocations::default(), &auth());
        let believed = users.verify(&token, now()).unwrap().token();
        let other = if alg == Alg::Es256 { Alg::EdDsa } else { Alg::Es256 };
        current.replace(set([key(other), again]));
        assert!(users.stands(&believed), "{alg}");
        current.replace(set([generated_as(alg)]));
        assert!(!users.stands(&believed), "{alg}");
        assert_eq!(users.verify(&token, now()), Err(Refused::BadSignature), "{alg}");
    }
}

/// Another key for `alg`, under the same name.
fn generated_as(alg: Alg) -> Key {
    let mut members = crate::auth::generate(alg).unwrap().members().clone();
    replace(&mut members, "kid", Json::text(alg.name()));
    Key::read(Json::Object(members)).unwrap()
}
