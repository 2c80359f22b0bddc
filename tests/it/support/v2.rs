//! A client of `im.v2`: the document's, and what the subprotocol adds.

use serde_json::{Value, json};

use super::{Client, Forge, TestServer, frame};

/// How a connection with `im.v2` is opened.
#[derive(Clone, Debug)]
pub struct V2<'a> {
    server: &'a TestServer,
    user: u64,
    token: String,
    after: Option<String>,
}

impl<'a> V2<'a> {
    /// For `user`, with a token of an hour.
    pub fn of(server: &'a TestServer, user: u64) -> Self {
        Self { server, user, token: Forge::token(user), after: None }
    }

    /// With another token.
    pub fn token(self, token: String) -> Self {
        Self { token, ..self }
    }

    /// Resuming behind a message.
    pub fn after(self, id: impl ToString) -> Self {
        Self { after: Some(id.to_string()), ..self }
    }

    /// Connects.
    pub async fn connect(self) -> Client {
        let query = self.after.map(|id| format!("?after={id}")).unwrap_or_default();
        let offered = format!("im.v2, im.bearer.{}", self.token);
        let headers = [("sec-websocket-protocol", offered.as_str())];
        let path = format!("/teaching/imserver{query}");
        Client::open(self.server, self.user, &path, &headers).await.unwrap()
    }

    /// Connects, and reads until the client is up to date: the messages and the report.
    pub async fn replayed(self) -> (Client, Vec<Value>, Value) {
        let mut client = self.connect().await;
        let mut messages = Vec::new();
        loop {
            let frame = client.next().await;
            match frame["type"].as_u64() {
                Some(2) => messages.push(frame),
                Some(6) => return (client, messages, frame),
                _ => panic!("before the client was up to date came {frame}"),
            }
        }
    }

    /// Connects to an inbox without news.
    pub async fn quiet(self) -> Client {
        let (client, messages, _) = self.replayed().await;
        assert_eq!(messages, Vec::<Value>::new());
        client
    }
}

/// A packet under a name of the client's own; `again` on its later tries.
pub fn named(from: u64, to: u64, content: &str, name: &str, again: bool) -> Value {
    let describe = match again {
        true => json!({ "clientMsgId": name, "resend": true }),
        false => json!({ "clientMsgId": name }),
    };
    let mut packet = frame(from, to, content, "1589790567");
    packet["Describe"] = describe.to_string().into();
    packet
}

/// What stands in the `Describe` of a frame.
pub fn described(frame: &Value) -> Value {
    serde_json::from_str(frame["Describe"].as_str().unwrap()).unwrap()
}
