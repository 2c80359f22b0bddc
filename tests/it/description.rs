//! `docs/asyncapi.json` held against the wire: every frame that the server really sends
//! is one that it describes, and every frame that it describes is understood.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{Call, Claims, Client, Forge, Setup, V2, frame, named, post_message};

/// The messages of one operation, with what their frames and contents must look like.
struct Description {
    messages: Vec<Message>,
}

struct Message {
    name: String,
    payload: Validator,
    /// Members that are strings and hold JSON.
    contents: Vec<(String, Validator)>,
    examples: Vec<Value>,
}

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Compiles a schema of the document, with all that it may refer to.
fn compile(document: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::draft7::new(&schema).unwrap()
}

impl Description {
    /// What is said of an operation, such as `sendV2`.
    fn of(operation: &str) -> Self {
        let document = document();
        let at = |pointer: &Value| {
            let pointer = pointer["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there")).clone()
        };
        let messages = document["operations"][operation]["messages"].as_array().unwrap();
        let messages = messages.iter().map(|place| {
            let message = at(&at(place));
            let payload = &message["payload"];
            let members = payload["properties"].as_object().unwrap().iter();
            let contents = members.filter_map(|(name, schema)| {
                let content = schema.get("x-content")?;
                Some((name.clone(), compile(&document, content)))
            });
            let examples = message["examples"].as_array().unwrap();
            Message {
                name: message["name"].as_str().unwrap().to_owned(),
                payload: compile(&document, payload),
                contents: contents.collect(),
                examples: examples.iter().map(|example| example["payload"].clone()).collect(),
            }
        });
        Self { messages: messages.collect() }
    }

    /// The names under which a frame is described.
    fn names(&self, frame: &Value) -> Vec<&str> {
        let fits = self.messages.iter().filter(|message| message.describes(frame));
        fits.map(|message| message.name.as_str()).collect()
    }

    fn all(&self) -> BTreeSet<&str> {
        self.messages.iter().map(|message| message.name.as_str()).collect()
    }
}

impl Message {
    fn describes(&self, frame: &Value) -> bool {
        self.payload.is_valid(frame)
            && self.contents.iter().all(|(member, schema)| {
                let text = frame[member].as_str().unwrap_or_default();
                serde_json::from_str(text).is_ok_and(|content| schema.is_valid(&content))
            })
    }
}

/// Frames that came in, each of which must be described.
struct Seen<'a> {
    description: &'a Description,
    names: BTreeSet<String>,
}

impl<'a> Seen<'a> {
    fn new(description: &'a Description) -> Self {
        Self { description, names: BTreeSet::new() }
    }

    fn look(&mut self, frame: &Value) {
        let names = self.description.names(frame);
        assert!(!names.is_empty(), "{frame} is not described");
        self.names.extend(names.into_iter().map(str::to_owned));
    }

    async fn next(&mut self, client: &mut Client) -> Value {
        let frame = client.next().await;
        self.look(&frame);
        frame
    }

    /// Reads up to the first frame of this type.
    async fn until(&mut self, client: &mut Client, kind: u64) {
        while self.next(client).await["type"] != kind {}
    }

    fn has_seen_all(&self) {
        let names: BTreeSet<&str> = self.names.iter().map(String::as_str).collect();
        assert_eq!(names, self.description.all());
    }
}

#[tokio::test]
async fn the_document_is_spoken_as_it_is_described() {
    let description = Description::of("sendDocument");
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let token = Claims::of(1).with("name", "小明").with("picture", "www.example.com/a.png");
    let mut ming = Client::with_token(&server, 1, &token.token()).await;
    let mut hong = server.connect(2).await;
    let mut seen = Seen::new(&description);
    ming.send(&frame(1, 2, "<b>\"\\\u{7}😀", "1589790567")).await;
    seen.until(&mut ming, 0).await;
    seen.until(&mut hong, 2).await;
    for bad in ["{", r#"{"fromId":1,"toId":0,"type":0,"content":"x","timestamp":"t"}"#] {
        ming.send_text(bad).await;
        seen.until(&mut ming, 1).await;
    }
    seen.has_seen_all();
}

