//! Tickets: what stands in a URL in the place of a token, once and for half a minute.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    Call, Claims, Client, Door, Forge, Setup, TestServer, Upgrade, V2, Way, b64, described, frame,
    refused, within,
};

async fn ticket(server: &TestServer, token: &str) -> String {
    let answer = Call::new("POST", 1, "tickets").token(token).done(server).await;
    assert_eq!(answer["expiresIn"], 30);
    answer["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_connection_in_the_url() {
    let mut door = Door::new().await;
    let token = Forge::token(1);
    door.opens(Way::Header, &token, "the token itself").await;
    let first = ticket(&door.server, &token).await;
    door.opens(Way::Path, &first, "a fresh ticket").await;
    door.refuses(Way::Path, &first, "ticket_used", "the same again").await;
    let second = ticket(&door.server, &token).await;
    assert_ne!(first, second);
    door.opens(Way::Path, &second, "another one of the same token").await;
    let third = ticket(&door.server, &token).await;
    for way in [Way::Header, Way::Protocol] {
        door.refuses(way, &third, "unknown_kid", "outside the URL").await;
    }
    for path in ["me", "tickets"] {
        let method = if path == "me" { "GET" } else { "POST" };
        let answer = Call::new(method, 1, path).token(&third).send(&door.server).await;
        refused(&answer, "a ticket at the API");
        door.noted("unknown_kid", "a ticket at the API");
    }
    door.opens(Way::Path, &third, "still unused").await;
    door.keeps_its_books().await;
}

#[tokio::test]
async fn of_twenty_at_once_one_comes_in() {
    let mut door = Door::new().await;
    let ticket = ticket(&door.server, &Forge::token(1)).await;
    let upgrade = Upgrade::token(&ticket);
    let answers = join_all((0..20).map(|_| upgrade.send(&door.server))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 101).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 101) {
        refused(answer, "a ticket that somebody else used");
        door.noted("ticket_used", "at once");
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_ticket_goes_with_its_process_unless_other_nodes_know_its_key() {
    let server = TestServer::new().await;
    let before = ticket(&server, &Forge::token(1)).await;
    let mut door = Door::with(server.stop().await).await;
    door.opens(Way::Header, &Forge::token(1), "a token outlives the process").await;
    if door.server.setup().is_in_streams() {
        door.opens(Way::Path, &before, "the key lies in a stream").await;
        door.refuses(Way::Path, &before, "ticket_used", "the same again").await;
    } else {
        door.refuses(Way::Path, &before, "unknown_kid", "of the process before").await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_forged_ticket_opens_nothing() {
    let mut door = Door::new().await;
    door.opens(Way::Header, &Forge::token(1), "the token itself").await;
    let good = ticket(&door.server, &Forge::token(1)).await;
    let parts: Vec<&str> = good.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let other = claims.replace("\"sub\":\"1\"", "\"sub\":\"2\"");
    assert_ne!(claims, other);
    for (forged, reason, what) in [
        (
            format!("{}.{}.{}", parts[0], b64(other.as_bytes()), parts[2]),
            "bad_signature",
            "a subject",
        ),
        (Forge::sign(&header, &claims), "bad_signature", "the key of the tokens"),
        (format!("{}.{}.", parts[0], parts[1]), "bad_signature", "no signature"),
        (format!("{good}="), "malformed", "a padded signature"),
        (Forge::sign(&Forge::header().to_string(), &claims), "wrong_issuer", "a ticket as a token"),
    ] {
        door.refuses(Way::Path, &forged, reason, what).await;
    }
    door.opens(Way::Path, &good, "none of these used it up").await;
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_connection_by_ticket_is_as_one_by_the_token_behind_it() {
    let server = Setup::new().set("auth.leeway", "\"1s\"").start().await;
    let claims = Claims::of(1).with("name", "小明").with("picture", "p".repeat(2048));
    let token = claims.with("exp", Claims::now() + 2).token();
    let ticket = ticket(&server, &token).await;
    assert!(ticket.len() < 1000, "no name and no picture in the URL: {}", ticket.len());
    let v2 = [("sec-websocket-protocol", "im.v2")];
    let path = format!("/teaching/imserver/{ticket}?after=0");
    let mut ming = Client::open(&server, 1, &path, &v2).await.unwrap();
    assert_eq!(ming.next().await["type"], 6, "im.v2 is spoken");
    let mut hong = server.connect(2).await;
    ming.send(&frame(1, 2, "by ticket", "1")).await;
    let told = described(&hong.next().await);
    assert_eq!((&told["userName"], &told["headURL"]), (&json!("小明"), &json!("p".repeat(2048))));
    assert_eq!(ming.next().await["type"], 0);
    let closed = ming.closed().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4401, "token_expired"));
}

#[tokio::test]
async fn a_ticket_beside_a_token_is_one_too_many() {
    let server = TestServer::new().await;
    let token = Forge::token(1);
    let ticket = ticket(&server, &token).await;
    let upgrade = Upgrade::token(&ticket);
    for both in [
        upgrade.clone().and("Authorization", &format!("Bearer {token}")),
        upgrade.clone().and("Sec-WebSocket-Protocol", &format!("im.v2, im.bearer.{token}")),
    ] {
        assert_eq!(both.send(&server).await.status, 400);
    }
    let page = upgrade.clone().and("Origin", "https://evil.example");
    assert_eq!(page.send(&server).await.status, 403);
    // What was refused before the ticket was looked at has not used it up.
    let answer = upgrade.and("Sec-WebSocket-Protocol", "im.v2").send(&server).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("im.v2")));
}

/// It used to be spent before anybody looked whether there is room: who was told to come back
/// after some seconds came with a ticket that was used.
#[tokio::test]
async fn a_ticket_is_kept_by_who_finds_no_room() {
    for limit in ["connections", "connections_per_user", "connections_per_address"] {
        let server = Setup::new().set(&format!("limits.{limit}"), "1").start().await;
        let inside = server.connect(1).await;
        let upgrade = Upgrade::token(&ticket(&server, &Forge::token(1)).await);
        assert_eq!(upgrade.send(&server).await.status, 429, "{limit}");
        inside.close().await;
        let came_in = within("room", async {
            loop {
                match upgrade.send(&server).await.status {
                    429 => tokio::time::sleep(Duration::from_millis(20)).await,
                    status => return status,
                }
            }
        });
        assert_eq!(came_in.await, 101, "{limit}");
        let mut again = upgrade.send(&server).await.status;
        while again == 429 {
            // The one who came in is gone as soon as they are noticed to be.
            tokio::time::sleep(Duration::from_millis(20)).await;
            again = upgrade.send(&server).await.status;
        }
        assert_eq!(again, 401, "{limit}: it is used");
    }
}

#[tokio::test]
async fn a_ticket_refreshes_nothing() {
    let server = TestServer::new().await;
    let ticket = ticket(&server, &Forge::token(1)).await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let mut refresh = frame(1, 0, &ticket, "r");
    refresh["type"] = json!(5);
    ming.send(&refresh).await;
    assert_eq!(ming.failure().await, "bad_token");
    Client::with_token(&server, 1, &ticket).await.nothing_came().await;
}
