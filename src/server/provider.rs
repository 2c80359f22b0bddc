//! The keys of an identity provider: fetched at the start, again when they have aged, and
//! when a token names one that is not there.
//!
//! A fetch that fails changes nothing: the keys of the last good one stay.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, CACHE_CONTROL, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::auth::{CurrentKeys, Provided, ProvidedFault};
use crate::https::{Ask, Client, HttpsError, Patience, Trust};
use crate::metrics::ProviderMetrics;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// How long a fetch may take, from the first packet to the last.
const WHOLE_FETCH: Duration = Duration::from_secs(10);
/// Its steps, which it may not outlast anyhow.
const STEPS: Patience = Patience { connect: WHOLE_FETCH, answer: WHOLE_FETCH };
/// How long an answer may be, in bytes: thousands of keys.
const LONGEST: usize = 1 << 20;

/// How long keys are used where the provider does not say.
const USED_FOR: Duration = HOUR;
/// The bounds of what it may say.
const USED_AT_LEAST: Duration = Duration::from_secs(5 * 60);
const USED_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon after a failure it is tried again, doubled from one to the next.
const FIRST_RETRY: Duration = MINUTE;
const LAST_RETRY: Duration = Duration::from_secs(16 * 60);

/// How far apart two fetches lie that tokens caused: anybody can write one with a key that
/// nobody has.
const MISSES_APART: Duration = MINUTE;

/// How many keys that were not taken the log names.
const NAMED: usize = 8;

/// Where the keys come from, and where they go.
pub(super) struct Provider {
    url: String,
    client: Client,
    keys: CurrentKeys,
    metrics: ProviderMetrics,
    /// When the next fetch is due.
    due: Instant,
    /// From when on a token may cause one.
    misses_from: Instant,
    retry: Duration,
    /// What was complained of at the last good fetch.
    told: Vec<String>,
}

/// What a fetch brought.
struct Fetched {
    provided: Provided,
    used_for: Duration,
}

/// Why a fetch brought nothing.
#[derive(Debug, thiserror::Error)]
enum NotFetched {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error(
        "it sends us elsewhere (status {}), where nobody is followed; write the address that \
         it means into auth.jwks_url", .0.as_u16()
    )]
    Redirect(StatusCode),
    #[error("it answers with the status {}", .0.as_u16())]
    Status(StatusCode),
    #[error(transparent)]
    Unusable(#[from] ProvidedFault),
}

impl NotFetched {
    /// The label in the metric.
    fn word(&self) -> &'static str {
        match self {
            Self::Https(HttpsError::TooSlow) => "too_slow",
            Self::Https(HttpsError::TooLong(_)) => "too_long",
            Self::Https(HttpsError::Tls(_)) => "tls",
            Self::Https(_) => "unreachable",
            Self::Redirect(_) => "redirect",
            Self::Status(_) => "status",
            Self::Unusable(_) => "unusable",
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("due", &self.due).finish_non_exhaustive()
    }
}

/// Fetches for the first time, before anybody comes in. It need not succeed: the keys of the
/// file open the doors too, and later fetches come.
pub(super) async fn first(
    provider: Option<Provider>,
    keys: &CurrentKeys,
    stop: &CancellationToken,
) -> Option<Provider> {
    let mut provider = provider?;
    stop.run_until_cancelled(provider.renew()).await;
    if !keys.get().opens_to_anybody(SystemTime::now()) {
        error!(
            "there is NO KEY to check tokens with, neither in auth.keys nor from auth.jwks_url: \
             nobody can come in until one is there"
        );
    }
    Some(provider)
}

impl Provider {
    /// Fetches from `url`, for `keys`.
    ///
    /// # Errors
    /// Nothing can be fetched on this machine.
    pub(super) fn new(
        url: String,
        keys: CurrentKeys,
        metrics: ProviderMetrics,
    ) -> Result<Self, HttpsError> {
        let client = Client::new(Trust::of_this_machine()?, STEPS);
        let client = client.map_err(|error| HttpsError::Tls(std::io::Error::other(error)))?;
        let (due, misses_from) = (Instant::now(), Instant::now());
        let (retry, told) = (FIRST_RETRY, Vec::new());
        Ok(Self { url, client, keys, metrics, due, misses_from, retry, told })
    }

