//! `imserver key`: the keys that sign and check tokens.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use http::Method;
use serde_json::Value;

use super::cert::exists;
use super::connection::{escaped, silent};
use super::remote::Remote;
use super::{Failure, count, print};
use crate::admin::audit::{Act, FILE, Fault};
use crate::admin::ledger::{self, Alive, Outstanding};
use crate::admin::{Audit, Who, revoke};
use crate::auth::{self, Alg, KeyEntry, KeySet, SetFault};
use crate::config::{Backend, Config};

/// Makes, rotates and lists the keys that sign and check tokens.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Adds a new key to the key set; it signs from then on.
    ///
    /// Tokens signed by the keys before it stay good as long as those are in the set.
    Generate {
        /// HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA or
        /// Ed25519.
        #[arg(long, default_value = "EdDSA")]
        alg: Alg,
    },
    /// Shows the keys without their secrets: which one signs, until when each checks, and until
    /// when the last token lives that was issued here with it.
    List,
    /// Makes a new key that signs, and keeps the one before it for checking, until no token
    /// that it signed can be alive. Nobody is logged out.
    Rotate {
        /// The new key's algorithm [default: that of the key that signs now]
        #[arg(long)]
        alg: Option<Alg>,
    },
    /// Takes a key out of the set: its tokens open nothing any more, and connections that live
    /// by them are closed. Says first how many those are.
    Retire {
        /// The key, as `imserver key list` shows it.
        kid: String,
        /// Retires it although connections or tokens are cut off by it.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(args: Args, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    match args.command {
        Command::Generate { alg } => generate(alg, config),
        Command::List => list(config),
        Command::Rotate { alg } => rotate(alg, config, token),
        Command::Retire { kid, yes } => retire(&kid, yes, config, token),
    }
}

fn generate(alg: Alg, config: &Config) -> Result<(), Failure> {
    let path = &config.auth.keys;
    let key = auth::generate(alg).map_err(Failure::failed)?;
    let kid = key.kid().unwrap_or_default().to_owned();
    let act = Act::new("key.generate").with("kid", kid.as_str());
    let swept = edit(path, &Audit::of(&config.store)?, &act, |keys| {
        let swept = keys.sweep(SystemTime::now());
        keys.add(key)?;
        Ok(swept)
    })?;
    report(&swept)?;
    print(format!(
        "made the {alg} key {kid} in {}; it signs from now on. A running server takes it up on \
         SIGHUP, or by itself within moments.",
        path.display()
    ))
}

/// A new key signs, and the one before it checks for as long as its tokens can live.
fn rotate(alg: Option<Alg>, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let path = &config.auth.keys;
    let before = KeySet::load(path)?;
    let Some(signing) = before.signing_key() else {
        return Err(Failure::usage(format!("{}: {}", path.display(), SetFault::NoSigningKey)));
    };
    let (old, alg) = (signing.kid().unwrap_or_default().to_owned(), alg.unwrap_or(signing.alg()));
    let next = auth::generate(alg).map_err(Failure::failed)?;
    let kid = next.kid().unwrap_or_default().to_owned();
    let now = SystemTime::now();
    let until = revoke::ends_at_the_latest(now, &config.auth);
    // Before the change: the server does not know the new key yet, by which this command
    // would sign its own token.
    let server = Remote::connect(config, token);
    let act = Act::new("key.rotate")
        .with("kid", kid.as_str())
        .with("old", old.as_str())
        .with("until", revoke::shown(until));
    let swept = edit(path, &Audit::of(&config.store)?, &act, |keys| {
        let swept = keys.sweep(now);
        keys.rotate(next, until)?;
        Ok(swept)
    })?;
    report(&swept)?;
    print(format!(
        "made the {alg} key {kid} in {}; it signs from now on. {old} checks tokens until {}, when \
         none that it signed can be alive, and signs no more. Nobody is logged out.",
        path.display(),
        revoke::shown(until)
    ))?;
    take_up(server)
}

