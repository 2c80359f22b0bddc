//! Whom the store knows.

use std::collections::BTreeSet;

use super::log::Log;
use super::names::Names;
use crate::ids::{Sender, UserId};
use crate::store::StoreError;

impl Log {
    /// As the contract says. Looks at the subjects of all streams: for administrators.
    pub(super) async fn users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let mut users = BTreeSet::new();
        let profiles = self.names.profiles();
        let known = self.reads.subjects(&profiles, &self.names.all_profiles()).await?;
        users.extend(known.iter().filter_map(|subject| Names::user(subject)));
        for part in 0..self.names.partitions() {
            let stream = self.names.messages(part);
            let pairs = self.reads.subjects(&stream, &self.names.all_messages(part)).await?;
            for (to, from) in pairs.iter().filter_map(|subject| Names::pair(subject)) {
                users.insert(to);
                if let Sender::User(from) = from {
                    users.insert(from);
                }
            }
        }
        let behind = users.into_iter().filter(|user| after.is_none_or(|after| after < *user));
        Ok(behind.take(limit).collect())
    }
}
