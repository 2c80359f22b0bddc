//! The doorkeeper: which pages may ask, from where somebody comes, and whether their
//! token is believed. The same for WebSockets and the API.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::SystemTime;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::HeaderMap;
use tokio::time::timeout;
use tracing::{debug, info};

use super::accept::Arrival;
use super::admission::Admission;
use super::handshake::Token;
use super::refusal::Refusal;
use super::strangers::Strangers;
use super::terms::{CurrentTerms, Terms};
use crate::auth::{Identity, Refused, Shown, Tickets, Verifier};
use crate::config;
use crate::ids::UserId;
use crate::metrics::ServerMetrics;
use crate::session::PATIENCE;

/// Lines a minute for each reason to refuse a token: whoever asks why nobody comes in needs
/// one, and whoever knocks again and again must not fill the log. The debug log has them all.
const TOLD: NonZeroU32 = NonZeroU32::MIN;

/// Whom the service opens to.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    pub(super) terms: CurrentTerms,
    pub(super) admission: Admission,
    pub(super) verifier: Verifier,
    pub(super) tickets: Tickets,
    pub(super) metrics: ServerMetrics,
    pub(super) strangers: Strangers,
    pub(super) told: DefaultKeyedRateLimiter<&'static str>,
}

/// What was told of refused tokens: nothing yet.
pub(super) fn nothing_told() -> DefaultKeyedRateLimiter<&'static str> {
    RateLimiter::keyed(Quota::per_minute(TOLD))
}

/// Who stands at the door.
#[derive(Debug)]
pub(super) enum Comer {
    /// Their token is believed.
    Known(Identity),
    /// With a ticket that is theirs, and may have been used.
    WithTicket(Shown),
}

impl Comer {
    pub(super) fn user(&self) -> UserId {
        match self {
            Self::Known(identity) => identity.user(),
            Self::WithTicket(shown) => shown.user(),
        }
    }
}

impl Doorkeeper {
    /// Believes a token, or looks at a ticket where one may stand.
    ///
    /// # Errors
    /// The one refusal that there is for all bad tokens, the one for guessing, or the one for
    /// a ticket that nobody can decide about.
    pub(super) async fn look(
        &self,
        token: Option<Token<'_>>,
        address: IpAddr,
        limits: &config::Limits,
    ) -> Result<Comer, Refusal> {
        let now = SystemTime::now();
        let believed = match token {
            None => return Err(self.refuse("no_token", address, limits)),
            Some(Token::InUrl(token)) => {
                let shown = timeout(PATIENCE, self.tickets.look(token, now)).await;
                match shown.unwrap_or(Some(Err(Refused::TicketUndecided))) {
                    Some(shown) => shown.map(Comer::WithTicket),
                    None => self.verifier.verify(token, now).map(Comer::Known),
                }
            }
            Some(Token::InHeader(token)) => self.verifier.verify(token, now).map(Comer::Known),
        };
        believed.map_err(|why| self.turn_away(why, address, limits))
    }

    /// Lets them in who were looked at: what they came with is used now, if it is good for once.
    ///
    /// # Errors
    /// As of [`Doorkeeper::look`].
    pub(super) async fn let_in(
        &self,
        comer: Comer,
        address: IpAddr,
        limits: &config::Limits,
    ) -> Result<Identity, Refusal> {
        let spent = match comer {
            Comer::Known(identity) => return Ok(identity),
            Comer::WithTicket(shown) => self.tickets.spend(shown, SystemTime::now()),
        };
        let spent = timeout(PATIENCE, spent).await.unwrap_or(Err(Refused::TicketUndecided));
        spent.map_err(|why| self.turn_away(why, address, limits))
    }

    /// Both at once, where nobody can be refused in between.
    ///
    /// # Errors
    /// As of [`Doorkeeper::look`].
    pub(super) async fn verify(
        &self,
        token: Option<Token<'_>>,
        address: IpAddr,
        limits: &config::Limits,
    ) -> Result<Identity, Refusal> {
        let comer = self.look(token, address, limits).await?;
        self.let_in(comer, address, limits).await
    }

    fn turn_away(&self, why: Refused, address: IpAddr, limits: &config::Limits) -> Refusal {
        match why {
            Refused::TicketUndecided => {
                debug!(%address, reason = why.reason(), "ticket refused");
                Refusal::Unavailable("tickets cannot be checked now")
            }
            why => self.refuse(why.reason(), address, limits),
        }
    }

    /// Looks again at who was believed a while ago.
    ///
    /// # Errors
    /// The token was taken back since.
    pub(super) fn still_believes(
        &self,
        identity: &Identity,
        address: IpAddr,
        limits: &config::Limits,
    ) -> Result<(), Refusal> {
        match self.verifier.stands(&identity.token()) {
            true => Ok(()),
            false => Err(self.refuse(Refused::Revoked.reason(), address, limits)),
        }
    }

    fn refuse(&self, reason: &'static str, address: IpAddr, limits: &config::Limits) -> Refusal {
        // Here and in the metric stands the true reason; the client is told none.
        if self.told.check_key(&reason).is_ok() {
            info!(%address, reason, "token refused");
        } else {
            debug!(%address, reason, "token refused");
        }
        self.metrics.refused(reason);
        self.admission.guessed_wrong(address, limits)
    }

    /// The client's address: the peer's own (which a PROXY header may have named), or what
    /// trusted proxies say it is.
    pub(super) fn address(arrival: &Arrival, headers: &HeaderMap, terms: &Terms) -> IpAddr {
        let peer = arrival.peer.ip().to_canonical();
        let trusted = |address: IpAddr| terms.trusted_proxies.contain(address);
        if !trusted(peer) {
            return peer;
        }
        // The rightmost address that is not a proxy of ours: what stands left of it
        // was written by somebody we have no reason to believe, and is not even read.
        for line in headers.get_all("x-forwarded-for").iter().rev() {
            for said in line.as_bytes().rsplit(|byte| *byte == b',') {
                let said = str::from_utf8(said).ok();
                match said.and_then(|said| said.trim().parse::<IpAddr>().ok()) {
                    None => return peer,
                    Some(address) if trusted(address) => {}
                    Some(address) => return address.to_canonical(),
                }
            }
        }
        peer
    }
}
