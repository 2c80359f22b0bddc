//! `imserver token revoke`, `list` and `revocations`, and `imserver user`: by the running
//! server where there is one, and on its data otherwise.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::offline::Offline;
use super::remote::Remote;
use super::{Failure, print};
use crate::admin::audit::{Act, Fault};
use crate::admin::ledger::Entry;
use crate::admin::revoke::{self, Plan, RevokeError, Shown, Target};
use crate::admin::{Audit, Who};
use crate::auth::{KeySet, Revocation, Revocations, TokenId};
use crate::config::Config;
use crate::epoch;
use crate::ids::UserId;
use crate::store::{Receipt, Store as _};

/// What the server answers to a revocation.
#[derive(Deserialize)]
struct Done {
    revoked: Option<Shown>,
    remark: Option<String>,
}

/// What `text` names: a token where it looks like one, otherwise a `jti`.
pub(super) fn target(text: &str) -> Result<Target, Failure> {
    // A header begins with `{"`, and no jti looks like three parts that begin so.
    if text.starts_with("ey") && text.matches('.').count() == 2 {
        return Ok(Target::Token(text.to_owned()));
    }
    TokenId::new(text).map(Target::Jti).ok_or_else(|| {
        Failure::usage("this is neither a token nor a jti, which has 1 to 128 bytes")
    })
}

/// Takes tokens back, and says so once they are: durably, and everywhere.
pub(super) fn revoke(
    target: &Target,
    config: &Config,
    token: Option<&Path>,
) -> Result<(), Failure> {
    let done = match Remote::connect(config, token)? {
        Some(server) => by_server(&server, target)?,
        None => by_hand(target, config)?,
    };
    if let Some(revoked) = &done.revoked {
        print(format!("revoked {}", sentence(revoked)))?;
    }
    if let Some(remark) = done.remark {
        print(remark)?;
    }
    if let Target::Subject(_) = target {
        // Times of tokens have whole seconds: what is issued once this has ended is not
        // taken for one of those before.
        let now = epoch::since(SystemTime::now());
        let begun = Duration::from_nanos(now.subsec_nanos().into());
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begun));
    }
    Ok(())
}

fn by_server(server: &Remote, target: &Target) -> Result<Done, Failure> {
    let body = match target {
        Target::Token(token) => json!({ "token": token }),
        Target::Jti(jti) => json!({ "jti": jti.as_str() }),
        Target::Subject(user) => json!({ "sub": user.get() }),
    };
    let answer = server.call(Method::POST, "/admin/revocations", Some(&body))?;
    serde_json::from_value(answer).map_err(|_| strange())
}

fn strange() -> Failure {
    Failure::failed("the server's answer is none to this: is it another version?")
}

fn by_hand(target: &Target, config: &Config) -> Result<Done, Failure> {
    let keys = KeySet::configured(&config.auth)?;
    let audit = Audit::of(&config.store)?;
    let planned = Plan::new(target, &keys, &config.auth, &audit, SystemTime::now());
    let Plan { revocation, remark } = planned.map_err(|error| match error {
        RevokeError::NotOurs(_) => Failure::usage(error),
        RevokeError::Ledger(cause) => Failure::failed(cause),
    })?;
    let done =
        Done { revoked: revocation.as_ref().map(Shown::from), remark: remark.map(str::to_owned) };
    if let Some(revocation) = revocation {
        let act = revoke::act(&revocation);
        durable(config, &act, |store| store.revoke(revocation))?;
    }
    Ok(done)
}

/// Does an act on the data of a server that does not run: written down, then done.
fn durable(
    config: &Config,
    act: &Act,
    work: impl FnOnce(&crate::store::sled::SledStore) -> Receipt<()>,
) -> Result<(), Failure> {
    // Opened first, since it can be refused; nothing is done by that.
    let offline = Offline::open_or_make(config)?;
    let audit = Audit::of(&config.store)?;
    audit.append(&Who::shell(), act)?;
    offline.run(|store| async move {
        let outcome = work(&store).await;
        outcome.map_err(|error| {
            // Nothing can be done about a log that fails now too.
            let _ = audit.append(&Who::shell(), &act.failed(&error.to_string()));
            Failure::failed(error)
        })
    })
}

/// Lets a user in no more, or again.
pub(super) fn set_disabled(
    user: UserId,
    disabled: bool,
    config: &Config,
    token: Option<&Path>,
) -> Result<(), Failure> {
    match Remote::connect(config, token)? {
        Some(server) => {
            let what = if disabled { "disable" } else { "enable" };
            server.call(Method::POST, &format!("/admin/users/{user}/{what}"), None)?;
        }
        None if disabled => {
            let revocation = Revocation::Disabled { user };
            durable(config, &revoke::act(&revocation), |store| store.revoke(revocation))?;
        }
        None => durable(config, &revoke::enable(user), |store| store.enable(user))?,
    }
    print(match disabled {
        true => format!(
            "user {user} is disabled: no token of theirs opens anything until \
             `imserver user enable {user}`"
        ),
        false => format!(
            "user {user} is enabled: their tokens are good again, but for those that were revoked"
        ),
    })
}

