//! What a token says, and what of it is believed.

use std::time::UNIX_EPOCH;

use super::*;

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
