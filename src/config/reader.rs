//! The collecting reader: takes values out of the file and its overrides, and
//! keeps every fault instead of stopping at the first.
//!
//! What is known is what was asked for: a section's reader names each key once,
//! with its default, and whatever else the file holds is reported at the end.

use super::values::{Raw, Wrong, quoted};
use super::{Error, Fault, Place};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, Table, TableLike};

/// Variables that start so, and hold `__`, override a key.
pub const PREFIX: &str = "IMSERVER_";

/// A value that replaces the file's, from the environment or the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What a fault in it names: the variable or the option.
    pub name: String,
    /// The key with its section, such as `server.listen`.
    pub key: String,
    /// The value, as text.
    pub text: String,
}

/// What is being read, and what was found wrong so far.
pub(super) struct Reader<'a> {
    text: &'a str,
    base: &'a Path,
    pub(super) root: &'a Table,
    overrides: Vec<Override>,
    /// Each section with the keys that were asked for.
    pub(super) known: BTreeMap<&'static str, Vec<&'static str>>,
    pub(super) faults: Vec<Fault>,
}

/// One section of the file being read.
pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
}

/// Parses `text`, lets `sections` take what it knows, and reports the rest.
pub(super) fn read<C>(
    text: &str,
    file: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: Vec<Override>,
    sections: impl FnOnce(&mut Reader<'_>) -> C,
) -> Result<C, Error> {
    let document = Document::parse(text).map_err(|e| {
        let line = e.span().map(|span| line_of(text.as_bytes(), span.start));
        Error::syntax(file, line, &format!("it is not TOML here: {}", e.message()))
    })?;
    let mut reader = Reader {
        text,
        base: file.parent().unwrap_or(Path::new("")),
        root: document.as_table(),
        overrides: Vec::new(),
        known: BTreeMap::new(),
        faults: Vec::new(),
    };
    let variables = reader.take_variables(environment);
    reader.overrides.extend(overrides);
    let config = sections(&mut reader);
    reader.report_unknown_keys();
    reader.report_unknown_variables(&variables);
    if reader.faults.is_empty() {
        return Ok(config);
    }
    let mut faults = reader.faults;
    faults.sort_by(|a, b| a.place.cmp(&b.place));
    Err(Error::Faults { file: file.to_owned(), faults })
}

/// The line, counted from 1, that byte `at` of `text` is on.
pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|byte| **byte == b'\n').count()
}

impl<'a> Reader<'a> {
    /// Starts reading a section, which makes it known.
    pub(super) fn section<'r>(&'r mut self, name: &'static str) -> Section<'r, 'a> {
        self.known.entry(name).or_default();
        Section { reader: self, name }
    }

    /// Whether one of these keys was already found faulty, so that a check
    /// across keys would only blame its default.
    pub(super) fn any_faulty(&self, keys: &[&str]) -> bool {
        self.faults.iter().any(|fault| keys.contains(&fault.key.as_str()))
    }

    /// Reports a fault between keys, at the first of `keys` that is written somewhere.
    pub(super) fn conflict(&mut self, keys: &[&str], wrong: Wrong) {
        let places = keys.iter().map(|key| (self.place(key), *key));
        let found = places.clone().find(|(place, _)| *place != Place::File);
        if let Some((place, key)) = found.or_else(|| places.clone().next()) {
            let Wrong { wrong, right } = wrong;
            self.faults.push(Fault { place, key: key.to_owned(), wrong, right });
        }
    }

    /// Every key that was asked for, with its section.
    #[cfg(test)]
    pub(super) fn known_keys(&self) -> Vec<String> {
        let all = self.known.iter();
        all.flat_map(|(s, keys)| keys.iter().map(move |key| format!("{s}.{key}"))).collect()
    }

    /// Where `key` is written.
    pub(super) fn place(&self, key: &str) -> Place {
        if let Some(found) = self.overrides.iter().rev().find(|o| o.key == key) {
            return Place::Override(found.name.clone());
        }
        let Some((section, key)) = key.rsplit_once('.') else {
            return Place::File;
        };
        self.table(section)
            .and_then(|table| table.get_key_value(key))
            .map_or(Place::File, |(key, item)| self.line(key.span().or_else(|| item.span())))
    }

    /// The line on which `span` starts.
    pub(super) fn line(&self, span: Option<Range<usize>>) -> Place {
        span.map_or(Place::File, |span| Place::Line(line_of(self.text.as_bytes(), span.start)))
    }

    /// The table of a section; that of `store.jetstream` lies in that of `store`.
    fn table(&self, section: &str) -> Option<&'a dyn TableLike> {
        let mut names = section.split('.');
        let outer = self.root.get(names.next()?).and_then(Item::as_table_like);
        names.fold(outer, |table, name| table?.get(name).and_then(Item::as_table_like))
    }

    /// Turns `IMSERVER_SECTION__KEY` variables into overrides; gives all names
    /// that look like a setting for the check at the end.
    fn take_variables(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for (name, value) in environment {
            let name = name.to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let key = rest.to_lowercase().replace("__", ".");
            match value.into_string() {
                Ok(text) => self.overrides.push(Override { name: name.clone(), key, text }),
                Err(_) if rest.contains("__") => self.faults.push(Fault {
                    place: Place::Override(name.clone()),
                    key,
                    wrong: "its value is not UTF-8 text".to_owned(),
                    right: String::new(),
                }),
                Err(_) => {}
            }
            names.push(name);
        }
        names.sort();
        names
    }
}

