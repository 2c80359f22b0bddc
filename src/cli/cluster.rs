//! `imserver cluster`: the streams that several nodes share.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Subcommand;
use humantime::format_duration;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::token::duration;
use super::{Failure, print};
use crate::config::{Backend, Config};
use crate::store::jetstream::{self, Created, OpenError, SeenServer, ServerFacts, Surveyed};

/// Between two looks at servers that are not ready.
const AGAIN: Duration = Duration::from_secs(1);

/// What `cluster` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
These speak to the NATS servers of [store.jetstream] and need no imserver that runs.

Examples:
  imserver cluster create                   once, for a new deployment
  imserver cluster create --wait 1h         after store.jetstream.replicas was raised
  imserver cluster check --wait 5m          until a node could serve
  imserver cluster status                   who leads, who keeps, who is behind")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the streams that are not there, and change what the configuration wants otherwise
    ///
    /// Each is then kept by `replicas` servers where fewer did, one stream after the other, and
    /// knows resends for as long as `store` says; what this version does without goes from those
    /// of an earlier one. Nodes may serve meanwhile. Says what it did.
    Create(Create),
    /// Could a node serve? Looks at what its start looks at, and changes nothing
    Check(Waiting),
    /// How every stream and server is. Exit code 1: no server may be lost now
    Status(Status),
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    waiting: Waiting,

    /// Write into streams of an earlier version, which do not say whose they are, that they are
    /// this deployment's: nodes of another one refuse them from then on
    #[arg(long)]
    claim: bool,
}

#[derive(Debug, clap::Args)]
struct Waiting {
    /// How long to try again while the servers are not ready, such as 5m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    wait: Duration,
}

