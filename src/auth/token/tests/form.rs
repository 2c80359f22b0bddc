//! How a token is spelled, and what its header may ask for.

use super::*;

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
