//! `POST /admin/notifications`: messages from the system, to some or to everybody.
//!
//! Each is a message like any other: durable before it is reported, delivered live, unread
//! until marked. They carry one name, by which each is known again in its conversation for
//! as long as it is kept: the same call once more sends to those who have it not yet.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::{error, warn};

use super::answer::{self, Flow};
use super::{Admin, Call};
use crate::admin::audit::Hash;
use crate::admin::{Act, Who};
use crate::digest::digest128;
use crate::ids::{Sender, UserId};
use crate::message::ClientMsgId;
use crate::protocol::failure::FailureCode;
use crate::protocol::request;
use crate::server::api::now;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::session::{self, PATIENCE};
use crate::store::{AppendError, Appended, Draft, Receipt, ResendKey, Store, StoreError};

/// Messages that are on their way to the disk at once: enough to fill a commit, few enough
/// to leave room in the line for everybody else's.
const UNDER_WAY: usize = 64;

/// Users that are asked of the store at once.
const USERS: usize = 1000;

/// Recipients that the audit log names; of more it holds the number.
const NAMED: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    to: To,
    content: String,
    timestamp: Option<String>,
    #[serde(rename = "clientMsgId")]
    client_msg_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum To {
    Word(String),
    Users(Vec<u64>),
}

/// Whom it goes to.
#[derive(Clone, Debug)]
pub(super) enum Recipients {
    /// Everybody of whom the store knows.
    All,
    /// These, rising.
    These(VecDeque<UserId>),
}

/// What became of it for one user.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    #[serde(rename_all = "camelCase")]
    Stored { user_id: u64, message_id: String, duplicate: bool },
    #[serde(rename_all = "camelCase")]
    Failed { user_id: u64, code: &'static str, message: &'static str },
}

/// The last line.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sum {
    sent: u64,
    duplicates: u64,
    failed: u64,
    /// Everybody was tried.
    complete: bool,
}

impl Wanted {
    /// To whom what is sent, of so many bytes at the most.
    pub(super) fn notice(self, content_max: usize) -> Result<(Recipients, Notice), Refusal> {
        let Self { to, content, timestamp, client_msg_id } = self;
        let checked = request::notification(&content, timestamp.as_deref(), content_max);
        checked.map_err(|(code, message)| Refusal::Failed(code, message))?;
        let name = client_msg_id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
        let name = ClientMsgId::new(&name).ok_or(Refusal::Malformed(
            "`clientMsgId` must be 1 to 64 bytes: the same again sends nothing twice",
        ))?;
        let to = recipients(to)?;
        Ok((to, Notice { content, timestamp: timestamp.unwrap_or_else(now), name }))
    }
}

impl Admin {
    pub(super) async fn notify(self: &Arc<Self>, mut call: Call<'_>) -> Result<Answer, Refusal> {
        let wanted: Wanted = call.json().await?;
        let (to, notice) = wanted.notice(self.terms.get().limits.content_bytes)?;
        let store = Arc::clone(&self.service()?.context.store);
        let act = act(&to, &notice);
        self.note(&call.who, &act).await?;
        let (flow, answer) = answer::flowing(answer::LINES);
        let (admin, who) = (Arc::clone(self), call.who);
        self.calls.spawn(async move {
            let round = Round { store, notice, flow, admin, sum: Sum::default() };
            round.run(to, who, act).await;
        });
        Ok(answer)
    }
}

fn recipients(to: To) -> Result<Recipients, Refusal> {
    let wrong = "`to` must be a list of users, numbers from 1 to 9007199254740991, or \"all\"";
    match to {
        To::Word(word) if word == "all" => Ok(Recipients::All),
        To::Word(_) => Err(Refusal::Malformed(wrong)),
        To::Users(users) => {
            let users: Option<BTreeSet<UserId>> = users.into_iter().map(UserId::new).collect();
            match users.filter(|users| !users.is_empty()) {
                Some(users) => Ok(Recipients::These(users.into_iter().collect())),
                None => Err(Refusal::Malformed(wrong)),
            }
        }
    }
}

/// What the log keeps: whom it went to, and a digest of what, never the text.
fn act(to: &Recipients, Notice { content, name, .. }: &Notice) -> Act {
    let act = Act::new("notify")
        .with("clientMsgId", name.as_str())
        .with("bytes", content.len())
        .with("sha256", Hash::of(content.as_bytes()).to_string());
    match to {
        Recipients::All => act.with("to", "all"),
        Recipients::These(users) if users.len() <= NAMED => {
            act.with("to", users.iter().map(|user| user.get()).collect::<Vec<_>>())
        }
        Recipients::These(users) => act.with("to", format!("{} users", users.len())),
    }
}

/// What everybody is sent.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) content: String,
    pub(super) timestamp: String,
    pub(super) name: ClientMsgId,
}

impl Notice {
    fn draft(&self, to: UserId) -> Draft {
        // To the store a name is one message of its sender: each of them has its own.
        let user = to.get().to_be_bytes();
        let digest = digest128(&[b"notification", self.name.as_str().as_bytes(), &user]);
        let name = ClientMsgId::new(&format!("{:032x}", u128::from_be_bytes(digest)));
        Draft {
            from: Sender::System,
            to,
            timestamp: self.timestamp.clone(),
            content: self.content.clone(),
            // Always as a later try, so that it is looked for in the whole conversation.
            resend: name.map_or(ResendKey::None, |id| ResendKey::Client { id, again: true }),
            origin: None,
        }
    }
}

