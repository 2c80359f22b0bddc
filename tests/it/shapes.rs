//! The shapes of broken JWS that Project Wycheproof keeps (its HS256 groups of
//! `json_web_signature_test`), put on a token and a key of our own: whatever is wrong, the
//! signature behind it is as right as it can be.

use serde_json::{Value, json};

use crate::support::{Claims, Door, Forge, Way, b64};

/// A shape, and the reason for which the server refuses it.
type Shape = (&'static str, String, &'static str);

fn shapes() -> Vec<Shape> {
    let good = Forge::token(7);
    let [header, claims, mac]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let signed = format!("{header}.{claims}");
    let sealed = |header: &str, claims: &str| Forge::seal(&format!("{header}.{claims}"));
    let other = |part: &str| {
        let last = if part.ends_with('A') { 'B' } else { 'A' };
        format!("{}{last}", &part[..part.len() - 1])
    };
    let none = b64(json!({ "alg": "none", "kid": Forge::KID }).to_string().as_bytes());
    let renamed = b64(json!({ "alg": "HS256", "kid": "Xest" }).to_string().as_bytes());
    let someone = b64(Claims::of(8).json().as_bytes());
    // Unused bits set in a part of which the last sign holds only two: 43 signs, 32 bytes.
    let respelled = |part: &str| {
        const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = part.bytes().last().unwrap();
        let at = SIGNS.iter().position(|sign| *sign == last).unwrap();
        format!("{}{}", &part[..part.len() - 1], char::from(SIGNS[at + 1]))
    };
    let short = b64(b"{\"a\":1} ");
    let serialized = json!({
        "payload": claims,
        "signatures": [{ "protected": header, "header": { "x": 1 }, "signature": mac }],
    });
    let flattened = json!({ "payload": claims, "protected": header, "signature": mac });
    let mut shapes = vec![
        (
            "another signature",
            format!("{signed}.{}", Forge::token(8).rsplit('.').next().unwrap()),
            "bad_signature",
        ),
        ("no signature", format!("{signed}."), "bad_signature"),
        ("no signature and no dot", signed.clone(), "malformed"),
        ("other claims", format!("{header}.{someone}.{mac}"), "bad_signature"),
        ("no claims", format!("{header}..{mac}"), "bad_signature"),
        ("no claims and no dot", format!("{header}.{mac}"), "malformed"),
        ("another header", format!("{renamed}.{claims}.{mac}"), "unknown_kid"),
        ("no header", format!(".{claims}.{mac}"), "malformed"),
        ("no header and no dot", format!("{claims}.{mac}"), "malformed"),
        ("neither header nor signature", format!(".{claims}."), "malformed"),
        ("the claims alone", claims.to_owned(), "malformed"),
        ("a part more, empty", format!("{good}."), "malformed"),
        ("a part more", format!("{good}.foo"), "malformed"),
        ("no algorithm and no signature", format!("{none}.{claims}."), "wrong_alg"),
        ("no algorithm, signed", sealed(&none, claims), "wrong_alg"),
        ("spaces in the signature", format!("{signed}.    {mac}"), "malformed"),
        ("a foreign sign before the signature", format!("{signed}.?{mac}"), "malformed"),
        ("a foreign sign behind the signature", format!("{signed}.{mac}?"), "malformed"),
        ("a foreign sign in the signature", format!("{signed}.?{}", &mac[1..]), "malformed"),
        ("foreign signs in the signature", format!("{signed}.????{}", &mac[4..]), "malformed"),
        ("spaces in the header", sealed(&format!("{header}    "), claims), "malformed"),
        ("foreign signs in the header", sealed(&format!("{header}####"), claims), "malformed"),
        (
            "a foreign sign within the header",
            sealed(&header.replacen('J', "?J", 1), claims),
            "malformed",
        ),
        ("padding in the signature", format!("{signed}.{mac}="), "malformed"),
        ("spaces in the claims", sealed(header, &format!("    {claims}")), "malformed"),
        ("foreign signs in the claims", sealed(header, &format!("####{claims}")), "malformed"),
        ("a foreign sign before the claims", sealed(header, &format!("?{claims}")), "malformed"),
        ("a foreign sign behind the claims", sealed(header, &format!("{claims}?")), "malformed"),
        ("padding in the claims", sealed(header, &format!("{short}=")), "malformed"),
        ("unused bits in the claims", sealed(header, &respelled(&short)), "malformed"),
        ("unused bits in the signature", format!("{signed}.{}", respelled(mac)), "malformed"),
        ("the last sign of the header", sealed(&other(header), claims), "malformed"),
        (
            "signed before it was cut",
            format!("{header}.{}.{mac}", &claims[..claims.len() - 4]),
            "bad_signature",
        ),
    ];
    for (what, json) in [("JSON serialization", serialized), ("flattened JSON", flattened)] {
        let json: Value = json;
        shapes.push((what, json.to_string(), "malformed"));
    }
    shapes
}

#[tokio::test]
async fn no_shape_of_a_broken_token_opens_the_door() {
    let mut door = Door::new().await;
    for (what, token, reason) in shapes() {
        door.refuses(Way::Header, &token, reason, what).await;
        // Where a URL could hold it, it stands there as well.
        if token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte)) {
            door.refuses(Way::Path, &token, reason, what).await;
        }
    }
    // Blanks in the JSON of a header are as good as none.
    let spaced = format!("{{ \"kid\" : \"{}\",\n\t\"alg\" : \"HS256\" }}", Forge::KID);
    door.opens(Way::Header, &Forge::sign(&spaced, &Claims::of(7).json()), "blanks").await;
    door.keeps_its_books().await;
}