#[derive(Debug, clap::Args)]
struct Status {
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    if config.store.backend != Backend::JetStream {
        return Err(Failure::usage(
            "store.backend is \"sled\", the folder of one machine: there is no cluster. See \
             docs/cluster.md for \"jetstream\"",
        ));
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no thread can be started: {error}")))?;
    let prefix = &config.store.jetstream.prefix;
    match &args.command {
        Command::Create(Create { waiting: Waiting { wait }, claim }) => {
            let mut created = Created::default();
            let outcome = patiently(&runtime, *wait, async || {
                jetstream::create(&config.store, *claim, &mut created).await
            });
            // Also where it did not come to its end.
            let Created { made, raised, lengthened, quieted, claimed, is_open } = created;
            let deployment = &config.store.deployment;
            if !made.is_empty() {
                print(format!("made {}", made.join(", ")))?;
            }
            if !claimed.is_empty() {
                print(format!(
                    "of the deployment {deployment:?} from now on: {}",
                    claimed.join(", ")
                ))?;
            }
            if !raised.is_empty() {
                let copies = config.store.jetstream.replicas;
                print(format!("kept by {copies} servers from now on: {}", raised.join(", ")))?;
            }
            for (stream, window) in &lengthened {
                let window = format_duration(*window);
                print(format!("knows for {window} what is written again, from now on: {stream}"))?;
            }
            if !quieted.is_empty() {
                print(format!("told of by the nodes alone from now on: {}", quieted.join(", ")))?;
            }
            outcome?;
            if is_open {
                print(format!(
                    "the streams of {prefix:?} do not say whose they are, so that any deployment \
                     would serve them. If they are those of {deployment:?}, `imserver cluster \
                     create --claim` writes that into them"
                ))?;
            }
            let others = [made, raised, quieted, claimed];
            match lengthened.is_empty() && others.iter().all(Vec::is_empty) {
                true => print(format!("all streams of {prefix:?} were there; nothing was changed")),
                false => Ok(()),
            }
        }
        Command::Check(Waiting { wait }) => {
            let mut seen = Vec::new();
            let outcome = patiently(&runtime, *wait, async || {
                jetstream::check(&config.store, &mut seen).await
            });
            if !seen.is_empty() {
                print(servers(&seen))?;
            }
            outcome?;
            print(format!("a node can serve: all streams of {prefix:?} are there and led"))
        }
        Command::Status(Status { json }) => {
            let mut seen = Vec::new();
            let outcome = runtime.block_on(jetstream::survey(&config.store, &mut seen));
            let away: Vec<_> = seen.iter().filter(|it| it.seen.is_err()).cloned().collect();
            match &outcome {
                Ok(found) if *json => print(as_json(found, &seen))?,
                Ok(found) => print(lines(found))?,
                Err(_) => {}
            }
            if !*json && !away.is_empty() {
                print(servers(&away))?;
            }
            verdict(&outcome?, away.len(), seen.len())
        }
    }
}

/// Whether any one server could be lost now.
fn verdict(found: &[Surveyed], away: usize, servers: usize) -> Result<(), Failure> {
    let bad = found.iter().filter(|stream| !stream.is_whole()).count();
    let unled = found.iter().filter(|stream| stream.leader.is_none()).count();
    match (bad, away) {
        (0, 0) => Ok(()),
        _ if unled > 0 => {
            let look = match away {
                0 => "which are here: look whether they have room (docs/runbook.md, Disk full)",
                _ => "look which are away (docs/runbook.md)",
            };
            Err(Failure::failed(format!(
                "nobody leads {unled} of {} streams, which takes a majority of its servers: {look}. \
                 After one was lost the others choose a leader within seconds",
                found.len()
            )))
        }
        (0, _) => Err(Failure::failed(format!(
            "{away} of {servers} addresses in store.jetstream.servers cannot be reached from here: \
             no server may be stopped before that is known to be the way there alone, or a server \
             that has gone for good (docs/runbook.md)"
        ))),
        _ => Err(Failure::failed(format!(
            "{bad} of {} streams cannot lose a server now: look for a NATS server that is away, \
             silent or behind (docs/runbook.md)",
            found.len()
        ))),
    }
}

/// Does something until it works or its time is over; says why it does not yet, once for
/// each reason.
fn patiently(
    runtime: &Runtime,
    wait: Duration,
    mut work: impl AsyncFnMut() -> Result<(), OpenError>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let error = match runtime.block_on(work()) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Nothing of this comes by itself.
        if error.is_configuration() || matches!(error, OpenError::Tls(_)) || began.elapsed() >= wait
        {
            return Err(error.into());
        }
        let why = error.to_string();
        if why != told {
            // Nobody to tell is no reason to end.
            let _ = writeln!(io::stderr().lock(), "not yet: {why}");
            told = why;
        }
        sleep(AGAIN);
    }
}

