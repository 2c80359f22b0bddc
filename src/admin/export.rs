//! The data of a store as JSON lines: for people, for other programs, and for `import`.

use crate::ids::UserId;
use crate::message::StoredAt;
use crate::store::{Digest, Export, LINES_VERSION, Line, Piece};

/// Turns the pieces of an export into its lines.
#[derive(Debug)]
pub struct ExportLines {
    /// The first line, until it was given.
    first: Option<Line>,
    digest: Digest,
}

impl ExportLines {
    /// Begins the lines of everything, or of what concerns one user.
    pub fn begin(whose: Option<UserId>, export: &Export) -> Self {
        // To whom one user's lines are of use ids are of none.
        let lapsed = Some(export.lapsed).filter(|lapsed| *lapsed > 0 && whose.is_none());
        let first = Line::Export {
            version: LINES_VERSION,
            made: StoredAt::now().0,
            user_id: whose.map(UserId::get),
            last_id: export.last_id.to_string(),
            lapsed_up_to: lapsed.map(|lapsed| lapsed.to_string()),
        };
        Self { first: Some(first), digest: Digest::default() }
    }

    /// The lines of a piece, each with its end.
    pub fn add(&mut self, piece: Piece) -> String {
        let mut lines = String::new();
        let mut push = |written: &str| {
            lines.push_str(written);
            lines.push('\n');
        };
        if let Some(first) = self.first.take() {
            push(&first.write());
        }
        match piece {
            Piece::Records(records) => {
                for line in records.into_iter().map(Line::from) {
                    let written = line.write();
                    self.digest.add(&line, &written);
                    push(&written);
                }
            }
            Piece::End => push(&self.digest.end().write()),
        }
        lines
    }
}
