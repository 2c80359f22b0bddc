//! Messages by the names that their clients gave them.

use super::super::keys::{self, Pair};
use super::super::log::Log;
use super::super::names::{self, Collector, Names};
use super::super::record::MessageRecord;
use super::rows::{Row, Rows};
use super::{Result, not_whole, unreadable};
use crate::ids::MessageId;
use crate::message::ClientMsgId;
use crate::store::Cursor;

/// The newest message of a pair that has the name: what lies behind the last full
/// stretch is read, and of the rest the names alone.
pub(in super::super) fn find_named(
    tree: &Log,
    pair: Pair,
    name: &ClientMsgId,
    head: Cursor,
) -> Result<Option<MessageRecord>> {
    let mut full = None;
    for row in Rows::of(tree, pair, 0..=head.get()).rev() {
        let row = row?;
        full = names::full_with(row.ordinal);
        if full.is_some() {
            break;
        }
        if let Some(found) = if_named(&row, name)? {
            return Ok(Some(found));
        }
    }
    let Some(full) = full else {
        return Ok(None);
    };
    let print = names::print(name.as_str());
    for row in tree.range(keys::names(pair, 0)..=keys::names(pair, full)).rev() {
        let (key, value) = row.map_err(unreadable)?;
        let names = Names::decode(&key, &value).ok_or_else(|| not_whole("name", &key))?;
        if !names.may_hold(print) {
            continue;
        }
        for row in Rows::of(tree, pair, names.first.get()..=names.last.get()).rev() {
            if let Some(found) = if_named(&row?, name)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn if_named(row: &Row, name: &ClientMsgId) -> Result<Option<MessageRecord>> {
    let view = row.view()?;
    Ok((view.client_id == name.as_str()).then(|| view.to_record()))
}

/// Adds the names of the newest `count` messages of a pair before `end`.
pub(in super::super) fn collect_names(
    tree: &Log,
    pair: Pair,
    end: MessageId,
    count: usize,
    names: &mut Collector,
) -> Result<()> {
    for row in Rows::of(tree, pair, 0..=end.get() - 1).rev().take(count) {
        let row = row?;
        names.add(row.id, row.view()?.client_id);
    }
    Ok(())
}
