//! Whether the clock of this machine and that of the NATS servers agree: looked at before
//! anything is made.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::connect::Connection;
use super::refusal::OpenError;

/// How far the clocks of this machine and the servers may be apart: resend windows and the
/// order between partitions go by them.
const APART: Duration = Duration::from_secs(5);

/// Where a server says who we are to it, and in passing what time it is.
pub(super) const WHO_AM_I: &str = "$SYS.REQ.USER.INFO";

/// How long that is waited for: not every user may ask, and who may not hears nothing.
const ANSWER: Duration = Duration::from_secs(1);

/// What is in doubt where the clocks were not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Compared(bool);

/// Compares the clocks: by the leader of a stream, where there is one, else by the server that
/// we are connected to.
///
/// # Errors
/// They are too far apart.
pub(super) async fn compare(
    connection: &Connection,
    stream: Option<&str>,
) -> Result<Compared, OpenError> {
    let there = match stream {
        Some(name) => of_leader(connection, name).await,
        None => of_server(connection).await,
    };
    match (there, stream) {
        (Some(there), _) => agree(SystemTime::now(), there, "")?,
        // It is asked for again once there is a stream.
        (None, None) => {}
        (None, Some(stream)) => warn!(
            stream,
            "the clocks of this machine and of the NATS servers were not compared: no answer says \
             what time it is there"
        ),
    }
    Ok(Compared(there.is_some()))
}

impl Compared {
    /// Compares the clocks after all, by a stream that was just made, where nobody would say
    /// before what time it is.
    ///
    /// # Errors
    /// They are too far apart.
    pub(super) async fn or_by(self, connection: &Connection, made: &str) -> Result<(), OpenError> {
        if self.0 {
            return Ok(());
        }
        warn!(
            "the clocks could not be compared before streams were made: the user that imserver \
             connects as may not publish to {WHO_AM_I}, or nobody answers there"
        );
        match of_leader(connection, made).await {
            Some(there) => agree(
                SystemTime::now(),
                there,
                ". Streams were made meanwhile, and are empty: they can stay",
            ),
            None => {
                warn!(stream = made, "nor afterwards");
                Ok(())
            }
        }
    }
}

fn agree(here: SystemTime, there: SystemTime, besides: &str) -> Result<(), OpenError> {
    let apart = here.duration_since(there).unwrap_or_else(|error| error.duration());
    if apart <= APART {
        return Ok(());
    }
    Err(OpenError::Cluster(format!(
        "the clock of this machine and that of the NATS servers are {} apart: set them by NTP\
         {besides}",
        humantime::format_duration(Duration::from_secs(apart.as_secs()))
    )))
}

/// By how many seconds the clock of this machine is ahead of a server's that said `there` when it
/// was `asked`, and whose answer took so long; it is somewhere on the way that it looked.
pub(super) fn ahead(asked: SystemTime, took: Duration, there: &str) -> Option<f64> {
    let there = humantime::parse_rfc3339(there).ok()?;
    let here = asked.checked_add(took / 2)?;
    Some(match here.duration_since(there) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    })
}

/// What time it is at the leader of a stream.
async fn of_leader(connection: &Connection, name: &str) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Info {
        ts: String,
    }
    let asked = connection.context.request(format!("STREAM.INFO.{name}"), &json!({})).await;
    let Info { ts } = asked.ok()?;
    humantime::parse_rfc3339(&ts).ok()
}

/// What time it is at the server that we are connected to.
async fn of_server(connection: &Connection) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Info {
        server: Server,
    }
    #[derive(Deserialize)]
    struct Server {
        time: String,
    }
    let asked = timeout(ANSWER, connection.client.request(WHO_AM_I, "".into())).await;
    let answer = asked.ok()?.ok()?;
    let Info { server } = serde_json::from_slice(&answer.payload).ok()?;
    humantime::parse_rfc3339(&server.time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ahead_of_what_is_said_in_the_middle_of_asking() {
        let asked = humantime::parse_rfc3339("2026-08-21T13:50:11Z").unwrap();
        let took = Duration::from_secs(2);
        for (there, seconds) in [("50:12", 0.0), ("50:08.5", 3.5), ("51:12", -60.0)] {
            let there = format!("2026-08-21T13:{there}Z");
            assert_eq!(ahead(asked, took, &there), Some(seconds), "{there}");
        }
        assert_eq!(ahead(asked, took, ""), None);
    }

    #[test]
    fn clocks_agree_up_to_five_seconds_either_way() {
        let now = SystemTime::now();
        for (apart, agrees) in [(0, true), (5, true), (6, false), (3600, false)] {
            let there = now + Duration::from_secs(apart);
            assert_eq!(agree(now, there, "").is_ok(), agrees, "{apart}");
            assert_eq!(agree(there, now, "").is_ok(), agrees, "{apart}");
        }
    }
}
