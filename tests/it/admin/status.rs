//! How the service is, in one answer.

use serde_json::{Value, json};

use crate::support::{Admin, Forge, Setup, TestServer, Upgrade, admin, frame, within};

#[tokio::test]
async fn the_status_tells_what_happened() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let _also_ming = server.connect(1).await;
    for number in 0..10 {
        ming.say(2, "hello", &number.to_string()).await;
    }
    ming.send(&frame(2, 1, "not from me", "1")).await;
    assert_eq!(ming.failure().await, "from_mismatch");
    Upgrade::token(&(Forge::token(1) + "A")).send(&server).await;

    let status = Admin::get("/admin/status").done(&server).await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    // It has a name where there may be others.
    assert_eq!(status["node"].is_string(), server.setup().is_in_streams(), "{status}");
    assert_eq!((&status["connections"], &status["users"]), (&json!(2), &json!(1)));
    let counted = json!({ "stored": 10, "acknowledged": 10, "delivered": 0 });
    assert_eq!(status["messages"], counted);
    assert_eq!(status["failures"], json!({ "from_mismatch": 1 }));
    assert_eq!(status["refused"], json!({ "bad_signature": 1 }));
    assert_eq!(status["closes"], json!({}));
    assert_eq!(status["store"], json!({ "health": "ready" }));
    let left = status["certificate"]["secondsLeft"].as_i64().unwrap();
    assert!(left > 300 * 24 * 3600, "{status}");
    let latency = &status["ackLatency"];
    assert_eq!(latency["count"], 10);
    let [p50, p99] = ["p50", "p99"].map(|name| latency[name].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p99 && p99 < 20.0, "{latency}");
    let classes = latency["classes"].as_array().unwrap();
    let sum: u64 = classes.iter().map(|class| class["count"].as_u64().unwrap()).sum();
    assert_eq!((sum, &classes.last().unwrap()["upTo"]), (10, &Value::Null));

    let page = admin(&server, "/metrics").await.body;
    assert!(page.contains("imserver_acknowledged_seconds_count 10\n"), "{page}");
    assert!(page.contains("imserver_acknowledged_seconds_bucket{le=\"+Inf\"} 10\n"), "{page}");
    assert!(page.contains("imserver_failures_total{reason=\"from_mismatch\"} 1\n"), "{page}");
}

#[tokio::test]
async fn the_rate_is_that_of_the_last_seconds() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let rate = async || {
        let status = Admin::get("/admin/status").done(&server).await;
        status["perSecond"]["acknowledged"].as_f64().unwrap()
    };
    ming.say(2, "hello", "1").await;
    within("a rate", async { while rate().await <= 0.0 {} }).await;
    within("silence", async { while rate().await > 0.0 {} }).await;
}

#[tokio::test]
async fn the_status_tells_what_in_the_files_is_not_in_force() {
    let server = TestServer::new().await;
    let path = server.setup().path("config.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    for (text, expected) in
        [(format!("{good}\nnonsense = 1\n"), json!(["configuration"])), (good.clone(), json!([]))]
    {
        std::fs::write(&path, text).unwrap();
        Admin::new("POST", "/admin/reload", "").done(&server).await;
        let status = Admin::get("/admin/status").done(&server).await;
        assert_eq!(status["notInForce"], expected, "{status}");
    }
}

#[tokio::test]
async fn without_tls_there_is_no_certificate_to_run_out() {
    let server = Setup::new().set("tls.mode", "\"off\"").start().await;
    let (code, out, err) = server.run(&["status", "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["certificate"], Value::Null);
    let (_, out, _) = server.run(&["status"]).await;
    assert!(!out.contains("certificate"), "{out}");
}

#[tokio::test]
async fn a_person_reads_the_status_in_lines() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    ming.say(2, "hello", "1").await;
    let (code, out, err) = server.run(&["status"]).await;
    assert_eq!(code, 0, "{err}");
    let line = |name: &str| {
        let found = out.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no line {name} in {out}")).trim().to_owned()
    };
    assert_eq!(line("store "), "ready");
    assert_eq!(line("connections "), "1 of 1 user");
    assert!(line("messages stored").ends_with(", 1 in all"), "{out}");
    assert!(line("time to acknowledge").starts_with("p50 "), "{out}");
    assert_eq!(line("frames failed"), "none");
    line("certificate until");
}
