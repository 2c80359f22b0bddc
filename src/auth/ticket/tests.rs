use futures_util::future::{BoxFuture, join_all};

use super::*;
use crate::auth::claims::Rules;
use crate::auth::testing::{self, auth, key, now, set, verify};
use crate::auth::token::{TOKEN_MAX, check};
use crate::auth::{KeySet, Revocation, TokenId};

const SECOND: Duration = Duration::from_secs(1);

fn desk() -> (Tickets, Identity) {
    desk_at(Arc::new(OneNode::default()))
}

fn desk_at(book: Arc<dyn TicketBook>) -> (Tickets, Identity) {
    crate::auth::install_provider();
    let key = key(Alg::Hs256);
    let claims = r#"{"iss":"imserver","aud":"imserver","sub":"7","jti":"j","iat":1800000000,
        "exp":1800003600,"name":"小明","picture":"www.example.com/a.png"}"#;
    let token = testing::sign(&key, &testing::header(&key), claims);
    let keys = set([key]);
    let identity = verify(&keys, &token).unwrap();
    let tickets = Tickets::new(&CurrentKeys::new(keys), &Revocations::default(), book);
    (tickets.unwrap(), identity)
}

async fn issue(tickets: &Tickets, identity: &Identity, now: SystemTime) -> Ticket {
    tickets.issue(identity, now).await.unwrap()
}

async fn redeem(tickets: &Tickets, ticket: &Ticket, now: SystemTime) -> Result<Identity, Refused> {
    let shown = tickets.look(&ticket.text, now).await.expect("a ticket")?;
    tickets.spend(shown, now).await
}

/// What several nodes share, in memory, and can be out of reach.
#[derive(Debug, Default)]
struct Shared {
    used: OneNode,
    keys: Mutex<HashMap<String, String>>,
    away: std::sync::atomic::AtomicBool,
}

impl Shared {
    fn set_away(&self, away: bool) {
        self.away.store(away, std::sync::atomic::Ordering::SeqCst);
    }

    fn here(&self) -> Result<(), BookUnavailable> {
        let away = self.away.load(std::sync::atomic::Ordering::SeqCst);
        if away { Err(BookUnavailable) } else { Ok(()) }
    }
}

impl TicketBook for Shared {
    fn announce<'a>(
        &'a self,
        kid: &'a str,
        key: String,
    ) -> BoxFuture<'a, Result<(), BookUnavailable>> {
        Box::pin(async move {
            self.here()?;
            locked(&self.keys).insert(kid.to_owned(), key);
            Ok(())
        })
    }

    fn key<'a>(&'a self, kid: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BookUnavailable>> {
        Box::pin(async move {
            self.here()?;
            Ok(locked(&self.keys).get(kid).map(|key| key.clone().into_bytes()))
        })
    }

    fn spend(&self, spent: Spent) -> BoxFuture<'_, Result<bool, BookUnavailable>> {
        Box::pin(async move {
            self.here()?;
            self.used.spend(spent).await
        })
    }
}

