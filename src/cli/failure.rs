//! How a command ends when it does not succeed.

use super::{ConfigFile, dev};
use crate::admin::AuditError;
use crate::auth::{IssueError, KeySetError};
use crate::config;
use crate::store::jetstream;
use crate::store::sled::OpenError;
use std::fmt;
use std::process::ExitCode;

/// Why a command did not succeed: a sentence for people, and whose turn it is.
#[derive(Debug)]
pub(super) struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// What was asked for is right, but it did not work: exit code 1.
    pub(super) fn failed(sentence: impl fmt::Display) -> Self {
        Self { sentence: sentence.to_string(), code: 1 }
    }

    /// The command line, the configuration or a file that it names is wrong:
    /// exit code 2.
    pub(super) fn usage(sentence: impl fmt::Display) -> Self {
        Self { sentence: sentence.to_string(), code: 2 }
    }

    /// The configuration is wrong, or not there.
    pub(super) fn config(error: &config::Error, file: &ConfigFile) -> Self {
        let hint = match (error, &file.named) {
            (config::Error::NotFound { .. }, None) => match dev::made_here() {
                Some(made) => format!(
                    "; add --config {} to go by that of `imserver dev`, or run `imserver init` to \
                     set up for production",
                    made.display()
                ),
                None => "; run `imserver init` to set up for production, or `imserver dev` to try \
                         it"
                .to_owned(),
            },
            (config::Error::NotFound { .. }, Some(_)) => {
                format!(", which --config names; `imserver init{}` makes it", file.option())
            }
            _ => String::new(),
        };
        Self::usage(format!("{error}{hint}"))
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<KeySetError> for Failure {
    fn from(error: KeySetError) -> Self {
        match error {
            KeySetError::Io { .. } => Self::failed(error),
            _ => Self::usage(error),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Library => Self::failed(error),
            _ => Self::usage(error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse { path } => Self::failed(format!(
                "the data directory {} is in use: stop the server that has it open, then try again",
                path.display()
            )),
            OpenError::NoStore { .. } => Self::usage(error),
            other => Self::failed(other),
        }
    }
}

impl From<jetstream::OpenError> for Failure {
    fn from(error: jetstream::OpenError) -> Self {
        match error.is_configuration() {
            true => Self::usage(error),
            false => Self::failed(error),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Open { .. } => Self::usage(error),
            AuditError::Unreached(ref why) if why.is_configuration() => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        error
            .downcast::<KeySetError>()
            .map(Self::from)
            .or_else(|error| error.downcast::<IssueError>().map(Self::from))
            .or_else(|error| error.downcast::<AuditError>().map(Self::from))
            .unwrap_or_else(|error| Self::failed(format!("{error:#}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