fn servers(seen: &[SeenServer]) -> String {
    let lines = seen.iter().map(|SeenServer { address, seen }| match seen {
        Ok(ServerFacts { name, version, max_payload }) => format!(
            "{address}: {name}, nats-server {version}, takes {max_payload} bytes in one message"
        ),
        Err(why) => format!("{address}: NOT REACHED: {why}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn lines(found: &[Surveyed]) -> String {
    let mut text = format!(
        "{:<16}{:<16}{:>12}{:>12}  the others that keep it\n",
        "stream", "led by", "entries", "MiB"
    );
    for stream in found {
        let leader = stream.leader.as_deref().unwrap_or("NOBODY");
        let others = stream.replicas.iter().map(|replica| {
            let state = match (replica.offline, replica.current) {
                // Who leads knows how the others are, and nobody else.
                _ if stream.leader.is_none() => String::new(),
                (true, _) => " (AWAY)".to_owned(),
                _ if replica.is_silent() => {
                    format!(" (SILENT for {} s)", replica.unheard.as_secs())
                }
                // It was sent all there is, and has not said that it has it; or who leads has not
                // heard of it since it leads.
                (false, false) if replica.lag == 0 || replica.unheard.is_zero() => {
                    " (SILENT)".to_owned()
                }
                (false, false) => format!(" (BEHIND by {})", replica.lag),
                (false, true) => String::new(),
            };
            format!("{}{state}", replica.server)
        });
        let others = others.collect::<Vec<_>>().join(", ");
        let kept = stream.replicas.len() + usize::from(stream.leader.is_some());
        let few = if kept < stream.wanted { " (TOO FEW)" } else { "" };
        // A text takes every line.
        let _ = writeln!(
            text,
            "{:<16}{leader:<16}{:>12}{:>12}  {others}{few}",
            stream.stream,
            stream.entries,
            stream.bytes >> 20,
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn as_json(found: &[Surveyed], seen: &[SeenServer]) -> String {
    let servers = seen.iter().map(|SeenServer { address, seen }| match seen {
        Ok(ServerFacts { name, version, .. }) => {
            json!({ "address": address, "server": name, "version": version })
        }
        Err(why) => json!({ "address": address, "why": why }),
    });
    let streams = found.iter().map(|stream| {
        let replicas = stream.replicas.iter().map(|replica| {
            json!({
                "server": replica.server,
                "current": replica.current,
                "offline": replica.offline,
                "lag": replica.lag,
                "unheardSeconds": replica.unheard.as_secs_f64(),
                "whole": replica.is_whole(),
            })
        });
        json!({
            "stream": stream.stream,
            "leader": stream.leader,
            "replicas": replicas.collect::<Vec<_>>(),
            "wanted": stream.wanted,
            "entries": stream.entries,
            "bytes": stream.bytes,
            "whole": stream.is_whole(),
        })
    });
    let (streams, servers) = (streams.collect::<Vec<_>>(), servers.collect::<Vec<_>>());
    format!("{:#}", json!({ "streams": streams, "servers": servers }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::jetstream::Replica;

    #[test]
    fn who_is_missing_is_seen_at_once() {
        let replica = |server: &str, current, offline, lag| Replica {
            server: server.to_owned(),
            current,
            offline,
            lag,
            unheard: Duration::from_millis(9),
        };
        let stream = Surveyed {
            stream: "im-msg-0".to_owned(),
            leader: Some("nats-1".to_owned()),
            replicas: vec![replica("nats-2", false, true, 9), replica("nats-3", false, false, 7)],
            wanted: 3,
            entries: 12,
            bytes: 3 << 20,
        };
        let text = lines(std::slice::from_ref(&stream));
        assert!(text.ends_with("3  nats-2 (AWAY), nats-3 (BEHIND by 7)"), "{text}");
        let replicas = vec![replica("nats-2", false, false, 0), replica("nats-3", true, false, 0)];
        let silent = lines(&[Surveyed { replicas, ..stream.clone() }]);
        assert!(silent.ends_with("3  nats-2 (SILENT), nats-3"), "{silent}");
        let unheard = Duration::ZERO;
        let replicas = vec![Replica { unheard, ..replica("nats-2", false, false, 7) }];
        let silent = lines(&[Surveyed { replicas, ..stream.clone() }]);
        assert!(silent.contains("3  nats-2 (SILENT)"), "{silent}");
        let unheard = Duration::from_millis(7300);
        let killed = Replica { unheard, ..replica("nats-2", true, false, 0) };
        let replicas = vec![killed, replica("nats-3", true, false, 0)];
        let stream = Surveyed { replicas, ..stream };
        let silent = lines(std::slice::from_ref(&stream));
        assert!(silent.ends_with("3  nats-2 (SILENT for 7 s), nats-3"), "{silent}");
        assert!(verdict(std::slice::from_ref(&stream), 0, 3).is_err());
        let few = Surveyed { leader: None, replicas: Vec::new(), ..stream.clone() };
        let text = lines(&[few]);
        assert!(text.contains("NOBODY") && text.ends_with("(TOO FEW)"), "{text}");
        let unled = Surveyed { leader: None, ..stream };
        let text = lines(std::slice::from_ref(&unled));
        assert!(text.contains("  nats-2, nats-3"), "nobody knows: {text}");
        for (away, words) in [(0, "whether they have room"), (2, "which are away")] {
            let said = verdict(std::slice::from_ref(&unled), away, 3).unwrap_err().to_string();
            assert!(
                said.starts_with("nobody leads 1 of 1 streams") && said.contains(words),
                "{said}"
            );
        }
    }
}
