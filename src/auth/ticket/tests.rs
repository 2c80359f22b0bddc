use super::*;
use crate::auth::claims::Rules;
use crate::auth::testing::{auth, header, key, now, set, verify};
use crate::auth::token::{TOKEN_MAX, check};
use crate::auth::{Revocation, TokenId};

const SECOND: Duration = Duration::from_secs(1);

fn desk() -> (Tickets, Identity) {
    crate::auth::install_provider();
    let key = key(Alg::Hs256);
    let claims = r#"{"iss":"imserver","aud":"imserver","sub":"7","jti":"j","iat":1800000000,
        "exp":1800003600,"name":"小明","picture":"www.example.com/a.png"}"#;
    let token = crate::auth::testing::sign(&key, &header(&key), claims);
    let keys = set([key]);
    let identity = verify(&keys, &token).unwrap();
    (Tickets::new(&CurrentKeys::new(keys), &Revocations::default()).unwrap(), identity)
}

fn redeem(tickets: &Tickets, ticket: &Ticket, now: SystemTime) -> Result<Identity, Refused> {
    tickets.redeem(&ticket.text, now).expect("a ticket")
}

#[test]
fn a_ticket_stands_for_the_token_behind_it() {
    let (tickets, identity) = desk();
    let ticket = tickets.issue(&identity, now()).unwrap();
    let behind = redeem(&tickets, &ticket, now()).unwrap();
    assert_eq!(behind, Identity { name: None, picture: None, ..identity });
    let debug = format!("{ticket:?}");
    assert!(!debug.contains(&ticket.text), "{debug}");
}

#[test]
fn a_ticket_is_good_once() {
    let (tickets, identity) = desk();
    let ticket = tickets.issue(&identity, now()).unwrap();
    let outcomes = std::thread::scope(|scope| {
        let take = || redeem(&tickets, &ticket, now());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(refused.into_iter().all(|why| *why == Refused::TicketUsed));
}

#[test]
fn a_ticket_lives_for_thirty_seconds_and_is_then_forgotten() {
    let (tickets, identity) = desk();
    let [early, late, unused] = [(); 3].map(|()| tickets.issue(&identity, now()).unwrap());
    assert!(redeem(&tickets, &early, now()).is_ok());
    assert!(redeem(&tickets, &late, now() + LIFE).is_ok());
    let over = now() + LIFE + SECOND;
    for ticket in [&early, &late, &unused] {
        assert_eq!(redeem(&tickets, ticket, over), Err(Refused::TicketExpired));
    }
    assert_eq!(tickets.used.lock().unwrap().len(), 2);
    let next = tickets.issue(&identity, over).unwrap();
    assert!(redeem(&tickets, &next, over).is_ok());
    assert_eq!(tickets.used.lock().unwrap().len(), 1, "those before are over");
}

#[test]
fn a_ticket_does_not_outlive_the_token_behind_it() {
    let (tickets, identity) = desk();
    let (last, end) = (identity.ends_at - SECOND, identity.ends_at);
    let [timely, late] = [(); 2].map(|()| tickets.issue(&identity, last).unwrap());
    assert_eq!(redeem(&tickets, &timely, last).unwrap().ends_at, end);
    assert_eq!(redeem(&tickets, &late, end), Err(Refused::Expired));
}

#[test]
fn a_ticket_ends_with_the_key_of_the_token_behind_it() {
    let (tickets, identity) = desk();
    let ticket = tickets.issue(&identity, now()).unwrap();
    tickets.keys.replace(set([key(Alg::Es256)]));
    assert_eq!(redeem(&tickets, &ticket, now()), Err(Refused::UnknownKid));
}

#[test]
fn tickets_and_tokens_are_never_taken_for_each_other() {
    let (tickets, identity) = desk();
    let (others, _) = desk();
    let ticket = tickets.issue(&identity, now()).unwrap();
    let keys = tickets.keys.get();
    for rules in [Rules::user(&auth()), Rules::admin(&auth())] {
        assert!(check(&keys, &rules, &ticket.text, now()).is_err());
        let nameless = set([Key::read(super::super::json::Json::Object({
            let mut members = crate::auth::testing::jwk(Alg::Hs256);
            members.take("kid");
            members
        }))
        .unwrap()]);
        assert!(check(&nameless, &rules, &ticket.text, now()).is_err());
    }
    assert_eq!(redeem(&others, &ticket, now()), Err(Refused::BadSignature), "a restart");
    let key = key(Alg::Hs256);
    let token = crate::auth::testing::sign(&key, &header(&key), "{}");
    assert!(tickets.redeem(&token, now()).is_none());
    for forged in [format!("{}.e30.", *HEADER), format!("{}.e30", *HEADER), HEADER.clone()] {
        assert!(!matches!(tickets.redeem(&forged, now()), Some(Ok(_))), "{forged}");
    }
    let (signed, signature) = ticket.text.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let other = to_base64url(
        String::from_utf8(from_base64url(claims).unwrap().to_vec())
            .unwrap()
            .replace("\"sub\":\"7\"", "\"sub\":\"8\""),
    );
    let forged = Ticket { text: format!("{header}.{other}.{signature}"), life: LIFE };
    assert_eq!(redeem(&tickets, &forged, now()), Err(Refused::BadSignature));
}

#[test]
fn the_largest_ticket_fits_where_a_token_does() {
    let (tickets, identity) = desk();
    let worst = Some("\u{1}".repeat(128));
    let identity = Identity {
        user: UserId::new(crate::ids::ID_END - 1).unwrap(),
        picture: Some("p".repeat(2048)),
        token_id: worst.clone(),
        key_id: worst,
        ..identity
    };
    let ticket = tickets.issue(&identity, now()).unwrap();
    assert!(ticket.text.len() < TOKEN_MAX / 2, "{}", ticket.text.len());
}

#[test]
fn a_ticket_dies_with_the_token_behind_it() {
    let (tickets, identity) = desk();
    let ticket = tickets.issue(&identity, now()).unwrap();
    let jti = TokenId::new(identity.token_id().unwrap()).unwrap();
    tickets.revocations.add(Revocation::Token { jti, until: u64::MAX });
    assert_eq!(redeem(&tickets, &ticket, now()), Err(Refused::Revoked));
}
