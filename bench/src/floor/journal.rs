//! One writer, one file, one `fdatasync` for everything that is waiting.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Mailbox;

/// Lists of messages that may wait; more make their connections wait.
const MAX_LISTS: usize = 1024;
/// Bytes after which a commit takes no more.
const MAX_COMMIT: usize = 4 << 20;

/// A message before it is durable.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it came.
    pub(super) record: Utf8Bytes,
    /// What the sender gets, once it is durable.
    pub(super) success: Utf8Bytes,
    pub(super) sender: Arc<Mailbox>,
    /// What the recipient gets, up to the message id.
    pub(super) delivery: String,
    pub(super) recipient: Arc<Mailbox>,
}

/// Where connections hand in what they received at once.
pub(super) type Journal = mpsc::Sender<Vec<Entry>>;

/// Opens the file and starts the writer.
pub(super) fn open(path: &Path) -> Result<Journal> {
    let file = File::options().append(true).create(true).open(path).context("the journal")?;
    let (journal, lists) = mpsc::channel(MAX_LISTS);
    // When this ends, so does every connection, at its next message.
    std::thread::spawn(move || write(&file, lists));
    Ok(journal)
}

fn write(mut file: &File, mut lists: mpsc::Receiver<Vec<Entry>>) -> std::io::Result<()> {
    let (mut bytes, mut commit) = (Vec::new(), Vec::new());
    let mut id = 0_u64;
    while let Some(list) = lists.blocking_recv() {
        let mut next = Some(list);
        while let Some(list) = next {
            for entry in &list {
                let length = u32::try_from(entry.record.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(entry.record.as_bytes());
            }
            commit.extend(list);
            next = if bytes.len() < MAX_COMMIT { lists.try_recv().ok() } else { None };
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        bytes.clear();
        for entry in commit.drain(..) {
            id += 1;
            let Entry { success, sender, mut delivery, recipient, .. } = entry;
            sender.put(success);
            delivery.push_str(&id.to_string());
            delivery.push_str(r#"\"}"}"#);
            recipient.put(delivery.into());
        }
    }
    Ok(())
}
