//! `imserver key`: the keys that sign and check tokens.

use std::io::{self, Write};

use anyhow::Context;

use crate::auth::{self, Alg, KeyEntry, KeySet};
use crate::config::Config;

/// Makes and lists the keys that sign and check tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    /// Shows the keys without their secrets, and which one signs.
    List,
}

pub(crate) fn run(args: Args, config: &Config) -> anyhow::Result<()> {
    match args.command {
        Command::Generate { alg } => generate(alg, config),
        Command::List => list(config),
    }
}

fn generate(alg: Alg, config: &Config) -> anyhow::Result<()> {
    let path = &config.auth.keys;
    let key = auth::generate(alg)?;
    let kid = key.kid().unwrap_or_default().to_owned();
    KeySet::edit(path, |keys| keys.add(key))?;
    writeln!(
        io::stdout(),
        "made the {alg} key {kid} in {}; it signs from now on. A running server takes it up on \
         SIGHUP, or by itself within moments.",
        path.display()
    )
    .context("the key was made, but not reported")
}

fn list(config: &Config) -> anyhow::Result<()> {
    let keys = KeySet::load(&config.auth.keys)?.list();
    let mut out = io::stdout().lock();
    for key in &keys {
        writeln!(out, "{}", line(key))?;
    }
    if !keys.iter().any(|key| key.signs) {
        writeln!(out, "no key can sign: tokens are checked here and issued elsewhere")?;
    }
    Ok(())
}

fn line(key: &KeyEntry) -> String {
    let kid = key.kid.as_deref().unwrap_or("(no kid)");
    let part = match (key.signs, key.can_sign) {
        (true, _) => "signs and checks",
        (false, true) => "checks; could sign",
        (false, false) => "checks",
    };
    format!("{kid}\t{}\t{part}", key.alg)
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
            line(&KeyEntry { kid, alg: Alg::EdDsa, can_sign, signs })
        };
        assert_eq!(key(Some("a"), true, true), "a\tEdDSA\tsigns and checks");
        assert_eq!(key(Some("a"), true, false), "a\tEdDSA\tchecks; could sign");
        assert_eq!(key(None, false, false), "(no kid)\tEdDSA\tchecks");
    }
}
