//! Those who verify: for whom, by which keys, and until when a token stands.

use super::*;
use crate::auth::{Revocation, TokenId};

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