/// One notification on its way to many.
struct Round {
    store: Arc<dyn Store>,
    notice: Notice,
    flow: Flow,
    admin: Arc<Admin>,
    sum: Sum,
}

/// Why a round ends before everybody was tried.
struct Stopped;

impl Round {
    async fn run(mut self, to: Recipients, who: Who, act: Act) {
        // First of all the name: whoever loses the rest can ask for the same again.
        self.tell(&serde_json::json!({ "clientMsgId": self.notice.name.as_str() })).await;
        self.sum.complete = self.try_everybody(to).await.is_ok();
        let Sum { sent, duplicates, failed, complete } = self.sum;
        let done = Act::new(if complete { "notify.done" } else { "notify.stopped" })
            .with("of", act.name())
            .with("clientMsgId", self.notice.name.as_str())
            .with("sent", sent)
            .with("duplicates", duplicates)
            .with("failed", failed);
        if self.admin.note(&who, &done).await.is_err() {
            warn!(
                sent,
                duplicates, failed, complete, "a notification ended, and is not written down"
            );
        }
        let sum = self.sum;
        self.tell(&sum).await;
    }

    async fn try_everybody(&mut self, to: Recipients) -> Result<(), Stopped> {
        let mut under_way = VecDeque::new();
        let mut users =
            Users { store: Arc::clone(&self.store), to, page: VecDeque::new(), last: None };
        loop {
            if self.admin.shutdown.is_cancelled() {
                return self.last_of(under_way).await.and(Err(Stopped));
            }
            let Some(user) = users.next().await.map_err(|cause| {
                error!(error = %cause, "a notification stopped: the users cannot be read");
                Stopped
            })?
            else {
                return self.last_of(under_way).await;
            };
            let draft = self.notice.draft(user);
            let store = Arc::clone(&self.store);
            let entering = async move { store.append(draft).await };
            match timeout(PATIENCE, entering).await {
                Ok(Ok(receipt)) => under_way.push_back((user, receipt)),
                Ok(Err(error)) => self.ended(user, Err(error)).await?,
                Err(_) => self.ended(user, Err(AppendError::Unavailable)).await?,
            }
            if under_way.len() >= UNDER_WAY
                && let Some((user, receipt)) = under_way.pop_front()
            {
                self.wait_for(user, receipt).await?;
            }
        }
    }

    async fn last_of(
        &mut self,
        under_way: VecDeque<(UserId, Receipt<Appended>)>,
    ) -> Result<(), Stopped> {
        let mut stopped = Ok(());
        for (user, receipt) in under_way {
            stopped = stopped.and(self.wait_for(user, receipt).await);
        }
        stopped
    }

    async fn wait_for(&mut self, user: UserId, receipt: Receipt<Appended>) -> Result<(), Stopped> {
        let outcome = timeout(PATIENCE, receipt).await;
        self.ended(user, outcome.unwrap_or(Err(AppendError::Unavailable))).await
    }

    async fn ended(
        &mut self,
        user: UserId,
        outcome: Result<Appended, AppendError>,
    ) -> Result<(), Stopped> {
        match outcome {
            Ok(Appended { id, duplicate }) => {
                *(if duplicate { &mut self.sum.duplicates } else { &mut self.sum.sent }) += 1;
                let (user_id, message_id) = (user.get(), id.to_string());
                self.tell(&Outcome::Stored { user_id, message_id, duplicate }).await;
                Ok(())
            }
            Err(error) => {
                let gone = error == AppendError::Unavailable;
                let code = FailureCode::from(error);
                self.failed(user, code.as_str(), session::explain(code)).await;
                // The others would fare no better; once it is back, the same again.
                if gone { Err(Stopped) } else { Ok(()) }
            }
        }
    }

    async fn failed(&mut self, user: UserId, code: &'static str, message: &'static str) {
        self.sum.failed += 1;
        self.tell(&Outcome::Failed { user_id: user.get(), code, message }).await;
    }

    /// A client that is gone hears nothing of it; the round goes on.
    async fn tell(&self, line: &impl Serialize) {
        let text = serde_json::to_string(line).unwrap_or_default();
        let _ = self.flow.send(Ok(Bytes::from(text + "\n"))).await;
    }
}

/// The recipients one by one. Who is named need not be known yet: as with any message, it
/// waits for them.
struct Users {
    store: Arc<dyn Store>,
    to: Recipients,
    page: VecDeque<UserId>,
    last: Option<UserId>,
}

impl Users {
    async fn next(&mut self) -> Result<Option<UserId>, StoreError> {
        match &mut self.to {
            Recipients::These(users) => Ok(users.pop_front()),
            Recipients::All => {
                if self.page.is_empty() {
                    self.page = self.store.users(self.last, USERS).await?.into();
                }
                self.last = self.page.front().copied().or(self.last);
                Ok(self.page.pop_front())
            }
        }
    }
}
