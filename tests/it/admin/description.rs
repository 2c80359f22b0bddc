//! `docs/admin-openapi.json` held against the wire: it describes every call that there is
//! and no other, and every answer is as it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use crate::support::{Admin, Forge, ROUTES, TestServer};

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/admin-openapi.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A schema of the document, with all that it may refer to.
fn compile(document: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn holds(document: &Value, schema: &Value, value: &Value, what: &str) {
    if let Err(error) = compile(document, schema).validate(value) {
        panic!("{what}: {error}: {value}");
    }
}

/// The path in the document of an address.
fn path_of(target: &str) -> String {
    let path = target.split('?').next().unwrap();
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| if part.starts_with(|c: char| c.is_ascii_digit()) { "{id}" } else { part })
        .collect();
    parts.join("/")
}

#[tokio::test]
async fn every_call_is_described_and_every_answer_is_as_described() {
    let (document, server) = (document(), TestServer::new().await);
    let mut described = BTreeSet::new();
    for (path, place) in document["paths"].as_object().unwrap() {
        described
            .extend(place.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
    }
    let mut ming = server.connect(7).await;
    ming.say(7, "a note", "1").await;
    for (method, target, body) in ROUTES {
        let (path, name) = (path_of(target), method.to_lowercase());
        described.remove(&(path.clone(), name.clone()));
        let operation = &document["paths"][&path][&name];
        let what = format!("{method} {path}");
        assert!(operation.is_object(), "{what} is not described");
        if !body.is_empty() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            holds(&document, schema, &serde_json::from_str(body).unwrap(), &what);
        }
        let refused = Admin::new(method, target, body).bearer(&Forge::token(1)).send(&server).await;
        let schema = &operation["responses"]["401"]["content"]["application/json"]["schema"];
        holds(&document, schema, &serde_json::from_str(&refused.body).unwrap(), &what);

        let call = Admin::new(method, target, body);
        let answer = call.send(&server).await;
        let status = answer.status.to_string();
        let contents = &operation["responses"][&status]["content"];
        let kind = answer.header("content-type").unwrap();
        let schema = &contents[kind]["schema"];
        assert!(schema.is_object(), "{what}: {status} {kind} is not described");
        let values = match kind {
            "application/json" => vec![serde_json::from_str(&answer.body).unwrap()],
            // Asked again: the helper takes the chunks off.
            "application/jsonl" => call.lines(&server).await,
            _ => continue,
        };
        for value in values {
            holds(&document, schema, &value, &what);
        }
    }
    assert_eq!(described, BTreeSet::new(), "described, and in no list of calls");
}
