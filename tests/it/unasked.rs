//! What a token names, beside who it is for: nothing of it is opened, and nobody is asked.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use aws_lc_rs::hmac::HMAC_SHA256;
use serde_json::{Value, json};

use crate::support::{Claims, Forge, Setup, Upgrade, Way, refused, strace};

/// The name of a file that a token speaks of.
const NAMED: &str = "named-by-a-token";

/// The calls on files and sockets in what `strace` wrote, in order.
fn calls(setup: &Setup) -> Vec<String> {
    let traced = fs::read_to_string(setup.path("strace.txt")).unwrap();
    traced.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_a_tokens_header_names_is_neither_opened_nor_asked() {
    let setup = Setup::new();
    // All of it is there: whoever looked would find what makes the token a good one.
    let (file, other) = (setup.path(NAMED), TcpListener::bind("127.0.0.1:0").unwrap());
    other.set_nonblocking(true).unwrap();
    fs::write(&file, Forge::key_set()).unwrap();
    let url = format!("http://{}/{NAMED}", other.local_addr().unwrap());
    let path = file.display().to_string();
    let command = strace(&setup, &["trace=openat,?open,connect,execve"], &[]);
    let server = setup.start_by(command).await;
    let folder = server.setup().path("").display().to_string();
    let before = calls(server.setup()).len();

    let mut rows: Vec<(&str, Value)> = Vec::new();
    for place in [url.clone(), url.replace("http", "https"), path.clone(), format!("file://{path}")]
    {
        rows.extend(["jku", "x5u", "kid"].map(|name| (name, json!(place))));
        rows.push(("x5c", json!([place])));
        rows.push(("jwk", json!({ "kty": "oct", "kid": "test", "k": place })));
    }
    for odd in [
        format!("../../../../../../..{path}"),
        format!("|touch {path}"),
        format!("$(touch {path})"),
        format!("`{path}`"),
        format!("{path}\0.json"),
        format!("x' UNION SELECT '{path}';--"),
        "/dev/null".to_owned(),
        "../certs/keys.json".to_owned(),
    ] {
        rows.push(("kid", json!(odd)));
    }
    let claims = Claims::of(7).json();
    for (name, value) in &rows {
        let mut header = Forge::header();
        header[name] = value.clone();
        let header = header.to_string();
        // Signed with the server's own secret, with what lies there, and with nothing.
        for secret in [Forge::secret(), Forge::key_set().as_bytes(), b""] {
            let token = Forge::sign_with(&header, &claims, HMAC_SHA256, secret);
            for way in Way::ALL {
                refused(&way.upgrade(&token).send(&server).await, &format!("{name}: {value}"));
            }
        }
    }
    assert_eq!(Upgrade::token(&Forge::token(7)).send(&server).await.status, 101);

    let asked = other.accept().map(|(_, who)| who).map_err(|error| error.kind());
    assert_eq!(asked, Err(ErrorKind::WouldBlock), "nobody came");
    let calls = calls(server.setup());
    let starting = &calls[..before];
    assert!(starting.iter().any(|call| call.contains("certs/keys.json")), "{starting:?}");
    for call in &calls[before..] {
        // The rest of a call that another thread's came between.
        if call.contains("resumed>") {
            continue;
        }
        // Its own files are looked at from time to time.
        let own = call.contains(&format!("\"{folder}")) && !call.contains(NAMED);
        assert!(call.contains("openat(") && own, "because of a token: {call}");
    }
}
