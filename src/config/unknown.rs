//! What the file or the environment holds and nobody asked for: named, with the
//! nearest that there is.

use super::reader::{PREFIX, Reader};
use super::values::{Raw, bare};
use super::{Fault, Place};
use std::ops::Range;
use toml_edit::{Item, TableLike};

impl Reader<'_> {
    pub(super) fn report_unknown_variables(&mut self, variables: &[String]) {
        let known: Vec<String> = self
            .known
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| (section, key)))
            .map(|(section, key)| format!("{section}__{key}").replace('.', "__").to_uppercase())
            .map(|name| format!("{PREFIX}{name}"))
            .collect();
        for name in variables {
            // A single underscore is the likeliest slip, and would otherwise be
            // ignored without a word. Other variables without `__` are not settings.
            let slipped = known.iter().find(|known| known.replace("__", "_") == *name);
            if known.contains(name) || (!name.contains("__") && slipped.is_none()) {
                continue;
            }
            let capitals = name.to_uppercase();
            let near = slipped.map_or_else(|| nearest(&capitals, known.iter()), String::as_str);
            self.faults.push(Fault {
                place: Place::Override(name.clone()),
                key: String::new(),
                wrong: "no setting has this variable".to_owned(),
                right: format!("the nearest is {near}"),
            });
        }
    }

    pub(super) fn report_unknown_keys(&mut self) {
        for (name, item) in self.root {
            let (key, section) = (bare(name), self.known.get(name));
            let place = match self.root.key(name).and_then(|key| key.span()).or(item.span()) {
                Some(span) => self.line(Some(span)),
                // A table that is only implied, as `a` in `[a.b]`, has no place of its own.
                None => self.line(first_span(item)),
            };
            let (wrong, right) = match (section, item.as_table_like()) {
                (Some(known), Some(table)) => {
                    let unknown = self.unknown_in(name, table, known);
                    self.faults.extend(unknown);
                    continue;
                }
                (Some(_), None) => (
                    format!("this is a section, not {}", Raw::Item(item).kind()),
                    format!("write [{name}] on a line of its own and its keys below"),
                ),
                (None, Some(_)) => (
                    "there is no such section".to_owned(),
                    format!("the nearest is [{}]", nearest(name, self.known.keys())),
                ),
                (None, None) => (
                    "there is no such key outside of a section".to_owned(),
                    match self.section_of(name) {
                        Some(section) => format!("it belongs below [{section}]"),
                        None => format!("the nearest key is {}", self.nearest_anywhere(name)),
                    },
                ),
            };
            self.faults.push(Fault { place, key, wrong, right });
        }
    }

    /// What a section holds that is no key of it, and its sections' likewise.
    fn unknown_in(
        &self,
        section: &str,
        table: &dyn TableLike,
        known: &[&'static str],
    ) -> Vec<Fault> {
        let mut unknown = Vec::new();
        for (key, item) in table.iter() {
            let inner = format!("{section}.{key}");
            match (self.known.get(inner.as_str()), item.as_table_like()) {
                (Some(known), Some(table)) => unknown.extend(self.unknown_in(&inner, table, known)),
                (Some(_), None) => unknown.push(Fault {
                    place: self.place(&inner),
                    wrong: format!("this is a section, not {}", Raw::Item(item).kind()),
                    right: format!("write [{inner}] on a line of its own and its keys below"),
                    key: inner,
                }),
                (None, _) if known.contains(&key) => {}
                (None, _) => unknown.push(self.unknown_key(section, key, known)),
            }
        }
        unknown
    }

    fn unknown_key(&self, section: &str, key: &str, known: &[&'static str]) -> Fault {
        let full = format!("{section}.{key}");
        let right = match self.section_of(key) {
            Some(other) => format!("a key of this name belongs below [{other}]"),
            None => format!("the nearest is `{}`", nearest(key, known.iter())),
        };
        Fault {
            place: self.place(&full),
            key: format!("{section}.{}", bare(key)),
            wrong: format!("[{section}] has no such key"),
            right,
        }
    }

    fn section_of(&self, key: &str) -> Option<&'static str> {
        self.known.iter().find(|(_, keys)| keys.contains(&key)).map(|(section, _)| *section)
    }

    fn nearest_anywhere(&self, key: &str) -> String {
        let all = self.known.iter().flat_map(|(s, keys)| keys.iter().map(move |k| (*k, *s)));
        all.max_by(|a, b| strsim::jaro_winkler(key, a.0).total_cmp(&strsim::jaro_winkler(key, b.0)))
            .map_or_else(String::new, |(k, section)| format!("`{k}` below [{section}]"))
    }
}

fn nearest<'n, N: AsRef<str> + 'n>(name: &str, known: impl Iterator<Item = &'n N>) -> &'n str {
    known
        .map(AsRef::as_ref)
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .unwrap_or_default()
}

fn first_span(item: &Item) -> Option<Range<usize>> {
    item.as_table_like()?.iter().find_map(|(_, item)| item.span().or_else(|| first_span(item)))
}