#[tokio::test]
async fn a_ticket_of_one_node_is_good_at_another_and_once_over_both() {
    let book = Arc::new(Shared::default());
    let ((here, identity), (there, _)) = (desk_at(book.clone()), desk_at(book.clone()));
    let ticket = issue(&here, &identity, now()).await;
    // Both have the keys of the tokens, and neither that of the other's tickets.
    there.keys.replace(KeySet::clone(&here.keys.get()));
    let outcomes = join_all([&here, &there].map(|node| redeem(node, &ticket, now()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let known = locked(&book.keys).values().cloned().collect::<Vec<_>>();
    assert!(known.iter().all(|key| !key.contains("\"d\"")), "a public half: {known:?}");
    // What another says under a name that is not the key's own is nobody's.
    let kid = "0123456789abcdef".to_owned();
    locked(&book.keys).insert(kid.clone(), known[0].clone());
    let (header, rest) = ticket.text.split_once('.').unwrap();
    let forged = to_base64url(
        String::from_utf8(from_base64url(header).unwrap().to_vec())
            .unwrap()
            .replace(&here.kid, &kid),
    );
    let forged = Ticket { text: format!("{forged}.{rest}"), life: LIFE };
    assert_eq!(redeem(&there, &forged, now()).await, Err(Refused::UnknownKid));
}

#[tokio::test]
async fn where_nobody_can_say_whether_it_was_used_a_ticket_opens_nothing() {
    let book = Arc::new(Shared::default());
    let (tickets, identity) = desk_at(book.clone());
    book.set_away(true);
    assert!(matches!(tickets.issue(&identity, now()).await, Err(TicketError::Book(_))));
    book.set_away(false);
    let ticket = issue(&tickets, &identity, now()).await;
    book.set_away(true);
    issue(&tickets, &identity, now()).await;
    let (other, _) = desk_at(book.clone());
    for node in [&tickets, &other] {
        assert_eq!(redeem(node, &ticket, now()).await, Err(Refused::TicketUndecided));
    }
    book.set_away(false);
    assert!(redeem(&tickets, &ticket, now()).await.is_ok());
}

#[tokio::test]
async fn a_ticket_stands_for_the_token_behind_it() {
    let (tickets, identity) = desk();
    let ticket = issue(&tickets, &identity, now()).await;
    let behind = redeem(&tickets, &ticket, now()).await.unwrap();
    assert_eq!(behind, Identity { name: None, picture: None, ..identity });
    let debug = format!("{ticket:?}");
    assert!(!debug.contains(&ticket.text), "{debug}");
}

/// It used to be spent by the first look at it, and lost where there was no room.
#[tokio::test]
async fn a_ticket_is_not_used_by_being_looked_at() {
    let (tickets, identity) = desk();
    let ticket = issue(&tickets, &identity, now()).await;
    let shown = || async { tickets.look(&ticket.text, now()).await.expect("a ticket") };
    let both = [shown().await.unwrap(), shown().await.unwrap()];
    assert!(both.iter().all(|shown| shown.user() == identity.user));
    let outcomes = join_all(both.map(|shown| tickets.spend(shown, now()))).await;
    assert_eq!(outcomes[1], Err(Refused::TicketUsed));
    assert!(outcomes[0].is_ok());
    // And one that was looked at in time, and is taken when its token is good no more.
    let ticket = issue(&tickets, &identity, now()).await;
    let shown = tickets.look(&ticket.text, now()).await.unwrap().unwrap();
    assert_eq!(tickets.spend(shown, identity.ends_at).await, Err(Refused::Expired));
}

#[tokio::test]
async fn a_ticket_is_good_once() {
    let (tickets, identity) = desk();
    let ticket = issue(&tickets, &identity, now()).await;
    let outcomes = join_all((0..8).map(|_| redeem(&tickets, &ticket, now()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(refused.into_iter().all(|why| *why == Refused::TicketUsed));
}

#[tokio::test]
async fn a_ticket_lives_for_thirty_seconds_and_is_then_forgotten() {
    let book = Arc::new(OneNode::default());
    let (tickets, identity) = desk_at(book.clone());
    let issued = join_all((0..3).map(|_| issue(&tickets, &identity, now()))).await;
    assert!(redeem(&tickets, &issued[0], now()).await.is_ok());
    assert!(redeem(&tickets, &issued[1], now() + LIFE).await.is_ok());
    let over = now() + LIFE + SECOND;
    for ticket in &issued {
        assert_eq!(redeem(&tickets, ticket, over).await, Err(Refused::TicketExpired));
    }
    assert_eq!(book.len(), 2);
    let next = issue(&tickets, &identity, over).await;
    assert!(redeem(&tickets, &next, over).await.is_ok());
    assert_eq!(book.len(), 1, "those before are over");
}

#[tokio::test]
async fn a_ticket_does_not_outlive_the_token_behind_it() {
    let (tickets, identity) = desk();
    let (last, end) = (identity.ends_at - SECOND, identity.ends_at);
    let timely = issue(&tickets, &identity, last).await;
    let late = issue(&tickets, &identity, last).await;
    assert_eq!(redeem(&tickets, &timely, last).await.unwrap().ends_at, end);
    assert_eq!(redeem(&tickets, &late, end).await, Err(Refused::Expired));
}

#[tokio::test]
async fn a_ticket_ends_with_the_key_of_the_token_behind_it() {
    let (tickets, identity) = desk();
    let ticket = issue(&tickets, &identity, now()).await;
    let late = issue(&tickets, &identity, now()).await;
    tickets.keys.replace(set([key(Alg::Es256)]));
    assert_eq!(redeem(&tickets, &ticket, now()).await, Err(Refused::UnknownKid));
    // Also where another has its name.
    tickets.keys.replace(set([key(Alg::Hs256)]));
    assert_eq!(redeem(&tickets, &late, now()).await, Err(Refused::UnknownKid));
}

#[tokio::test]
async fn tickets_and_tokens_are_never_taken_for_each_other() {
    let (tickets, identity) = desk();
    let (others, _) = desk();
    let ticket = issue(&tickets, &identity, now()).await;
    let keys = tickets.keys.get();
    for rules in [Rules::user(&auth()), Rules::admin(&auth())] {
        assert!(check(&keys, &rules, &ticket.text, now()).is_err());
        let nameless = set([Key::read(super::super::json::Json::Object({
            let mut members = testing::jwk(Alg::Hs256);
            members.take("kid");
            members
        }))
        .unwrap()]);
        assert!(check(&nameless, &rules, &ticket.text, now()).is_err());
    }
    assert_eq!(redeem(&others, &ticket, now()).await, Err(Refused::UnknownKid), "a restart");
    let key = key(Alg::Hs256);
    let token = testing::sign(&key, &testing::header(&key), "{}");
    assert!(tickets.look(&token, now()).await.is_none());
    let own = &tickets.header;
    let begin = to_base64url(HEADER_BEGIN);
    let nameless = to_base64url(format!("{HEADER_BEGIN}}}"));
    let foreign = header("a.*.>");
    for forged in [
        format!("{own}.e30."),
        format!("{own}.e30"),
        own.clone(),
        format!("{begin}.e30."),
        format!("{nameless}.e30."),
        format!("{foreign}.e30."),
    ] {
        let outcome = tickets.look(&forged, now()).await;
        assert!(!matches!(outcome, Some(Ok(_))), "{forged}");
    }
    let (signed, signature) = ticket.text.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let other = to_base64url(
        String::from_utf8(from_base64url(claims).unwrap().to_vec())
            .unwrap()
            .replace("\"sub\":\"7\"", "\"sub\":\"8\""),
    );
    let forged = Ticket { text: format!("{header}.{other}.{signature}"), life: LIFE };
    assert_eq!(redeem(&tickets, &forged, now()).await, Err(Refused::BadSignature));
}

#[tokio::test]
async fn the_largest_ticket_fits_where_a_token_does() {
    let (tickets, identity) = desk();
    let worst = Some("\u{1}".repeat(128));
    let identity = Identity {
        user: UserId::new(crate::ids::ID_END - 1).unwrap(),
        picture: Some("p".repeat(2048)),
        token_id: worst.clone(),
        key_id: worst,
        ..identity
    };
    let ticket = issue(&tickets, &identity, now()).await;
    assert!(ticket.text.len() < TOKEN_MAX / 2, "{}", ticket.text.len());
}

#[tokio::test]
async fn a_ticket_dies_with_the_token_behind_it() {
    let (tickets, identity) = desk();
    let ticket = issue(&tickets, &identity, now()).await;
    let jti = TokenId::new(identity.token_id().unwrap()).unwrap();
    tickets.revocations.add(Revocation::Token { jti, until: u64::MAX });
    assert_eq!(redeem(&tickets, &ticket, now()).await, Err(Refused::Revoked));
}
