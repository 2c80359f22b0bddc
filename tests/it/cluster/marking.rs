//! A recipient who marks what they are shown as read: some one by one, by frame and by the API,
//! somebody's all at once, and the rest not at all.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::ledger::{Ledger, READER};
use super::load::{Everywhere, PAUSE};
use crate::support::{Call, mark_read};

/// Between two looks at what was shown meanwhile.
const LOOK: Duration = Duration::from_millis(300);

/// How long a node may take to let somebody go before they leave.
const CLOSING: Duration = Duration::from_secs(1);

/// As many as one call takes.
const AT_ONCE: usize = 1000;

/// Marks, each time until a node says that it is done, and then puts it down.
pub async fn mark(everywhere: Everywhere) {
    let (mut taken, mut at) = (0, 0);
    for round in 0u32.. {
        let is_over = everywhere.over.load(Ordering::Acquire);
        let (seen, ids, up_to) = everywhere.ledger.lock().unwrap().to_mark(taken);
        for ids in ids.chunks(AT_ONCE) {
            if round % 2 == 0 {
                // Silently, as the document has it; and once more below, by another node.
                let mut client = everywhere.connect(READER, ids[0], &mut at).await;
                client.send_into_the_blue(&mark_read(READER, ids)).await;
                // What is behind it in the socket would be thrown away with it.
                let _ = timeout(CLOSING, client.close()).await;
            }
            let strings: Vec<String> = ids.iter().map(u64::to_string).collect();
            insist(&everywhere, &json!({ "ids": strings }), &mut at).await;
            everywhere.ledger.lock().unwrap().marked.extend(ids);
        }
        if let Some(id) = up_to {
            let all = json!({ "peerId": Ledger::marked_up_to(), "upTo": id.to_string() });
            insist(&everywhere, &all, &mut at).await;
            everywhere.ledger.lock().unwrap().marked_up_to = id;
        }
        if is_over && seen == taken {
            return;
        }
        taken = seen;
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks the nodes in turn until one says that it is done.
async fn insist(everywhere: &Everywhere, what: &Value, at: &mut usize) {
    loop {
        let answer = Call::post(READER, "read", what).reach(everywhere.next(at)).await;
        match answer.map(|answer| (answer.status, answer.code())) {
            Some((204, _)) => return,
            // It was killed meanwhile, or says that it cannot now.
            None | Some((0, _)) => {}
            Some((status, code)) => assert_eq!((status, code.as_str()), (503, "store_unavailable")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