/// Prints what is taken back, one a line.
pub(super) fn list(config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let mut known = match Remote::connect(config, token)? {
        Some(server) => listed(&server)?,
        None => in_store(config)?,
    };
    if known.is_empty() {
        return print("nothing is revoked");
    }
    known.sort_unstable();
    known.iter().try_for_each(|one| print(sentence(&one.into())))
}

fn listed(server: &Remote) -> Result<Vec<Revocation>, Failure> {
    let mut all = Vec::new();
    server.lines(Method::GET, "/admin/revocations", None, |line| {
        let shown = serde_json::from_value::<Shown>(line).ok();
        all.push(shown.and_then(|shown| shown.revocation()).ok_or_else(strange)?);
        Ok(())
    })?;
    Ok(all)
}

fn in_store(config: &Config) -> Result<Vec<Revocation>, Failure> {
    let Some(offline) = Offline::find(config)? else {
        return Ok(Vec::new());
    };
    offline.run(|store| async move { store.revocations().await.map_err(Failure::failed) })
}

/// Prints the ledger, one token a line: `jti`, user, who had it issued, when, until when,
/// and how it stands. What is over stands there only with `all`.
pub(super) fn ledger(
    sub: Option<UserId>,
    all: bool,
    config: &Config,
    token: Option<&Path>,
) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let revocations = Revocations::default();
    match Remote::connect(config, token)? {
        Some(server) => {
            let target =
                sub.map_or("/admin/tokens".to_owned(), |sub| format!("/admin/tokens?sub={sub}"));
            server.lines(Method::GET, &target, None, |line: Value| {
                entries.push(serde_json::from_value::<Entry>(line).map_err(|_| strange())?);
                Ok(())
            })?;
            revocations.load(listed(&server)?);
        }
        None => {
            entries = recorded(config)?;
            revocations.load(in_store(config)?);
        }
    }
    let now = SystemTime::now();
    for entry in entries.iter().filter(|entry| sub.is_none_or(|sub| entry.sub == sub.get())) {
        let (over, state) = state(entry, &revocations, now);
        if all || !over {
            let Entry { jti, sub, by, issued, until, .. } = entry;
            print(format!("{jti}\t{sub}\t{by}\t{issued}\t{until}\t{state}"))?;
        }
    }
    Ok(())
}

fn recorded(config: &Config) -> Result<Vec<Entry>, Failure> {
    let audit = Audit::of(&config.store)?;
    let mut entries = Vec::new();
    for line in audit.lines()? {
        match line {
            Ok(line) => entries.extend(Entry::of(&line)),
            Err((_, Fault::Torn)) => {}
            Err((number, why)) => {
                let place = audit.place();
                return Err(Failure::failed(format!("{place}: line {number} is broken: {why}")));
            }
        }
    }
    Ok(entries)
}

/// Whether the time of a token is over, and how it stands in a word or two.
fn state(entry: &Entry, revocations: &Revocations, now: SystemTime) -> (bool, String) {
    let at = |text: &str| humantime::parse_rfc3339_weak(text).unwrap_or(UNIX_EPOCH);
    let over = at(&entry.until) <= now;
    let revoked = UserId::new(entry.sub).is_some_and(|user| {
        let issued = epoch::seconds(at(&entry.issued));
        revocations.covers(user, Some(&entry.jti), Some(issued))
    });
    let state = match (revoked, over) {
        (true, _) => "revoked",
        (false, true) => "expired",
        (false, false) => "good",
    };
    let admin = if entry.admin { " (administrator)" } else { "" };
    (over, format!("{state}{admin}"))
}

fn sentence(shown: &Shown) -> String {
    match shown {
        // Whoever issued it chose that name: it must not steer the terminal, or end the line.
        Shown::Token { jti, until } => format!("token {}, kept until {until}", jti.escape_debug()),
        Shown::Subject { sub, issued_up_to, until } => {
            format!("all tokens of user {sub} issued up to {issued_up_to}, kept until {until}")
        }
        Shown::User { sub } => format!("user {sub}, until enabled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_looks_like_one_and_all_else_is_a_name() {
        assert!(matches!(target("eyJh.eyJz.c2ln"), Ok(Target::Token(_))));
        for name in ["4f2a", "a.b.c", "eyes", "ey.ey", "令牌"] {
            assert!(matches!(target(name), Ok(Target::Jti(_))), "{name}");
        }
        for bad in [String::new(), "x".repeat(129)] {
            assert!(target(&bad).unwrap_err().to_string().contains("1 to 128 bytes"));
        }
    }

    /// It used to look for the folder of one machine, and to find nothing revoked in none.
    #[test]
    fn what_nodes_know_is_not_guessed_where_none_answers() {
        let mut config = Config::default();
        config.store.path = "/nowhere".into();
        assert_eq!(in_store(&config).unwrap(), []);
        config.store.backend = crate::config::Backend::JetStream;
        let refused = in_store(&config).unwrap_err().to_string();
        assert!(refused.contains("a node that runs"), "{refused}");
    }

    #[test]
    fn what_somebody_else_chose_for_a_jti_stays_in_its_line() {
        let shown = Shown::Token { jti: "a\n\u{1b}[31m".to_owned(), until: "then".to_owned() };
        assert_eq!(sentence(&shown), "token a\\n\\u{1b}[31m, kept until then");
    }
}
