//! Tokens for the made-up users of a measurement.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Long enough for the longest fill, short enough for any server's limit.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// Signs tokens with the one HS256 key that the server also has.
#[derive(Debug)]
pub struct Signer {
    kid: String,
    key: hmac::Key,
}

/// Makes a key set with a random HS256 key by each of these names, as the text of a JWK Set
/// file.
///
/// # Errors
/// Only when the system has no randomness; give up.
pub fn random_key_set(kids: &[&str]) -> Result<String> {
    let key = |kid: &&str| {
        let mut secret = [0_u8; 48];
        aws_lc_rs::rand::fill(&mut secret).context("no randomness")?;
        Ok(json!({
            "kty": "oct", "kid": kid, "alg": "HS256", "use": "sig",
            "k": URL_SAFE_NO_PAD.encode(secret),
        }))
    };
    let keys = kids.iter().map(key).collect::<Result<Vec<Value>>>()?;
    Ok(json!({ "keys": keys }).to_string())
}

/// A random password.
///
/// # Errors
/// Only when the system has no randomness; give up.
pub fn random_secret() -> Result<String> {
    let mut secret = [0_u8; 24];
    aws_lc_rs::rand::fill(&mut secret).context("no randomness")?;
    Ok(URL_SAFE_NO_PAD.encode(secret))
}

impl Signer {
    /// Reads an HS256 key of a JWK Set file: the one with this name, or else the last.
    ///
    /// # Errors
    /// The file cannot be read, or holds no such key with a secret.
    pub fn from_key_set(path: &Path, kid: Option<&str>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the key set {}", path.display()))?;
        let set: Value = serde_json::from_str(&text).context("the key set is not JSON")?;
        let is = |key: &Value| {
            key.get("alg") == Some(&json!("HS256"))
                && kid.is_none_or(|kid| key.get("kid") == Some(&json!(kid)))
        };
        let key = set
            .get("keys")
            .and_then(Value::as_array)
            .and_then(|keys| keys.iter().rfind(|key| is(key)))
            .context("the key set holds no HS256 key")?;
        let kid = key.get("kid").and_then(Value::as_str).unwrap_or_default();
        let secret = key.get("k").and_then(Value::as_str).context("the HS256 key has no secret")?;
        let secret = URL_SAFE_NO_PAD.decode(secret).context("the secret is not base64url")?;
        ensure!(secret.len() >= 32, "the secret is shorter than HS256 asks for");
        Ok(Self { kid: kid.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// Issues a token for `user`, which can be revoked by its name `jti`.
    #[must_use]
    pub fn token(&self, user: u64, jti: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut header = json!({"alg": "HS256", "typ": "JWT"});
        if let (false, Some(header)) = (self.kid.is_empty(), header.as_object_mut()) {
            header.insert("kid".to_owned(), json!(self.kid));
        }
        let claims = json!({
            "sub": user.to_string(), "iss": "imserver", "aud": "imserver",
            "iat": now.as_secs(), "exp": (now + LIFETIME).as_secs(), "jti": jti,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}
