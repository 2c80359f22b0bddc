//! An operator of NATS who signs accounts, and an account that signs its users: what the `nsc`
//! tool makes.

use std::time::Duration;

use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::support::{Claims, b64};

/// An operator with an account for messages and one for the system.
pub struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    pub fn new() -> Self {
        let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
        Self { operator: KeyPair::new_operator(), account, system }
    }

    /// For a server that trusts this operator alone.
    pub fn configuration(&self) -> String {
        let operator = self.operator.public_key();
        let itself = json!({
            "type": "operator", "version": 2, "system_account": self.system.public_key(),
        });
        let operator = signed(&self.operator, &operator, &itself, None);
        let (account, system) = (self.account.public_key(), self.system.public_key());
        format!(
            "operator: \"{operator}\"\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload {{\n  {account}: \"{}\"\n  {system}: \"{}\"\n}}\n\
             jetstream {{ store_dir: \"{{folder}}/js\" }}\n",
            self.sign(&account, true),
            self.sign(&system, false),
        )
    }

    fn sign(&self, account: &str, with_streams: bool) -> String {
        let storage = if with_streams { -1 } else { 0 };
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
            "disk_storage": storage, "streams": storage, "consumer": storage,
        });
        let nats = json!({ "type": "account", "version": 2, "limits": limits });
        signed(&self.operator, account, &nats, None)
    }

    /// A credentials file of a new user of the account, good for so long.
    pub fn credentials(&self, time: Duration) -> String {
        let user = KeyPair::new_user();
        let nats = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
        });
        let end = Claims::now() + time.as_secs();
        let token = signed(&self.account, &user.public_key(), &nats, Some(end));
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        )
    }
}

/// A JWT of NATS about `subject`.
fn signed(issuer: &KeyPair, subject: &str, nats: &Value, end: Option<u64>) -> String {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let mut claims = json!({
        "jti": format!("{:032x}", fastrand::u128(..)), "iat": Claims::now(),
        "iss": issuer.public_key(), "sub": subject, "name": "test", "nats": nats,
    });
    if let Some(end) = end {
        claims["exp"] = json!(end);
    }
    let text =
        format!("{}.{}", b64(head.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", b64(&signature))
}
