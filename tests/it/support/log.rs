//! What a server writes into its log.

use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;

/// The server's log, line by line, as it is written.
#[derive(Clone, Debug)]
pub(super) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    grown: watch::Receiver<usize>,
}

impl Log {
    pub(super) fn follow(stderr: impl std::io::Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, grown) = watch::channel(0);
        let writing = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let mut lines = writing.lock().unwrap();
                lines.push(line.unwrap_or_default());
                let _ = tell.send(lines.len());
            }
        });
        Self { lines, grown }
    }

    pub(super) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    pub(super) async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut grown = self.grown.clone();
        let mut seen = 0;
        let found = async {
            loop {
                grown.borrow_and_update();
                for line in self.lines.lock().unwrap().iter().skip(seen) {
                    seen += 1;
                    if let Ok(value) = serde_json::from_str::<Value>(line)
                        && wanted(&value)
                    {
                        return value;
                    }
                }
                if grown.changed().await.is_err() {
                    panic!("the server ended without it:\n{}", self.text());
                }
            }
        };
        match tokio::time::timeout(super::PATIENCE, found).await {
            Ok(value) => value,
            Err(_) => panic!("not in the log:\n{}", self.text()),
        }
    }
}
