//! What a server leaves alone: whatever a token names beside who it is for, and all files but its
//! own.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use aws_lc_rs::hmac::HMAC_SHA256;
use serde_json::{Value, json};

use crate::support::{Admin, Claims, Client, Forge, Setup, Upgrade, Way, refused, strace};

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

/// Calls that change something in a folder.
const CHANGES: [&str; 9] =
    ["unlink", "rename", "mkdir", "rmdir", "link", "symlink", "chmod", "mknod", "truncate"];

#[tokio::test]
async fn a_server_writes_to_its_data_alone_starts_no_program_and_asks_nobody() {
    let setup = Setup::new();
    let command = strace(&setup, &["trace=%file,connect"], &[]);
    let server = setup.start_by(command).await;
    let mut ming = Client::connect(&server, 1).await;
    ming.say(2, "hello", "1").await;
    Admin::post("/admin/revocations", &json!({ "jti": "gone" })).done(&server).await;
    let setup = server.stop().await;

    // As `strace` quotes them.
    let folder = format!("\"{}", setup.path("data").display());
    let (itself, within) = (format!("{folder}\""), format!("{folder}/"));
    let (mut started, mut changed) = (0, 0);
    for line in calls(&setup) {
        let call = line.trim_start_matches(|char: char| char.is_ascii_digit()).trim_start();
        assert!(!call.starts_with("connect("), "{call}");
        started += usize::from(call.starts_with("execve("));
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag));
        if writes || CHANGES.iter().any(|change| call.starts_with(change)) {
            // A folder that is removed whole, which goes by its own name at last.
            let inside =
                call.strip_prefix("unlinkat(").is_some_and(|rest| !rest.starts_with("AT_"));
            let own = inside || call.contains(&itself) || call.contains(&within);
            assert!(own, "not its data: {call}");
            changed += 1;
        }
    }
    assert_eq!(started, 1, "the server itself");
    assert!(changed > 5, "{changed}");
}
