//! Tokens, good and bad, made without the code under test.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// The secret of the tests' only key.
const SECRET: &[u8; 32] = b"\x8f\x1b\x9c\x02\x77\xe5\xd3\x40\xaa\x61\x2e\xf9\x13\xcb\x58\x94\
    \x0d\xb6\x3f\x72\xe8\x25\xc1\x6a\x99\x04\xfd\x57\xae\x30\x8b\xc4";

/// Makes tokens as an issuer, or as an attacker, would.
#[derive(Debug)]
pub struct Forge;

impl Forge {
    /// The key's name.
    pub const KID: &str = "test";

    /// The JWK Set that the server is given: one HS256 key.
    pub fn key_set() -> String {
        let key = json!({ "kty": "oct", "kid": Self::KID, "alg": "HS256", "k": b64(SECRET) });
        json!({ "keys": [key] }).to_string()
    }

    /// The secret itself, for attacks on it.
    pub fn secret() -> &'static [u8] {
        SECRET
    }

    /// A good header.
    pub fn header() -> Value {
        json!({ "alg": "HS256", "typ": "JWT", "kid": Self::KID })
    }

    /// Signs the header and claims as they are, whatever they say.
    pub fn sign(header: &str, claims: &str) -> String {
        Self::sign_with(header, claims, hmac::HMAC_SHA256, SECRET)
    }

    /// The same with another algorithm or secret.
    pub fn sign_with(
        header: &str,
        claims: &str,
        algorithm: hmac::Algorithm,
        secret: &[u8],
    ) -> String {
        let message = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
        Self::seal_with(&message, algorithm, secret)
    }

    /// Signs a message that is encoded already, however oddly.
    pub fn seal(message: &str) -> String {
        Self::seal_with(message, hmac::HMAC_SHA256, SECRET)
    }

    fn seal_with(message: &str, algorithm: hmac::Algorithm, secret: &[u8]) -> String {
        let signature = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
        format!("{message}.{}", b64(signature.as_ref()))
    }

    /// A good token of an hour.
    pub fn token(user: u64) -> String {
        Claims::of(user).token()
    }
}

/// Claims to be changed and signed.
#[derive(Clone, Debug)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Good claims of `user` for an hour.
    pub fn of(user: u64) -> Self {
        let now = Self::now();
        let claims = json!({
            "iss": "imserver", "aud": "imserver", "sub": user.to_string(),
            "iat": now, "exp": now + 3600,
        });
        let Value::Object(claims) = claims else { unreachable!() };
        Self(claims)
    }

    /// Seconds since the Unix epoch.
    pub fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    /// Sets a claim, or removes it with `null` given as [`Claims::without`] does.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// The claims as JSON.
    pub fn json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The claims as JSON with one more member, its value as it is, after the others.
    pub fn json_and(&self, name: &str, value: &str) -> String {
        let mut text = self.json();
        text.truncate(text.len() - 1);
        format!("{text},\"{name}\":{value}}}")
    }

    /// A token with these claims and a good header and signature.
    pub fn token(&self) -> String {
        Forge::sign(&Forge::header().to_string(), &self.json())
    }
}

/// base64url without padding.
pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