/// Takes a key out of the set, once it is known whom that cuts off.
fn retire(kid: &str, yes: bool, config: &Config, token: Option<&Path>) -> Result<(), Failure> {
    let path = &config.auth.keys;
    // Tried first on what is read: nobody is asked about a key that cannot go.
    let mut keys = KeySet::load(path)?;
    let of_file = |fault| Failure::usage(format!("{}: {fault}", path.display()));
    keys.retire(kid).map_err(of_file)?;
    let server = Remote::connect(config, token)?;
    let (connections, silent) =
        server.as_ref().map_or(Ok((0, BTreeSet::new())), |server| connections(server, kid))?;
    let audit = Audit::of(&config.store)?;
    let Alive { by_key, broken } = ledger::outstanding(&audit, SystemTime::now())?;
    let tokens = by_key.get(kid).map_or(0, |known| known.tokens);
    let cut = format!(
        "{}{} and {} of the ledger that {} not expired{}",
        count(connections as u64, "live connection"),
        unasked(&silent),
        count(tokens as u64, "token"),
        if tokens == 1 { "has" } else { "have" },
        unread(&audit, broken.as_ref())
    );
    let is_known = silent.is_empty() && broken.is_none();
    if (connections > 0 || tokens > 0 || !is_known) && !yes {
        return Err(Failure::usage(format!(
            "to retire {kid} cuts off {cut}; say --yes to do it all the same, or wait until \
             `imserver key list` shows that its time is over"
        )));
    }
    let act = Act::new("key.retire")
        .with("kid", kid)
        .with("connections", connections)
        .with("tokens", tokens);
    let swept = edit(path, &audit, &act, |keys| {
        keys.retire(kid)?;
        Ok(keys.sweep(SystemTime::now()))
    })?;
    report(&swept)?;
    print(format!("retired {kid}: this cuts off {cut}"))?;
    if keys.signing_key().is_none() {
        print("no key is left that can sign: tokens are issued elsewhere from now on")?;
    }
    take_up(Ok(server))
}

/// Changes the key set, which is written down before, and what came of it where nothing did.
fn edit<T>(
    path: &Path,
    audit: &Audit,
    act: &Act,
    change: impl FnOnce(&mut KeySet) -> Result<T, SetFault>,
) -> Result<T, Failure> {
    audit.append(&Who::shell(), act)?;
    KeySet::edit(path, change).map_err(|error| {
        // Nothing can be done about a log that fails now too.
        let _ = audit.append(&Who::shell(), &act.failed(&error.to_string()));
        error.into()
    })
}

/// What is to be said of a ledger that cannot be read to its end.
fn unread(audit: &Audit, broken: Option<&(u64, Fault)>) -> String {
    broken.map_or_else(String::new, |(number, why)| {
        format!(" (before line {number} of {}, which is broken: {why})", audit.place())
    })
}

/// What is to be said of nodes that did not answer.
fn unasked(silent: &BTreeSet<String>) -> String {
    let names: Vec<&str> = silent.iter().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" (without {})", names.join(", ")) }
}

/// How many live connections there are that live by a token of this key, and the nodes that
/// did not say.
fn connections(server: &Remote, kid: &str) -> Result<(usize, BTreeSet<String>), Failure> {
    let target = format!("/admin/connections?limit=1&kid={}", escaped(kid));
    let answer = server.call(Method::GET, &target, None)?;
    let total = answer.get("total").and_then(Value::as_u64);
    let total = total.and_then(|total| usize::try_from(total).ok()).ok_or_else(|| {
        Failure::failed(
            "the server does not say how many connections there are: is it an older one?",
        )
    })?;
    Ok((total, silent(&answer)))
}

/// Has the running server read the set again, and says so.
fn take_up(server: Result<Option<Remote>, Failure>) -> Result<(), Failure> {
    let reloaded = match &server {
        Ok(Some(server)) => server.call(Method::POST, "/admin/reload", None).map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(Failure::failed(error)),
    };
    match reloaded {
        Ok(Some(answer)) => match refused(&answer) {
            None => print("the running server has taken it up"),
            Some(why) => Err(Failure::failed(format!("the running server refuses it: {why}"))),
        },
        Ok(None) => Ok(()),
        // It is done all the same, and the file is watched.
        Err(error) => print(format!(
            "a running server takes it up by itself within moments; it was not asked to, since: \
             {error}"
        )),
    }
}

