//! A long list of what was taken back.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use imserver::auth::{Revocation, TokenId};
use imserver::ids::UserId;

use crate::support::{Admin, Call, Claims, Setup, refused, store};

/// How many tokens were taken back, and of how many of them one is tried at the door.
const REVOKED: u64 = 100_000;
const TRIED: usize = 200;

fn jti(number: u64) -> String {
    format!("leaked-{number}")
}

#[tokio::test]
async fn a_server_starts_with_a_hundred_thousand_revocations_and_each_is_in_force() {
    let setup = Setup::new().set("log.level", "\"info\"");
    let until = Claims::now() + 24 * 60 * 60;
    let stored = store::open(&setup.path("data"));
    let numbers: Vec<u64> = (0..REVOKED).collect();
    for some in numbers.chunks(1000) {
        let revoke = |&number: &u64| {
            let jti = TokenId::new(&jti(number)).unwrap();
            stored.revoke(Revocation::Token { jti, until })
        };
        try_join_all(some.iter().map(revoke)).await.unwrap();
    }
    let disabled = Revocation::Disabled { user: UserId::new(7).unwrap() };
    stored.revoke(disabled).await.unwrap();
    stored.close().await.unwrap();
    drop(stored);

    let mut server = setup.start().await;
    for killed in [false, true] {
        if killed {
            server = server.kill().start().await;
        }
        let said = server.logged("revocations in force").await;
        assert_eq!(said["revocations"], REVOKED + 1, "{said}");
        let lines = Admin::get("/admin/revocations").lines(&server).await;
        let listed: BTreeSet<&str> = lines.iter().filter_map(|line| line["jti"].as_str()).collect();
        assert_eq!(listed.len() as u64, REVOKED);
        assert!(numbers.iter().all(|&number| listed.contains(jti(number).as_str())));
        // Each that was taken back is refused, and one with almost that name is not.
        for number in numbers.iter().copied().step_by(TRIED).chain([REVOKED - 1]) {
            let me = |jti: &str| Call::get(1, "me").token(&Claims::of(1).with("jti", jti).token());
            refused(&me(&jti(number)).send(&server).await, &jti(number));
            if number % 10_000 == 0 {
                me(&format!("{}x", jti(number))).done(&server).await;
            }
        }
        refused(&Call::get(7, "me").send(&server).await, "a user who is disabled");
    }
}
