//! What can be wrong with a configuration, said so that a person can mend it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no configuration.
#[derive(Debug)]
pub enum Error {
    /// There is no such file.
    NotFound {
        /// The file that was looked for.
        file: PathBuf,
    },
    /// The file is there but cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file was read, and this is everything that is wrong with it.
    Faults {
        /// The file.
        file: PathBuf,
        /// At least one, in the order of the file, overrides last.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// The key with its section, such as `server.listen`; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right; empty where `wrong` says it all.
    pub right: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// This line of the file, counted from 1.
    Line(usize),
    /// The file, which does not name the key.
    File,
    /// What overrides the file: the name of a variable or an option.
    Override(String),
}

impl Error {
    pub(super) fn syntax(file: &Path, line: Option<usize>, wrong: &str) -> Self {
        Self::Faults {
            file: file.to_owned(),
            faults: vec![Fault {
                place: line.map_or(Place::File, Place::Line),
                key: String::new(),
                wrong: wrong.to_owned(),
                right: String::new(),
            }],
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None // the cause of `Unreadable` is part of its sentence
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { file } => write!(f, "there is no {}", file.display()),
            Self::Unreadable { file, cause } => {
                write!(f, "{} cannot be read: {cause}", file.display())
            }
            Self::Faults { file, faults } => {
                let s = if faults.len() == 1 { "" } else { "s" };
                write!(f, "{} has {} fault{s}:", file.display(), faults.len())?;
                for fault in faults {
                    f.write_str("\n  ")?;
                    match &fault.place {
                        Place::Line(line) => write!(f, "{}:{line}: ", file.display())?,
                        Place::File => write!(f, "{}: ", file.display())?,
                        Place::Override(name) => write!(f, "{name}: ")?,
                    }
                    if !fault.key.is_empty() {
                        write!(f, "{}: ", fault.key)?;
                    }
                    f.write_str(&fault.wrong)?;
                    if !fault.right.is_empty() {
                        write!(f, "; {}", fault.right)?;
                    }
                }
                Ok(())
            }
        }
    }
}