#[tokio::test]
async fn im_v2_is_spoken_as_it_is_described() {
    let description = Description::of("sendV2");
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let mut seen = Seen::new(&description);
    post_message(&server, 2, 1, "before").await;
    let mut ming = V2::of(&server, 1).connect().await;
    seen.until(&mut ming, 6).await;
    let mut phone = V2::of(&server, 1).after(u64::from(u32::MAX)).connect().await;
    seen.until(&mut phone, 6).await;
    let mut hong = V2::of(&server, 2).connect().await;
    seen.until(&mut hong, 6).await;
    for (name, describe) in [("n-1", true), ("", false)] {
        let packet = match describe {
            true => named(1, 2, "你好", name, false),
            false => frame(1, 2, "without a name", "1"),
        };
        ming.send(&packet).await;
        seen.until(&mut ming, 0).await;
        seen.until(&mut phone, 2).await;
        seen.until(&mut hong, 2).await;
    }
    ming.send(&named(1, 3, "another", "n-1", false)).await;
    seen.until(&mut ming, 1).await;
    ming.send(&frame(1, 2, "", "1")).await;
    seen.until(&mut ming, 1).await;
    let mut typing = frame(1, 2, "", "1");
    typing["type"] = json!(4);
    ming.send(&typing).await;
    seen.until(&mut hong, 4).await;
    Call::post(2, "read", &json!({ "peerId": 1, "upTo": 9_007_199_254_740_991_u64 }))
        .send(&server)
        .await;
    seen.until(&mut ming, 3).await;
    seen.until(&mut hong, 3).await;
    let mut refresh = frame(1, 0, &Forge::token(1), "1");
    refresh["type"] = json!(5);
    ming.send(&refresh).await;
    seen.until(&mut ming, 0).await;
    seen.has_seen_all();
}

#[tokio::test]
async fn what_is_described_is_understood() {
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let mut plain = server.connect(1).await;
    let mut v2 = V2::of(&server, 1).quiet().await;
    for (operation, client) in [("receiveDocument", &mut plain), ("receiveV2", &mut v2)] {
        for message in Description::of(operation).messages {
            assert!(!message.examples.is_empty(), "{} has no example", message.name);
            for mut example in message.examples {
                assert!(message.payload.is_valid(&example), "{}: {example}", message.name);
                if message.name == "refresh" {
                    // The one in the description is nobody's.
                    example["content"] = Forge::token(1).into();
                }
                client.send(&example).await;
                // A failure would come before the answer to this.
                client.send(&frame(1, 9, "and then?", "probe")).await;
                loop {
                    let answer = client.next().await;
                    assert_ne!(answer["type"], 1, "{}: {example}: {answer}", message.name);
                    if answer["timestamp"] == "probe" && answer["type"] == 0 {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn every_example_and_every_golden_frame_is_described() {
    for operation in ["sendDocument", "receiveDocument", "sendV2", "receiveV2"] {
        let description = Description::of(operation);
        for message in &description.messages {
            for example in &message.examples {
                assert!(message.describes(example), "{operation} {}: {example}", message.name);
            }
        }
    }
    let golden = |file: &str| -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    for (file, operation) in [("server.json", "sendV2"), ("client.json", "receiveV2")] {
        let description = Description::of(operation);
        for vector in golden(file) {
            let frame = serde_json::from_str(vector["frame"].as_str().unwrap()).unwrap();
            assert_ne!(description.names(&frame), [""; 0], "{}: {frame}", vector["name"]);
        }
    }
}

#[test]
fn the_description_tells_frames_apart() {
    let description = Description::of("sendV2");
    let good = json!({
        "fromId": 0, "toId": 1, "type": 6, "content": "12", "timestamp": "",
        "Describe": "{\"complete\":true}",
    });
    assert_eq!(description.names(&good), ["upToDate"]);
    for (member, value) in [
        ("fromId", json!(1)),
        ("toId", json!(0)),
        ("type", json!(7)),
        ("content", json!(12)),
        ("content", json!("012")),
        ("timestamp", json!("1")),
        ("Describe", json!("")),
        ("Describe", json!({ "complete": true })),
        ("Describe", json!("{\"complete\":1}")),
        ("Describe", json!("{\"complete\":true,\"x\":1}")),
        ("describe", json!("")),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        assert_eq!(description.names(&bad), [""; 0], "{bad}");
    }
}
