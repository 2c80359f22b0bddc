//! What a token must say to open the door, claim by claim, wherever it stands.

use serde_json::json;

use crate::support::{Claims, Door, Forge, Setup, Upgrade, Way};

/// The claims of user 7 with one of them replaced by JSON as it is, or left out.
fn changed(claim: &str, value: &str) -> String {
    let others = Claims::of(7).without(claim);
    let claims = match value {
        "" => others.json(),
        value => others.json_and(claim, value),
    };
    Forge::sign(&Forge::header().to_string(), &claims)
}

fn from_now(seconds: i64) -> String {
    (i64::try_from(Claims::now()).unwrap() + seconds).to_string()
}

fn text(text: &str) -> String {
    json!(text).to_string()
}

/// Tries each value of a claim in each place.
async fn all_refused(claim: &str, rows: &[(&'static str, &[String])]) {
    let mut door = Door::new().await;
    for way in Way::ALL {
        for (reason, values) in rows {
            for value in *values {
                let token = changed(claim, value);
                let what = format!("{claim}: {}", value.chars().take(40).collect::<String>());
                door.refuses(way, &token, reason, &what).await;
            }
        }
    }
    door.keeps_its_books().await;
}

fn all(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test]
async fn a_subject_is_one_spelling_of_one_user() {
    let odd = [
        "",
        "null",
        "true",
        "7",
        "7.0",
        "7e0",
        "[\"7\"]",
        "[]",
        "{}",
        "{\"id\":7}",
        "\"0\"",
        "\"-1\"",
        "\"07\"",
        "\"+7\"",
        "\" 7\"",
        "\"7 \"",
        "\"7\\n\"",
        "\"7\\u0000\"",
        "\"7.0\"",
        "\"1e3\"",
        "\"0x7\"",
        "\"٧\"",
        "\"７\"",
        "\"\"",
        "\"a\"",
        "\"7a\"",
        "\"7,8\"",
        "\"1_0\"",
        "\"9007199254740992\"",
        "\"18446744073709551616\"",
        "\"-0\"",
        "\"system\"",
    ];
    all_refused("sub", &[("bad_subject", &all(&odd))]).await;
}

#[tokio::test]
async fn an_end_is_needed_and_near_and_not_over() {
    let odd = [
        "",
        "null",
        "true",
        "-1",
        "1.5",
        "1e300",
        "9999999999.0",
        "[9999999999]",
        "{}",
        "\"\"",
        "\"9999999999\"",
        "\"never\"",
        "18446744073709551616",
        "-9999999999",
    ];
    let month = 30 * 24 * 3600;
    let long = [
        from_now(month + 60),
        from_now(10 * 365 * 24 * 3600),
        "99999999999".to_owned(),
        "9223372036854775808".to_owned(),
        "18446744073709551615".to_owned(),
    ];
    let over = ["0".to_owned(), "1".to_owned(), from_now(-31), from_now(-3600)];
    let rows: [(_, &[String]); 3] =
        [("bad_claim", &all(&odd)), ("too_long_lived", &long), ("expired", &over)];
    all_refused("exp", &rows).await;
}

#[tokio::test]
async fn a_beginning_is_a_time_that_has_come() {
    let odd = ["null", "true", "-1", "1.5", "1e9", "[]", "\"99999999999\"", "\"0\""];
    let future = [from_now(90), from_now(600), "18446744073709551615".to_owned()];
    all_refused("nbf", &[("bad_claim", &all(&odd)), ("not_yet_valid", &future)]).await;
    let month = 30 * 24 * 3600;
    let old = [from_now(-month), "0".to_owned()];
    let rows: [(_, &[String]); 3] =
        [("bad_claim", &all(&odd)), ("issued_in_future", &future), ("too_long_lived", &old)];
    all_refused("iat", &rows).await;
}

#[tokio::test]
async fn issuer_and_audience_are_ours_to_the_letter() {
    let issuers = [
        "",
        "null",
        "5",
        "\"\"",
        "\"other\"",
        "[\"imserver\"]",
        "\"imserver/\"",
        "\"Imserver\"",
        "\" imserver\"",
        "{\"imserver\":1}",
        "true",
    ];
    all_refused("iss", &[("wrong_issuer", &all(&issuers))]).await;
    let audiences = [
        "",
        "null",
        "5",
        "\"\"",
        "\"other\"",
        "[\"other\"]",
        "[]",
        "[5]",
        "[\"imserver\",5]",
        "[[\"imserver\"]]",
        "{\"imserver\":1}",
        "\"IMSERVER\"",
        "\"imserver \"",
        "\"imserver,other\"",
        "\"imserver-admin\"",
        "[\"imserver-admin\"]",
    ];
    all_refused("aud", &[("wrong_audience", &all(&audiences))]).await;
}

#[tokio::test]
async fn what_a_token_says_of_itself_and_its_user_is_bounded() {
    let ids =
        ["null".to_owned(), "7".to_owned(), "[]".to_owned(), text(""), text(&"x".repeat(129))];
    all_refused("jti", &[("bad_claim", &ids)]).await;
    let names = ["null".to_owned(), "7".to_owned(), "[\"a\"]".to_owned(), text(&"é".repeat(65))];
    all_refused("name", &[("bad_profile", &names)]).await;
    let pictures = [
        "null".to_owned(),
        "7".to_owned(),
        text(&"a".repeat(2049)),
        text("javascript:alert(1)"),
        text(" javascript:alert(1)"),
        text("java\tscript:alert(1)"),
        text("data:text/html,x"),
        text("http://example.com/a.png"),
        text("https://exa mple.com/"),
        text("//x:javascript:\n"),
    ];
    all_refused("picture", &[("bad_profile", &pictures)]).await;
}

#[tokio::test]
async fn whatever_the_rules_permit_comes_in_by_every_way() {
    let mut door = Door::new().await;
    let good = [
        ("sub", text("1")),
        ("sub", text("9007199254740991")),
        ("exp", from_now(60)),
        ("exp", from_now(-20)),
        ("exp", from_now(29 * 24 * 3600)),
        ("nbf", from_now(20)),
        ("nbf", "0".to_owned()),
        ("iat", String::new()),
        ("iat", from_now(20)),
        ("aud", r#"["other","imserver"]"#.to_owned()),
        ("aud", r#"["imserver"]"#.to_owned()),
        ("jti", text(&"x".repeat(128))),
        ("name", text("")),
        ("name", text(&"é".repeat(64))),
        ("picture", text(&"a".repeat(2048))),
        ("picture", text("https://example.com/a.png")),
        ("picture", text("www.example.com/a.png")),
        ("scope", r#"{"roles":["user",null,1.5e300]}"#.to_owned()),
    ];
    for way in Way::ALL {
        for (claim, value) in &good {
            let what = format!("{claim}: {value}");
            door.opens(way, &changed(claim, value), &what).await;
        }
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_member_that_stands_twice_says_nothing() {
    let mut door = Door::new().await;
    let header = Forge::header().to_string();
    let good = Claims::of(7);
    let claims = [
        good.json_and("sub", "\"8\""),
        good.json_and("sub", "\"7\""),
        good.json_and("exp", "1"),
        good.json_and("aud", "\"imserver\""),
        good.json_and("s\\u0075b", "\"8\""),
        good.json_and("x", r#"{"a":1,"a":1}"#),
        good.json_and("x", r#"[[{"a":1,"b":2,"a":3}]]"#),
    ];
    let headers = [
        r#"{"alg":"none","alg":"HS256","kid":"test"}"#,
        r#"{"alg":"HS256","kid":"test","alg":"none"}"#,
        r#"{"alg":"HS256","kid":"other","kid":"test"}"#,
        r#"{"alg":"HS256","kid":"test","k\u0069d":"test"}"#,
        r#"{"alg":"HS256","kid":"test","typ":"JWT","typ":"JWT"}"#,
    ];
    for way in Way::ALL {
        for claims in &claims {
            let token = Forge::sign(&header, claims);
            door.refuses(way, &token, "duplicate_member", claims).await;
        }
        for header in headers {
            let token = Forge::sign(header, &good.json());
            door.refuses(way, &token, "duplicate_member", header).await;
        }
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn the_rules_are_the_configured_ones() {
    let setup = Setup::new()
        .set("auth.issuer", "\"https://id.example\"")
        .set("auth.audience", "\"chat\"")
        .set("auth.leeway", "\"0s\"")
        .set("auth.max_lifetime", "\"1h\"")
        .set("auth.require_jti", "true");
    let mut door = Door::with(setup).await;
    let now = Claims::now();
    let good =
        Claims::of(7).with("iss", "https://id.example").with("aud", "chat").with("jti", "one");
    door.opens(Way::Path, &good.token(), "all as configured").await;
    let rows = [
        ("wrong_issuer", good.clone().with("iss", "imserver")),
        ("wrong_audience", good.clone().with("aud", "imserver")),
        ("missing_jti", good.clone().without("jti")),
        ("expired", good.clone().with("exp", now - 1)),
        ("not_yet_valid", good.clone().with("nbf", now + 20)),
        ("issued_in_future", good.clone().with("iat", now + 20)),
        ("too_long_lived", good.clone().with("exp", now + 3700)),
        ("too_long_lived", good.clone().without("iat").with("exp", now + 3700)),
        ("too_long_lived", good.with("iat", now - 10)),
    ];
    for (reason, claims) in rows {
        door.refuses(Way::Path, &claims.token(), reason, &claims.json()).await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn without_a_token_nobody_comes_in() {
    let door = Door::new().await;
    let token = Forge::token(7);
    let bare = || Upgrade::new("/teaching/imserver");
    for request in [
        bare(),
        Upgrade::new("/teaching/imserver?token=x"),
        Upgrade::new(&format!("/teaching/imserver?token={token}")),
        bare().and("Sec-WebSocket-Protocol", "im.v2"),
        bare().and("Sec-WebSocket-Protocol", "im.v2, im.bearer."),
        bare().and("Sec-WebSocket-Protocol", &format!("im.v2, im.jwt.{token}")),
        bare().and("Sec-WebSocket-Protocol", &format!("im.v2, {token}")),
        bare().and("Authorization", "Bearer"),
        bare().and("Authorization", "Bearer x"),
        bare().and("Authorization", &token),
        bare().and("Authorization", &format!("Basic {token}")),
        bare().and("Authorization", &format!("Token {token}")),
        // A page cannot keep its user's cookies from being sent by another one.
        bare().and("Cookie", &format!("token={token}; jwt={token}")),
        bare().and("Cookie", &format!("Authorization=Bearer {token}")),
        bare().and("X-Authorization", &format!("Bearer {token}")),
        bare().and("Proxy-Authorization", &format!("Bearer {token}")),
        Upgrade::new("/teaching/imserver/7"),
    ] {
        let answer = request.send(&door.server).await;
        crate::support::refused(&answer, &format!("{request:?}"));
    }
    assert!(!door.server.log().contains(&token[60..]));
}
