//! The log: one line an event, to standard error, and no line that a client wrote.
//!
//! Bodies and tokens are never logged, but names, origins and the like are, and
//! they come from outside. Whatever could start a line, move a cursor or turn the
//! reading direction is escaped before it is written.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A part of the filter is neither a level nor a `target=level`.
    #[error("{part:?} is no log level; the nearest is {nearest:?}")]
    Level {
        /// The part.
        part: String,
        /// The level most like it.
        nearest: &'static str,
    },
    /// The filter cannot be read.
    #[error("this is no log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// It asks for what people wrote to each other.
    #[error("`async_nats` logs the contents of messages and stays silent; leave it out")]
    Bodies,
    /// There is no log any more whose level could be set.
    #[error("the level of the log cannot be changed: {0}")]
    Gone(#[from] tracing_subscriber::reload::Error),
    /// The process logs already.
    #[error("the log was set up twice")]
    Twice,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads `log.level`, such as `info` or `info,imserver::store=debug`.
///
/// # Errors
/// When a part is no level and names no part of a program either: the filter
/// itself would take `inof` for the name of one and then log nothing at all.
pub fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    for part in level.split(',').map(str::trim) {
        let named = part.contains(['=', '[', ':']);
        if named || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part)) {
            continue;
        }
        let alike = |level: &str| strsim::jaro_winkler(part, level);
        let nearest = LEVELS.into_iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        return Err(TelemetryError::Level {
            part: part.to_owned(),
            nearest: nearest.unwrap_or("info"),
        });
    }
    // The last word on a name counts, and a longer name before a shorter one.
    if level.contains("async_nats") {
        return Err(TelemetryError::Bodies);
    }
    Ok(EnvFilter::builder().parse(format!("{level},{SILENT}"))?)
}

/// The client of the NATS servers logs messages with what people wrote to each other. What
/// becomes of its connection is logged where it is used.
const SILENT: &str = "async_nats=off";

/// A hand on the level of a log that is being written.
#[derive(Clone)]
pub struct LogLevel(
    Arc<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>,
);

impl LogLevel {
    /// Logs from now on what `level` says.
    ///
    /// # Errors
    /// When the filter is wrong; it is then as it was.
    pub fn set(&self, level: &str) -> Result<(), TelemetryError> {
        Ok((self.0)(filter(level)?)?)
    }
}

#[cfg(test)]
impl LogLevel {
    /// Of no log.
    pub(crate) fn of_none() -> Self {
        Self(Arc::new(|_| Ok(())))
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel").finish_non_exhaustive()
    }
}

/// Starts the log of this process, as lines for people or as JSON.
///
/// # Errors
/// When the filter is wrong, or the process logs already.
pub fn init(level: &str, json: bool) -> Result<LogLevel, TelemetryError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_ansi(io::stderr().is_terminal())
        // A line that cannot be written is lost, and no more: to say so on the same way out
        // would be a panic, and one in the hook below the end of the process.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let (done, level) = if json {
        // JSON strings escape by themselves.
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init(), LogLevel(Arc::new(move |filter| handle.reload(filter))))
    } else {
        let builder = builder.fmt_fields(escaped_fields()).with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init(), LogLevel(Arc::new(move |filter| handle.reload(filter))))
    };
    done.map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(met_a_fault));
    Ok(level)
}

/// Counts a fault of our own and says where it is.
pub(crate) fn met_a_fault(panic: &PanicHookInfo<'_>) {
    // Its place and no more: its words may quote what somebody wrote.
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    crate::metrics::panicked();
    tracing::error!(place, "a fault of ours: please report it; one task was ended");
}

/// Writes `message field=value field=value` with every value escaped.
fn escaped_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field, value| {
        if field.name() != "message" {
            write!(writer, "{field}=")?;
        }
        write!(Escaping(writer), "{value:?}")
    })
    .delimited(" ")
}

/// Passes text on with everything escaped that is not plainly visible.
struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            if c.is_control() || steers(c) {
                write!(self.0, "{}", c.escape_unicode())
            } else {
                self.0.write_char(c)
            }
        })
    }
}

/// Whether `c` breaks lines or turns the reading direction, of what is no control character.
pub(crate) fn steers(c: char) -> bool {
    matches!(c,
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::info;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_logged_text_cannot_forge_a_line() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .fmt_fields(escaped_fields())
            .finish();
        let evil = "x\n2026-01-01 ERROR forged\r\u{1b}[2J\u{202e}\u{2028}小明";
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("connection", name = %evil);
            let _inside = span.enter();
            info!(origin = %evil, agent = evil, "greeting {evil}");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(text.ends_with('\n'));
        assert!(!text.trim_end().contains(|c: char| c.is_control() || steers(c)), "{text:?}");
        assert!(text.contains("小明"));
    }

    #[test]
    fn a_mistyped_level_is_refused_instead_of_silencing_the_log() {
        for good in ["info", "WARN", "off", "info,imserver::store=debug", "imserver=trace,warn"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["inof", "", "info,", "verbose", "imserver=lots", "async_nats::jetstream=debug"]
        {
            assert!(filter(bad).is_err(), "{bad}");
        }
        assert_eq!(
            filter("inof").unwrap_err().to_string(),
            "\"inof\" is no log level; the nearest is \"info\""
        );
    }
}