/// Why the server keeps the key set that it had.
fn refused(answer: &Value) -> Option<String> {
    let all = answer.get("read")?.as_array()?;
    let keys = all.iter().find(|one| one.get("what").is_some_and(|what| what == "keys"))?;
    keys.get("refused")?.as_str().map(str::to_owned)
}

fn report(swept: &[String]) -> Result<(), Failure> {
    swept.iter().try_for_each(|kid| print(format!("removed {kid}, whose time was over")))
}

fn list(config: &Config) -> Result<(), Failure> {
    let keys = KeySet::configured(&config.auth)?.list();
    let now = SystemTime::now();
    let is_there = match config.store.backend {
        Backend::Sled => exists(&config.store.path.join(FILE))?,
        Backend::JetStream => true,
    };
    let audit = is_there.then(|| Audit::of(&config.store)).transpose()?;
    let known = match &audit {
        Some(audit) => ledger::outstanding(audit, now)?,
        None => Alive::default(),
    };
    for key in &keys {
        let last = key.kid.as_ref().and_then(|kid| known.by_key.get(kid));
        print(line(key, last))?;
    }
    if let (Some(audit), Some((number, why))) = (&audit, &known.broken) {
        let place = audit.place();
        print(format!("later tokens are not known: {place}: line {number} is broken: {why}"))?;
    }
    if !keys.iter().any(|key| key.signs) {
        print("no key can sign: tokens are checked here and issued elsewhere")?;
    }
    if let Some(url) = &config.auth.jwks_url {
        print(format!("beside these, the running server takes those of {url}"))?;
    }
    Ok(())
}

fn line(key: &KeyEntry, last: Option<&Outstanding>) -> String {
    let kid = key.kid.as_deref().unwrap_or("(no kid)");
    let part = match (key.signs, key.can_sign) {
        (true, _) => "signs and checks",
        (false, true) => "checks; could sign",
        (false, false) => "checks",
    };
    let mut line = format!("{kid}\t{}\t{part}", key.alg);
    if let Some(until) = key.until {
        line += &format!(" until {}", revoke::shown(until));
    }
    if let Some(Outstanding { until, .. }) = last {
        line += &format!("\tits last token issued here lives until {until}");
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn an_unknown_algorithm_is_answered_with_the_known_ones() {
        let error = Line::try_parse_from(["key", "generate", "--alg", "none"]).unwrap_err();
        assert!(error.to_string().contains("ES384, EdDSA and Ed25519"), "{error}");
        for alg in Alg::ALL {
            assert!(Line::try_parse_from(["key", "generate", "--alg", alg.name()]).is_ok());
        }
    }

    #[test]
    fn a_key_is_one_line() {
        let key = |kid: Option<&str>, can_sign, signs| {
            let kid = kid.map(str::to_owned);
            line(&KeyEntry { kid, alg: Alg::EdDsa, can_sign, signs, until: None }, None)
        };
        assert_eq!(key(Some("a"), true, true), "a\tEdDSA\tsigns and checks");
        assert_eq!(key(Some("a"), true, false), "a\tEdDSA\tchecks; could sign");
        assert_eq!(key(None, false, false), "(no kid)\tEdDSA\tchecks");
        let (kid, until) = (Some("a".to_owned()), Some(0));
        let old = KeyEntry { kid, alg: Alg::EdDsa, can_sign: false, signs: false, until };
        let last = Outstanding { tokens: 1, until: "1970-01-01T00:00:00Z".to_owned() };
        assert_eq!(
            line(&old, Some(&last)),
            "a\tEdDSA\tchecks until 1970-01-01T00:00:00Z\tits last token issued here lives until \
             1970-01-01T00:00:00Z"
        );
    }
}