impl Section<'_, '_> {
    /// Takes one key: its value through `parse`, or `default` where it is not
    /// given or faulty.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(Raw<'_>) -> Result<T, Wrong>,
    ) -> T {
        self.take_all(key, default, |raw| parse(raw).map_err(|wrong| vec![wrong]))
    }

    /// Takes a list, each of its entries through `parse`; every faulty entry is
    /// a fault.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        self.take_all(key, default, |raw| {
            let texts = raw.list().map_err(|wrong| vec![wrong])?;
            let (mut entries, mut wrongs) = (Vec::new(), Vec::new());
            for text in &texts {
                match parse(text) {
                    Ok(entry) => entries.push(entry),
                    Err(wrong) => wrongs.push(wrong),
                }
            }
            if wrongs.is_empty() { Ok(entries) } else { Err(wrongs) }
        })
    }

    fn take_all<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(Raw<'_>) -> Result<T, Vec<Wrong>>,
    ) -> T {
        self.reader.known.entry(self.name).or_default().push(key);
        let full = format!("{}.{key}", self.name);
        let given = self.reader.overrides.iter().rev().find(|o| o.key == full);
        let raw = match given {
            Some(given) => Raw::Text(&given.text),
            None => match self.reader.table(self.name).and_then(|table| table.get(key)) {
                Some(item) => Raw::Item(item),
                None => return default,
            },
        };
        parse(raw).unwrap_or_else(|wrongs| {
            let place = self.reader.place(&full);
            let faults = wrongs.into_iter().map(|Wrong { wrong, right }| Fault {
                place: place.clone(),
                key: full.clone(),
                wrong,
                right,
            });
            self.reader.faults.extend(faults);
            default
        })
    }

    /// Takes a path that may be left out, as `""`; a relative one starts at the folder of
    /// the file.
    pub(super) fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let base = self.reader.base;
        self.take(key, None, |raw| {
            let text = raw.text("write a path in quotes, or \"\"")?;
            if text.contains('\0') {
                return Err(Wrong::new(format!("{} is no path", quoted(&text)), "name a file"));
            }
            Ok((!text.is_empty()).then(|| base.join(text)))
        })
    }

    /// Takes a path; a relative one starts at the folder of the file.
    pub(super) fn path(&mut self, key: &'static str, default: PathBuf) -> PathBuf {
        let base = self.reader.base;
        self.take(key, base.join(default), |raw| {
            let text = raw.text("write a path in quotes")?;
            if text.is_empty() || text.contains('\0') {
                return Err(Wrong::new(format!("{} is no path", quoted(&text)), "name a file"));
            }
            Ok(base.join(text))
        })
    }
}