    /// Keeps the keys fresh for ever.
    pub(super) async fn run(mut self) {
        let keys = self.keys.clone();
        loop {
            let missed = async {
                sleep_until(self.misses_from).await;
                keys.missed().await;
            };
            tokio::select! {
                () = sleep_until(self.due) => {}
                () = missed => self.misses_from = Instant::now() + MISSES_APART,
            }
            self.renew().await;
        }
    }

    /// Fetches once, and says when the next time is.
    async fn renew(&mut self) {
        match self.fetch().await {
            Ok(Fetched { provided, used_for }) => {
                self.take(provided);
                self.retry = FIRST_RETRY;
                self.due = Instant::now() + used_for;
            }
            Err(error) => {
                self.metrics.failed(error.word());
                let retry = self.retry.as_secs();
                warn!(%error, retry, "no keys from auth.jwks_url; those in use stay");
                self.due = Instant::now() + self.retry;
                self.retry = (self.retry * 2).min(LAST_RETRY);
            }
        }
    }

    fn take(&mut self, provided: Provided) {
        let count = provided.count();
        let passed_over = provided.passed_over().iter().map(ToString::to_string);
        let mut told: Vec<String> = passed_over.collect();
        self.keys.provide(provided);
        self.metrics.fetched(count, SystemTime::now());
        info!(keys = count, "keys taken from auth.jwks_url");
        let shadowed = |kid| format!("{kid:?} names a key of auth.keys too, and means that one");
        told.extend(self.keys.get().shadowed().into_iter().map(shadowed));
        if told != self.told && !told.is_empty() {
            let (not_taken, named) = (told.len(), told.iter().take(NAMED).cloned());
            let why = named.collect::<Vec<_>>().join(" | ");
            warn!(not_taken, why, "some keys of auth.jwks_url are not used");
        }
        self.told = told;
    }

    async fn fetch(&self) -> Result<Fetched, NotFetched> {
        let fetching = timeout(WHOLE_FETCH, self.ask());
        fetching.await.map_err(|_| HttpsError::TooSlow)?
    }

    async fn ask(&self) -> Result<Fetched, NotFetched> {
        let mut ask = Ask::get(self.url.as_str());
        for (name, value) in [
            (ACCEPT, "application/jwk-set+json, application/json"),
            (USER_AGENT, concat!("imserver/", env!("CARGO_PKG_VERSION"))),
        ] {
            ask.headers.insert(name, HeaderValue::from_static(value));
        }
        let answer = self.client.fetch(ask).await?;
        match answer.status {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(NotFetched::Redirect(status)),
            status => return Err(NotFetched::Status(status)),
        }
        let used_for = used_for(&answer.headers);
        let text = answer.whole(LONGEST).await?;
        Ok(Fetched { provided: Provided::parse(&text)?, used_for })
    }
}

/// For how long an answer is used (RFC 9111, section 5.2.2), within our bounds.
fn used_for(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let mut said = USED_FOR;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return USED_AT_LEAST;
        }
        if name.eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = value.trim_matches('"').parse()
        {
            said = Duration::from_secs(seconds);
        }
    }
    said.clamp(USED_AT_LEAST, USED_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_for_as_long_as_the_provider_says_within_bounds() {
        for (said, expected) in [
            (&[][..], HOUR),
            (&["max-age=600"], 10 * MINUTE),
            (&["public, Max-Age=\"7200\", must-revalidate"], 2 * HOUR),
            (&["public", "max-age=600"], 10 * MINUTE),
            (&["max-age=0"], USED_AT_LEAST),
            (&["max-age=86400000"], USED_AT_MOST),
            (&["max-age=99999999999999999999999999"], HOUR),
            (&["max-age=-1"], HOUR),
            (&["s-maxage=600"], HOUR),
            (&["max-age=7200, no-cache"], USED_AT_LEAST),
            (&["no-store"], USED_AT_LEAST),
            (&["="], HOUR),
        ] {
            let mut headers = HeaderMap::new();
            for line in said {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            assert_eq!(used_for(&headers), expected, "{said:?}");
        }
    }
}
